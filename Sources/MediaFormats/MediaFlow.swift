import Primitives

/// One direction of one relayed stream: what arrives at `local` from `acceptedSource` leaves again, rewritten.
///
/// `MediaEngine` decides which flows there should be; `FastPath` applies them in the kernel, or the socket path does.
package struct MediaFlow: Hashable, Sendable {
    /// What packets must look like to be relayed.
    package enum Kind: Hashable, Sendable, CaseIterable {
        /// Version 2, at least twelve bytes (RFC 3550 §5.1).
        case rtp
        /// Version 2, packet type 192...223, at least eight bytes (RFC 3550 §6.4, RFC 5761 §4).
        case rtcp
    }

    /// What becomes of a packet that arrives at `local` from anywhere but `acceptedSource`.
    package enum WrongSource: Hashable, Sendable, CaseIterable {
        /// Goes up to the bound socket: the source may still be learned.
        case pass
        /// Is discarded and counted: the source is locked.
        case drop
    }

    /// One payload type number that becomes another on the way; both 0...127.
    package struct PayloadTypeMapping: Hashable, Sendable {
        package var from: UInt8
        package var to: UInt8

        package init(from: UInt8, to: UInt8) {
            self.from = from
            self.to = to
        }
    }

    /// Mappings beyond this are refused by whoever applies the flow.
    package static let payloadTypeMappingCountMax = 4

    /// Our address and port the packets arrive at; the key, at most one flow each.
    package var local: TransportAddress
    package var kind: Kind
    /// Only packets from exactly here are relayed.
    package var acceptedSource: TransportAddress
    package var wrongSource: WrongSource
    /// Our address and port on the other leg.
    package var rewrittenSource: TransportAddress
    /// Where the other leg's peer listens.
    package var rewrittenDestination: TransportAddress
    /// The traffic class packets leave with; ECN stays in any case.
    package var trafficClass: TrafficClassPolicy
    /// Of an emergency call: where a table is full, it takes the place of an ordinary flow.
    package var isEmergency: Bool
    /// For instance telephone-event 96 → 101; RTP only, at most `payloadTypeMappingCountMax`.
    package var payloadTypes: [PayloadTypeMapping]
    /// RTP clock ticks per second, for jitter; nil: unknown, or RTCP.
    package var clockRate: UInt32?
    /// telephone-event as it arrives here, before any mapping (RFC 4733); nil: none agreed.
    package var eventPayloadType: UInt8?
    /// What passes is read or mixed in user space: no fast path takes it.
    package var staysInUserSpace: Bool

    package init(
        local: TransportAddress, kind: Kind, acceptedSource: TransportAddress, wrongSource: WrongSource,
        rewrittenSource: TransportAddress, rewrittenDestination: TransportAddress,
        payloadTypes: [PayloadTypeMapping] = [], trafficClass: TrafficClassPolicy = .preserve,
        isEmergency: Bool = false, clockRate: UInt32? = nil, eventPayloadType: UInt8? = nil,
        staysInUserSpace: Bool = false
    ) {
        self.local = local
        self.kind = kind
        self.acceptedSource = acceptedSource
        self.wrongSource = wrongSource
        self.rewrittenSource = rewrittenSource
        self.rewrittenDestination = rewrittenDestination
        self.payloadTypes = payloadTypes
        self.trafficClass = trafficClass
        self.isEmergency = isEmergency
        self.clockRate = clockRate
        self.eventPayloadType = eventPayloadType
        self.staysInUserSpace = staysInUserSpace
    }
}

/// What happened to the packets of one flow since it was first applied.
package struct MediaFlowCounters: Hashable, Sendable {
    /// Relayed packets.
    package var packets: UInt64
    /// Bytes of their UDP payload.
    package var bytes: UInt64
    /// From another source: passed up or dropped, as the flow said at the time.
    package var wrongSource: UInt64
    /// From the right source but neither RTP nor RTCP as `MediaFlow.Kind` asks: dropped.
    package var malformed: UInt64
    /// When the latest packet was relayed; nil before the first.
    package var lastArrival: MonotonicTime?
    /// Of the flow's RTP.
    package var quality: MediaQuality
    /// What its RTCP said; on a flow of RTP only where RTCP shares the port.
    package var reports: MediaReports

    package init(
        packets: UInt64 = 0, bytes: UInt64 = 0, wrongSource: UInt64 = 0, malformed: UInt64 = 0,
        lastArrival: MonotonicTime? = nil, quality: MediaQuality = MediaQuality(),
        reports: MediaReports = MediaReports()
    ) {
        self.packets = packets
        self.bytes = bytes
        self.wrongSource = wrongSource
        self.malformed = malformed
        self.lastArrival = lastArrival
        self.quality = quality
        self.reports = reports
    }

    /// Sums; the later of the two arrivals, and of what only one can have the later one's. For kernel and socket
    /// counters of one flow.
    package static func + (left: Self, right: Self) -> Self {
        if let arrival = left.lastArrival, right.lastArrival.map({ $0 < arrival }) ?? true {
            return right.adding(left)
        }
        return left.adding(right)
    }

    private func adding(_ right: Self) -> Self {
        let left = self
        return MediaFlowCounters(
            packets: left.packets &+ right.packets, bytes: left.bytes &+ right.bytes,
            wrongSource: left.wrongSource &+ right.wrongSource, malformed: left.malformed &+ right.malformed,
            lastArrival: right.lastArrival ?? left.lastArrival, quality: left.quality + right.quality,
            reports: left.reports + right.reports)
    }
}
