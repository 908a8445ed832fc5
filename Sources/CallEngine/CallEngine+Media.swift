import MediaEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats

// Offers and answers on their way through, and what the media engine is told of them.
extension CallEngine {
    // MARK: Media legs

    mutating func openMedia(
        for call: CallID, _ side: CallSide, realm: RealmID, streamCount: Int, at now: MonotonicTime
    ) -> MediaLegID? {
        do throws(MediaError) {
            let leg = try media.openLeg(realm: realm, streamCount: streamCount, at: now)
            mediaOwners[leg] = (call, side)
            return leg
        } catch {
            if case .portsExhausted = error { emit(.mediaPortsExhausted(realm)) }
            return nil
        }
    }

    mutating func closeMedia(_ leg: MediaLegID, of call: inout Call, at now: MonotonicTime) {
        call.closingMedia.insert(leg)
        media.closeLeg(leg, at: now)
    }

    func localAddresses(of leg: MediaLegID) -> [TransportAddress] {
        (0..<media.streamCount(of: leg)).compactMap { media.localAddress(of: leg, stream: $0) }
    }

    func mediaLeg(_ call: Call, _ fork: Int, _ side: CallSide) -> MediaLegID? {
        side == .caller ? call.callerMedia : call.attempts[call.forks[fork].attempt.rawValue].media
    }

    /// Both legs with at least so many streams; false when there are no ports.
    private mutating func ensureMedia(_ call: inout Call, _ fork: Int, count: Int, at now: MonotonicTime) -> Bool {
        guard count <= Limits.streamCountMax else { return false }
        for side in CallSide.allCases {
            if let leg = mediaLeg(call, fork, side) {
                do throws(MediaError) {
                    try media.ensureStreams(leg, count: count, at: now)
                } catch {
                    if case .portsExhausted(let realm) = error { emit(.mediaPortsExhausted(realm)) }
                    return false
                }
            } else {
                let realm = call.forks[fork][side].peer.realm
                guard let leg = openMedia(for: call, side, realm: realm, streamCount: count, at: now) else {
                    return false
                }
                if side == .caller {
                    call.callerMedia = leg
                } else {
                    call.attempts[call.forks[fork].attempt.rawValue].media = leg
                }
            }
        }
        return true
    }

    // MARK: Offer and answer (RFC 3264)

    /// The offer of one side for the other; nil when nothing of it can be relayed.
    mutating func relayOffer(
        _ call: inout Call, _ fork: Int, _ offer: SessionDescription, from side: CallSide, at now: MonotonicTime
    ) -> SessionDescription? {
        guard ensureMedia(&call, fork, count: OfferAnswer.streamCount(of: offer), at: now),
            let leg = mediaLeg(call, fork, side.other)
        else { return nil }
        var from = call.forks[fork].legs[side.legIndex].negotiation
        var to = call.forks[fork].legs[side.other.legIndex].negotiation
        do throws(OfferAnswerError) {
            let made = try OfferAnswer.relay(offer: offer, from: &from, to: &to, local: localAddresses(of: leg))
            call.forks[fork][side].negotiation = from
            call.forks[fork][side.other].negotiation = to
            return made
        } catch {
            return nil
        }
    }

    /// The first offer, when it is the callee's.
    mutating func relayLateOffer(
        _ call: inout Call, _ fork: Int, _ offer: SessionDescription, at now: MonotonicTime
    ) -> SessionDescription? {
        relayOffer(&call, fork, offer, from: .callee, at: now)
    }

    /// The answer of one side for the other, which offered; nil when it does not fit the offer.
    mutating func relayAnswer(
        _ call: inout Call, _ fork: Int, _ answer: SessionDescription, from side: CallSide
    ) -> RelayedAnswer? {
        guard let leg = mediaLeg(call, fork, side.other) else { return nil }
        var from = call.forks[fork].legs[side.legIndex].negotiation
        var to = call.forks[fork].legs[side.other.legIndex].negotiation
        do throws(OfferAnswerError) {
            let relayed = try OfferAnswer.relay(answer: answer, from: &from, to: &to, local: localAddresses(of: leg))
            call.forks[fork][side].negotiation = from
            call.forks[fork][side.other].negotiation = to
            return relayed
        } catch {
            return nil
        }
    }

