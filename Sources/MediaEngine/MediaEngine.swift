import MediaFormats
import Primitives

/// Decides which media flows there should be: ports, source learning and locking, silence, dead calls.
///
/// It publishes flows (`applyFlow`, `removeFlow`); the kernel relays them. What misses the kernel's table arrives
/// as a datagram and is forwarded, learned from or refused here.
package struct MediaEngine: Sendable {
    package enum Input: Sendable {
        /// Arrived at the socket bound to `local`.
        case datagram(local: TransportAddress, source: TransportAddress, bytes: [UInt8])
        /// The kernel's counters of the flow at `local`: the reply to `readCounters`, also after `removeFlow`, or
        /// whenever the composition likes.
        case counters(local: TransportAddress, MediaFlowCounters)
        /// The socket could not be bound.
        case bindFailed(local: TransportAddress)
        /// Whether the kernel relays this flow; false: every packet comes as a datagram.
        case flowApplied(local: TransportAddress, inKernel: Bool)
    }

    package enum Output: Equatable, Sendable {
        /// Bind a UDP socket here.
        case bind(TransportAddress)
        /// Close the socket.
        case release(TransportAddress)
        /// Make the flow at `local` so, new or changed; its counters go on.
        case applyFlow(MediaFlow)
        /// Stop relaying at `local`; feed the last counters back as `Input.counters`.
        case removeFlow(local: TransportAddress)
        /// Feed `Input.counters` of this flow back at once (zeros when the kernel has no such flow).
        case readCounters(local: TransportAddress)
        /// Send from our socket `from`.
        case forward([UInt8], from: TransportAddress, to: TransportAddress)
        /// Send what is played, from our socket `from` or past it.
        case play([UInt8], from: TransportAddress, to: TransportAddress)
        case event(MediaEvent)
    }

    enum Timer: Hashable, Sendable {
        /// The learning window ends.
        case learning(EndpointKey)
        /// The kernel did not answer; the candidate waits no longer.
        case decision(EndpointKey)
        case silence(MediaLegID)
        /// Of the pair; the key is the older leg.
        case inactivity(MediaLegID)
        case closing(MediaLegID)
        case playout(MediaLegID)
    }

    var settings: MediaSettings
    private var realms: [RealmID: MediaRealm]
    private var pools: [RealmID: PortPool]
    var random: RandomSource
    private var nextID: UInt64 = 1

    var legs: [MediaLegID: MediaLeg] = [:]
    /// The legs something is played to.
    var playouts: [MediaLegID: LegPlayout] = [:]
    var closing: [MediaLegID: ClosingLeg] = [:]
    var endpoints: [TransportAddress: EndpointKey] = [:]
    var timers = TimerTable<Timer>()
    var outputs = Queue<Output>()
    /// Addresses whose next counters are of a flow that is gone.
    private var abandonedCounters: Set<TransportAddress> = []

    /// Datagrams at addresses that belong to no leg: late ones of a call that is gone.
    package internal(set) var unknownLocalCount: UInt64 = 0
    /// Flows there should be now.
    package internal(set) var flowCount = 0

    package init(realms: [RealmID: MediaRealm], settings: MediaSettings, random: RandomSource = RandomSource()) {
        self.realms = realms
        self.settings = settings
        self.random = random
        pools = realms.mapValues { PortPool($0.ports) }
    }

    /// SIGHUP: live legs keep what they have.
    package mutating func reconfigure(
        realms: [RealmID: MediaRealm], settings: MediaSettings, at now: MonotonicTime
    ) {
        self.settings = settings
        for (name, realm) in realms where self.realms[name] != realm {
            let used = endpoints.keys.filter { $0.address == realm.address && $0.port % 2 == 0 }.map(\.port)
            pools[name] = PortPool(realm.ports, used: Set(used), resting: pools[name])
        }
        self.realms = realms
    }

    // MARK: Legs

    /// Takes a port pair for each stream; they stay with the leg for its life.
    ///
    /// - Parameter isUrgent: Take ports that still rest when no other is free.
    package mutating func openLeg(
        realm: RealmID, streamCount: Int, isUrgent: Bool = false, at now: MonotonicTime
    ) throws(MediaError) -> MediaLegID {
        let streams = try takeStreams(
            realm: realm, count: streamCount, alreadyOpen: 0, isUrgent: isUrgent, at: now)
        let id = MediaLegID(rawValue: nextID)
        nextID += 1
        legs[id] = MediaLeg(realm: realm, streams: streams)
        for index in streams.indices { announce(streams[index], id, index) }
        return id
    }

    /// Our RTP address of a stream; RTCP is the next port. nil for an unknown leg or stream.
    package func localAddress(of leg: MediaLegID, stream: Int) -> TransportAddress? {
        guard let streams = legs[leg]?.streams, streams.indices.contains(stream) else { return nil }
        return streams[stream].rtp.local
    }

    /// Port pairs that nobody has and that do not rest; 0 for an unknown realm.
    package mutating func freePortCount(in realm: RealmID, at now: MonotonicTime) -> Int {
        pools[realm]?.freeCount(at: now) ?? 0
    }

    /// How many streams (port pairs) the leg has; 0 for an unknown leg.
    package func streamCount(of leg: MediaLegID) -> Int { legs[leg]?.streams.count ?? 0 }

    /// More m-lines in a later offer: the leg gets port pairs until it has `count` streams.
    package mutating func ensureStreams(
        _ leg: MediaLegID, count: Int, at now: MonotonicTime
    ) throws(MediaError) {
        guard let state = legs[leg], state.streams.count < count else { return }
        let open = state.streams.count
        let more = try takeStreams(realm: state.realm, count: count - open, alreadyOpen: open, at: now)
        legs[leg]?.streams += more
        for index in more.indices { announce(more[index], leg, open + index) }
    }

    private mutating func takeStreams(
        realm: RealmID, count: Int, alreadyOpen: Int, isUrgent: Bool = false, at now: MonotonicTime
    ) throws(MediaError) -> [MediaStream] {
        guard let address = realms[realm]?.address, pools[realm] != nil else { throw .unknownRealm(realm) }
        guard alreadyOpen + count <= Limits.streamCountMax else { throw .tooManyStreams(alreadyOpen + count) }
        var ports: [UInt16] = []
        while ports.count < count {
            guard
                let port = pools[realm]?.take(at: now, random: &random)
                    ?? (isUrgent ? takeResting(realm, address) : nil)
            else {
                for port in ports { pools[realm]?.giveBack(port) }
                throw .portsExhausted(realm)
            }
            // Two realms with one address and overlapping ranges: whoever came first has it.
            guard endpoints[TransportAddress(address, port)] == nil else {
                pools[realm]?.rest(port, until: now + Limits.portRest)
                continue
            }
            ports.append(port)
        }
        return ports.map { MediaStream(rtp: TransportAddress(address, $0)) }
    }

    /// A resting port for the one who cannot wait. Its last leg may still await counters from the kernel: they are
    /// then nobody's, lest they count for the new one.
    private mutating func takeResting(_ realm: RealmID, _ address: IPAddress) -> UInt16? {
        while let port = pools[realm]?.takeResting() {
            guard let key = endpoints[TransportAddress(address, port)] else { return port }
            guard let last = closing[key.leg] else { continue }  // in use in a realm that shares it
            abandonedCounters.formUnion(last.awaited)
            finishClosing(key.leg)
            return port
        }
        return nil
    }

    private mutating func announce(_ stream: MediaStream, _ leg: MediaLegID, _ index: Int) {
        for isRTCP in [false, true] {
            let local = stream[isRTCP: isRTCP].local
            endpoints[local] = EndpointKey(leg: leg, stream: index, isRTCP: isRTCP)
            outputs.append(.bind(local))
        }
    }

    /// Ends the leg; its ports rest for some seconds. `MediaEvent.closed` follows with the final counters.
    package mutating func closeLeg(_ leg: MediaLegID, at now: MonotonicTime) {
        guard let peer = legs[leg].map(\.peer) else { return }
        separate(leg)
        endPlayout(leg)
        if let peer { refresh(peer, at: now) }
        guard let state = legs.removeValue(forKey: leg) else { return }
        var awaited: Set<TransportAddress> = []
        for (index, stream) in state.streams.enumerated() {
            for isRTCP in [false, true] {
                let endpoint = stream[isRTCP: isRTCP]
                let key = EndpointKey(leg: leg, stream: index, isRTCP: isRTCP)
                timers.stop(.learning(key))
                timers.stop(.decision(key))
                if endpoint.applied != nil {
                    flowCount -= 1
                    outputs.append(.removeFlow(local: endpoint.local))
                }
                if endpoint.applied != nil || endpoint.awaitsLastCounters { awaited.insert(endpoint.local) }
                outputs.append(.release(endpoint.local))
            }
            let rest = stream.bindFailed ? Limits.portRestAfterBindFailure : Limits.portRest
            pools[state.realm]?.rest(stream.rtp.local.port, until: now + rest)
        }
        timers.stop(.silence(leg))
        timers.stop(.inactivity(leg))
        closing[leg] = ClosingLeg(streams: state.streams, awaited: awaited)
        if awaited.isEmpty {
            finishClosing(leg)
        } else {
            timers.start(.closing(leg), at: now + Limits.counterReplyMax)
        }
    }

    private mutating func finishClosing(_ leg: MediaLegID) {
        guard let state = closing.removeValue(forKey: leg) else { return }
        timers.stop(.closing(leg))
        for stream in state.streams {
            endpoints[stream.rtp.local] = nil
            endpoints[stream.rtcp.local] = nil
        }
        outputs.append(.event(.closed(leg, state.streams.map(\.statistics))))
    }

    // MARK: What signalling says

    /// The peer's side of a stream, after each offer or answer from it; nil: rejected or none.
    ///
    /// A new address opens the learning window. An unchanged one keeps what was learned and opens nothing.
    package mutating func setRemote(
        _ leg: MediaLegID, stream: Int, _ remote: RemoteMedia?, at now: MonotonicTime
    ) {
        guard let known = legs[leg]?.streams, known.indices.contains(stream) else { return }
        let previous = known[stream].remote
        let key = EndpointKey(leg: leg, stream: stream, isRTCP: false)
        let rtcpKey = EndpointKey(leg: leg, stream: stream, isRTCP: true)
        guard var remote else {
            legs[leg]?.streams[stream].remote = nil
            for key in [key, rtcpKey] {
                modify(key) { $0.expect(nil) }
                timers.stop(.learning(key))
                timers.stop(.decision(key))
            }
            return refresh(leg, at: now)
        }
        if remote.rtp.address.isUnspecified {
            // c=0.0.0.0 is hold (RFC 3264 §8.4): nothing goes there, and the address from before stays.
            remote.receives = false
            if let previous {
                remote.rtp = previous.rtp
                remote.rtcp = previous.rtcp
            }
        }
        legs[leg]?.streams[stream].remote = remote
        let rtp = remote.rtp.address.isUnspecified ? nil : remote.rtp
        if previous?.rtp != remote.rtp || previous?.natAddress != remote.natAddress {
            modify(key) { $0.expect(rtp) }
            if rtp != nil { openWindow(key, at: now) }
        }
        let rtcp = rtp == nil ? nil : remote.rtcpAddress
        let isRTCPNew = previous?.rtcpAddress != remote.rtcpAddress || previous?.rtp != remote.rtp
        if isRTCPNew || known[stream].rtcp.accepted == nil && rtcp != nil {
            modify(rtcpKey) { $0.expect(rtcp) }
            if rtcp != nil { openWindow(rtcpKey, at: now) }
        }
        refresh(leg, at: now)
    }

    /// Relays stream i of one leg to stream i of the other; either leg leaves the leg it was connected to.
    ///
    /// `answered` false is early media: relayed, but silence is nobody's fault. Connect again when answered: sides
    /// that have not been heard get a new learning window each time, for a phone sends only once it was answered.
    package mutating func connect(
        _ first: MediaLegID, _ second: MediaLegID, answered: Bool = true, at now: MonotonicTime
    ) {
        guard first != second, let firstPeer = legs[first].map(\.peer), let secondPeer = legs[second].map(\.peer)
        else { return }
        let isNew = firstPeer != second
        if isNew {
            separate(first)
            separate(second)
            legs[first]?.peer = second
            legs[second]?.peer = first
        }
        for leg in [first, second] {
            if isNew || answered {
                legs[leg]?.isAnswered = answered
                for key in unheardEndpoints(of: leg) { openWindow(key, at: now) }
            }
        }
        refresh(first, at: now)  // and with it the second
        for former in [firstPeer, secondPeer] {
            if let former, former != first, former != second { refresh(former, at: now) }
        }
    }

    /// Those of which nothing has come since the signalling named their source.
    private func unheardEndpoints(of leg: MediaLegID) -> [EndpointKey] {
        guard let streams = legs[leg]?.streams else { return [] }
        var keys: [EndpointKey] = []
        for index in streams.indices where streams[index].remote != nil {
            if !streams[index].rtp.isHeard, streams[index].rtp.accepted != nil {
                keys.append(EndpointKey(leg: leg, stream: index, isRTCP: false))
            }
            if !streams[index].rtcp.isHeard, streams[index].rtcp.accepted != nil {
                keys.append(EndpointKey(leg: leg, stream: index, isRTCP: true))
            }
        }
        return keys
    }

    /// Stops relaying between this leg and the one it is connected to.
    package mutating func disconnect(_ leg: MediaLegID, at now: MonotonicTime) {
        guard let peer = legs[leg].flatMap(\.peer) else { return }
        separate(leg)
        refresh(leg, at: now)
        refresh(peer, at: now)
    }

    private mutating func separate(_ leg: MediaLegID) {
        guard let peer = legs[leg].flatMap(\.peer) else { return }
        for leg in [leg, peer] {
            legs[leg]?.peer = nil
            legs[leg]?.isAnswered = false
        }
    }

    /// The leg is part of an emergency call from now on: its flows, in both directions, get that class and take the
    /// place of ordinary ones where the kernel's table is full.
    package mutating func markEmergency(_ leg: MediaLegID, at now: MonotonicTime) {
        guard legs[leg]?.isEmergency == false else { return }
        legs[leg]?.isEmergency = true
        refresh(leg, at: now)
    }

    /// Payload type numbers that change on packets from one leg to the other, and what those packets hold.
    ///
    /// Beyond `MediaFlow.payloadTypeMappingCountMax` they are ignored; offer and answer agree on no more.
    package mutating func setPayloadTypes(
        from: MediaLegID, to: MediaLegID, stream: Int, _ mappings: [MediaFlow.PayloadTypeMapping],
        format: StreamFormat? = nil
    ) {
        guard let streams = legs[from]?.streams, streams.indices.contains(stream) else { return }
        legs[from]?.streams[stream].payloadTypes = Array(mappings.prefix(MediaFlow.payloadTypeMappingCountMax))
        legs[from]?.streams[stream].format = format
        let key = EndpointKey(leg: from, stream: stream, isRTCP: false)
        if legs[from]?.peer == to { refreshFlow(key, at: streams[stream].rtp.appliedAt) }
    }

    // MARK: What happens

    package mutating func handle(_ input: Input, at now: MonotonicTime) {
        switch input {
        case .datagram(let local, let source, let bytes):
            guard let key = endpoints[local], legs[key.leg] != nil else {
                unknownLocalCount &+= 1
                return
            }
            receive(bytes, from: source, at: key, now: now)
        case .counters(let local, let counters):
            guard abandonedCounters.remove(local) == nil else { return }
            guard let key = endpoints[local] else { return }
            modify(key) { $0.awaitsLastCounters = false }
            if closing[key.leg] != nil {
                modify(key) { $0.update(counters) }
                closing[key.leg]?.awaited.remove(local)
                if closing[key.leg]?.awaited.isEmpty == true { finishClosing(key.leg) }
            } else {
                update(key, counters, at: now)
            }
        case .bindFailed(let local):
            guard let key = endpoints[local] else { return }
            legs[key.leg]?.streams[key.stream].bindFailed = true
            outputs.append(.event(.bindFailed(key.leg, stream: key.stream)))
        case .flowApplied(let local, let inKernel):
            guard let key = endpoints[local] else { return }
            modify(key) { $0.isInKernel = inKernel }
        }
    }

    package mutating func advance(to now: MonotonicTime) {
        while let timer = timers.popDue(now) {
            switch timer {
            case .learning(let key): endWindow(key, at: now)
            case .decision(let key): decide(key, at: now)
            case .silence(let leg): checkSilence(leg, at: now)
            case .inactivity(let leg): checkInactivity(leg, at: now)
            case .closing(let leg): finishClosing(leg)
            case .playout(let leg): playNext(leg, at: now)
            }
        }
    }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    package var nextDeadline: MonotonicTime? { timers.earliest }

    /// Counters per stream as known now; empty for an unknown leg.
    package func statistics(of leg: MediaLegID) -> [MediaStreamStatistics] {
        (legs[leg]?.streams ?? closing[leg]?.streams ?? []).map(\.statistics)
    }

    /// Asks the kernel for the counters of a leg; they are in `statistics` after the composition's next turn.
    package mutating func refreshStatistics(of leg: MediaLegID) {
        for stream in legs[leg]?.streams ?? [] {
            for endpoint in [stream.rtp, stream.rtcp] where endpoint.mayBypass {
                outputs.append(.readCounters(local: endpoint.local))
            }
        }
    }

    // MARK: Helpers

    /// Changes one endpoint in place.
    @discardableResult
    mutating func modify<Result>(_ key: EndpointKey, _ body: (inout Endpoint) -> Result) -> Result? {
        if let index = legs.index(forKey: key.leg) {
            guard legs.values[index].streams.indices.contains(key.stream) else { return nil }
            return body(&legs.values[index].streams[key.stream][isRTCP: key.isRTCP])
        }
        if let index = closing.index(forKey: key.leg) {
            guard closing.values[index].streams.indices.contains(key.stream) else { return nil }
            return body(&closing.values[index].streams[key.stream][isRTCP: key.isRTCP])
        }
        return nil
    }

    func endpoint(_ key: EndpointKey) -> Endpoint? {
        guard let streams = legs[key.leg]?.streams, streams.indices.contains(key.stream) else { return nil }
        return streams[key.stream][isRTCP: key.isRTCP]
    }
}

