import MediaEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats

// An announcement that was answered: what is played, the key, requests of the listener, the end.
extension CallEngine {
    mutating func talk(_ call: inout AnnouncementCall, _ agreement: OwnAudio.Agreement, at now: MonotonicTime) {
        let id = call.request.id
        follow(agreement, of: call, at: now)
        media.play(
            call.request.playlist, to: call.media, encoding: G711(rawValue: agreement.codec) ?? .muLaw,
            payloadType: agreement.payloadType, eventPayloadTypes: agreement.eventPayloadTypes, at: now)
        timers.start(.announcementLimit(id), at: now + call.request.durationMax)
        announce(id, .answered(by: call.leg.map { call.branches[$0.branch].target.label } ?? call.party.number))
    }

    /// Where the listener is, as it said last.
    private mutating func follow(_ agreement: OwnAudio.Agreement, of call: AnnouncementCall, at now: MonotonicTime) {
        let stream = agreement.stream
        var natAddress: IPAddress?
        if let leg = call.leg, case .station = call.branches[leg.branch].target.peer {
            natAddress = leg.nextHop.remote.address
        }
        media.setRemote(
            call.media, stream: 0,
            RemoteMedia(
                rtp: stream.rtp, rtcp: stream.rtcp, sends: stream.sends, receives: stream.receives,
                natAddress: natAddress), at: now)
        media.setFormat(
            StreamFormat(
                codec: agreement.codec, clockRate: 8_000, eventPayloadType: agreement.eventPayloadTypes.last),
            of: call.media, stream: 0)
    }

    // MARK: What the media engine says

    mutating func announcementPlayed(_ leg: MediaLegID, times: Int) {
        guard let id = announcementMedia[leg], let call = announcements[id], call.state == .answered,
            !call.isAcknowledged
        else { return }
        announce(id, .played(times: times))
    }

    mutating func announcementPlayedOut(_ leg: MediaLegID, at now: MonotonicTime) {
        guard let id = announcementMedia[leg], let call = announcements[id], call.state == .answered else { return }
        let waitsForKey = call.request.acknowledgementKey != nil && !call.isAcknowledged
        timers.start(
            .announcementEnd(id), at: now + (waitsForKey ? call.request.keyTimeout : Limits.announcementTail))
    }

    mutating func announcementKey(_ leg: MediaLegID, _ key: Character, at now: MonotonicTime) {
        guard let id = announcementMedia[leg] else { return }
        withAnnouncement(id) { engine, call in engine.press(key, &call, at: now) }
    }

    private mutating func press(_ key: Character, _ call: inout AnnouncementCall, at now: MonotonicTime) {
        guard call.state == .answered, !call.isAcknowledged, call.request.acknowledgementKey == key else { return }
        call.isAcknowledged = true
        timers.stop(.announcementEnd(call.request.id))
        announce(call.request.id, .acknowledged(key: key))
        media.replacePlaylist(Playlist(call.request.confirmation), to: call.media)
    }

    /// true: the leg was an announcement's.
    mutating func announcementMediaClosed(_ leg: MediaLegID, _ statistics: [MediaStreamStatistics]) -> Bool {
        guard let id = announcementMedia[leg] else { return false }
        withAnnouncement(id) { _, call in
            call.isMediaOpen = false
            call.fromCallee = CallMediaCounters(statistics)
        }
        return true
    }

    mutating func announcementMediaFailed(_ leg: MediaLegID, at now: MonotonicTime) {
        guard let id = announcementMedia[leg] else { return }
        withAnnouncement(id) { engine, call in
            engine.fail(&call, (503, "Media port failed"), at: now)
            engine.hangUp(&call, .timedOut, at: now)
        }
    }

    // MARK: The end

    mutating func stopAnnouncement(_ id: AnnouncementID, at now: MonotonicTime) {
        withAnnouncement(id) { engine, call in
            engine.fail(&call, (487, "Stopped"), at: now)
            engine.hangUp(&call, .stopped, at: now)
        }
    }

    mutating func stopAllAnnouncements(at now: MonotonicTime) {
        for id in announcements.keys.sorted() {
            withAnnouncement(id) { engine, call in
                engine.fail(&call, (503, "Shutting down"), at: now)
                engine.hangUp(&call, .shutdown, at: now)
            }
        }
    }

    /// The time to ring, or to listen, is over.
    mutating func announcementLimitReached(_ id: AnnouncementID, at now: MonotonicTime) {
        withAnnouncement(id) { engine, call in
            engine.fail(&call, call.failure ?? (408, "Nobody answered"), at: now)
            engine.hangUp(&call, .timedOut, at: now)
        }
    }

    /// All was heard, and the wait for a key is over.
    mutating func announcementEnds(_ id: AnnouncementID, at now: MonotonicTime) {
        withAnnouncement(id) { engine, call in engine.hangUp(&call, .played, at: now) }
    }

    /// BYE, unless the listener's came.
    private mutating func hangUp(
        _ call: inout AnnouncementCall, _ end: AnnouncementEnd, byListener: Bool = false, at now: MonotonicTime
    ) {
        guard call.state == .answered else { return }
        if !byListener { sendBye(&call, authorizationCount: 0, at: now) }
        call.ending = end.text
        announce(call.request.id, .ended(call.isAcknowledged ? .acknowledged : end))
        finish(&call, at: now)
    }