    // MARK: What was agreed, for the media engine

    mutating func connectMedia(
        _ call: inout Call, _ fork: Int, _ agreements: [StreamAgreement], offerer: CallSide, answered: Bool,
        at now: MonotonicTime
    ) {
        guard let caller = mediaLeg(call, fork, .caller), let callee = mediaLeg(call, fork, .callee) else { return }
        call.forks[fork].agreed = Fork.Agreement(streams: agreements, offerer: offerer)
        for side in CallSide.allCases { setRemotes(&call, fork, side, at: now) }
        let (offering, answering) = offerer == .caller ? (caller, callee) : (callee, caller)
        for (stream, agreement) in agreements.enumerated() {
            media.setPayloadTypes(
                from: offering, to: answering, stream: stream, Self.mappings(agreement.fromOfferer),
                format: agreement.media.map { StreamFormat($0.codec, event: $0.eventFromOfferer) })
            media.setPayloadTypes(
                from: answering, to: offering, stream: stream, Self.mappings(agreement.fromAnswerer),
                format: agreement.media.map { StreamFormat($0.codec, event: $0.eventFromAnswerer) })
        }
        media.connect(caller, callee, answered: answered, at: now)
        call.connection = Call.Connection(fork: call.forks[fork].id, isAnswered: answered, time: now)
    }

    /// Connects the media of the fork that is answered as it last agreed: another one may have had the legs.
    mutating func connectMedia(asAgreedBy call: inout Call, _ fork: Int, at now: MonotonicTime) {
        guard let agreed = call.forks[fork].agreed,
            call.connection != Call.Connection(fork: call.forks[fork].id, isAnswered: true, time: now)
        else { return }
        connectMedia(&call, fork, agreed.streams, offerer: agreed.offerer, answered: true, at: now)
    }

    /// Where one side's media is, as its latest description says.
    mutating func setRemotes(_ call: inout Call, _ fork: Int, _ side: CallSide, at now: MonotonicTime) {
        let negotiation = call.forks[fork].legs[side.legIndex].negotiation
        guard let leg = mediaLeg(call, fork, side), let received = negotiation.received,
            let streams = call.forks[fork].agreed?.streams
        else { return }
        var natAddress: IPAddress?
        if case .station = call.forks[fork].legs[side.legIndex].peer {
            natAddress = call.forks[fork].legs[side.legIndex].nextHop.remote.address
        }
        let remotes = OfferAnswer.remoteStreams(in: received, agreedWith: negotiation.sent)
        for (stream, remote) in remotes.enumerated() {
            let isActive = streams.indices.contains(stream) && streams[stream].isActive
            media.setRemote(
                leg, stream: stream,
                isActive ? remote.map { Self.remoteMedia($0, natAddress: natAddress) } : nil, at: now)
        }
    }

    private static func remoteMedia(_ remote: RemoteStream, natAddress: IPAddress?) -> RemoteMedia {
        RemoteMedia(
            rtp: remote.rtp, rtcp: remote.rtcp, rtcpMux: remote.rtcpMux, sends: remote.sends,
            receives: remote.receives, natAddress: natAddress)
    }

    private static func mappings(_ translations: [PayloadTypeTranslation]) -> [MediaFlow.PayloadTypeMapping] {
        translations.map { MediaFlow.PayloadTypeMapping(from: $0.from, to: $0.to) }
    }

    /// Events when a side puts the other on hold or resumes.
    mutating func noteHold(_ call: inout Call, _ fork: Int) {
        for side in CallSide.allCases {
            let isHeld = call.forks[fork][side].negotiation.received?.isHold ?? false
            if isHeld, call.forks[fork].heldBy.insert(side).inserted {
                emit(.callHeld(call.id, by: side))
            } else if !isHeld, call.forks[fork].heldBy.remove(side) != nil {
                emit(.callResumed(call.id, by: side))
            }
        }
    }