extension RemoteMedia {
    /// Where RTCP goes: said, or the next port; nil when it shares the RTP port or there is none.
    var rtcpAddress: TransportAddress? {
        if rtcpMux { return nil }
        return rtcp ?? (rtp.port == .max ? nil : TransportAddress(rtp.address, rtp.port + 1))
    }
}

/// Ours: each says what happens beyond it.
enum Limits {
    /// m-lines of a leg; more is `tooManyStreams`.
    static let streamCountMax = 16
    /// A port pair of a closed leg is not used again before; late packets meet a closed port.
    static let portRest = Duration.seconds(10)
    /// Somebody else holds the port.
    static let portRestAfterBindFailure = Duration.seconds(300)
    /// RTCP comes every few seconds (RFC 3550 §6.2): its window is at least this long, from the address of the
    /// accepted RTP only.
    static let rtcpLearningWindowMin = Duration.seconds(10)
    /// Packets in sequence before another source is believed.
    static let candidatePacketCount = 3
    /// How far apart "in sequence" may be: loss is no reason to distrust.
    static let candidateGapMax: UInt16 = 100
    /// Sources watched at once while learning; the oldest goes.
    static let candidateCountMax = 4
    /// Wrong sources named in events per endpoint and window; the rest is only counted.
    static let reportedSourceCountMax = 4
    /// The composition answers `readCounters` at once; after this we decide without.
    static let counterReplyMax = Duration.milliseconds(200)
    /// Packets the kernel relayed in the same turn as the window opened may be the former source's.
    static let windowGuard = Duration.milliseconds(10)
    /// A packet of a flow the kernel should have: the flow is applied again, not more often than this.
    static let reapplyInterval = Duration.seconds(1)
    /// How often a silent side is looked at.
    static let silencePoll = Duration.seconds(1)
}