    private mutating func sendBye(
        _ call: inout AnnouncementCall, authorizationCount: Int, after challenge: SIPResponse? = nil,
        at now: MonotonicTime
    ) {
        guard var leg = call.leg else { return }
        let peer = call.branches[leg.branch].target.peer
        var bye = leg.dialog.makeRequest(.bye)
        if !settings.userAgent.isEmpty { bye.headers.append(.userAgent, settings.userAgent) }
        if let challenge {
            guard authorize(&bye, after: challenge, peer: peer) else { return }
        } else if let name = peer.trunkName {
            trunks[name]?.authorizePreemptively(&bye)
        }
        let transaction = transactions.send(bye, to: leg.nextHop, at: now)
        clientOwners[transaction] = .announcementBye(call.request.id, authorizationCount: authorizationCount)
        call.leg = leg
        call.isByeOpen = true
    }

    /// The final response to our BYE; nil: none came.
    mutating func announcementByeFinished(
        _ id: AnnouncementID, _ response: SIPResponse?, authorizationCount: Int, at now: MonotonicTime
    ) {
        withAnnouncement(id) { engine, call in
            call.isByeOpen = false
            guard let response, response.statusCode == 401 || response.statusCode == 407,
                authorizationCount < Limits.authorizationCountMax
            else { return }
            engine.sendBye(&call, authorizationCount: authorizationCount + 1, after: response, at: now)
        }
    }

    // MARK: Requests of the listener

    mutating func handleInAnnouncement(
        _ id: AnnouncementID, _ request: SIPRequest, _ transaction: ServerTransactionID, from path: TransportPath,
        at now: MonotonicTime
    ) {
        guard announcements[id]?.realm == path.realm else { return respond(request, transaction, 481, at: now) }
        withAnnouncement(id) { engine, call in
            guard case .accepted? = call.leg?.dialog.receive(request) else {
                return engine.respond(request, transaction, 500, reason: "CSeq Out Of Order", at: now)
            }
            if let refusal = Self.refusal(ofHeaders: request) {
                return engine.refuse(request, transaction, refusal, at: now)
            }
            if request.method == .bye {
                engine.respond(request, transaction, 200, at: now)
                return engine.hangUp(&call, .hungUp, byListener: true, at: now)
            }
            guard call.state == .answered else { return engine.respond(request, transaction, 481, at: now) }
            engine.take(request, transaction, &call, from: path, at: now)
        }
    }

    private mutating func take(
        _ request: SIPRequest, _ transaction: ServerTransactionID, _ call: inout AnnouncementCall,
        from path: TransportPath, at now: MonotonicTime
    ) {
        switch request.method {
        case .invite, .update: takeOffer(request, transaction, &call, from: path, at: now)
        case .info:
            respond(request, transaction, 200, at: now)
            if let key = Self.key(inInfo: request) { press(key, &call, at: now) }
        case .options:
            var response = makeResponse(to: request, 200)
            response.headers.append(.allow, Self.announcementMethods)
            transactions.respond(response, to: transaction, at: now)
        default:
            var response = makeResponse(to: request, 405)
            response.headers.append(.allow, Self.announcementMethods)
            transactions.respond(response, to: transaction, at: now)
        }
    }

    /// Hold, another address, another codec, or nothing but a sign of life.
    private mutating func takeOffer(
        _ request: SIPRequest, _ transaction: ServerTransactionID, _ call: inout AnnouncementCall,
        from path: TransportPath, at now: MonotonicTime
    ) {
        var answer: SessionDescription?
        switch readDescription(in: request) {
        case .none: if request.method == .invite { answer = call.audio.offer() }
        case .description(let offer):
            answer = call.audio.answer(to: offer)
            guard answer != nil, let agreement = call.audio.agreement(with: offer) else {
                return respond(request, transaction, 488, at: now)
            }
            follow(agreement, of: call, at: now)
            media.changeEncoding(
                to: G711(rawValue: agreement.codec) ?? .muLaw, payloadType: agreement.payloadType,
                eventPayloadTypes: agreement.eventPayloadTypes, of: call.media)
        case .malformed: return respond(request, transaction, 488, at: now)
        case .unsupportedType: return refuse(request, transaction, Self.unsupportedType, at: now)
        case .unsupportedEncoding: return refuse(request, transaction, Self.unsupportedEncoding, at: now)
        }
        call.leg?.dialog.refreshTarget(from: request)
        var response = makeResponse(to: request, 200)
        response.headers.append(
            .contact,
            contact(
                user: Self.user(of: call.leg?.dialog.localContact?.uri), realm: call.realm, transport: path.transport
            ).text)
        response.headers.append(.allow, Self.announcementMethods)
        if let answer { response.setBody(answer.bytes, type: .sdp) }
        transactions.respond(response, to: transaction, at: now)
    }

    /// `Signal=1` of an application/dtmf-relay body, as phones without RFC 4733 send it.
    static func key(inInfo request: SIPRequest) -> Character? {
        guard let type = request.contentType, type.type == "application", type.subtype == "dtmf-relay",
            request.body.count <= 256
        else { return nil }
        for line in request.body.split(whereSeparator: { $0 == 13 || $0 == 10 }) {
            let parts = line.split(separator: UInt8(ascii: "="), maxSplits: 1)
            guard parts.count == 2, String(decoding: parts[0], as: UTF8.self).lowercased() == "signal" else { continue }
            let value = String(decoding: parts[1].filter { $0 != 32 }, as: UTF8.self)
            return value.count == 1 ? value.first : nil
        }
        return nil
    }
}
