/// Scans of RFC 3261 §25 over borrowed bytes: they yield ranges, allocate nothing, and never trap.
enum SIPGrammar {
    /// The offset behind the quoted string that starts at `offset`; nil when it does not end before `end`.
    static func skipQuoted(_ bytes: Span<UInt8>, _ offset: Int, _ end: Int) -> Int? {
        var index = offset + 1
        while index < end {
            switch bytes[index] {
            case UInt8(ascii: "\""): return index + 1
            case UInt8(ascii: "\\"): index += 2
            default: index += 1
            }
        }
        return nil
    }

    /// The end of the list element that starts at `offset`: the next comma outside quotes and angle brackets, or `end`.
    static func elementEnd(_ bytes: Span<UInt8>, _ offset: Int, _ end: Int) -> Int {
        var index = offset
        var inBrackets = false
        while index < end {
            switch bytes[index] {
            case UInt8(ascii: "\""):
                index = inBrackets ? index + 1 : skipQuoted(bytes, index, end) ?? end
                continue
            case UInt8(ascii: "<"): inBrackets = true
            case UInt8(ascii: ">"): inBrackets = false
            case UInt8(ascii: ",") where !inBrackets: return index
            default: break
            }
            index += 1
        }
        return end
    }

    /// `1*DIGIT LWS Method`
    static func scanCSeq(_ bytes: Span<UInt8>, _ range: Range<Int>) -> (number: UInt32, method: Range<Int>)? {
        let range = bytes.trimmed(range)
        var index = range.lowerBound
        while index < range.upperBound, ByteClass.isDigit(bytes[index]) { index += 1 }
        guard let number = bytes.decimal(range.lowerBound..<index, maximum: UInt64(UInt32.max)) else { return nil }
        let method = bytes.skippingWhitespace(index, range.upperBound)..<range.upperBound
        guard method.lowerBound > index, isToken(bytes, method) else { return nil }
        return (UInt32(number), method)
    }

    /// Whether `range` is one token, not empty.
    static func isToken(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        guard !range.isEmpty else { return false }
        var index = range.lowerBound
        while index < range.upperBound {
            guard ByteClass.isToken(bytes[index]) else { return false }
            index += 1
        }
        return true
    }

    /// `word [ "@" word ]`
    static func isCallID(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        guard !range.isEmpty else { return false }
        var index = range.lowerBound
        var hasAt = false
        while index < range.upperBound {
            let byte = bytes[index]
            if byte == UInt8(ascii: "@") {
                guard !hasAt, index > range.lowerBound, index + 1 < range.upperBound else { return false }
                hasAt = true
            } else if !ByteClass.isWord(byte) {
                return false
            }
            index += 1
        }
        return true
    }

    /// Whether `range` is `*( SEMI generic-param )`.
    static func areParameters(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var cursor = ParameterCursor(range)
        while cursor.next(bytes) != nil {}
        return !cursor.isMalformed
    }

    /// Whether two names are equal without regard to the case of ASCII letters.
    static func isSame(_ left: String, _ right: String) -> Bool {
        left.utf8.count == right.utf8.count
            && zip(left.utf8, right.utf8).allSatisfy { ByteClass.lowercased($0) == ByteClass.lowercased($1) }
    }

