/// Which numbers a route takes: `9NXXXXXX`, `+1[2-9].`, `0!`.
///
/// `X` is 0-9, `Z` 1-9, `N` 2-9, `[1-3#]` a set; a trailing `.` is one or more and a trailing `!` zero or more of
/// 0-9, `*` and `#`; a leading `+`, digits, `*` and `#` stand for themselves.
package struct DialPattern: Hashable, Sendable, CustomStringConvertible {
    /// Why a text is no pattern; `offset` counts characters from 0.
    package enum ParseError: Error, Equatable, Sendable {
        case empty
        case tooLong
        case unexpected(Character, offset: Int)
        case plusNotFirst(offset: Int)
        case wildcardNotLast(Character, offset: Int)
        case unterminatedSet(offset: Int)
        case emptySet(offset: Int)
        case reversedRange(Character, Character, offset: Int)
    }

    /// What follows the fixed positions.
    private enum Tail: Hashable { case none, oneOrMore, zeroOrMore }

    /// Longer patterns are refused; E.164 has 15 digits.
    package static let positionCountMax = 64

    /// As written.
    package let description: String
    /// One set of characters (bits: 0-9, 10 `*`, 11 `#`, 12 `+`) for each fixed position.
    private let positions: [UInt16]
    private let tail: Tail

    package init(parsing text: String) throws(ParseError) {
        description = text
        var parser = Parser(Array(text))
        (positions, tail) = try parser.parse()
    }

    /// The fewest characters a matching number has.
    package var lengthMin: Int { positions.count + (tail == .oneOrMore ? 1 : 0) }

    /// Whether the whole number matches.
    package func matches(_ digits: String) -> Bool {
        var index = 0
        for character in digits {
            guard let bit = Self.bit(of: character) else { return false }
            if index < positions.count {
                guard positions[index] & bit != 0 else { return false }
            } else {
                guard tail != .none, Self.anything & bit != 0 else { return false }
            }
            index += 1
        }
        return index >= lengthMin
    }

    /// 0-9, `*`, `#`.
    private static let anything: UInt16 = 0x0FFF

    private static func bit(of character: Character) -> UInt16? {
        switch character {
        case "0"..."9": character.wholeNumberValue.map { 1 << UInt16($0) }
        case "*": 1 << 10
        case "#": 1 << 11
        case "+": 1 << 12
        default: nil
        }
    }

    private struct Parser {
        let text: [Character]
        var offset = 0

        init(_ text: [Character]) { self.text = text }

        mutating func parse() throws(ParseError) -> ([UInt16], Tail) {
            var positions: [UInt16] = []
            guard !text.isEmpty else { throw .empty }
            while offset < text.count {
                let character = text[offset]
                switch character {
                case "X": positions.append(0x03FF)
                case "Z": positions.append(0x03FE)
                case "N": positions.append(0x03FC)
                case "[": positions.append(try parseSet())
                case ".", "!":
                    guard offset == text.count - 1 else { throw .wildcardNotLast(character, offset: offset) }
                    return (positions, character == "." ? .oneOrMore : .zeroOrMore)
                case "+":
                    guard offset == 0 else { throw .plusNotFirst(offset: offset) }
                    positions.append(1 << 12)
                default:
                    guard let bit = DialPattern.bit(of: character), character.isASCII else {
                        throw .unexpected(character, offset: offset)
                    }
                    positions.append(bit)
                }
                guard positions.count <= DialPattern.positionCountMax else { throw .tooLong }
                offset += 1
            }
            return (positions, .none)
        }

        /// Stands on `[`; leaves the offset on `]`.
        mutating func parseSet() throws(ParseError) -> UInt16 {
            let start = offset
            var set: UInt16 = 0
            offset += 1
            while offset < text.count {
                let first = text[offset]
                if first == "]" {
                    guard set != 0 else { throw .emptySet(offset: start) }
                    return set
                }
                guard first != "+", first.isASCII, let bit = DialPattern.bit(of: first) else {
                    throw .unexpected(first, offset: offset)
                }
                if offset + 2 < text.count, text[offset + 1] == "-", text[offset + 2] != "]" {
                    let last = text[offset + 2]
                    guard let from = first.wholeNumberValue, last.isASCII, let to = last.wholeNumberValue else {
                        throw .unexpected(last, offset: offset + 2)
                    }
                    guard from <= to else { throw .reversedRange(first, last, offset: offset) }
                    for digit in from...to { set |= 1 << UInt16(digit) }
                    offset += 3
                } else {
                    set |= bit
                    offset += 1
                }
            }
            throw .unterminatedSet(offset: start)
        }
    }
}

extension DialPattern.ParseError: CustomStringConvertible {
    package var description: String {
        let allowed = "allowed are 0-9, *, #, X (0-9), Z (1-9), N (2-9), [sets], a leading +, and a trailing . or !"
        switch self {
        case .empty: return "a pattern needs at least one character; \(allowed)"
        case .tooLong: return "the pattern is longer than \(DialPattern.positionCountMax) positions"
        case .unexpected(let character, let offset):
            let upper = character.uppercased()
            let hint = character.isLowercase && ["X", "Z", "N"].contains(upper) ? "; did you mean \(upper)?" : ""
            return "'\(character)' at character \(offset + 1) has no meaning\(hint); \(allowed)"
        case .plusNotFirst(let offset): return "'+' at character \(offset + 1): it is allowed only as the first one"
        case .wildcardNotLast(let character, let offset):
            return "'\(character)' at character \(offset + 1): it is allowed only as the last one"
        case .unterminatedSet(let offset): return "the set opened at character \(offset + 1) is not closed with ]"
        case .emptySet(let offset): return "the set at character \(offset + 1) is empty"
        case .reversedRange(let from, let to, let offset):
            return "the range \(from)-\(to) at character \(offset + 1) runs backwards"
        }
    }
}
