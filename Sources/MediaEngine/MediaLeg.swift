import MediaFormats
import Primitives

/// One of the two addresses of a stream.
struct EndpointKey: Hashable, Sendable {
    var leg: MediaLegID
    var stream: Int
    var isRTCP: Bool
}

/// How well a source fits what was signalled; a better one replaces a worse one inside the window.
enum SourceRank: Int, Comparable, Sendable {
    /// Nowhere near what was signalled: never learned.
    case foreign
    /// Another port at the address the peer's signalling comes from; only for peers that may sit behind NAT.
    case nat
    /// Another port at the address in the description.
    case sameAddress
    /// Exactly the address in the description.
    case signalled

    static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// A source that might become the accepted one: RTP of one SSRC, in sequence.
struct Candidate: Sendable {
    let source: TransportAddress
    var ssrc: UInt32
    var sequenceNumber: UInt16
    var packetCount = 1
}

/// One local address: who may send to it, and what came.
struct Endpoint: Sendable {
    let local: TransportAddress
    /// Where packets must come from, and where ours go; nil while the peer has none.
    var accepted: TransportAddress?
    var rank = SourceRank.signalled
    /// Something came from `accepted` since it was accepted.
    var isHeard = false
    /// Until when another source may be learned; nil: closed.
    var windowEnd: MonotonicTime?
    var windowOpened = MonotonicTime.zero
    var candidates: [Candidate] = []
    /// A candidate that waits for the kernel's word that `accepted` is silent.
    var pending: TransportAddress?
    /// Sources already reported as wrong.
    var reported: [TransportAddress] = []

    /// What the kernel was told last; nil: nothing.
    var applied: MediaFlow?
    /// nil: not said yet.
    var isInKernel: Bool?
    var appliedAt = MonotonicTime.zero
    /// The flow was removed and the reply with its last counters has not come.
    var awaitsLastCounters = false

    /// Counters of earlier lives of the flow, of its present one, and of what came through the socket.
    var past = MediaFlowCounters()
    var kernel = MediaFlowCounters()
    var socket = MediaFlowCounters()
    /// What came through the socket while the kernel did not have the flow.
    var stream = StreamMonitor()
    var reports = ReportMonitor()

    init(local: TransportAddress) { self.local = local }

    var counters: MediaFlowCounters {
        var socket = socket
        socket.quality = stream.quality
        socket.reports = reports.reports
        return past + kernel + socket
    }

    /// The kernel may relay packets that we never see.
    var mayBypass: Bool { applied != nil && isInKernel != false }

    func isOpen(at now: MonotonicTime) -> Bool { windowEnd.map { now <= $0 } ?? false }

    mutating func open(at now: MonotonicTime, for window: Duration) {
        windowOpened = now
        windowEnd = now + window
        candidates = []
        pending = nil
    }

    mutating func close() {
        windowEnd = nil
        candidates = []
        pending = nil
    }

    /// A new signalled address: what was learned before is void.
    mutating func expect(_ source: TransportAddress?) {
        accepted = source
        rank = .signalled
        isHeard = false
        reported = []
        close()
    }
}

/// One m-line of a leg: a port pair and what its peer said.
struct MediaStream: Sendable {
    var rtp: Endpoint
    var rtcp: Endpoint
    var remote: RemoteMedia?
    /// Numbers that change on packets from this peer to the other leg's.
    var payloadTypes: [MediaFlow.PayloadTypeMapping] = []
    /// What this peer's packets hold; nil: unknown.
    var format: StreamFormat?
    /// The port could not be bound: it rests longer.
    var bindFailed = false

    init(rtp: TransportAddress) {
        self.rtp = Endpoint(local: rtp)
        self.rtcp = Endpoint(local: TransportAddress(rtp.address, rtp.port + 1))  // pairs are even and odd
    }

    subscript(isRTCP isRTCP: Bool) -> Endpoint {
        get { isRTCP ? rtcp : rtp }
        _modify { if isRTCP { yield &rtcp } else { yield &rtp } }
    }

    var statistics: MediaStreamStatistics {
        MediaStreamStatistics(
            local: rtp.local, source: rtp.accepted, rtp: rtp.counters, rtcp: rtcp.counters, format: format)
    }
}

/// One side of a call.
struct MediaLeg: Sendable {
    let realm: RealmID
    var streams: [MediaStream]
    var peer: MediaLegID?
    /// Silence is a fault from now on.
    var isAnswered = false
    /// Its media goes before that of others.
    var isEmergency = false

    /// Since when this side should send; nil: it need not.
    var expectedSince: MonotonicTime?
    var isSilent = false
    /// The deadline passed; the kernel is asked for its counters before anything is said.
    var isConfirmingSilence = false
    var isConfirmingInactivity = false

    init(realm: RealmID, streams: [MediaStream]) {
        self.realm = realm
        self.streams = streams
    }

    /// The latest packet, RTP only or RTCP too; nil before the first.
    func lastArrival(includingRTCP: Bool) -> MonotonicTime? {
        var latest: MonotonicTime?
        for stream in streams {
            for arrival in [
                stream.rtp.socket.lastArrival, stream.rtp.kernel.lastArrival, stream.rtp.past.lastArrival,
                includingRTCP ? stream.rtcp.socket.lastArrival : nil,
                includingRTCP ? stream.rtcp.kernel.lastArrival : nil,
            ] {
                if let arrival, latest.map({ $0 < arrival }) ?? true { latest = arrival }
            }
        }
        return latest
    }
}

/// A leg that is gone but for the kernel's last counters.
struct ClosingLeg: Sendable {
    var streams: [MediaStream]
    var awaited: Set<TransportAddress>
}
