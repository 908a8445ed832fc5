import Primitives
import SignallingFormats

extension EmergencyNumberPlan {
    /// What help the Request-URI asks for: by number, whatever host or scheme stands beside it, or by service URN.
    package func number(askedBy request: SIPRequest) -> EmergencyNumber? {
        switch request.requestURI {
        case .sip(let uri):
            // Parameters of a number stand in the user part, too (RFC 3261 §19.1.6).
            uri.user.flatMap { number(dialled: $0.prefix { $0 != ";" }) }
        case .tel(let uri): number(dialled: uri.digits)
        case .other(let text): EmergencyNumber(serviceURN: text)
        }
    }
}
