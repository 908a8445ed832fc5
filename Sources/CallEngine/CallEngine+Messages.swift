import Primitives
import SIPEngine
import SignallingFormats

// Messages of our own making, and what of a peer's message crosses to the other side.
extension CallEngine {
    // MARK: Responses

    /// A response with a fresh To tag where one is needed, and our Server header.
    mutating func makeResponse(
        to request: SIPRequest, _ statusCode: Int, _ reason: String? = nil, toTag: String? = nil
    ) -> SIPResponse {
        let needsTag = statusCode > 100 && request.toTag == nil
        let tag = needsTag ? toTag ?? random.hexToken(digitCount: 16) : nil
        var response = SIPResponse(to: request, statusCode, reason, toTag: tag)
        if !settings.userAgent.isEmpty { response.headers.append(.server, settings.userAgent) }
        return response
    }

    /// The reason phrase of a peer for the other side; nil, for the standard one, when it shows something of its side.
    func reasonPhrase(of response: SIPResponse, from source: IPAddress) -> String? {
        guard response.reasonPhrase != StandardReason.phrase(response.statusCode) else { return nil }
        var secrets = LegSecrets(of: response.headers, source: source)
        return secrets.appear(in: response.reasonPhrase) ? nil : response.reasonPhrase
    }

    mutating func respond(
        _ request: SIPRequest, _ transaction: ServerTransactionID, _ statusCode: Int, reason: String? = nil,
        allow: Bool = false, at now: MonotonicTime
    ) {
        var response = makeResponse(to: request, statusCode, reason)
        if allow { response.headers.append(.allow, Self.allowedMethods) }
        transactions.respond(response, to: transaction, at: now)
    }

    /// 500 with Retry-After between 0 and 10 s: another request of the same kind is not yet answered (RFC 3261 §14.2).
    mutating func respondBusyDialog(
        _ request: SIPRequest, _ transaction: ServerTransactionID, at now: MonotonicTime
    ) {
        var response = makeResponse(to: request, 500, "Another Request Is Pending")
        response.headers.append(.retryAfter, String(random.next() % 11))
        transactions.respond(response, to: transaction, at: now)
    }

    // MARK: Our own address

    /// `<sip:user@our-address:port;transport=tcp>`
    func contact(user: String?, realm: RealmID, transport: SIPTransport) -> NameAddress {
        let endpoint = settings.realms[realm]?.endpoint ?? TransportAddress(.v4(0), 5060)
        var uri = SIPURI(user: user, host: .address(endpoint.address), port: endpoint.port)
        if transport.isReliable { uri.parameters.set("transport", transport.text) }
        return NameAddress(uri: .sip(uri))
    }

    /// Our host as it appears in header values on this realm.
    func host(on realm: RealmID) -> String {
        settings.realms[realm]?.endpoint.address.uriHost ?? settings.domain
    }

    static func transport(of nextHop: NextHop) -> SIPTransport {
        switch nextHop.policy {
        case .tcp: .tcp
        case .udp, .automatic: .udp
        }
    }

    // MARK: The INVITE to a target

    /// The INVITE for one target; its body is what the caller's was, with `description` as session description.
    mutating func makeInvite(for call: Call, target: Target, description: SessionDescription?) -> SIPRequest {
        var request = SIPRequest(method: .invite, requestURI: target.requestURI)
        let realm = target.peer.realm
        let shown = present(call.identity, callerPeer: Self.callerPeer(of: call, to: target), to: target.peer)
        var from = shown.from
        from.tag = random.hexToken(digitCount: 16)
        let maxForwards = min(call.invite.maxForwards ?? 70, 255) - 1
        request.headers.append(.maxForwards, String(max(0, maxForwards)))
        request.headers.append(.from, from.text)
        request.headers.append(.to, NameAddress(uri: toURI(of: target)).text)
        request.headers.append(.callID, random.hexToken(digitCount: 32))
        request.headers.append(.cseq, CSeq(number: 1, method: .invite).text)
        request.headers.append(
            .contact,
            contact(
                user: Self.user(of: from.uri), realm: realm, transport: Self.transport(of: target.nextHop)
            ).text)
        if let asserted = shown.asserted {
            request.headers.append(.pAssertedIdentity, asserted)
            // An anonymous From alone would let the next hop show what only it should know (RFC 3325 §9.3).
            if call.identity.isAnonymous, !call.invite.headers.contains(.privacy) {
                request.headers.append(.privacy, "id")
            }
        }
        addCapabilities(to: &request, call: call, target: target, hasOffer: description != nil)
        carryHeaders(
            from: call.invite.headers, source: call.callerPath.remote.address, to: &request.headers, realm: realm)
        if case .station = call.callerPeer { Self.dropEmergencyServices(from: &request.headers) }
        if Self.isMarkedAsCallback(call.invite), !call.callerPeer.isPSAPTrusted { request.headers.remove(.priority) }
        carryBody(from: call.invite, to: &request, description: description)
        return request
    }

