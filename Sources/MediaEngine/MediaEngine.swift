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
        case event(MediaEvent)
    }

    private var outputs = Queue<Output>()

    package init(realms: [RealmID: MediaRealm], settings: MediaSettings, random: RandomSource = RandomSource()) {}

    /// SIGHUP: live legs keep what they have.
    package mutating func reconfigure(
        realms: [RealmID: MediaRealm], settings: MediaSettings, at now: MonotonicTime
    ) {}

    /// Takes a port pair for each stream; they stay with the leg for its life.
    package mutating func openLeg(
        realm: RealmID, streamCount: Int, at now: MonotonicTime
    ) throws(MediaError) -> MediaLegID {
        throw .portsExhausted(realm)
    }

    /// Our RTP address of a stream; RTCP is the next port. nil for an unknown leg or stream.
    package func localAddress(of leg: MediaLegID, stream: Int) -> TransportAddress? { nil }

    /// How many streams (port pairs) the leg has; 0 for an unknown leg.
    package func streamCount(of leg: MediaLegID) -> Int { 0 }

    /// More m-lines in a later offer: the leg gets port pairs until it has `count` streams.
    package mutating func ensureStreams(
        _ leg: MediaLegID, count: Int, at now: MonotonicTime
    ) throws(MediaError) {}

    /// The peer's side of a stream, after each offer or answer from it; nil: rejected or none.
    ///
    /// A new address opens the learning window; an unchanged one opens it only when nothing has been heard yet.
    package mutating func setRemote(
        _ leg: MediaLegID, stream: Int, _ remote: RemoteMedia?, at now: MonotonicTime
    ) {}

    /// Relays stream i of one leg to stream i of the other; either leg leaves the leg it was connected to.
    ///
    /// `answered` false is early media: relayed, but silence is nobody's fault. Connect again when answered.
    package mutating func connect(
        _ first: MediaLegID, _ second: MediaLegID, answered: Bool = true, at now: MonotonicTime
    ) {}

    /// Stops relaying between this leg and the one it is connected to.
    package mutating func disconnect(_ leg: MediaLegID, at now: MonotonicTime) {}

    /// Payload type numbers that change on packets from one leg to the other.
    package mutating func setPayloadTypes(
        from: MediaLegID, to: MediaLegID, stream: Int, _ mappings: [MediaFlow.PayloadTypeMapping]
    ) {}

    /// Ends the leg; its ports rest for some seconds. `MediaEvent.closed` follows with the final counters.
    package mutating func closeLeg(_ leg: MediaLegID, at now: MonotonicTime) {}

    package mutating func handle(_ input: Input, at now: MonotonicTime) {}

    package mutating func advance(to now: MonotonicTime) {}

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    package var nextDeadline: MonotonicTime? { nil }

    /// Counters per stream as known now; empty for an unknown leg.
    package func statistics(of leg: MediaLegID) -> [MediaStreamStatistics] { [] }
}
