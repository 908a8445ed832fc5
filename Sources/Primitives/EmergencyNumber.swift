/// A call for help, however it was dialled.
package enum EmergencyNumber: String, Hashable, Sendable, CaseIterable {
    /// Somebody needs help.
    case emergency = "911"
    /// The carrier reads number and location back; nobody is sent.
    case test = "933"

    /// What a carrier is asked for.
    package var dialString: String { rawValue }

    /// `urn:service:sos` with or without a sub-service (RFC 5031 §4.2), `urn:service:test.sos` (RFC 6881 §17).
    package init?(serviceURN text: String) {
        let urn = text.lowercased()
        if urn == "urn:service:sos" || urn.hasPrefix("urn:service:sos.") {
            self = .emergency
        } else if urn == "urn:service:test.sos" || urn.hasPrefix("urn:service:test.sos.") {
            self = .test
        } else {
            return nil
        }
    }
}

/// Everything that means 911 or 933 when it is dialled as a whole.
///
/// Whatever is configured, 911 alone (47 CFR 9.16(b)(1)), behind a 9 for an outside line, with a star, and behind a
/// location prefix of 1 or 10 to 19 are in it, and 933; each also with a `+` that a phone put in front.
package struct EmergencyNumberPlan: Equatable, Sendable {
    package let numbers: [String: EmergencyNumber]
    private let byteCountMax: Int

    package static let outsidePrefixesDefault = ["9"]
    /// What mobile habits dial.
    package static let additionalDefault = ["112"]

    /// - Parameters:
    ///   - outsidePrefixes: What some dial for an outside line, also before a call for help.
    ///   - additional: Numbers that mean 911 here, as 112.
    package init(
        outsidePrefixes: [String] = outsidePrefixesDefault, additional: [String] = additionalDefault
    ) {
        var numbers: [String: EmergencyNumber] = ["*911": .emergency, "1911": .emergency]
        for location in 10...19 { numbers["\(location)911"] = .emergency }
        let basic = [("911", EmergencyNumber.emergency), ("933", .test)] + additional.map { ($0, .emergency) }
        for (digits, number) in basic.reversed() {
            for prefix in ["", "+"] + Self.outsidePrefixesDefault + outsidePrefixes {
                numbers[prefix + digits] = number
            }
        }
        self.numbers = numbers
        byteCountMax = numbers.keys.map(\.utf8.count).max() ?? 0
    }

    /// nil for an ordinary number, also one that merely ends in 911. Visual separators (RFC 3966 §5.1.1) are skipped.
    package func number(dialled text: some StringProtocol) -> EmergencyNumber? {
        var digits = ""
        var count = 0
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: " "): continue
            default: digits.unicodeScalars.append(Unicode.Scalar(byte))
            }
            count += 1
            guard count <= byteCountMax else { return nil }
        }
        return numbers[digits]
    }
}
