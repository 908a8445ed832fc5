import EmergencyCalling
import MediaEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats

// Calls the box places itself, from the request to the answer: they ring, and whoever answers is played to
// (CallEngine+AnnouncementTalk). They stand beside the calls between others: no limit counts them, and ports are left
// over for others.
extension CallEngine {
    /// Runs `body` on an announcement taken out of the table, then puts it back, or forgets it when it is over.
    mutating func withAnnouncement(
        _ id: AnnouncementID, _ body: (inout CallEngine, inout AnnouncementCall) -> Void
    ) {
        guard var call = announcements.removeValue(forKey: id) else { return }
        body(&self, &call)
        guard call.isOver else {
            announcements[id] = call
            return
        }
        endProof(call)
        announcementMedia[call.media] = nil
        if let leg = call.leg { announcementDialogs[leg.dialog.id] = nil }
        for branch in call.branches {
            guard case .announcement? = clientOwners[branch.transaction] else { continue }
            clientOwners[branch.transaction] = .stray(branch.request, branch.target.nextHop)
        }
    }

    /// An identifier in use is ignored: its announcement runs.
    mutating func placeAnnouncement(_ request: AnnouncementRequest, at now: MonotonicTime) {
        guard announcements[request.id] == nil else { return }
        var request = request
        let proof = beginProof(&request, at: now)
        let targets: [Target]
        switch announcementTargets(of: request.target) {
        case .targets(let plan): targets = proofTargets(proof, plan.flatMap { $0 })
        case .refused(let code, let reason, _):
            endProof(proof, refused: "\(code) \(reason ?? "")", at: now)
            return announce(request.id, .failed(statusCode: code, reason: reason ?? ""))
        }
        guard let realm = targets.first?.peer.realm, !isShuttingDown,
            announcements.count < Limits.announcementCountMax,
            media.freePortCount(in: realm, at: now) > Limits.portReserveForOthers,
            let media = openAnnouncementMedia(in: realm, at: now),
            let local = self.media.localAddress(of: media, stream: 0)
        else {
            let reason = isShuttingDown ? "Shutting down" : "No media port free, or too many announcements"
            endProof(proof, refused: reason, at: now)
            return announce(request.id, .failed(statusCode: 503, reason: reason))
        }
        var call = AnnouncementCall(
            request: request, proof: proof, callID: newCallID(), realm: realm, media: media,
            audio: OwnAudio(local: local, sessionID: random.next()), start: now)
        announcementMedia[media] = request.id
        let offer = call.audio.offer()
        for target in targets {
            var invite = makeInvite(for: request, target: target, offer: offer)
            if let proof { prepareForHelp(&invite, stating: [], proof, target, at: now) }
            if let name = target.peer.trunkName { trunks[name]?.authorizePreemptively(&invite) }
            let transaction = transactions.send(invite, to: target.nextHop, at: now)
            clientOwners[transaction] = .announcement(request.id, branch: call.branches.count)
            call.branches.append(.init(target: target, request: invite, transaction: transaction))
            if let proof { proofStarted(proof, target, at: now) }
        }
        announcements[request.id] = call
        timers.start(.announcementLimit(request.id), at: now + request.ringTimeout)
    }

    mutating func announce(_ id: AnnouncementID, _ event: AnnouncementEvent) { output(.announcement(id, event)) }

    private mutating func openAnnouncementMedia(in realm: RealmID, at now: MonotonicTime) -> MediaLegID? {
        do throws(MediaError) {
            return try media.openLeg(realm: realm, streamCount: 1, at: now)
        } catch {
            if case .portsExhausted = error { emit(.mediaPortsExhausted(realm)) }
            return nil
        }
    }

    // MARK: Whom to ring

    private func announcementTargets(of target: AnnouncementRequest.Target) -> RoutingResult {
        switch target {
        case .station(let user):
            guard let station = settings.stations[user] else { return .refused(404, reason: "No station \(user)") }
            guard !isInEmergencyCall(user) else { return .refused(486, reason: "\(user) is in a call for help") }
            let targets = registrar.bindings(for: user).prefix(Limits.branchCountMax).map { binding in
                Target(
                    peer: .station(user: user, station), number: user, requestURI: binding.contact,
                    nextHop: NextHop(binding.path))
            }
            return targets.isEmpty
                ? .refused(480, reason: "No phone of station \(user) is registered") : .targets([Array(targets)])
        case .uri(let uri, let realm):
            guard settings.realms[realm] != nil else { return .refused(404, reason: "No realm \(realm)") }
            guard case .address(let address) = uri.host, !uri.isSecure else {
                return .refused(416, reason: "\(uri.text) is no sip: URI with an address")
            }
            let isTCP = uri.parameters.value("transport")?.lowercased() == "tcp"
            let station = CallEngineSettings.Station(realm: realm, password: "")
            return .targets([
                [
                    Target(
                        peer: .station(user: uri.user ?? uri.host.text, station), number: uri.user ?? uri.host.text,
                        requestURI: .sip(uri),
                        nextHop: NextHop(
                            realm: realm, remote: TransportAddress(address, uri.port ?? 5060),
                            policy: isTCP ? .tcp : .automatic))
                ]
            ])
        case .number(let number, let name):
            guard let trunk = trunks[name] else { return .refused(404, reason: "No trunk \(name)") }
            guard settings.emergency.numbers.number(dialled: number) != .emergency else {
                return .refused(403, reason: "Help is called by people")
            }
            return .targets([
                [
                    Target(
                        peer: .trunk(name: name, trunk.settings), number: number,
                        requestURI: Self.trunkURI(user: number, trunk.settings), nextHop: trunk.nextHop)
                ]
            ])
        }
    }

