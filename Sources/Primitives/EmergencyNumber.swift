/// A call for help, however it was dialled.
package enum EmergencyNumber: String, Hashable, Sendable, CaseIterable {
    /// Somebody needs help.
    case emergency = "911"
    /// The carrier reads number and location back; nobody is sent.
    case test = "933"

    /// What a carrier is asked for.
    package var dialString: String { rawValue }

    /// Everything that means 911 or 933 when it is dialled as a whole: alone (47 CFR 9.16(b)(1)), behind a 9 for an
    /// outside line, with a star, behind a location prefix of 1 or 10 to 19, with a `+` that a phone put in front;
    /// and 112, which mobile habits dial.
    package static let dialStrings: [String: EmergencyNumber] = {
        var strings: [String: EmergencyNumber] = [
            "911": .emergency, "9911": .emergency, "+911": .emergency, "*911": .emergency, "1911": .emergency,
            "112": .emergency, "9112": .emergency, "+112": .emergency,
            "933": .test, "9933": .test, "+933": .test,
        ]
        for location in 10...19 { strings["\(location)911"] = .emergency }
        return strings
    }()

    /// nil for an ordinary number, also one that merely ends in 911. Visual separators (RFC 3966 §5.1.1) are skipped.
    package init?(dialled: some StringProtocol) {
        var digits = ""
        for byte in dialled.utf8 {
            switch byte {
            case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: " "): continue
            default: digits.unicodeScalars.append(Unicode.Scalar(byte))
            }
            guard digits.utf8.count <= 6 else { return nil }
        }
        guard let number = Self.dialStrings[digits] else { return nil }
        self = number
    }

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
