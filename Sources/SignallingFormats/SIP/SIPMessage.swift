import Primitives

/// A request (RFC 3261 §7.1).
package struct SIPRequest: Sendable {
    package var method: SIPMethod
    package var requestURI: URI { didSet { requestURIText = nil } }
    package var headers: SIPHeaders
    package var body: [UInt8]
    /// As received, until `requestURI` is set.
    private var requestURIText: String?

    package init(method: SIPMethod, requestURI: URI, headers: SIPHeaders = SIPHeaders(), body: [UInt8] = []) {
        self.method = method
        self.requestURI = requestURI
        self.headers = headers
        self.body = body
    }

    init(method: SIPMethod, requestURI: URI, requestURIText: String, headers: SIPHeaders, body: [UInt8]) {
        self.init(method: method, requestURI: requestURI, headers: headers, body: body)
        self.requestURIText = requestURIText
    }

    package func render(into writer: inout ByteWriter) {
        writer.write(method.rawValue)
        writer.write(UInt8(0x20))
        writer.write(requestURIText ?? requestURI.text)
        writer.write(" SIP/2.0\r\n")
        headers.render(into: &writer, bodyByteCount: body.count)
        writer.write("\r\n")
        writer.write(contentsOf: body)
    }
}

extension SIPRequest: Equatable {
    package static func == (left: Self, right: Self) -> Bool {
        left.method == right.method && left.requestURI == right.requestURI && left.headers == right.headers
            && left.body == right.body
    }
}

/// A response (RFC 3261 §7.2).
package struct SIPResponse: Equatable, Sendable {
    /// 100...699.
    package var statusCode: Int
    package var reasonPhrase: String
    package var headers: SIPHeaders
    package var body: [UInt8]

    package init(statusCode: Int, reasonPhrase: String, headers: SIPHeaders = SIPHeaders(), body: [UInt8] = []) {
        self.statusCode = statusCode
        self.reasonPhrase = reasonPhrase
        self.headers = headers
        self.body = body
    }

    package func render(into writer: inout ByteWriter) {
        writer.write("SIP/2.0 ")
        writer.writeDecimal(statusCode)
        writer.write(UInt8(0x20))
        for byte in reasonPhrase.utf8 { writer.write(byte == 0x0D || byte == 0x0A || byte == 0 ? 0x20 : byte) }
        writer.write("\r\n")
        headers.render(into: &writer, bodyByteCount: body.count)
        writer.write("\r\n")
        writer.write(contentsOf: body)
    }
}

/// A message: a request or a response.
package enum SIPMessage: Equatable, Sendable {
    case request(SIPRequest)
    case response(SIPResponse)

    package func render(into writer: inout ByteWriter) {
        switch self {
        case .request(let request): request.render(into: &writer)
        case .response(let response): response.render(into: &writer)
        }
    }
}

/// What requests and responses have in common, with typed access to the header fields.
///
/// A typed property is nil, or leaves the element out, when the field is absent or malformed; a parsed message's
/// Via, From, To, Call-ID, CSeq, Contact, Route, Record-Route and Max-Forwards are known to be well-formed.
package protocol SIPMessageContent {
    var headers: SIPHeaders { get set }
    var body: [UInt8] { get set }
    /// Start line, header fields and body; Content-Length is always right.
    func render(into writer: inout ByteWriter)
}

extension SIPRequest: SIPMessageContent {}
extension SIPResponse: SIPMessageContent {}
extension SIPMessage: SIPMessageContent {
    package var headers: SIPHeaders {
        get {
            switch self {
            case .request(let request): request.headers
            case .response(let response): response.headers
            }
        }
        set {
            switch self {
            case .request(var request):
                request.headers = newValue
                self = .request(request)
            case .response(var response):
                response.headers = newValue
                self = .response(response)
            }
        }
    }

    package var body: [UInt8] {
        get {
            switch self {
            case .request(let request): request.body
            case .response(let response): response.body
            }
        }
        set {
            switch self {
            case .request(var request):
                request.body = newValue
                self = .request(request)
            case .response(var response):
                response.body = newValue
                self = .response(response)
            }
        }
    }
}

extension SIPMessageContent {
    package var bytes: [UInt8] {
        var writer = ByteWriter(capacity: headers.bytes.count + body.count + 128)
        render(into: &writer)
        return writer.bytes
    }

    package var topVia: Via? { headers.topVia }
    package var vias: [Via] { headers.vias }
    package var from: NameAddress? { headers.nameAddress(.from) }
    package var to: NameAddress? { headers.nameAddress(.to) }
    /// As `from?.tag` and `to?.tag`, at less cost.
    package var fromTag: String? { headers.tag(.from) }
    package var toTag: String? { headers.tag(.to) }
    /// Empty when absent.
    package var callID: String { headers.first(.callID) ?? "" }
    package var cseq: CSeq? { headers.cseq }
    /// Without the `*` of a REGISTER: see `hasContactWildcard`.
    package var contacts: [NameAddress] { headers.nameAddresses(.contact) }
    /// `Contact: *` (RFC 3261 §10.2.2).
    package var hasContactWildcard: Bool { headers.values(.contact).contains("*") }
    package var routes: [NameAddress] { headers.nameAddresses(.route) }
    package var recordRoutes: [NameAddress] { headers.nameAddresses(.recordRoute) }
    package var maxForwards: Int? { headers.number(.maxForwards) }
    /// Seconds.
    package var expires: Int? { headers.number(.expires) }
    package var supported: [String] { headers.values(.supported) }
    package var require: [String] { headers.values(.require) }
    package var allow: [String] { headers.values(.allow) }
    package var contentType: MediaType? { headers.contentType }

    /// The first value of any field that holds one address.
    package func nameAddress(_ name: SIPHeaderName) -> NameAddress? { headers.nameAddress(name) }

    /// The values of any field that holds addresses; malformed ones are left out.
    package func nameAddresses(_ name: SIPHeaderName) -> [NameAddress] { headers.nameAddresses(name) }

    /// The leading number of a field such as Expires, Min-SE or Retry-After; nil beyond 2^32-1.
    package func number(_ name: SIPHeaderName) -> Int? { headers.number(name) }

    /// Sets the tag of To, or removes it; a field that had none keeps its bytes and gets the tag at its end.
    package mutating func setToTag(_ tag: String?) { setTag(.to, tag) }
    package mutating func setFromTag(_ tag: String?) { setTag(.from, tag) }

    /// Replaces the body and its Content-Type; an empty body takes the type away.
    package mutating func setBody(_ body: [UInt8], type: MediaType) {
        self.body = body
        if body.isEmpty { headers.remove(.contentType) } else { headers.set(.contentType, type.text) }
    }

    private mutating func setTag(_ name: SIPHeaderName, _ tag: String?) {
        guard var address = nameAddress(name), address.tag != tag else { return }
        if let tag, address.tag == nil, !address.parameters.has("tag") {
            headers.appendToFirstField(name, ";tag=" + tag)
        } else {
            address.tag = tag
            headers.set(name, address.text)
        }
    }
}
