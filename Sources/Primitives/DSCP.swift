/// A differentiated services code point (RFC 2474 §3): the upper six bits of an IP header's traffic class.
package struct DSCP: Hashable, Sendable, CustomStringConvertible {
    /// 0...63
    package let rawValue: UInt8

    /// nil above 63.
    package init?(rawValue: UInt8) {
        guard rawValue <= 63 else { return nil }
        self.rawValue = rawValue
    }

    private init(_ rawValue: UInt8) { self.rawValue = rawValue }

    /// Expedited forwarding (RFC 3246): what RFC 4594 §4.1 asks for telephony.
    package static let expeditedForwarding = DSCP(46)
    /// Class selector 3 (RFC 2474 §4.2.2), as many networks mark call signalling.
    package static let classSelector3 = DSCP(24)
    /// Class selector 5: signalling by RFC 4594 §4.2.
    package static let classSelector5 = DSCP(40)

    /// By name: `CS0`...`CS7`, `AF11`...`AF43` (RFC 2597), `EF`, `VA` (RFC 5865), `LE` (RFC 8622), `BE`; in any case.
    private static let names: [(name: String, rawValue: UInt8)] =
        (0...7).map { ("CS\($0)", $0 << 3) }
        + (1...4).flatMap { kind in (1...3).map { ("AF\(kind)\($0)", kind << 3 | $0 << 1) } }
        + [("EF", 46), ("VA", 44), ("LE", 1), ("BE", 0)]

    /// A name or a number 0...63; nil for anything else.
    package init?(_ text: String) {
        if let entry = Self.names.first(where: { $0.name == text.uppercased() }) {
            self.init(entry.rawValue)
        } else if let number = UInt8(text), number <= 63, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            self.init(number)
        } else {
            return nil
        }
    }

    /// Its name, or its number where it has none.
    package var description: String {
        Self.names.first { $0.rawValue == rawValue }?.name ?? String(rawValue)
    }
}

/// What becomes of the traffic class of a relayed packet.
package enum TrafficClassPolicy: Hashable, Sendable, CustomStringConvertible {
    /// It leaves as it arrived.
    case preserve
    case set(DSCP)

    package var description: String {
        switch self {
        case .preserve: "preserve"
        case .set(let dscp): dscp.description
        }
    }
}
