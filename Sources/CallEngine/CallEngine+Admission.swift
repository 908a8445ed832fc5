import MediaEngine
import Primitives
import SIPEngine
import SignallingFormats

// Who may ask for what: every request that starts something passes here, before it is routed.
extension CallEngine {
    /// Who sent a request, by where it came from.
    enum Source: Sendable {
        case stations
        case trunk(name: String, CallEngineSettings.Trunk)
        /// On a realm of trunks, but none of them: no answer, lest we be found.
        case unknown
    }

    func source(of path: TransportPath) -> Source {
        guard let realm = settings.realms[path.realm] else { return .unknown }
        switch realm.role {
        case .stations: return .stations
        case .trunks:
            let matching = trunks.values.filter {
                $0.settings.realm == path.realm && $0.settings.accepts(path.remote.address)
            }
            let best =
                matching.first { $0.settings.peer == path.remote }
                ?? matching.first { $0.settings.peer.address == path.remote.address }
                ?? matching.min { $0.name < $1.name }
            return best.map { .trunk(name: $0.name, $0.settings) } ?? .unknown
        }
    }

    mutating func receive(_ message: SIPMessage, from path: TransportPath, at now: MonotonicTime) {
        switch message {
        case .request(let request):
            if case .unknown = source(of: path), !concernsCall(request, from: path) {
                counters.unknownSources += 1
                return
            }
            transactions.handle(.received(message, from: path), at: now)
        case .response: transactions.handle(.received(message, from: path), at: now)
        }
    }

    /// A request of a call that runs: a trunk may have left the configuration, or changed its sources, under it.
    private func concernsCall(_ request: SIPRequest, from path: TransportPath) -> Bool {
        if let id = DialogID(incoming: request) {
            if let reference = dialogs[id] { return realm(of: reference) == path.realm }
            if let announcement = announcementDialogs[id] { return announcements[announcement]?.realm == path.realm }
        }
        guard request.method == .cancel || request.method == .ack || request.method == .invite else { return false }
        return calls.values.contains {
            $0.callerPath.remote == path.remote && $0.callerPath.realm == path.realm
                && $0.invite.callID == request.callID && $0.invite.fromTag == request.fromTag
        }
    }

    mutating func receiveMalformed(_ request: SIPRequest?, from path: TransportPath, at now: MonotonicTime) {
        counters.malformed += 1
        if case .unknown = source(of: path) {
            counters.unknownSources += 1
            return
        }
        transactions.handle(.malformed(request, from: path), at: now)
    }

    /// A new request, other than ACK and CANCEL.
    mutating func handle(
        _ request: SIPRequest, _ transaction: ServerTransactionID, from path: TransportPath, at now: MonotonicTime
    ) {
        if request.method == .register {
            return handleRegister(request, transaction, from: path, at: now)
        }
        if request.toTag != nil {
            return handleInDialog(request, transaction, from: path, at: now)
        }
        let refusal = Self.refusal(ofHeaders: request)
        // A loop is one for everybody; that a phone requires what we do not have must not cost a life.
        if request.method == .invite, emergencyNumber(of: request) == .emergency, refusal?.statusCode != 483,
            case .stations = source(of: path)
        {
            return handleEmergencyInvite(request, transaction, from: path, at: now)
        }
        if let refusal { return refuse(request, transaction, refusal, at: now) }
        switch request.method {
        case .invite: handleInvite(request, transaction, from: path, at: now)
        case .options: handleOptions(request, transaction, from: path, at: now)
        case .bye, .prack, .update, .info, .notify:
            // Known methods that make no sense without a dialog (RFC 3261 §12.2.2).
            counters.unknownDialogs += 1
            respond(request, transaction, 481, at: now)
        case .message, .refer, .subscribe, .publish:
            respond(request, transaction, 405, allow: true, at: now)
        default: respond(request, transaction, 501, allow: true, at: now)
        }
    }

    /// A refusal that needs no more than the request's own headers.
    struct Refusal: Sendable {
        var statusCode: Int
        var reason: String?
        var headers: [(SIPHeaderName, String)] = []
    }

    /// A body we cannot read, or its encoding (RFC 3261 §21.4.13).
    static let unsupportedType = Refusal(
        statusCode: 415, headers: [(.accept, "application/sdp, multipart/mixed")])
    static let unsupportedEncoding = Refusal(statusCode: 415, headers: [(.acceptEncoding, "identity")])

    static let extensions = ["100rel", "timer"]
    static let allowedMethods = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE, NOTIFY"

    /// RFC 3261 §8.2: extensions, hop count.
    static func refusal(ofHeaders request: SIPRequest) -> Refusal? {
        let required = request.require + request.headers.values(.proxyRequire)
        let unsupported = required.filter { !extensions.contains($0.lowercased()) }
        if !unsupported.isEmpty {
            return Refusal(statusCode: 420, headers: [(.unsupported, unsupported.joined(separator: ", "))])
        }
        if let maxForwards = request.maxForwards, maxForwards <= 0, request.method != .options,
            request.method != .bye
        {
            // BYE ends here in any case; a call that cannot be ended would be worse than a loop.
            return Refusal(statusCode: 483)
        }
        return nil
    }

