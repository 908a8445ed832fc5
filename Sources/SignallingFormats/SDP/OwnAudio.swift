import Primitives

/// Our own end of a session: one stream of audio in G.711 with key presses (RFC 4733), for calls the box itself has
/// part in instead of relaying them.
package struct OwnAudio: Hashable, Sendable {
    /// What offer and answer came to.
    package struct Agreement: Hashable, Sendable {
        package var stream: RemoteStream
        /// `pcmu` or `pcma`, and the number it has on packets to the peer.
        package var codec: String
        package var payloadType: UInt8
        /// telephone-event on packets of the peer, which may number it as we did or as it does.
        package var eventPayloadTypes: [UInt8]
    }

    /// telephone-event in our offers.
    package static let eventPayloadType: UInt8 = 101

    /// Our RTP address; RTCP is the next port.
    package let local: TransportAddress
    private let sessionID: UInt64
    private var version: UInt64 = 0
    /// The latest description we sent.
    private var sent: SessionDescription?

    package init(local: TransportAddress, sessionID: UInt64) {
        self.local = local
        self.sessionID = sessionID & 0x7FFF_FFFF  // some phones keep it in 32 bits
    }

    /// Our offer; the same again as an answer to nothing new, with the same version.
    package mutating func offer() -> SessionDescription {
        if let sent { return sent }
        let lines = [
            "rtpmap:0 PCMU/8000", "rtpmap:8 PCMA/8000", "rtpmap:\(Self.eventPayloadType) telephone-event/8000",
            "fmtp:\(Self.eventPayloadType) 0-15", "ptime:20", "sendrecv",
        ]
        return describe([
            MediaDescription(
                kind: "audio", port: local.port, formats: ["0", "8", "\(Self.eventPayloadType)"],
                lines: lines.map { SDPLine("a", $0) })
        ])
    }

    /// The answer to an offer of the peer; nil when it offers no G.711 in the clear.
    package mutating func answer(to offer: SessionDescription) -> SessionDescription? {
        guard let index = Self.index(in: offer) else { return nil }
        let media = offer.media.indices.map { position in
            let offered = offer.media[position]
            guard position == index else {
                return MediaDescription(
                    kind: offered.kind, port: 0, transportProtocol: offered.transportProtocol,
                    formats: Array(offered.formats.prefix(1)))
            }
            var formats = offered.payloadTypes.filter { Self.isSpoken(offered.codec(of: $0)) }
            var lines = formats.compactMap { format in
                offered.codec(of: format).map { SDPLine("a", "rtpmap:\(format) \($0.name.uppercased())/8000") }
            }
            if let event = offered.telephoneEventPayloadType {
                formats.append(event)
                lines.append(SDPLine("a", "rtpmap:\(event) telephone-event/8000"))
                lines.append(SDPLine("a", "fmtp:\(event) 0-15"))
            }
            lines.append(SDPLine("a", "ptime:20"))
            lines.append(SDPLine("a", offer.direction(ofMedia: index).reversed.rawValue))
            return MediaDescription(
                kind: "audio", port: local.port, transportProtocol: offered.transportProtocol,
                formats: formats.map { "\($0)" }, lines: lines)
        }
        return describe(media)
    }

    /// What was agreed by a description of the peer, offer or answer; nil when it accepts nothing we can play.
    package func agreement(with description: SessionDescription) -> Agreement? {
        guard let index = Self.index(in: description),
            let stream = OfferAnswer.remoteStreams(in: description)[index],
            let payloadType = description.media[index].payloadTypes.first(where: {
                Self.isSpoken(description.media[index].codec(of: $0))
            }), let codec = description.media[index].codec(of: payloadType)
        else { return nil }
        var events = [Self.eventPayloadType]
        if let event = description.media[index].telephoneEventPayloadType, !events.contains(event) {
            events.append(event)
        }
        return Agreement(
            stream: stream, codec: codec.name, payloadType: payloadType, eventPayloadTypes: events)
    }

    /// The stream we take part in: the first with G.711.
    private static func index(in description: SessionDescription) -> Int? {
        description.media.indices.first { index in
            description.media[index].kind == "audio" && description.isRelayable(index)
                && description.media[index].payloadTypes.contains { isSpoken(description.media[index].codec(of: $0)) }
        }
    }

    private static func isSpoken(_ codec: SDPCodec?) -> Bool {
        codec.map { ($0.name == "pcmu" || $0.name == "pcma") && $0.clockRate == 8_000 } ?? false
    }

    private mutating func describe(_ media: [MediaDescription]) -> SessionDescription {
        version += 1
        let host = SDPHost.address(local.address)
        let description = SessionDescription(
            origin: SDPOrigin(
                username: "-", sessionID: "\(sessionID)", sessionVersion: "\(version)", host: host),
            lines: [
                SDPLine("s", "-"), SDPLine("c", SDPConnection(host: host).text), SDPLine("t", "0 0"),
            ], media: media)
        sent = description
        return description
    }
}
