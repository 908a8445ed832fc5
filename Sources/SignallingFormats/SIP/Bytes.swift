/// The character classes of RFC 3261 §25.1, byte by byte.
enum ByteClass {
    @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

    @inline(__always)
    static func isAlpha(_ byte: UInt8) -> Bool { (byte | 0x20) &- 0x61 < 26 }

    @inline(__always)
    static func isAlphanumeric(_ byte: UInt8) -> Bool { isAlpha(byte) || isDigit(byte) }

    @inline(__always)
    static func isHex(_ byte: UInt8) -> Bool { isDigit(byte) || (byte | 0x20) &- 0x61 < 6 }

    /// token
    @inline(__always)
    static func isToken(_ byte: UInt8) -> Bool {
        if isAlphanumeric(byte) { return true }
        switch byte {
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "!"), UInt8(ascii: "%"), UInt8(ascii: "*"),
            UInt8(ascii: "_"), UInt8(ascii: "+"), UInt8(ascii: "`"), UInt8(ascii: "'"), UInt8(ascii: "~"):
            return true
        default: return false
        }
    }

    /// word, as in a Call-ID
    @inline(__always)
    static func isWord(_ byte: UInt8) -> Bool {
        if isToken(byte) { return true }
        switch byte {
        case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: ":"),
            UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: "/"), UInt8(ascii: "["), UInt8(ascii: "]"),
            UInt8(ascii: "?"), UInt8(ascii: "{"), UInt8(ascii: "}"):
            return true
        default: return false
        }
    }

    /// unreserved = alphanum / mark
    @inline(__always)
    static func isUnreserved(_ byte: UInt8) -> Bool {
        if isAlphanumeric(byte) { return true }
        switch byte {
        case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "!"), UInt8(ascii: "~"),
            UInt8(ascii: "*"), UInt8(ascii: "'"), UInt8(ascii: "("), UInt8(ascii: ")"):
            return true
        default: return false
        }
    }

    /// user-unreserved beside unreserved
    @inline(__always)
    static func isUser(_ byte: UInt8) -> Bool {
        if isUnreserved(byte) { return true }
        switch byte {
        case UInt8(ascii: "&"), UInt8(ascii: "="), UInt8(ascii: "+"), UInt8(ascii: "$"), UInt8(ascii: ","),
            UInt8(ascii: ";"), UInt8(ascii: "?"), UInt8(ascii: "/"):
            return true
        default: return false
        }
    }

    /// As `isUser`, with the bare `#` of dialled feature codes that phones send against the grammar.
    @inline(__always)
    static func isReceivedUser(_ byte: UInt8) -> Bool { isUser(byte) || byte == UInt8(ascii: "#") }

    @inline(__always)
    static func isPassword(_ byte: UInt8) -> Bool {
        if isUnreserved(byte) { return true }
        switch byte {
        case UInt8(ascii: "&"), UInt8(ascii: "="), UInt8(ascii: "+"), UInt8(ascii: "$"), UInt8(ascii: ","): return true
        default: return false
        }
    }

    /// param-unreserved and unreserved
    @inline(__always)
    static func isURIParameter(_ byte: UInt8) -> Bool {
        if isUnreserved(byte) { return true }
        switch byte {
        case UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "/"), UInt8(ascii: ":"), UInt8(ascii: "&"),
            UInt8(ascii: "+"), UInt8(ascii: "$"):
            return true
        default: return false
        }
    }

    /// hnv-unreserved and unreserved, with the separators of the headers part
    @inline(__always)
    static func isURIHeader(_ byte: UInt8) -> Bool {
        if isUnreserved(byte) { return true }
        switch byte {
        case UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: ":"),
            UInt8(ascii: "+"), UInt8(ascii: "$"), UInt8(ascii: "&"), UInt8(ascii: "="):
            return true
        default: return false
        }
    }

    /// uric, of any absolute URI
    @inline(__always)
    static func isURI(_ byte: UInt8) -> Bool {
        if isUnreserved(byte) { return true }
        switch byte {
        case UInt8(ascii: ";"), UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: ":"), UInt8(ascii: "@"),
            UInt8(ascii: "&"), UInt8(ascii: "="), UInt8(ascii: "+"), UInt8(ascii: "$"), UInt8(ascii: ","),
            UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "#"):
            return true
        default: return false
        }
    }

    /// A host name's bytes; the underscore is not in the grammar but in the field.
    @inline(__always)
    static func isHostName(_ byte: UInt8) -> Bool {
        isAlphanumeric(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_")
    }

    /// What an unquoted parameter value may hold: token, host, and what peers put into tags and URNs.
    @inline(__always)
    static func isParameterValue(_ byte: UInt8) -> Bool {
        if isToken(byte) { return true }
        switch byte {
        case UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: ":"), UInt8(ascii: "/"), UInt8(ascii: "@"),
            UInt8(ascii: "&"), UInt8(ascii: "$"), UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: "|"),
            UInt8(ascii: "^"), UInt8(ascii: "#"), UInt8(ascii: "("), UInt8(ascii: ")"):
            return true
        default: return false
        }
    }

    /// Space, tab, and the CR and LF of a fold: a header's bytes hold no other CR or LF.
    @inline(__always)
    static func isWhitespace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A
    }

    @inline(__always)
    static func lowercased(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }

    @inline(__always)
    static func hexValue(_ byte: UInt8) -> UInt8? {
        if isDigit(byte) { return byte &- 0x30 }
        let letter = (byte | 0x20) &- 0x61
        return letter < 6 ? letter &+ 10 : nil
    }
}

