import Primitives
import SignallingFormats

extension SIPRequest {
    /// What help the Request-URI asks for: by number, whatever host or scheme stands beside it, or by service URN.
    package var emergencyNumber: EmergencyNumber? {
        switch requestURI {
        case .sip(let uri):
            // Parameters of a number stand in the user part, too (RFC 3261 §19.1.6).
            uri.user.flatMap { EmergencyNumber(dialled: $0.prefix { $0 != ";" }) }
        case .tel(let uri): EmergencyNumber(dialled: uri.digits)
        case .other(let text): EmergencyNumber(serviceURN: text)
        }
    }
}