    private mutating func makeInvite(
        for announcement: AnnouncementRequest, target: Target, offer: SessionDescription
    ) -> SIPRequest {
        let realm = target.peer.realm
        var user = announcement.callingNumber ?? "cresset"
        var host: SIPHost = SIPHost(settings.domain) ?? .name("invalid")
        if case .trunk(_, let trunk) = target.peer {
            user = announcement.callingNumber ?? trunk.registration?.credentials.username ?? "anonymous"
            host =
                trunk.registration?.domain.flatMap { SIPHost($0) }
                ?? settings.realms[realm].map { .address($0.endpoint.address) } ?? .name("invalid")
        }
        var from = NameAddress(displayName: announcement.displayName, uri: .sip(SIPURI(user: user, host: host)))
        let contact = contact(user: user, realm: realm, transport: Self.transport(of: target.nextHop))
        var to = target.requestURI
        if case .station(let station) = announcement.target {
            to = .sip(SIPURI(user: station, host: SIPHost(settings.domain) ?? .name("invalid")))
        }
        var request = SIPRequest(method: .invite, requestURI: target.requestURI)
        request.headers.append(.maxForwards, "70")
        if case .trunk = target.peer { request.headers.append(.pAssertedIdentity, from.text) }
        from.tag = random.hexToken(digitCount: 16)
        request.headers.append(.from, from.text)
        request.headers.append(.to, NameAddress(uri: to).text)
        request.headers.append(.callID, random.hexToken(digitCount: 32))
        request.headers.append(.cseq, CSeq(number: 1, method: .invite).text)
        request.headers.append(.contact, contact.text)
        request.headers.append(.allow, Self.announcementMethods)
        switch target.peer.reliableProvisional {
        case .off: break
        case .supported: request.headers.append(.supported, "100rel")
        case .required: request.headers.append(.require, "100rel")
        }
        if !settings.userAgent.isEmpty { request.headers.append(.userAgent, settings.userAgent) }
        request.setBody(offer.bytes, type: .sdp)
        return request
    }

    static let announcementMethods = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"

    // MARK: Responses

    mutating func announcementAnswered(
        _ id: AnnouncementID, _ branch: Int, _ response: SIPResponse, from path: TransportPath, at now: MonotonicTime
    ) {
        withAnnouncement(id) { engine, call in
            switch response.statusCode {
            case ...100: break
            case 101...199: engine.provisional(&call, branch, response, from: path, at: now)
            case 200...299: engine.success(&call, branch, response, from: path, at: now)
            default: engine.failure(&call, branch, response, at: now)
            }
        }
    }

    private mutating func provisional(
        _ call: inout AnnouncementCall, _ branch: Int, _ response: SIPResponse, from path: TransportPath,
        at now: MonotonicTime
    ) {
        guard call.state == .ringing, call.branches[branch].isOpen else { return }
        if !call.hasRung {
            call.hasRung = true
            announce(call.request.id, .ringing)
            proofRings(call, at: now)
        }
        guard let tag = response.toTag, call.branches[branch].early.count < Limits.forkCountMax,
            var early = call.branches[branch].early[tag]
                ?? Dialog(uacRequest: call.branches[branch].request, response: response).map({ ($0, nil) })
        else { return }
        if case .acknowledge = early.dialog.receiveProvisional(response) {
            early.answer = description(in: response) ?? early.answer
            if let prack = early.dialog.makePRACK(for: response) {
                // Its answer changes nothing, so nobody waits for it.
                _ = transactions.send(prack, to: nextHop(of: call.branches[branch].target, early.dialog, path), at: now)
            }
        } else {
            early.answer = early.answer ?? description(in: response)
        }
        call.branches[branch].early[tag] = early
    }

    private func nextHop(of target: Target, _ dialog: Dialog, _ path: TransportPath) -> NextHop {
        switch target.peer {
        case .station: NextHop(path)
        case .trunk(_, let trunk): Self.nextHop(for: dialog, trunk: trunk, path: path)
        }
    }

