import Primitives

/// One line of a session description, its value byte for byte (it may be in any character set, RFC 8866 §5).
package struct SDPLine: Hashable, Sendable {
    /// The letter before the equals sign.
    package var type: UInt8
    package var value: [UInt8]

    package init(type: UInt8, value: [UInt8]) {
        self.type = type
        self.value = value
    }

    /// As in `SDPLine("a", "sendrecv")`.
    package init(_ type: Unicode.Scalar, _ text: String) {
        self.type = UInt8(ascii: type)
        self.value = Array(text.utf8)
    }

    /// The value as text, repaired where it is not UTF-8.
    package var text: String { String(decoding: value, as: UTF8.self) }

    func render(into writer: inout ByteWriter) {
        writer.write(type)
        writer.write(UInt8(ascii: "="))
        writer.write(contentsOf: value)
        writer.write("\r\n")
    }

    /// The name of an attribute line, before the colon; nil for other lines.
    var attributeName: ArraySlice<UInt8>? {
        guard type == UInt8(ascii: "a") else { return nil }
        return value.prefix { $0 != UInt8(ascii: ":") }
    }

    /// Attribute names are case-sensitive (RFC 8866 §6).
    func isAttribute(_ name: String) -> Bool {
        guard let attributeName, attributeName.count == name.utf8.count else { return false }
        return attributeName.elementsEqual(name.utf8)
    }

    /// What follows the colon; nil for an attribute without one.
    var attributeValue: String? {
        guard let colon = value.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        return String(decoding: value[(colon + 1)...], as: UTF8.self)
    }
}

/// `a=name` or `a=name:value`.
package struct SDPAttribute: Hashable, Sendable {
    package var name: String
    package var value: String?

    package init(_ name: String, _ value: String? = nil) {
        self.name = name
        self.value = value
    }

    var line: SDPLine { SDPLine("a", value.map { "\(name):\($0)" } ?? name) }
}

extension [SDPLine] {
    /// The attributes among these lines, in order.
    package var attributes: [SDPAttribute] {
        compactMap { line in
            line.attributeName.map { SDPAttribute(String(decoding: $0, as: UTF8.self), line.attributeValue) }
        }
    }

    func first(type: Unicode.Scalar) -> SDPLine? { first { $0.type == UInt8(ascii: type) } }

    /// The first `c=`; nil without one.
    var connection: SDPConnection? {
        guard let line = first(type: "c") else { return nil }
        return SDPConnection(line.value.span, 0..<line.value.count)
    }

    func hasAttribute(_ name: String) -> Bool { contains { $0.isAttribute(name) } }

    /// The value of the first attribute of this name that has one.
    func attributeValue(_ name: String) -> String? {
        for line in self where line.isAttribute(name) {
            if let value = line.attributeValue { return value }
        }
        return nil
    }

    var direction: SDPDirection? {
        for line in self {
            guard let name = line.attributeName, name.count == line.value.count else { continue }
            if let direction = SDPDirection(rawValue: String(decoding: name, as: UTF8.self)) { return direction }
        }
        return nil
    }
}

/// Steps through the fields of a line, parted by one space or more.
struct SDPFieldCursor {
    private var start: Int
    private var end: Int

    init(_ range: Range<Int>) {
        start = range.lowerBound
        end = range.upperBound
    }

    mutating func next(_ bytes: Span<UInt8>) -> Range<Int>? {
        while start < end, bytes[start] == 0x20 { start += 1 }
        guard start < end else { return nil }
        let lower = start
        while start < end, bytes[start] != 0x20 { start += 1 }
        return lower..<start
    }

    /// All that is left, without the spaces before it.
    func rest(_ bytes: Span<UInt8>) -> Range<Int> {
        var start = start
        while start < end, bytes[start] == 0x20 { start += 1 }
        return start..<end
    }

    /// The last field that is left.
    mutating func popLast(_ bytes: Span<UInt8>) -> Range<Int>? {
        while end > start, bytes[end - 1] == 0x20 { end -= 1 }
        guard end > start else { return nil }
        let upper = end
        while end > start, bytes[end - 1] != 0x20 { end -= 1 }
        return end..<upper
    }
}

/// Short words as `Span.word` yields them.
enum SDPWord {
    /// `IN`
    static let internet: UInt64 = 0x49_4E
    /// `IP4`
    static let ipv4: UInt64 = 0x49_50_34
    /// `IP6`
    static let ipv6: UInt64 = 0x49_50_36
}
