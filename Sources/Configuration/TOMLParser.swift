/// Reads TOML 1.0 and keeps the place of every key and value.
///
/// Our own, because TOMLKit gives places for syntax errors only and brings Foundation, half of the daemon's size.
/// It stops at the first syntax error; any bytes are safe.
struct TOMLParser {
    enum Limits {
        /// A longer text is an error.
        static let byteCountMax = 1 << 20
        /// A longer line is an error.
        static let lineByteCountMax = 4_096
        /// Arrays and inline tables within each other; deeper is an error.
        static let nestingMax = 16
        /// Parts of a dotted key; more are an error.
        static let keyPartCountMax = 16
    }

    struct KeyPart {
        let name: String
        let position: TextPosition
    }

    let text: [UInt8]
    var offset = 0
    private var line = 1
    private var lineStart = 0

    private init(_ text: [UInt8]) { self.text = text }

    static func parse(_ text: [UInt8]) throws(TOMLError) -> TOMLTable {
        var parser = TOMLParser(text)
        if text.starts(with: [0xEF, 0xBB, 0xBF]) {  // a byte order mark is no character
            parser.offset = 3
            parser.lineStart = 3
        }
        try parser.checkCharacters()
        return try parser.parseDocument()
    }

    // MARK: The document

    private mutating func parseDocument() throws(TOMLError) -> TOMLTable {
        let root = TOMLTable(.root, at: position)
        var current = root
        while true {
            skipSpace()
            guard let byte = peek() else { return root }
            switch byte {
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "#"): break
            case UInt8(ascii: "["): current = try parseHeader(root)
            default: try parseKeyValue(into: current)
            }
            try endLine()
        }
    }

    private mutating func parseHeader(_ root: TOMLTable) throws(TOMLError) -> TOMLTable {
        let start = position
        offset += 1
        let isArray = skip("[")
        skipSpace()
        let path = try parseKey()
        skipSpace()
        guard skip("]"), !isArray || skip("]") else {
            throw unexpected(isArray ? "']]' must close the name of an array of tables" : "']' must close a table name")
        }
        var table = root
        for part in path.dropLast() { table = try descend(from: table, to: part) }
        guard let last = path.last else { throw error("a table needs a name", at: start) }
        return isArray ? try appendTable(last, to: table) : try openTable(last, in: table)
    }

    /// The table a header's path leads through, made when missing.
    private func descend(from table: TOMLTable, to part: KeyPart) throws(TOMLError) -> TOMLTable {
        guard let entry = table[part.name] else { return insertTable(part, into: table, .parentOfHeader) }
        switch entry.value {
        case .table(let next) where next.origin != .inline: return next
        case .array(let array) where array.isOfTables:
            if case .table(let last)? = array.elements.last?.value { return last }
        default: break
        }
        throw error(
            "\(quoted(part.name)) is \(entry.value.kind)\(from(entry)) and cannot be extended", at: part.position)
    }

    private func openTable(_ part: KeyPart, in table: TOMLTable) throws(TOMLError) -> TOMLTable {
        guard let entry = table[part.name] else { return insertTable(part, into: table, .header) }
        if case .table(let existing) = entry.value, existing.origin == .parentOfHeader {
            existing.origin = .header
            return existing
        }
        throw error("\(quoted(part.name)) is given twice; the first is\(from(entry))", at: part.position)
    }

    private func appendTable(_ part: KeyPart, to table: TOMLTable) throws(TOMLError) -> TOMLTable {
        let array: TOMLArray
        if let entry = table[part.name] {
            guard case .array(let existing) = entry.value, existing.isOfTables else {
                throw error("\(quoted(part.name)) is \(entry.value.kind)\(from(entry)), not [[…]]", at: part.position)
            }
            array = existing
        } else {
            array = TOMLArray(isOfTables: true)
            _ = table.insert(
                .init(
                    key: part.name, keyPosition: part.position, value: .array(array), valuePosition: part.position))
        }
        let element = TOMLTable(.header, at: part.position)
        array.elements.append(.init(value: .table(element), position: part.position))
        return element
    }

    private func insertTable(_ part: KeyPart, into table: TOMLTable, _ origin: TOMLTable.Origin) -> TOMLTable {
        let made = TOMLTable(origin, at: part.position)
        _ = table.insert(
            .init(key: part.name, keyPosition: part.position, value: .table(made), valuePosition: part.position))
        return made
    }

    mutating func parseKeyValue(into table: TOMLTable, depth: Int = 0) throws(TOMLError) {
        let path = try parseKey()
        skipSpace()
        guard skip("=") else { throw unexpected("'=' must follow the key") }
        skipSpace()
        var target = table
        for part in path.dropLast() {
            if let entry = target[part.name] {
                guard case .table(let next) = entry.value, next.origin == .dottedKey else {
                    throw error(
                        "\(quoted(part.name)) is \(entry.value.kind)\(from(entry)) and cannot be extended here",
                        at: part.position)
                }
                target = next
            } else {
                target = insertTable(part, into: target, .dottedKey)
            }
        }
        let valuePosition = position
        let value = try parseValue(depth: depth)
        guard let last = path.last else { return }
        let entry = TOMLTable.Entry(
            key: last.name, keyPosition: last.position, value: value, valuePosition: valuePosition)
        if !target.insert(entry), let first = target[last.name] {
            throw error("\(quoted(last.name)) is given twice; the first is\(from(first))", at: last.position)
        }
    }

    private func from(_ entry: TOMLTable.Entry) -> String { " on line \(entry.keyPosition.line)" }

    // MARK: Keys

    private mutating func parseKey() throws(TOMLError) -> [KeyPart] {
        var parts: [KeyPart] = []
        while true {
            let start = position
            guard parts.count < Limits.keyPartCountMax else {
                throw error("a key has at most \(Limits.keyPartCountMax) parts", at: start)
            }
            parts.append(KeyPart(name: try parseKeyPart(), position: start))
            let end = offset
            skipSpace()
            guard skip(".") else {
                offset = end
                return parts
            }
            skipSpace()
        }
    }

    private mutating func parseKeyPart() throws(TOMLError) -> String {
        switch peek() {
        case UInt8(ascii: "\""): return try parseBasicString()
        case UInt8(ascii: "'"): return try parseLiteralString()
        default:
            let start = offset
            while let byte = peek(), Self.isBareKey(byte) { offset += 1 }
            guard offset > start else {
                throw unexpected("a key is made of A-Z, a-z, 0-9, '_' and '-', or stands in quotes")
            }
            return string(start..<offset)
        }
    }

    static func isBareKey(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    // MARK: Lines and characters

    /// Space, perhaps a comment, and the end of the line or the text.
    private mutating func endLine() throws(TOMLError) {
        skipSpace()
        skipComment()
        guard offset == text.count || skipNewline() else { throw unexpected("the line must end here") }
    }

    /// Space, comments and line ends, as arrays allow between their elements.
    mutating func skipSpaceAndLines() {
        while true {
            skipSpace()
            skipComment()
            guard skipNewline() else { return }
        }
    }

    mutating func skipSpace() {
        while let byte = peek(), byte == 0x20 || byte == 0x09 { offset += 1 }
    }

    private mutating func skipComment() {
        guard peek() == UInt8(ascii: "#") else { return }
        while let byte = peek(), byte != 0x0A, !isCRLF { offset += 1 }
    }

    var isCRLF: Bool { peek() == 0x0D && peek(1) == 0x0A }

    mutating func skipNewline() -> Bool {
        if isCRLF {
            offset += 2
        } else if peek() == 0x0A {
            offset += 1
        } else {
            return false
        }
        line += 1
        lineStart = offset
        return true
    }

    func peek(_ ahead: Int = 0) -> UInt8? {
        let index = offset + ahead
        return index < text.count ? text[index] : nil
    }

    mutating func skip(_ character: Character) -> Bool {
        guard let byte = peek(), byte == character.asciiValue else { return false }
        offset += 1
        return true
    }

    func starts(with word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard text.count - offset >= count else { return false }
        return text[offset..<(offset + count)].elementsEqual(word.description.utf8)
    }

    func string(_ range: Range<Int>) -> String { String(decoding: text[range], as: UTF8.self) }

    var position: TextPosition { position(at: offset) }

    /// Of an offset on the current line.
    func position(at offset: Int) -> TextPosition {
        let characters = text[lineStart..<max(lineStart, offset)].count { $0 & 0xC0 != 0x80 }
        return TextPosition(line: line, column: characters + 1)
    }

    /// The whole text must be UTF-8 without control characters, except tab and line ends.
    private func checkCharacters() throws(TOMLError) {
        guard text.count <= Limits.byteCountMax else {
            throw error("the file is longer than \(Limits.byteCountMax) bytes")
        }
        var scan = self
        while let byte = scan.peek() {
            if byte < 0x80 {
                guard byte >= 0x20 && byte != 0x7F || byte == 0x09 || byte == 0x0A || scan.isCRLF else {
                    let digits = String(byte, radix: 16, uppercase: true)
                    throw scan.error("the control character U+00\(byte < 16 ? "0" : "")\(digits) is not allowed")
                }
                if !scan.skipNewline() { scan.offset += 1 }
            } else {
                guard let count = scan.multibyteCount() else { throw scan.error("the text is not UTF-8 here") }
                scan.offset += count
            }
            guard scan.offset - scan.lineStart <= Limits.lineByteCountMax else {
                throw scan.error("the line is longer than \(Limits.lineByteCountMax) bytes")
            }
        }
    }

    /// Bytes of the well-formed multi-byte character at the cursor (Unicode table 3-7); nil when there is none.
    private func multibyteCount() -> Int? {
        guard let lead = peek(), let second = peek(1) else { return nil }
        let count: Int
        let secondAllowed: ClosedRange<UInt8>
        switch lead {
        case 0xC2...0xDF: (count, secondAllowed) = (2, 0x80...0xBF)
        case 0xE0: (count, secondAllowed) = (3, 0xA0...0xBF)
        case 0xED: (count, secondAllowed) = (3, 0x80...0x9F)
        case 0xE1...0xEF: (count, secondAllowed) = (3, 0x80...0xBF)
        case 0xF0: (count, secondAllowed) = (4, 0x90...0xBF)
        case 0xF4: (count, secondAllowed) = (4, 0x80...0x8F)
        case 0xF1...0xF3: (count, secondAllowed) = (4, 0x80...0xBF)
        default: return nil
        }
        guard secondAllowed.contains(second) else { return nil }
        for ahead in 2..<max(2, count) {
            guard let byte = peek(ahead), byte & 0xC0 == 0x80 else { return nil }
        }
        return count
    }

    // MARK: Errors

    func error(_ message: String, at place: TextPosition? = nil) -> TOMLError {
        TOMLError(position: place ?? position, message: message)
    }

    /// What stands at the cursor, and what should.
    func unexpected(_ expectation: String) -> TOMLError {
        guard let byte = peek() else { return error("the file ends here, but \(expectation)") }
        if byte == 0x0A || byte == 0x0D { return error("the line ends here, but \(expectation)") }
        let end = byte < 0x80 ? 1 : multibyteCount() ?? 1
        return error("unexpected '\(string(offset..<(offset + end)))': \(expectation)")
    }
}

/// In double quotes, for messages.
func quoted(_ text: some StringProtocol) -> String { "\"\(text)\"" }