    mutating func refuse(
        _ request: SIPRequest, _ transaction: ServerTransactionID, _ refusal: Refusal, at now: MonotonicTime
    ) {
        if refusal.statusCode == 483 { counters.loops += 1 }
        var response = makeResponse(to: request, refusal.statusCode, refusal.reason)
        for (name, value) in refusal.headers { response.headers.append(name, value) }
        transactions.respond(response, to: transaction, at: now)
    }

    // MARK: Stations

    enum Authentication: Sendable {
        case authenticated(user: String)
        /// The response that asks for credentials or refuses them.
        case refused(SIPResponse)
    }

    /// Who a station is: by its registration's path, or by digest.
    mutating func authenticate(
        _ request: SIPRequest, from path: TransportPath, at now: MonotonicTime
    ) -> Authentication {
        let claimed = Self.user(of: request.from?.uri)
        if !settings.challengesEveryRequest, request.method != .register, let claimed,
            registrar.bindings(for: claimed).contains(where: { $0.path == path })
        {
            return .authenticated(user: claimed)
        }
        let stations = settings.stations
        // A station that hides (RFC 3323 §4.1) says in its credentials who it is.
        let hides = request.method != .register && Self.isAnonymous(claimed) && stations[claimed ?? ""] == nil
        let result = digest.verify(
            request, secretFor: { user in stations[user].map { .password($0.password) } }, at: now)
        switch result {
        case .authenticated(let user):
            guard user == claimed || hides, stations[user]?.realm == path.realm else {
                return .refused(forbidden(request, user: user, from: path))
            }
            return .authenticated(user: user)
        case .challenge(let headers, _):
            counters.challenges += 1
            var response = makeResponse(to: request, request.method == .register ? 401 : 407)
            for header in headers { response.headers.append(header.name, header.value) }
            return .refused(response)
        case .forbidden: return .refused(forbidden(request, user: claimed ?? "", from: path))
        case .malformed: return .refused(makeResponse(to: request, 400, "Credentials Malformed"))
        }
    }

    private mutating func forbidden(_ request: SIPRequest, user: String, from path: TransportPath) -> SIPResponse {
        counters.authenticationFailures += 1
        emit(.authenticationFailed(user: user, source: path.remote))
        return makeResponse(to: request, 403)
    }

    // MARK: OPTIONS

    private mutating func handleOptions(
        _ request: SIPRequest, _ transaction: ServerTransactionID, from path: TransportPath, at now: MonotonicTime
    ) {
        // RFC 3261 §8.2.2.1. A service URN names nobody here either, but is no unknown scheme.
        if case .other(let uri) = request.requestURI, !uri.lowercased().hasPrefix("urn:service:") {
            return respond(request, transaction, 416, at: now)
        }
        var response = makeResponse(to: request, isShuttingDown ? 503 : 200)
        var methods = Self.allowedMethods
        if case .stations = source(of: path) { methods += ", REGISTER" }
        response.headers.append(.allow, methods)
        response.headers.append(.accept, "application/sdp, multipart/mixed")
        response.headers.append(.supported, Self.extensions.joined(separator: ", "))
        transactions.respond(response, to: transaction, at: now)
    }

    // MARK: INVITE