    private mutating func success(
        _ call: inout AnnouncementCall, _ branch: Int, _ response: SIPResponse, from path: TransportPath,
        at now: MonotonicTime
    ) {
        let request = call.branches[branch].request
        if let leg = call.leg, leg.branch == branch, leg.dialog.remoteTag == response.toTag ?? "" {
            // Repeated: our ACK was lost (RFC 3261 §13.2.2.4).
            return transactions.sendACK(leg.ack, to: leg.nextHop, at: now)
        }
        guard call.state == .ringing, call.branches[branch].isOpen,
            var dialog = call.branches[branch].early[response.toTag ?? ""]?.dialog
                ?? Dialog(uacRequest: request, response: response)
        else {
            return hangUpOnStray(request, call.branches[branch].target.nextHop, response, at: now)
        }
        dialog.update(from: response)
        let answer = description(in: response) ?? call.branches[branch].early[response.toTag ?? ""]?.answer
        guard let agreement = answer.flatMap({ call.audio.agreement(with: $0) }) else {
            hangUpOnStray(request, call.branches[branch].target.nextHop, response, at: now)
            return close(&call, branch, (488, "No G.711 in the answer"), at: now)
        }
        let hop = nextHop(of: call.branches[branch].target, dialog, path)
        let ack = dialog.makeACK(for: request.cseq?.number ?? 1, credentialsOf: request)
        call.branches[branch].isOpen = false
        call.leg = .init(branch: branch, dialog: dialog, nextHop: hop, ack: ack)
        announcementDialogs[dialog.id] = call.request.id
        transactions.sendACK(ack, to: hop, at: now)
        cancelBranches(&call, at: now)
        call.state = .answered
        call.answer = now
        proofAnswered(call, response.statusCode, at: now)
        talk(&call, agreement, at: now)
    }

    private mutating func failure(
        _ call: inout AnnouncementCall, _ branch: Int, _ response: SIPResponse, at now: MonotonicTime
    ) {
        guard call.branches[branch].isOpen else { return }
        if response.statusCode == 401 || response.statusCode == 407,
            call.branches[branch].authorizationCount < Limits.authorizationCountMax,
            var request = Self.next(call.branches[branch].request),
            authorize(&request, after: response, peer: call.branches[branch].target.peer)
        {
            let transaction = transactions.send(request, to: call.branches[branch].target.nextHop, at: now)
            clientOwners[transaction] = .announcement(call.request.id, branch: branch)
            call.branches[branch].authorizationCount += 1
            call.branches[branch].request = request
            call.branches[branch].transaction = transaction
            return
        }
        close(&call, branch, (response.statusCode, response.reasonPhrase), at: now)
        // A person said no for all contacts (RFC 3261 §16.7).
        if response.statusCode >= 600 {
            fail(&call, (response.statusCode, response.reasonPhrase), at: now)
        }
    }

    /// No response at all, or no way to send.
    mutating func announcementUnanswered(
        _ id: AnnouncementID, _ branch: Int, _ failure: SendFailure, at now: MonotonicTime
    ) {
        withAnnouncement(id) { engine, call in
            guard call.branches[branch].isOpen else { return }
            switch failure {
            case .timedOut: engine.close(&call, branch, (408, "No answer"), at: now)
            case .transportFailed(let reason): engine.close(&call, branch, (503, reason), at: now)
            }
        }
    }

    /// One of the places that ring is out; with the last of them the announcement fails.
    private mutating func close(
        _ call: inout AnnouncementCall, _ branch: Int, _ failure: (statusCode: Int, reason: String),
        at now: MonotonicTime
    ) {
        call.branches[branch].isOpen = false
        if call.failure.map({ FailureMapping.rank(failure.statusCode) < FailureMapping.rank($0.statusCode) }) ?? true {
            call.failure = failure
        }
        guard call.state == .ringing, !call.branches.contains(where: \.isOpen) else { return }
        fail(&call, call.failure ?? failure, at: now)
    }

    /// CANCEL to all that still ring; who answers nevertheless is hung up on.
    private mutating func cancelBranches(_ call: inout AnnouncementCall, at now: MonotonicTime) {
        for index in call.branches.indices where call.branches[index].isOpen {
            call.branches[index].isOpen = false
            let branch = call.branches[index]
            clientOwners[branch.transaction] = .stray(branch.request, branch.target.nextHop)
            transactions.cancel(branch.transaction, reason: nil, at: now)
        }
    }

    mutating func fail(
        _ call: inout AnnouncementCall, _ failure: (statusCode: Int, reason: String), at now: MonotonicTime
    ) {
        guard call.state == .ringing else { return }
        cancelBranches(&call, at: now)
        announce(call.request.id, .failed(statusCode: failure.statusCode, reason: failure.reason))
        proofFailed(&call, "\(failure.statusCode) \(failure.reason)", at: now)
        finish(&call, at: now)
    }

    /// Media and timers; what is left is to wait for their last word.
    mutating func finish(_ call: inout AnnouncementCall, at now: MonotonicTime) {
        call.state = .ending
        call.end = now
        call.playedPackets = media.playedPacketCount(of: call.media)
        timers.stop(.announcementLimit(call.request.id))
        timers.stop(.announcementEnd(call.request.id))
        media.closeLeg(call.media, at: now)
    }
}