    /// `text` as a quoted string; bytes that may not stand in one become spaces.
    static func quoted(_ text: String) -> String {
        var bytes: [UInt8] = [UInt8(ascii: "\"")]
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0x0A, 0x0D: bytes.append(0x20)
            case 0x00..<0x20, 0x7F: bytes += [UInt8(ascii: "\\"), byte]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The content of a quoted string, its quoted pairs resolved; any other text as it is.
    static func unquoted(_ text: String) -> String {
        guard text.utf8.count >= 2, text.utf8.first == UInt8(ascii: "\""), text.utf8.last == UInt8(ascii: "\"") else {
            return text
        }
        var bytes: [UInt8] = []
        var isEscaped = false
        for byte in text.utf8.dropFirst().dropLast() {
            if byte == UInt8(ascii: "\\"), !isEscaped {
                isEscaped = true
            } else {
                bytes.append(byte)
                isEscaped = false
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// `%41` resolved; what is not an escape stays. Bytes that are not UTF-8 then become U+FFFD.
    static func percentDecoded(_ text: String) -> String {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return text }
        let bytes = Array(text.utf8)
        var decoded: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count,
                let high = ByteClass.hexValue(bytes[index + 1]), let low = ByteClass.hexValue(bytes[index + 2])
            {
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: decoded, as: UTF8.self)
    }

    /// `text` with every byte that `isAllowed` refuses as `%XX`.
    static func percentEncoded(_ text: String, isAllowed: (UInt8) -> Bool) -> String {
        guard !text.utf8.allSatisfy(isAllowed) else { return text }
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            if isAllowed(byte) {
                bytes.append(byte)
            } else {
                bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Steps through `;name=value` parameters.
struct ParameterCursor {
    private var index: Int
    private let end: Int
    /// Set when `next` returned nil because of malformed bytes.
    private(set) var isMalformed = false

    init(_ range: Range<Int>) {
        index = range.lowerBound
        end = range.upperBound
    }

    /// A header field's next parameter: white space and quoted values allowed.
    mutating func next(_ bytes: Span<UInt8>) -> (name: Range<Int>, value: Range<Int>?)? {
        index = bytes.skippingWhitespace(index, end)
        guard index < end else { return nil }
        guard bytes[index] == UInt8(ascii: ";") else { return malformed() }
        let nameStart = bytes.skippingWhitespace(index + 1, end)
        index = nameStart
        while index < end, ByteClass.isToken(bytes[index]) { index += 1 }
        let name = nameStart..<index
        guard !name.isEmpty else { return malformed() }
        index = bytes.skippingWhitespace(index, end)
        guard index < end, bytes[index] == UInt8(ascii: "=") else { return (name, nil) }
        let valueStart = bytes.skippingWhitespace(index + 1, end)
        guard valueStart < end else { return malformed() }
        if bytes[valueStart] == UInt8(ascii: "\"") {
            guard let behind = SIPGrammar.skipQuoted(bytes, valueStart, end) else { return malformed() }
            index = behind
        } else {
            index = valueStart
            while index < end, ByteClass.isParameterValue(bytes[index]) { index += 1 }
            guard index > valueStart else { return malformed() }
        }
        return (name, valueStart..<index)
    }

    /// A URI's next parameter: no white space, escapes instead of quotes; an empty value is let pass.
    mutating func nextInURI(_ bytes: Span<UInt8>) -> (name: Range<Int>, value: Range<Int>?)? {
        guard index < end else { return nil }
        guard bytes[index] == UInt8(ascii: ";") else { return malformed() }
        let nameStart = index + 1
        index = nameStart
        guard skipParameterBytes(bytes), index > nameStart else { return malformed() }
        let name = nameStart..<index
        guard index < end, bytes[index] == UInt8(ascii: "=") else { return (name, nil) }
        let valueStart = index + 1
        index = valueStart
        guard skipParameterBytes(bytes) else { return malformed() }
        return (name, valueStart..<index)
    }

    /// false when an escape is malformed.
    private mutating func skipParameterBytes(_ bytes: Span<UInt8>) -> Bool {
        while index < end {
            if bytes[index] == UInt8(ascii: "%") {
                guard index + 2 < end, ByteClass.isHex(bytes[index + 1]), ByteClass.isHex(bytes[index + 2]) else {
                    return false
                }
                index += 3
            } else if ByteClass.isURIParameter(bytes[index]) {
                index += 1
            } else {
                break
            }
        }
        return true
    }

    private mutating func malformed() -> (name: Range<Int>, value: Range<Int>?)? {
        isMalformed = true
        return nil
    }
}
