/// Unquoted values of TOML 1.0: booleans, integers, floats, dates and times.
enum TOMLScalar {
    /// nil when the word is none of them.
    static func value(of word: ArraySlice<UInt8>) -> TOMLValue? {
        let text = String(decoding: word, as: UTF8.self)
        switch text {
        case "true": return .boolean(true)
        case "false": return .boolean(false)
        case "inf", "+inf": return .float(.infinity)
        case "-inf": return .float(-.infinity)
        case "nan", "+nan", "-nan": return .float(.nan)
        default: break
        }
        if isDateTime(word) { return .dateTime(text) }
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where text.hasPrefix(prefix) {
            guard let digits = joined(word.dropFirst(2), radix: radix) else { return nil }
            return Int64(digits, radix: radix).map { .integer($0) }
        }
        return decimal(word)
    }

    private static func decimal(_ word: ArraySlice<UInt8>) -> TOMLValue? {
        var rest = word
        var sign = ""
        if let first = rest.first, first == UInt8(ascii: "+") || first == UInt8(ascii: "-") {
            sign = first == UInt8(ascii: "-") ? "-" : ""
            rest = rest.dropFirst()
        }
        var text = sign
        let exponentStart = rest.firstIndex { $0 | 0x20 == UInt8(ascii: "e") }
        let mantissa = rest[..<(exponentStart ?? rest.endIndex)]
        let parts = mantissa.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts.first, let digits = joined(whole, radix: 10) else { return nil }
        guard digits.count == 1 || !digits.hasPrefix("0") else { return nil }
        text += digits
        if parts.count == 2 {
            guard let fraction = joined(parts[1], radix: 10) else { return nil }
            text += "." + fraction
        }
        if let exponentStart {
            var exponent = rest[(exponentStart + 1)...]
            text += "e"
            if let first = exponent.first, first == UInt8(ascii: "+") || first == UInt8(ascii: "-") {
                text += first == UInt8(ascii: "-") ? "-" : ""
                exponent = exponent.dropFirst()
            }
            guard let digits = joined(exponent, radix: 10) else { return nil }
            text += digits
        }
        if parts.count == 1, exponentStart == nil { return Int64(text).map { .integer($0) } }
        return Double(text).map { .float($0) }
    }

    /// The digits without underscores, each of which must stand between two digits; nil when it is something else.
    private static func joined(_ word: ArraySlice<UInt8>, radix: Int) -> String? {
        var digits = ""
        var underscoreAllowed = false
        for byte in word {
            if byte == UInt8(ascii: "_") {
                guard underscoreAllowed else { return nil }
                underscoreAllowed = false
            } else {
                let character = Character(UnicodeScalar(byte))
                guard let value = character.hexDigitValue, value < radix else { return nil }
                digits.append(character)
                underscoreAllowed = true
            }
        }
        return underscoreAllowed ? digits : nil
    }

    // MARK: Dates (RFC 3339)

    /// The length of a word that is exactly a date; nil otherwise.
    static func dateLength(_ word: ArraySlice<UInt8>) -> Int? {
        var rest = word
        return takeDate(&rest) && rest.isEmpty ? word.count : nil
    }

    private static func isDateTime(_ word: ArraySlice<UInt8>) -> Bool {
        var rest = word
        if takeDate(&rest) {
            if rest.isEmpty { return true }
            guard let separator = rest.popFirst(), [0x20, 0x54, 0x74].contains(separator), takeTime(&rest) else {
                return false
            }
            return rest.isEmpty || takeOffset(&rest) && rest.isEmpty
        }
        rest = word
        return takeTime(&rest) && rest.isEmpty
    }

    private static func takeDate(_ rest: inout ArraySlice<UInt8>) -> Bool {
        guard let year = takeNumber(&rest, digits: 4), take("-", &rest), let month = takeNumber(&rest, digits: 2),
            take("-", &rest), let day = takeNumber(&rest, digits: 2), (1...12).contains(month)
        else { return false }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let dayMax = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
        return (1...dayMax).contains(day)
    }

    private static func takeTime(_ rest: inout ArraySlice<UInt8>) -> Bool {
        guard let hour = takeNumber(&rest, digits: 2), take(":", &rest), let minute = takeNumber(&rest, digits: 2),
            take(":", &rest), let second = takeNumber(&rest, digits: 2), hour < 24, minute < 60, second <= 60
        else { return false }
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard !digits.isEmpty else { return false }
            rest = rest.dropFirst(digits.count)
        }
        return true
    }

    private static func takeOffset(_ rest: inout ArraySlice<UInt8>) -> Bool {
        if take("Z", &rest) || take("z", &rest) { return true }
        guard take("+", &rest) || take("-", &rest), let hour = takeNumber(&rest, digits: 2), take(":", &rest),
            let minute = takeNumber(&rest, digits: 2)
        else { return false }
        return hour < 24 && minute < 60
    }

    private static func takeNumber(_ rest: inout ArraySlice<UInt8>, digits: Int) -> Int? {
        let word = rest.prefix(digits)
        guard word.count == digits, word.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        rest = rest.dropFirst(digits)
        return word.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    private static func take(_ character: Character, _ rest: inout ArraySlice<UInt8>) -> Bool {
        guard let byte = rest.first, byte == character.asciiValue else { return false }
        rest = rest.dropFirst()
        return true
    }
}
