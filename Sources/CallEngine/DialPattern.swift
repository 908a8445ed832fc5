/// A pattern of dialled digits: `9NXXXXXX`, `+1[2-9]XX.`.
///
/// `X` is 0-9, `Z` 1-9, `N` 2-9, `[…]` a set (with ranges), a trailing `.` one or more and a trailing `!` zero or more
/// of anything diallable; a leading `+` and everything else stands for itself.
package struct DialPattern: Hashable, Sendable {
    /// Why a text is no pattern.
    package enum ParseError: Error, Equatable, Sendable {
        case empty
        /// Not a digit, `*`, `#`, `X`, `Z`, `N`, a set or a wildcard.
        case unexpected(Character)
        case unclosedSet
        case emptySet
        case backwardRange(Character, Character)
        /// `.` or `!` not at the end, or `+` not at the start.
        case misplaced(Character)
    }

    private enum Tail: Hashable, Sendable { case none, oneOrMore, any }

    private var elements: [Set<UInt8>]
    private var tail: Tail

    package init(parsing text: String) throws(ParseError) {
        elements = []
        tail = .none
        var rest = Array(text)[...]
        guard !rest.isEmpty else { throw .empty }
        while let character = rest.popFirst() {
            guard tail == .none else { throw .misplaced(character) }
            switch character {
            case "X", "x": elements.append(Set(Self.digits))
            case "Z", "z": elements.append(Set(Self.digits.dropFirst()))
            case "N", "n": elements.append(Set(Self.digits.dropFirst(2)))
            case ".": tail = .oneOrMore
            case "!": tail = .any
            case "+":
                guard elements.isEmpty else { throw .misplaced("+") }
                elements.append([UInt8(ascii: "+")])
            case "[": elements.append(try Self.set(&rest))
            default:
                guard let byte = Self.diallable(character) else { throw .unexpected(character) }
                elements.append([byte])
            }
        }
    }

    /// Whether the whole number matches.
    package func matches(_ number: String) -> Bool {
        let bytes = Array(number.utf8)
        guard bytes.count >= elements.count else { return false }
        for (element, byte) in zip(elements, bytes) where !element.contains(byte) { return false }
        let rest = bytes[elements.count...]
        switch tail {
        case .none: return rest.isEmpty
        case .oneOrMore: return !rest.isEmpty && rest.allSatisfy(Self.isDiallable)
        case .any: return rest.allSatisfy(Self.isDiallable)
        }
    }

    private static let digits: [UInt8] = Array(UInt8(ascii: "0")...UInt8(ascii: "9"))

    private static func isDiallable(_ byte: UInt8) -> Bool {
        digits.contains(byte) || byte == UInt8(ascii: "*") || byte == UInt8(ascii: "#")
    }

    private static func diallable(_ character: Character) -> UInt8? {
        character.asciiValue.flatMap { isDiallable($0) ? $0 : nil }
    }

    private static func set(_ rest: inout ArraySlice<Character>) throws(ParseError) -> Set<UInt8> {
        var members: Set<UInt8> = []
        while let character = rest.popFirst() {
            if character == "]" {
                guard !members.isEmpty else { throw .emptySet }
                return members
            }
            guard let low = diallable(character) else { throw .unexpected(character) }
            guard rest.first == "-" else {
                members.insert(low)
                continue
            }
            rest.removeFirst()
            guard let end = rest.popFirst() else { throw .unclosedSet }
            guard let high = diallable(end) else { throw .unexpected(end) }
            guard low <= high else { throw .backwardRange(character, end) }
            members.formUnion((low...high).filter(isDiallable))
        }
        throw .unclosedSet
    }
}

/// Numbers as people and peers write them, made comparable.
package enum DialledNumber {
    /// Visual separators removed (RFC 3966 §5.1.1), parameters cut; nil when something else than digits, `*`, `#`
    /// or a leading `+` remains.
    package static func normalized(_ user: String) -> String? {
        var bytes: [UInt8] = []
        for byte in user.utf8.prefix(while: { $0 != UInt8(ascii: ";") }) {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "*"), UInt8(ascii: "#"): bytes.append(byte)
            case UInt8(ascii: "+") where bytes.isEmpty: bytes.append(byte)
            case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: " "): break
            default: return nil
            }
        }
        guard bytes.contains(where: { $0 != UInt8(ascii: "+") }), bytes.count <= 64 else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The entry for a called number, the leading `+` being optional on either side.
    package static func lookUp<Value>(_ number: String, in table: [String: Value]) -> Value? {
        if let exact = table[number] { return exact }
        return number.hasPrefix("+") ? table[String(number.dropFirst())] : table["+" + number]
    }
}
