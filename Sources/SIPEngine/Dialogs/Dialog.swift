import Primitives
import SignallingFormats

/// What names a dialog on our side (RFC 3261 §12).
package struct DialogID: Hashable, Sendable {
    package let callID: String
    package let localTag: String
    package let remoteTag: String

    package init(callID: String, localTag: String, remoteTag: String) {
        self.callID = callID
        self.localTag = localTag
        self.remoteTag = remoteTag
    }

    /// The dialog a received request belongs to; nil when To has no tag.
    package init?(incoming request: SIPRequest) {
        guard let localTag = request.toTag else { return nil }
        self.init(callID: request.callID, localTag: localTag, remoteTag: request.fromTag ?? "")
    }

    /// The dialog a received response belongs to; nil when To has no tag.
    package init?(incoming response: SIPResponse) {
        guard let remoteTag = response.toTag else { return nil }
        self.init(callID: response.callID, localTag: response.fromTag ?? "", remoteTag: remoteTag)
    }
}

/// A dialog, early or confirmed (RFC 3261 §12), with the order of reliable provisional responses (RFC 3262 §4).
package struct Dialog: Sendable {
    /// What becomes of a request received inside the dialog.
    package enum Receipt: Equatable, Sendable {
        case accepted
        /// Its CSeq is not above the last one: 500 (RFC 3261 §12.2.2).
        case outOfOrder
        /// It belongs to another dialog: 481.
        case unknown
    }

    /// What to do with a provisional response.
    package enum ProvisionalReceipt: Equatable, Sendable {
        /// Not reliable: only to be processed.
        case unreliable
        /// The next in order: to be processed and acknowledged with `makePRACK`.
        case acknowledge
        /// Seen before: its PRACK is under way.
        case duplicate
        /// One before it is missing: neither to be processed nor acknowledged; the peer will repeat it.
        case outOfOrder
    }

    package let callID: String
    package let localTag: String
    /// Empty from a peer of RFC 2543.
    package private(set) var remoteTag: String
    /// With our tag: From of our requests.
    package private(set) var localAddress: NameAddress
    /// With the peer's tag: To of our requests.
    package private(set) var remoteAddress: NameAddress
    package private(set) var remoteTarget: URI
    package private(set) var routeSet: [NameAddress]
    /// Contact of our requests that refresh the target.
    package var localContact: NameAddress?
    package private(set) var localSequenceNumber: UInt32
    /// nil until the peer sent a request.
    package private(set) var remoteSequenceNumber: UInt32?
    package private(set) var isConfirmed: Bool
    /// Of the INVITE the last reliable provisional response belongs to.
    private var reliable: (invite: UInt32, response: UInt32)?

    package var id: DialogID { DialogID(callID: callID, localTag: localTag, remoteTag: remoteTag) }

    // MARK: Creation

    /// From the caller's view (RFC 3261 §12.1.2): `response` is a 101...299 to `request`. nil when it forms no dialog:
    /// no To tag in a provisional response, or no target.
    package init?(uacRequest request: SIPRequest, response: SIPResponse) {
        guard (101...299).contains(response.statusCode), let from = request.from, let to = response.to,
            let localTag = from.tag, let sequenceNumber = request.cseq?.number
        else { return nil }
        guard let remoteTag = to.tag ?? (response.statusCode >= 200 ? "" : nil) else { return nil }
        callID = request.callID
        self.localTag = localTag
        self.remoteTag = remoteTag
        localAddress = from
        remoteAddress = to
        remoteTarget = response.contacts.first?.uri ?? request.requestURI
        routeSet = response.recordRoutes.reversed()
        localContact = request.contacts.first
        localSequenceNumber = sequenceNumber
        isConfirmed = response.statusCode >= 200
    }

    /// From the callee's view (RFC 3261 §12.1.1). nil without Contact or From.
    package init?(uasRequest request: SIPRequest, localTag: String, localContact: NameAddress) {
        guard let from = request.from, var to = request.to, let target = request.contacts.first?.uri,
            let sequenceNumber = request.cseq?.number
        else { return nil }
        to.tag = localTag
        callID = request.callID
        self.localTag = localTag
        remoteTag = from.tag ?? ""
        localAddress = to
        remoteAddress = from
        remoteTarget = target
        routeSet = request.recordRoutes
        self.localContact = localContact
        // Our own numbers start anywhere below 2^31; one is as good as any.
        localSequenceNumber = 0
        remoteSequenceNumber = sequenceNumber
        isConfirmed = false
    }

    /// The final response went out, or came.
    package mutating func confirm() { isConfirmed = true }

    /// Takes target and, until the dialog is confirmed, the route set from a response of the callee to our INVITE
    /// (RFC 3261 §13.2.2.4); a 2xx confirms the dialog.
    package mutating func update(from response: SIPResponse) {
        guard (101...299).contains(response.statusCode), DialogID(incoming: response) == id else { return }
        if !isConfirmed {
            let routes = Array(response.recordRoutes.reversed())
            if response.statusCode >= 200 || !routes.isEmpty { routeSet = routes }
        }
        refreshTarget(from: response)
        if response.statusCode >= 200 { isConfirmed = true }
    }

    /// Takes the peer's new Contact from a target refresh request of its own, or from the answer to ours
    /// (RFC 3261 §12.2). The caller knows the request was INVITE, UPDATE, SUBSCRIBE, NOTIFY or REFER.
    package mutating func refreshTarget(from message: some SIPMessageContent) {
        if let target = message.contacts.first?.uri { remoteTarget = target }
    }

    // MARK: Sending

    /// Where requests go: the first route, else the target.
    package var nextHopURI: URI { routeSet.first?.uri ?? remoteTarget }

    /// The next request of this dialog (RFC 3261 §12.2.1.1), without Via and body. ACK and CANCEL are not made here.
    package mutating func makeRequest(_ method: SIPMethod) -> SIPRequest {
        if localSequenceNumber < SpecificationConstants.sequenceNumberMax { localSequenceNumber += 1 }
        return request(method, sequenceNumber: localSequenceNumber)
    }

    /// The ACK for a 2xx (RFC 3261 §13.2.2.4). `invite`, when given, is the request answered, whose credentials the ACK
    /// repeats (§22.1).
    package func makeACK(for inviteSequenceNumber: UInt32, credentialsOf invite: SIPRequest? = nil) -> SIPRequest {
        var ack = request(.ack, sequenceNumber: inviteSequenceNumber)
        if let invite {
            ack.headers.append(contentsOf: .authorization, from: invite.headers)
            ack.headers.append(contentsOf: .proxyAuthorization, from: invite.headers)
        }
        return ack
    }

    /// The PRACK for a reliable provisional response (RFC 3262 §4); nil when the response is not reliable.
    package mutating func makePRACK(for response: SIPResponse) -> SIPRequest? {
        guard let number = response.number(.rseq), let cseq = response.cseq,
            response.headers.contains("100rel", in: .require)
        else { return nil }
        var prack = makeRequest(.prack)
        prack.headers.append(.rack, "\(number) \(cseq.text)")
        return prack
    }

    /// The credentials of the last request were refused: the next one is counted from here, so that a repeated request
    /// keeps the order. `sequenceNumber` is the one the repeated request was given.
    package mutating func advanceSequenceNumber(to sequenceNumber: UInt32) {
        localSequenceNumber = max(localSequenceNumber, min(sequenceNumber, SpecificationConstants.sequenceNumberMax))
    }

    private func request(_ method: SIPMethod, sequenceNumber: UInt32) -> SIPRequest {
        var uri = remoteTarget
        var routes = routeSet
        if let first = routeSet.first, first.uri.sip?.parameters.has("lr") != true {
            // A strict router of RFC 2543: it stands in the Request-URI, the target comes last.
            uri = Self.asRequestURI(first.uri)
            routes = routeSet.dropFirst() + [NameAddress(uri: remoteTarget)]
        }
        var request = SIPRequest(method: method, requestURI: uri)
        for route in routes { request.headers.append(.route, route.text) }
        request.headers.append(.maxForwards, String(SpecificationConstants.maxForwards))
        request.headers.append(.from, localAddress.text)
        request.headers.append(.to, remoteAddress.text)
        request.headers.append(.callID, callID)
        request.headers.append(.cseq, CSeq(number: sequenceNumber, method: method).text)
        if let localContact, [.invite, .update, .subscribe, .notify, .refer].contains(method) {
            request.headers.append(.contact, localContact.text)
        }
        return request
    }

    /// Without what a Request-URI may not carry (RFC 3261 §19.1.1, Table 1).
    private static func asRequestURI(_ uri: URI) -> URI {
        guard case .sip(var sip) = uri else { return uri }
        sip.headers = nil
        sip.parameters.remove("method")
        return .sip(sip)
    }

    // MARK: Receiving

    /// Checks and notes the CSeq of a request (RFC 3261 §12.2.2). ACK and CANCEL carry their INVITE's number and pass.
    package mutating func receive(_ request: SIPRequest) -> Receipt {
        guard DialogID(incoming: request) == id, let number = request.cseq?.number else { return .unknown }
        if request.method == .ack || request.method == .cancel { return .accepted }
        if let last = remoteSequenceNumber, number <= last { return .outOfOrder }
        remoteSequenceNumber = number
        return .accepted
    }

    /// Orders reliable provisional responses to our INVITE (RFC 3262 §4).
    package mutating func receiveProvisional(_ response: SIPResponse) -> ProvisionalReceipt {
        guard (101...199).contains(response.statusCode), let invite = response.cseq?.number,
            response.headers.contains("100rel", in: .require), let number = response.number(.rseq),
            (1...Int(SpecificationConstants.sequenceNumberMax)).contains(number)
        else { return .unreliable }
        let sequenceNumber = UInt32(number)
        if let reliable, reliable.invite == invite {
            if sequenceNumber <= reliable.response { return .duplicate }
            guard sequenceNumber == reliable.response + 1 else { return .outOfOrder }
        }
        reliable = (invite, sequenceNumber)
        return .acknowledge
    }
}

/// The RAck header field (RFC 3262 §7.2).
struct RAck: Equatable, Sendable {
    let responseNumber: UInt32
    let cseq: CSeq

    /// `776656 1 INVITE`; nil for anything else.
    init?(_ text: String) {
        let parts = text.split(whereSeparator: { $0 == " " || $0 == "\t" })
        guard parts.count == 3, let number = UInt32(parts[0]), let cseq = CSeq("\(parts[1]) \(parts[2])") else {
            return nil
        }
        responseNumber = number
        self.cseq = cseq
    }
}
