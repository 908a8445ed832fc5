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

/// Short words as `Span.folded` yields them.
enum FoldedWord {
    static let sip: UInt64 = 0x73_69_70
    static let sips: UInt64 = 0x73_69_70_73
    static let tel: UInt64 = 0x74_65_6C
    /// `sip/`
    static let sipSlash: UInt64 = 0x73_69_70_2F
    /// `2.0`
    static let version2: UInt64 = 0x32_2E_30
    static let udp: UInt64 = 0x75_64_70
    static let tcp: UInt64 = 0x74_63_70
    static let tls: UInt64 = 0x74_6C_73
    /// `sip/2.0`
    static let sip2: UInt64 = 0x73_69_70_2F_32_2E_30
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

    func containsWhitespace(_ range: Range<Int>) -> Bool {
        var index = range.lowerBound
        while index < range.upperBound {
            if ByteClass.isWhitespace(self[index]) { return true }
            index += 1
        }
        return false
    }

    /// The offset behind white space and folds.
    func skippingWhitespace(_ offset: Int, _ end: Int) -> Int {
        var index = offset
        while index < end, ByteClass.isWhitespace(self[index]) { index += 1 }
        return index
    }

    /// Up to eight bytes as one number, ASCII letters in lower case, for comparison with a `FoldedWord`; 0 for more.
    func folded(_ range: Range<Int>) -> UInt64 {
        guard range.count <= 8 else { return 0 }
        var word: UInt64 = 0
        var index = range.lowerBound
        while index < range.upperBound {
            word = word << 8 | UInt64(ByteClass.lowercased(self[index]))
            index += 1
        }
        return word
    }

    /// Up to eight bytes as one number, for comparison with an `SDPWord`; 0 for more.
    func word(_ range: Range<Int>) -> UInt64 {
        guard range.count <= 8 else { return 0 }
        var word: UInt64 = 0
        for index in range { word = word << 8 | UInt64(self[index]) }
        return word
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

    /// The dotted quad in `range`, no leading zeros; nil for anything else. Allocates nothing.
    func ipv4(_ range: Range<Int>) -> UInt32? {
        guard (7...15).contains(range.count) else { return nil }
        var word: UInt32 = 0
        var octet: UInt32 = 0
        var digitCount = 0
        var dotCount = 0
        for index in range {
            let byte = self[index]
            if byte == UInt8(ascii: ".") {
                guard digitCount > 0, dotCount < 3 else { return nil }
                word = word << 8 | octet
                octet = 0
                digitCount = 0
                dotCount += 1
            } else {
                guard ByteClass.isDigit(byte), digitCount < 3, digitCount == 0 || octet > 0 else { return nil }
                octet = octet * 10 + UInt32(byte &- 0x30)
                digitCount += 1
                guard octet <= 255 else { return nil }
            }
        }
        return dotCount == 3 && digitCount > 0 ? word << 8 | octet : nil
    }

    /// The text of `range`; bytes that are not UTF-8 become U+FFFD.
    func text(_ range: Range<Int>) -> String {
        // The pointer lives as long as this call, and String copies from it before the call ends.
        unsafe extracting(range).withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// Whether `range` is this text, ASCII letters compared without case.
    func isSame(_ range: Range<Int>, _ text: String) -> Bool {
        guard range.count == text.utf8.count else { return false }
        var index = range.lowerBound
        for byte in text.utf8 {
            guard ByteClass.lowercased(byte) == ByteClass.lowercased(self[index]) else { return false }
            index += 1
        }
        return true
    }

    private func hasFold(_ range: Range<Int>) -> Bool {
        for index in range where self[index] == 0x0D || self[index] == 0x0A { return true }
        return false
    }

    /// The text of `range` with every fold replaced by one space (RFC 3261 §7.3.1).
    func unfoldedText(_ range: Range<Int>) -> String {
        guard hasFold(range) else { return text(range) }
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

/// A place in a message, or none, in eight bytes: what a scan yields is passed around by value.
struct ByteRange {
    private let lower: UInt32
    private let upper: UInt32

    static var none: ByteRange { ByteRange(lower: .max, upper: .max) }

    init(_ range: Range<Int>) {
        self.init(lower: UInt32(clamping: range.lowerBound), upper: UInt32(clamping: range.upperBound))
    }

    private init(lower: UInt32, upper: UInt32) {
        self.lower = lower
        self.upper = upper
    }

    var range: Range<Int>? { lower == .max ? nil : Int(lower)..<Int(upper) }
}

extension [UInt8] {
    /// A copy of borrowed bytes.
    init(copying span: Span<UInt8>) {
        // The pointer lives as long as this call, and Array copies from it before the call ends.
        self = unsafe span.withUnsafeBufferPointer { unsafe Array($0) }
    }

    mutating func append(copying span: Span<UInt8>) {
        // As above. Byte by byte the copy of a message costs more than its parse.
        unsafe span.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }
}
