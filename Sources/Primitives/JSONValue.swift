/// A JSON value (RFC 8259): what the control socket speaks and `--json` prints.
///
/// Our own because FoundationEssentials alone would take half of the daemon's 16 MB.
package enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    /// Members in the order written.
    case object([Member])

    package struct Member: Hashable, Sendable {
        package let name: String
        package let value: JSONValue
        package init(_ name: String, _ value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    /// Why a text is not JSON, and at which byte.
    package enum ParseError: Error, Equatable, Sendable {
        case unexpected(at: Int)
        case truncated
        case tooDeep(at: Int)
        case trailing(at: Int)
    }

    /// The member of an object; nil when there is none or this is no object.
    package subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    package var stringValue: String? { if case .string(let text) = self { text } else { nil } }
    package var integerValue: Int64? { if case .integer(let number) = self { number } else { nil } }
    package var boolValue: Bool? { if case .bool(let flag) = self { flag } else { nil } }
    package var arrayValue: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }

    /// Compact text on one line; members keep their order.
    package var text: String {
        var writer = ByteWriter()
        render(into: &writer)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// Indented by two spaces, for people.
    package var prettyText: String {
        var writer = ByteWriter()
        render(into: &writer, indent: 0)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// nil indent writes one line.
    private func render(into writer: inout ByteWriter, indent: Int? = nil) {
        func newline(_ level: Int) {
            guard indent != nil else { return }
            writer.write("\n" + String(repeating: "  ", count: level))
        }
        let inner = indent.map { $0 + 1 }
        switch self {
        case .null: writer.write("null")
        case .bool(let flag): writer.write(flag ? "true" : "false")
        case .integer(let number): writer.write(String(number))
        case .number(let number): writer.write(number.isFinite ? "\(number)" : "null")
        case .string(let text): Self.renderString(text, into: &writer)
        case .array(let elements):
            writer.write("[")
            for (index, element) in elements.enumerated() {
                if index > 0 { writer.write(",") }
                newline(inner ?? 0)
                element.render(into: &writer, indent: inner)
            }
            if !elements.isEmpty { newline(indent ?? 0) }
            writer.write("]")
        case .object(let members):
            writer.write("{")
            for (index, member) in members.enumerated() {
                if index > 0 { writer.write(",") }
                newline(inner ?? 0)
                Self.renderString(member.name, into: &writer)
                writer.write(indent == nil ? ":" : ": ")
                member.value.render(into: &writer, indent: inner)
            }
            if !members.isEmpty { newline(indent ?? 0) }
            writer.write("}")
        }
    }

    private static func renderString(_ text: String, into writer: inout ByteWriter) {
        writer.write(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): writer.write("\\\"")
            case UInt8(ascii: "\\"): writer.write("\\\\")
            case 0x0A: writer.write("\\n")
            case 0x0D: writer.write("\\r")
            case 0x09: writer.write("\\t")
            case 0..<0x20, 0x7F:
                let digits = String(byte, radix: 16)
                writer.write("\\u" + String(repeating: "0", count: 4 - digits.count) + digits)
            default: writer.write(byte)
            }
        }
        writer.write(UInt8(ascii: "\""))
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(elements.map { Member($0.0, $0.1) })
    }
    package init(_ number: some BinaryInteger) { self = .integer(Int64(clamping: number)) }
    package init(_ text: String?) { self = text.map { .string($0) } ?? .null }
}

extension JSONValue {
    /// Parses one value that fills the text; nesting deeper than 32 is refused.
    package init(parsing text: Span<UInt8>) throws(ParseError) {
        var parser = JSONParser(text)
        parser.skipSpace()
        let value = try parser.parseValue(depth: 0)
        parser.skipSpace()
        guard parser.index == text.count else { throw .trailing(at: parser.index) }
        self = value
    }
}

private struct JSONParser: ~Escapable {
    private static let depthMax = 32
    let text: Span<UInt8>
    var index = 0

    @_lifetime(copy text)
    init(_ text: Span<UInt8>) { self.text = text }

    @_lifetime(self: copy self)
    mutating func skipSpace() {
        while index < text.count, [0x20, 0x09, 0x0A, 0x0D].contains(text[index]) { index += 1 }
    }

    func peek() throws(JSONValue.ParseError) -> UInt8 {
        guard index < text.count else { throw .truncated }
        return text[index]
    }

    @_lifetime(self: copy self)
    mutating func parseValue(depth: Int) throws(JSONValue.ParseError) -> JSONValue {
        guard depth < Self.depthMax else { throw .tooDeep(at: index) }
        switch try peek() {
        case UInt8(ascii: "{"): return try parseObject(depth: depth)
        case UInt8(ascii: "["): return try parseArray(depth: depth)
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "t"):
            try expect("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try expect("false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try expect("null")
            return .null
        default: return try parseNumber()
        }
    }

