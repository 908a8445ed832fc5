import Primitives

/// What names, numbers and passwords may look like.
enum Text {
    static let userNameAllowed = "1 to 64 characters of A-Z, a-z, 0-9 and '.', '_', '+', '-'"

    static func isElementName(_ text: String) -> Bool {
        (1...32).contains(text.utf8.count) && text.utf8.allSatisfy { isDigit($0) || isLower($0) || $0 == 0x2D }
    }

    /// Letters, digits and inner hyphens in labels of at most 63 (RFC 1123 §2.1).
    static func isHostName(_ text: String) -> Bool {
        guard (1...253).contains(text.utf8.count) else { return false }
        return text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy { isDigit($0) || isLower($0 | 0x20) || $0 == 0x2D }
        }
    }

    /// What the kernel takes as the name of an interface (dev_valid_name).
    static func isInterfaceName(_ text: String) -> Bool {
        (1...15).contains(text.utf8.count) && text != "." && text != ".."
            && text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x2F && $0 != 0x3A }
    }

    static func isUserName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { isDigit($0) || isLower($0 | 0x20) || [0x2E, 0x5F, 0x2B, 0x2D].contains($0) }
    }

    static func isDisplayName(_ text: String) -> Bool {
        (1...64).contains(text.count) && text.utf8.count <= 256 && isOneLine(text)
    }

    static let placeAllowed = "text of 1 to 64 characters on one line"

    static func isCapitals(_ text: String, count: Int) -> Bool {
        text.utf8.count == count && text.utf8.allSatisfy { (0x41...0x5A).contains($0) }
    }

    /// `48201` or `48201-1234`.
    static func isZIPCode(_ text: String) -> Bool {
        let parts = text.utf8.split(separator: 0x2D, omittingEmptySubsequences: false)
        return parts.first?.count == 5 && parts.dropFirst().allSatisfy { $0.count == 4 } && parts.count <= 2
            && parts.joined().allSatisfy(isDigit)
    }

    static func isPassword(_ text: String) -> Bool { (1...128).contains(text.utf8.count) && isOneLine(text) }

    /// `+` and 7 to 15 digits that do not begin with 0.
    static func isE164(_ text: String) -> Bool {
        let digits = text.utf8.dropFirst()
        return text.hasPrefix("+") && (7...15).contains(digits.count) && digits.allSatisfy(isDigit)
            && digits.first != 0x30
    }

    static func isCalledNumber(_ text: String) -> Bool {
        let digits = NumberConfiguration.digits(of: text).utf8
        return (2...20).contains(digits.count) && digits.allSatisfy(isDigit)
    }

    static func isPrepend(_ text: String) -> Bool {
        let rest = NumberConfiguration.digits(of: text).utf8
        return rest.count <= 20 && rest.allSatisfy { isDigit($0) || $0 == 0x2A || $0 == 0x23 }
    }

    /// Stays below the directory: no leading slash, no `..`.
    static func isRelativePath(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        return isOneLine(text) && text.utf8.count <= 255 && parts.allSatisfy { !["", ".", ".."].contains($0) }
    }

    /// `20000-29999`; nil unless both are ports from 1024 on and the first is not above the last.
    static func portRange(_ text: String) -> ClosedRange<UInt16>? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.utf8.allSatisfy(isDigit) }), let first = UInt16(parts[0]),
            let last = UInt16(parts[1]), first >= 1_024, first <= last
        else { return nil }
        return first...last
    }

    private static func isOneLine(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F && !(0x80...0x9F).contains($0.value) }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    private static func isLower(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte) }
}