    private func toURI(of target: Target) -> URI {
        switch target.peer {
        case .station(let user, _):
            .sip(SIPURI(user: user, host: SIPHost(settings.domain) ?? .name("invalid")))
        case .trunk(_, let trunk):
            // RFC 6881 §8.1.1: of a service, To names it as well.
            if case .other = target.requestURI { target.requestURI } else { Self.trunkURI(user: target.number, trunk) }
        }
    }

    private func addCapabilities(to request: inout SIPRequest, call: Call, target: Target, hasOffer: Bool) {
        request.headers.append(.allow, Self.allowedMethods)
        if !settings.userAgent.isEmpty { request.headers.append(.userAgent, settings.userAgent) }
        var supported = ["timer"]
        // A reliable provisional to an INVITE without offer holds the offer, to be answered in its PRACK: that needs
        // a caller who takes part.
        let callerTakesPart = hasOffer || call.callerTakesReliableProvisional
        switch target.peer.reliableProvisional {
        case .off: break
        case .supported: if callerTakesPart { supported.append("100rel") }
        case .required: if callerTakesPart { request.headers.append(.require, "100rel") }
        }
        request.headers.append(.supported, supported.joined(separator: ", "))
    }

    // MARK: Crossing

    /// Copies what `HeaderPolicy` lets cross to a message for the side in `realm`.
    mutating func carryHeaders(
        from headers: SIPHeaders, source: IPAddress, to destination: inout SIPHeaders, realm: RealmID
    ) {
        let withheld = HeaderPolicy.carry(
            from: headers, source: source, to: &destination, host: { host(on: realm) })
        counters.headersWithheld += UInt64(withheld)
    }

    /// The body of `source` for the other side: its session description replaced, every other part byte for byte.
    func carryBody(
        from source: some SIPMessageContent, to destination: inout some SIPMessageContent,
        description: SessionDescription?
    ) {
        guard let description else {
            // Without a description to give, only a body that holds none may cross.
            if MessageBody.sessionDescription(in: source) == nil, !source.body.isEmpty {
                HeaderPolicy.carryBody(from: source.headers, to: &destination.headers)
                destination.body = source.body
            }
            return
        }
        if !source.body.isEmpty {
            HeaderPolicy.carryBody(from: source.headers, to: &destination.headers)
            destination.body = source.body
            if MessageBody.replaceSessionDescription(in: &destination, with: description.bytes) { return }
            for name in HeaderPolicy.bodyHeaders { destination.headers.remove(name) }
        }
        destination.setBody(description.bytes, type: .sdp)
    }

    /// What a message says about the session.
    enum DescriptionReading: Sendable {
        case none
        case description(SessionDescription)
        case malformed
        case unsupportedEncoding
        case unsupportedType
    }

    func readDescription(in message: some SIPMessageContent) -> DescriptionReading {
        guard !message.body.isEmpty else { return .none }
        let encodings = message.headers.values(.contentEncoding).filter { $0.lowercased() != "identity" }
        guard encodings.isEmpty else { return .unsupportedEncoding }
        guard let type = message.contentType else { return .unsupportedType }
        guard type.matches(.sdp) || type.type == "multipart" else {
            // RFC 3261 §20.11: a body the recipient may ignore.
            let disposition = message.headers.first(.contentDisposition)?.lowercased() ?? ""
            return disposition.contains("handling=optional") ? .none : .unsupportedType
        }
        guard let bytes = MessageBody.sessionDescription(in: message) else { return .none }
        guard let description = try? SessionDescription(parsing: bytes.span) else { return .malformed }
        return .description(description)
    }

    /// The session description of a message inside a dialog; what cannot be read counts as none.
    func description(in message: some SIPMessageContent) -> SessionDescription? {
        guard case .description(let description) = readDescription(in: message) else { return nil }
        return description
    }
}

extension Call {
    /// The caller can be sent reliable provisional responses, and its settings allow it (RFC 3262).
    var callerTakesReliableProvisional: Bool {
        guard callerPeer.reliableProvisional != .off else { return false }
        return invite.headers.contains("100rel", in: .supported) || callerRequiresReliableProvisional
    }

    /// It insists on them.
    var callerRequiresReliableProvisional: Bool { invite.headers.contains("100rel", in: .require) }
}