    private mutating func handleInvite(
        _ request: SIPRequest, _ transaction: ServerTransactionID, from path: TransportPath, at now: MonotonicTime
    ) {
        guard let fromTag = request.fromTag, !fromTag.isEmpty else {
            return respond(request, transaction, 400, reason: "From tag missing", at: now)
        }
        let peer: Peer
        switch source(of: path) {
        case .stations:
            switch authenticate(request, from: path, at: now) {
            case .refused(let response): return transactions.respond(response, to: transaction, at: now)
            case .authenticated(let user):
                guard let station = settings.stations[user] else { return respond(request, transaction, 403, at: now) }
                peer = .station(user: user, station)
            }
        case .trunk(let name, let trunk): peer = .trunk(name: name, trunk)
        case .unknown:
            // Filtered before the transaction was made; a trunk may have gone in between.
            return respond(request, transaction, 403, at: now)
        }
        guard request.contacts.first != nil else {
            return respond(request, transaction, 400, reason: "Contact missing", at: now)
        }
        let user: String
        switch dialledUser(of: request, realm: path.realm) {
        case .user(let dialled): user = dialled
        case .foreign where emergencyNumber(of: request) != nil,
            .unsupportedScheme where emergencyNumber(of: request) != nil:
            user = ""
        case .foreign: return refuseCall(request, transaction, from: path, dialled: "", 404, at: now)
        case .unsupportedScheme: return refuseCall(request, transaction, from: path, dialled: "", 416, at: now)
        }
        let offer: SessionDescription?
        switch initialOffer(of: request) {
        case .none: offer = nil
        case .offer(let description): offer = description
        case .refused(let refusal):
            counters.callsRefused += 1
            emit(
                .callRefused(
                    source: path.remote, dialled: user, statusCode: refusal.statusCode, reason: refusal.reason ?? ""))
            return refuse(request, transaction, refusal, at: now)
        }
        if case .trunk(_, let trunk) = peer, !isShuttingDown,
            let plan = callbackPlan(request, from: trunk, user: user, at: now)
        {
            counters.callbacks += 1
            return startCall(
                request, transaction, from: path, peer: peer, offer: offer, dialled: user, plan: plan,
                isCallback: true, at: now)
        }
        if let refusal = admission(of: request, from: peer) {
            counters.capacityRefusals += 1
            return refuseCall(
                request, transaction, from: path, dialled: user, refusal.statusCode, reason: refusal.reason,
                retryAfterSeconds: Limits.retryAfterSeconds, at: now)
        }
        if let refusal = legRefusal(of: request, from: peer) {
            return refuse(request, transaction, refusal, at: now)
        }
        if case .station = peer, emergencyNumber(of: request) == .test {
            return startEmergencyCall(
                request, transaction, from: path, peer: peer, offer: offer, number: .test, at: now)
        }
        switch route(request, from: peer, user: user, callerPath: path) {
        case .refused(let code, let reason, let retryAfterSeconds):
            refuseCall(
                request, transaction, from: path, dialled: user, code, reason: reason,
                retryAfterSeconds: retryAfterSeconds, at: now)
        case .targets(let plan):
            startCall(
                request, transaction, from: path, peer: peer, offer: offer, dialled: user, plan: plan, at: now)
        }
    }

    /// Capacity; the step an emergency call does not take.
    private func admission(of request: SIPRequest, from peer: Peer) -> Refusal? {
        if isShuttingDown { return Refusal(statusCode: 503, reason: "Shutting down") }
        let isFull =
            activeCallCount >= settings.calls.maximum
            && activeCallCount - activeEmergencyCallCount >= settings.calls.maximum
        if isFull || calls.count >= Limits.endingCallCountMax {
            return Refusal(statusCode: 503, reason: "Capacity reached")
        }
        if media.flowCount + Limits.flowsPerCall > settings.calls.mediaFlowCountMax {
            return Refusal(statusCode: 503, reason: "Media table full")
        }
        if case .trunk(let name, let trunk) = peer, let maximum = trunk.callsMax,
            callCount(ofTrunk: name) >= maximum
        {
            return Refusal(statusCode: 503, reason: "Trunk is full")
        }
        return nil
    }

    /// What the caller's leg itself must offer or may not ask: reliable provisionals, session interval.
    private func legRefusal(of request: SIPRequest, from peer: Peer) -> Refusal? {
        let supports = request.headers.contains("100rel", in: .supported)
        let requires = request.headers.contains("100rel", in: .require)
        switch peer.reliableProvisional {
        case .off where requires: return Refusal(statusCode: 420, headers: [(.unsupported, "100rel")])
        case .required where !supports && !requires:
            return Refusal(statusCode: 421, headers: [(.require, "100rel")])
        case .off, .supported, .required: break
        }
        return intervalRefusal(of: request)
    }

    mutating func refuseCall(
        _ request: SIPRequest, _ transaction: ServerTransactionID, from path: TransportPath, dialled: String,
        _ statusCode: Int, reason: String? = nil, retryAfterSeconds: Int? = nil, at now: MonotonicTime
    ) {
        counters.callsRefused += 1
        var response = makeResponse(to: request, statusCode, reason)
        if let retryAfterSeconds { response.headers.append(.retryAfter, String(retryAfterSeconds)) }
        emit(
            .callRefused(
                source: path.remote, dialled: dialled, statusCode: statusCode, reason: response.reasonPhrase))
        transactions.respond(response, to: transaction, at: now)
    }

    // MARK: The body of an INVITE

    enum InitialOffer: Sendable {
        case none
        case offer(SessionDescription)
        case refused(Refusal)
    }

    /// The offer in an INVITE that begins a call; 415 and 488 where there is none we can relay.
    func initialOffer(of request: SIPRequest) -> InitialOffer {
        switch readDescription(in: request) {
        case .none: .none
        case .description(let description):
            description.media.count <= Limits.streamCountMax
                ? .offer(description) : .refused(Refusal(statusCode: 488, reason: "Too many streams"))
        case .malformed: .refused(Refusal(statusCode: 488, reason: "Session description cannot be read"))
        case .unsupportedEncoding:
            .refused(Self.unsupportedEncoding)
        case .unsupportedType:
            .refused(Self.unsupportedType)
        }
    }
}