extension Span<UInt8> {
    /// The first offset of `byte` in `range`.
    func firstOffset(of byte: UInt8, in range: Range<Int>) -> Int? {
        var index = range.lowerBound
        while index < range.upperBound {
            if self[index] == byte { return index }
            index += 1
        }
        return nil
    }

    /// `range` without white space and folds at both ends.
    func trimmed(_ range: Range<Int>) -> Range<Int> {
        var lower = range.lowerBound
        var upper = range.upperBound
        while lower < upper, ByteClass.isWhitespace(self[lower]) { lower += 1 }
        while upper > lower, ByteClass.isWhitespace(self[upper - 1]) { upper -= 1 }
        return lower..<upper
    }

    /// The offset behind white space and folds.
    func skippingWhitespace(_ offset: Int, _ end: Int) -> Int {
        var index = offset
        while index < end, ByteClass.isWhitespace(self[index]) { index += 1 }
        return index
    }

    /// Whether the bytes of `range` are `text` without regard to case; `text` is lower case ASCII.
    func matches(_ text: StaticString, _ range: Range<Int>) -> Bool {
        matches(lowercase: text.description, range)
    }

    func matches(lowercase text: String, _ range: Range<Int>) -> Bool {
        guard text.utf8.count == range.count else { return false }
        var index = range.lowerBound
        for byte in text.utf8 {
            guard ByteClass.lowercased(self[index]) == byte else { return false }
            index += 1
        }
        return true
    }

    /// The decimal number in `range`; nil when it is not one, or larger than `maximum`.
    func decimal(_ range: Range<Int>, maximum: UInt64) -> UInt64? {
        guard !range.isEmpty else { return nil }
        var value: UInt64 = 0
        var index = range.lowerBound
        while index < range.upperBound {
            let byte = self[index]
            guard ByteClass.isDigit(byte) else { return nil }
            value = value &* 10 &+ UInt64(byte &- 0x30)
            guard value <= maximum else { return nil }
            index += 1
        }
        return value
    }

    /// The text of `range`; bytes that are not UTF-8 become U+FFFD.
    func text(_ range: Range<Int>) -> String {
        let part = extracting(range)
        if let valid = try? UTF8Span(validating: part) { return String(copying: valid) }
        return String(decoding: [UInt8](copying: part), as: UTF8.self)
    }

    /// The text of `range` with every fold replaced by one space (RFC 3261 §7.3.1).
    func unfoldedText(_ range: Range<Int>) -> String {
        guard firstOffset(of: 0x0D, in: range) != nil || firstOffset(of: 0x0A, in: range) != nil else {
            return text(range)
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(range.count)
        var index = range.lowerBound
        while index < range.upperBound {
            let byte = self[index]
            if byte == 0x0D || byte == 0x0A {
                while let last = bytes.last, last == 0x20 || last == 0x09 { bytes.removeLast() }
                index = skippingWhitespace(index, range.upperBound)
                bytes.append(0x20)
            } else {
                bytes.append(byte)
                index += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension [UInt8] {
    /// A copy of borrowed bytes.
    init(copying span: Span<UInt8>) {
        self.init()
        reserveCapacity(span.count)
        append(copying: span)
    }

    mutating func append(copying span: Span<UInt8>) {
        for index in span.indices { append(span[index]) }
    }
}
