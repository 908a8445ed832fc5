/// Values: strings, numbers, dates, arrays and inline tables (TOML 1.0).
extension TOMLParser {
    mutating func parseValue(depth: Int) throws(TOMLError) -> TOMLValue {
        switch peek() {
        case UInt8(ascii: "\""):
            if starts(with: "\"\"\"") { return .string(try parseMultilineString(UInt8(ascii: "\""))) }
            return .string(try parseBasicString())
        case UInt8(ascii: "'"):
            if starts(with: "'''") { return .string(try parseMultilineString(UInt8(ascii: "'"))) }
            return .string(try parseLiteralString())
        case UInt8(ascii: "["): return .array(try parseArray(depth: depth))
        case UInt8(ascii: "{"): return .table(try parseInlineTable(depth: depth))
        default: return try parseScalar()
        }
    }

    private mutating func parseArray(depth: Int) throws(TOMLError) -> TOMLArray {
        guard depth < Limits.nestingMax else { throw error("values are nested deeper than \(Limits.nestingMax)") }
        let array = TOMLArray(isOfTables: false)
        offset += 1
        while true {
            skipSpaceAndLines()
            if skip("]") { return array }
            let start = position
            array.elements.append(.init(value: try parseValue(depth: depth + 1), position: start))
            skipSpaceAndLines()
            if skip("]") { return array }
            guard skip(",") else { throw unexpected("',' or ']' must follow an element") }
        }
    }

    private mutating func parseInlineTable(depth: Int) throws(TOMLError) -> TOMLTable {
        guard depth < Limits.nestingMax else { throw error("values are nested deeper than \(Limits.nestingMax)") }
        let table = TOMLTable(.root, at: position)
        offset += 1
        skipSpace()
        if !skip("}") {
            while true {
                try parseKeyValue(into: table, depth: depth + 1)
                skipSpace()
                if skip("}") { break }
                guard skip(",") else { throw unexpected("',' or '}' must follow, on the same line") }
                skipSpace()
            }
        }
        close(table)
        return table
    }

    /// Nothing may be added to an inline table, nor to what its dotted keys made.
    private func close(_ table: TOMLTable) {
        table.origin = .inline
        for entry in table.entries {
            if case .table(let inner) = entry.value, inner.origin == .dottedKey { close(inner) }
        }
    }

    // MARK: Strings

    /// `"…"`, on one line.
    mutating func parseBasicString() throws(TOMLError) -> String {
        let start = position
        var bytes: [UInt8] = []
        offset += 1
        while let byte = peek() {
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                return String(decoding: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"): try parseEscape(into: &bytes)
            case 0x0A, 0x0D: throw error("the string opened here is not closed on its line", at: start)
            default:
                bytes.append(byte)
                offset += 1
            }
        }
        throw error("the string opened here is never closed", at: start)
    }

    /// `'…'`, on one line, without escapes.
    mutating func parseLiteralString() throws(TOMLError) -> String {
        let start = position
        offset += 1
        let first = offset
        while let byte = peek(), byte != 0x0A, byte != 0x0D {
            offset += 1
            if byte == UInt8(ascii: "'") { return string(first..<(offset - 1)) }
        }
        throw error("the string opened here is not closed on its line", at: start)
    }

    /// `"""…"""` or `'''…'''`: a first line end is dropped, up to two quotes may stand before the closing three.
    private mutating func parseMultilineString(_ quote: UInt8) throws(TOMLError) -> String {
        let start = position
        var bytes: [UInt8] = []
        offset += 3
        _ = skipNewline()
        while let byte = peek() {
            if byte == quote {
                var count = 0
                while count < 5, peek(count) == quote { count += 1 }
                offset += count
                if count >= 3 {
                    bytes.append(contentsOf: repeatElement(quote, count: count - 3))
                    return String(decoding: bytes, as: UTF8.self)
                }
                bytes.append(contentsOf: repeatElement(quote, count: count))
            } else if byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
                if !skipLineContinuation() { try parseEscape(into: &bytes) }
            } else {
                // One line end whatever the editor wrote, so that a value does not depend on it.
                let isLineEnd = skipNewline()
                bytes.append(isLineEnd ? 0x0A : byte)
                if !isLineEnd { offset += 1 }
            }
        }
        throw error("the string opened here is never closed", at: start)
    }

    /// A backslash at the end of a line removes it, with all space before the next character.
    private mutating func skipLineContinuation() -> Bool {
        var scan = self
        scan.offset += 1
        scan.skipSpace()
        guard scan.skipNewline() else { return false }
        repeat { scan.skipSpace() } while scan.skipNewline()
        self = scan
        return true
    }

    private mutating func parseEscape(into bytes: inout [UInt8]) throws(TOMLError) {
        let start = position
        guard let letter = peek(1) else { throw error("the string ends within an escape", at: start) }
        offset += 2
        switch letter {
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "f"): bytes.append(0x0C)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(letter)
        case UInt8(ascii: "u"), UInt8(ascii: "U"):
            let count = letter == UInt8(ascii: "u") ? 4 : 8
            var value: UInt32 = 0
            for _ in 0..<count {
                guard let byte = peek(), let digit = Self.hexadecimalValue(byte) else {
                    throw error("\\\(count == 4 ? "u" : "U") needs \(count) hexadecimal digits", at: start)
                }
                value = value << 4 | digit
                offset += 1
            }
            guard let scalar = UnicodeScalar(value) else { throw error("the escape is no character", at: start) }
            bytes.append(contentsOf: String(Character(scalar)).utf8)
        default:
            throw error("unknown escape: \\b \\t \\n \\f \\r \\\" \\\\ \\uXXXX \\UXXXXXXXX exist", at: start)
        }
    }

    private static func hexadecimalValue(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }

    // MARK: Numbers, booleans, dates

    private mutating func parseScalar() throws(TOMLError) -> TOMLValue {
        let start = offset
        while let byte = peek(),
            Self.isBareKey(byte) || byte == UInt8(ascii: "+") || byte == UInt8(ascii: ".")
                || byte == UInt8(ascii: ":")
        { offset += 1 }
        guard offset > start else { throw unexpected("a value must stand here; text needs quotes") }
        if let date = TOMLScalar.dateLength(text[start..<offset]) {
            // A space may stand between the date and the time.
            if date == offset - start, peek() == 0x20, let next = peek(1), (0x30...0x39).contains(next) {
                offset += 1
                while let byte = peek(), (0x30...0x3A).contains(byte) || [0x2B, 0x2D, 0x2E, 0x5A, 0x7A].contains(byte) {
                    offset += 1
                }
            }
        }
        let word = text[start..<offset]
        guard let value = TOMLScalar.value(of: word) else {
            // The word itself is not shown: it may be a password without quotes.
            throw error(
                "this is no number, boolean or date; text needs quotes", at: position(at: start))
        }
        return value
    }
}