    // MARK: What the media engine says

    mutating func handle(_ event: MediaEvent, at now: MonotonicTime) {
        switch event {
        case .learned(let leg, _, let source):
            if let owner = mediaOwners[leg] { emit(.mediaLearned(owner.call, owner.side, source: source)) }
        case .wrongSource(let leg, _, let source):
            if let owner = mediaOwners[leg] { emit(.mediaWrongSource(owner.call, owner.side, source: source)) }
        case .silent(let leg, let duration):
            if let owner = mediaOwners[leg] { emit(.mediaSilent(owner.call, owner.side, for: duration)) }
        case .resumed(let leg):
            if let owner = mediaOwners[leg] { emit(.mediaResumed(owner.call, owner.side)) }
        case .inactive(let leg, _):
            // Whoever called for help may have to be silent.
            guard let owner = mediaOwners[leg], calls[owner.call]?.isForHelp == false else { return }
            emit(.mediaInactive(owner.call))
            withCall(owner.call, at: now) { engine, call in
                engine.transition(
                    &call,
                    .released(
                        .mediaInactive, goneSide: nil, reason: "Q.850;cause=102;text=\"Media inactivity\""),
                    at: now)
            }
        case .played(let leg, let times): announcementPlayed(leg, times: times)
        case .playedOut(let leg): announcementPlayedOut(leg, at: now)
        case .key(let leg, let key): announcementKey(leg, key, at: now)
        case .bindFailed(let leg, _):
            announcementMediaFailed(leg, at: now)
            guard let owner = mediaOwners[leg] else { return }
            withCall(owner.call, at: now) { engine, call in
                engine.transition(
                    &call, .released(.rejected(503), goneSide: nil, reason: "SIP;cause=503;text=\"Media port failed\""),
                    at: now)
            }
        case .closed(let leg, let statistics): mediaClosed(leg, statistics, at: now)
        }
    }

    private mutating func mediaClosed(
        _ leg: MediaLegID, _ statistics: [MediaStreamStatistics], at now: MonotonicTime
    ) {
        if announcementMediaClosed(leg, statistics) { return }
        guard let owner = mediaOwners.removeValue(forKey: leg) else { return }
        withCall(owner.call, at: now) { engine, call in
            call.closingMedia.remove(leg)
            let sum = CallMediaCounters(statistics)
            switch owner.side {
            case .caller: call.fromCaller = call.fromCaller + sum
            case .callee: call.fromCallee = call.fromCallee + sum
            }
            engine.giveSummaryIfComplete(&call, at: now)
        }
    }
}

extension CallMediaCounters {
    init(_ statistics: [MediaStreamStatistics]) {
        self = statistics.reduce(CallMediaCounters()) { sum, stream in
            var counters = CallMediaCounters(stream.rtp) + CallMediaCounters(stream.rtcp)
            counters.codec = stream.format?.codec
            counters.quality = stream.quality
            counters.reports = stream.reports
            return sum + counters
        }
    }

    init(_ counters: MediaFlowCounters) {
        self.init(
            packets: counters.packets, bytes: counters.bytes, wrongSource: counters.wrongSource,
            malformed: counters.malformed)
    }

    /// Sums; of the rest, what belongs to the stream that was spoken on.
    package static func + (left: Self, right: Self) -> Self {
        // Of several streams, or forks, the one that was spoken on.
        let spoken = right.quality.received > left.quality.received ? right : left
        return CallMediaCounters(
            packets: left.packets &+ right.packets, bytes: left.bytes &+ right.bytes,
            wrongSource: left.wrongSource &+ right.wrongSource, malformed: left.malformed &+ right.malformed,
            codec: spoken.codec ?? left.codec ?? right.codec, quality: spoken.quality, reports: spoken.reports)
    }
}

extension StreamFormat {
    init(_ codec: SDPCodec, event: UInt8?) {
        self.init(codec: codec.name, clockRate: UInt32(clamping: codec.clockRate), eventPayloadType: event)
    }
}