    @_lifetime(self: copy self)
    mutating func expect(_ word: String) throws(JSONValue.ParseError) {
        for character in word.utf8 {
            guard try peek() == character else { throw .unexpected(at: index) }
            index += 1
        }
    }

    @_lifetime(self: copy self)
    mutating func parseObject(depth: Int) throws(JSONValue.ParseError) -> JSONValue {
        var members: [JSONValue.Member] = []
        index += 1
        skipSpace()
        if try peek() == UInt8(ascii: "}") {
            index += 1
            return .object([])
        }
        while true {
            skipSpace()
            guard try peek() == UInt8(ascii: "\"") else { throw .unexpected(at: index) }
            let name = try parseString()
            skipSpace()
            try expect(":")
            skipSpace()
            members.append(.init(name, try parseValue(depth: depth + 1)))
            skipSpace()
            if try peek() == UInt8(ascii: "}") {
                index += 1
                return .object(members)
            }
            try expect(",")
        }
    }

    @_lifetime(self: copy self)
    mutating func parseArray(depth: Int) throws(JSONValue.ParseError) -> JSONValue {
        var elements: [JSONValue] = []
        index += 1
        skipSpace()
        if try peek() == UInt8(ascii: "]") {
            index += 1
            return .array([])
        }
        while true {
            skipSpace()
            elements.append(try parseValue(depth: depth + 1))
            skipSpace()
            if try peek() == UInt8(ascii: "]") {
                index += 1
                return .array(elements)
            }
            try expect(",")
        }
    }

    @_lifetime(self: copy self)
    mutating func parseString() throws(JSONValue.ParseError) -> String {
        let start = index
        index += 1
        var bytes: [UInt8] = []
        while true {
            let byte = try peek()
            index += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: bytes, as: UTF8.self) else { throw .unexpected(at: start) }
                return string
            case UInt8(ascii: "\\"): try parseEscape(into: &bytes)
            case 0..<0x20: throw .unexpected(at: index - 1)
            default: bytes.append(byte)
            }
        }
    }

    @_lifetime(self: copy self)
    mutating func parseEscape(into bytes: inout [UInt8]) throws(JSONValue.ParseError) {
        let byte = try peek()
        index += 1
        switch byte {
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0C)
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
        case UInt8(ascii: "u"):
            var scalar = try parseHexQuad()
            if (0xD800..<0xDC00).contains(scalar) {
                try expect("\\u")
                let low = try parseHexQuad()
                guard (0xDC00..<0xE000).contains(low) else { throw .unexpected(at: index) }
                scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let valid = UnicodeScalar(scalar) else { throw .unexpected(at: index) }
            bytes.append(contentsOf: String(Character(valid)).utf8)
        default: throw .unexpected(at: index - 1)
        }
    }

    @_lifetime(self: copy self)
    mutating func parseHexQuad() throws(JSONValue.ParseError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(UnicodeScalar(try peek())).hexDigitValue else { throw .unexpected(at: index) }
            value = value << 4 | UInt32(digit)
            index += 1
        }
        return value
    }

    @_lifetime(self: copy self)
    mutating func parseNumber() throws(JSONValue.ParseError) -> JSONValue {
        let start = index
        if index < text.count, text[index] == UInt8(ascii: "-") { index += 1 }
        let integerStart = index
        skipDigits()
        let integerCount = index - integerStart
        guard integerCount == 1 || integerCount > 1 && text[integerStart] != UInt8(ascii: "0") else {
            throw .unexpected(at: start)
        }
        var isInteger = true
        if index < text.count, text[index] == UInt8(ascii: ".") {
            isInteger = false
            index += 1
            guard skipDigits() > 0 else { throw .unexpected(at: start) }
        }
        if index < text.count, text[index] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            index += 1
            if index < text.count, text[index] == UInt8(ascii: "+") || text[index] == UInt8(ascii: "-") { index += 1 }
            guard skipDigits() > 0 else { throw .unexpected(at: start) }
        }
        var digits: [UInt8] = []
        for position in start..<index { digits.append(text[position]) }
        let number = String(decoding: digits, as: UTF8.self)
        if isInteger, let integer = Int64(number) { return .integer(integer) }
        guard let value = Double(number), value.isFinite else { throw .unexpected(at: start) }
        return .number(value)
    }

    /// How many digits were skipped.
    @discardableResult
    @_lifetime(self: copy self)
    mutating func skipDigits() -> Int {
        let start = index
        while index < text.count, UInt8(ascii: "0")...UInt8(ascii: "9") ~= text[index] { index += 1 }
        return index - start
    }
}
