import MediaFormats
import Primitives

/// One side of a relayed call, as far as media is concerned; never reused.
package struct MediaLegID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    package var description: String { "media-leg-\(rawValue)" }
}

/// Where the media of one realm is anchored: our address there and the ports we may use.
package struct MediaRealm: Hashable, Sendable {
    package var address: IPAddress
    /// Pairs of an even (RTP) and the next odd port (RTCP) are taken from here; an odd lower bound is skipped.
    package var ports: ClosedRange<UInt16>

    package init(address: IPAddress, ports: ClosedRange<UInt16>) {
        self.address = address
        self.ports = ports
    }
}

/// The `[media]` table of the configuration.
package struct MediaSettings: Hashable, Sendable {
    /// How long after `setRemote` (or `connect`, when nothing has been heard yet) another source may be learned.
    package var learningWindow: Duration
    /// Both sides silent for this long, although both should send: the call is dead.
    package var inactivityTimeout: Duration
    /// One side silent for this long, although it should send: an event.
    package var silenceEvent: Duration
    /// The class media leaves with, and that of emergency calls: the `[qos]` table.
    package var trafficClass: TrafficClassPolicy
    package var emergencyTrafficClass: TrafficClassPolicy

    package init(
        learningWindow: Duration = .seconds(3), inactivityTimeout: Duration = .seconds(60),
        silenceEvent: Duration = .seconds(3), trafficClass: TrafficClassPolicy = .set(.expeditedForwarding),
        emergencyTrafficClass: TrafficClassPolicy = .set(.expeditedForwarding)
    ) {
        self.learningWindow = learningWindow
        self.inactivityTimeout = inactivityTimeout
        self.silenceEvent = silenceEvent
        self.trafficClass = trafficClass
        self.emergencyTrafficClass = emergencyTrafficClass
    }
}

/// What the peer's session description says about one stream.
package struct RemoteMedia: Hashable, Sendable {
    /// Where the peer listens, and where its packets are expected from.
    package var rtp: TransportAddress
    /// nil: the next port (RFC 3550 §11). Ignored with `rtcpMux`.
    package var rtcp: TransportAddress?
    /// RTCP on the RTP port, agreed by offer and answer (RFC 5761).
    package var rtcpMux: Bool
    /// The peer sends: `sendrecv` or `sendonly` in its description.
    package var sends: Bool
    /// The peer receives: `sendrecv` or `recvonly` in its description, and not `c=0.0.0.0`.
    package var receives: Bool
    /// Where the peer's signalling comes from, if it may sit behind NAT: media may be learned from there too, inside
    /// the window. nil: only from the address in the description, whatever the port.
    package var natAddress: IPAddress?

    package init(
        rtp: TransportAddress, rtcp: TransportAddress? = nil, rtcpMux: Bool = false, sends: Bool = true,
        receives: Bool = true, natAddress: IPAddress? = nil
    ) {
        self.rtp = rtp
        self.rtcp = rtcp
        self.rtcpMux = rtcpMux
        self.sends = sends
        self.receives = receives
        self.natAddress = natAddress
    }
}

/// What the packets of one leg's peer hold, for what is said of their quality.
package struct StreamFormat: Hashable, Sendable {
    /// As in SDP, lower case: `pcma`, `g729`.
    package var codec: String
    /// Hz
    package var clockRate: UInt32
    /// telephone-event as this peer numbers it; nil: none agreed.
    package var eventPayloadType: UInt8?

    package init(codec: String, clockRate: UInt32, eventPayloadType: UInt8? = nil) {
        self.codec = codec
        self.clockRate = clockRate
        self.eventPayloadType = eventPayloadType
    }
}

/// Why the media of a call could not be set up.
package enum MediaError: Error, Equatable, Sendable {
    case unknownRealm(RealmID)
    /// No free port pair in the realm: 503 or the next trunk.
    case portsExhausted(RealmID)
    case tooManyStreams(Int)
}

/// What CallEngine may want to know or act on.
package enum MediaEvent: Equatable, Sendable {
    /// Another source than the one in the description is accepted from now on.
    case learned(MediaLegID, stream: Int, source: TransportAddress)
    /// A packet from somewhere else was refused; once per source, the first few sources only.
    case wrongSource(MediaLegID, stream: Int, source: TransportAddress)
    /// This side should send and has not for so long.
    case silent(MediaLegID, for: Duration)
    /// A silent side is heard again.
    case resumed(MediaLegID)
    /// Both sides should send and neither has for the inactivity timeout: end the call.
    case inactive(MediaLegID, MediaLegID)
    /// The port could not be bound: the leg is of no use, fail the call.
    case bindFailed(MediaLegID, stream: Int)
    /// So many repetitions of what is played to this leg have been sent to the end.
    case played(MediaLegID, times: Int)
    /// All of them; silence follows until something else is played or the playing is stopped.
    case playedOut(MediaLegID)
    /// Whoever is played to pressed a key (RFC 4733): `0` to `9`, `*`, `#`, `A` to `D`.
    case key(MediaLegID, Character)
    /// After `closeLeg`, with the last counters of the kernel in it. The leg is unknown from now on.
    case closed(MediaLegID, [MediaStreamStatistics])
}

/// What arrived from one leg's peer on one stream, kernel and socket path together.
package struct MediaStreamStatistics: Hashable, Sendable {
    /// Our RTP address towards this peer.
    package var local: TransportAddress
    /// The source accepted last; nil when the stream was never active.
    package var source: TransportAddress?
    package var rtp: MediaFlowCounters
    package var rtcp: MediaFlowCounters
    /// nil: not agreed, or not said what it is.
    package var format: StreamFormat?

    package init(
        local: TransportAddress, source: TransportAddress?, rtp: MediaFlowCounters, rtcp: MediaFlowCounters,
        format: StreamFormat? = nil
    ) {
        self.local = local
        self.source = source
        self.rtp = rtp
        self.rtcp = rtcp
        self.format = format
    }

    package var quality: MediaQuality { rtp.quality }
    /// What this peer's RTCP said, on its own port or with the RTP.
    package var reports: MediaReports { rtp.reports + rtcp.reports }
}
