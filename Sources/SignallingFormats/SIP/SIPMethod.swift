/// A request's method, case-sensitive (RFC 3261 §7.1); unknown ones are kept.
package struct SIPMethod: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: String

    package init(rawValue: String) { self.rawValue = rawValue }

    package static let invite = SIPMethod(rawValue: "INVITE")
    package static let ack = SIPMethod(rawValue: "ACK")
    package static let bye = SIPMethod(rawValue: "BYE")
    package static let cancel = SIPMethod(rawValue: "CANCEL")
    package static let options = SIPMethod(rawValue: "OPTIONS")
    package static let register = SIPMethod(rawValue: "REGISTER")
    package static let prack = SIPMethod(rawValue: "PRACK")
    package static let update = SIPMethod(rawValue: "UPDATE")
    package static let info = SIPMethod(rawValue: "INFO")
    package static let refer = SIPMethod(rawValue: "REFER")
    package static let notify = SIPMethod(rawValue: "NOTIFY")
    package static let subscribe = SIPMethod(rawValue: "SUBSCRIBE")
    package static let message = SIPMethod(rawValue: "MESSAGE")
    package static let publish = SIPMethod(rawValue: "PUBLISH")

    package var description: String { rawValue }
}

/// The CSeq header field (RFC 3261 §20.16).
package struct CSeq: Hashable, Sendable, CustomStringConvertible {
    /// Below 2^31 (RFC 3261 §8.1.1.5).
    package var number: UInt32
    package var method: SIPMethod

    package init(number: UInt32, method: SIPMethod) {
        self.number = number
        self.method = method
    }

    /// `4711 INVITE`; nil for anything else.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard let parts = SIPGrammar.scanCSeq(bytes.span, 0..<bytes.count) else { return nil }
        self.init(number: parts.number, method: SIPMethod(rawValue: bytes.span.text(parts.method)))
    }

    package var text: String { "\(number) \(method.rawValue)" }
    package var description: String { text }
}
