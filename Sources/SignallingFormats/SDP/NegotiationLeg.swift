import Primitives

/// Why an offer or answer cannot be relayed.
package enum OfferAnswerError: Error, Equatable, Sendable {
    /// No stream of the offer can be relayed (only SRTP, only unknown media, no usable address): 488.
    case nothingUsable
    /// A later offer has fewer `m=` lines than were agreed (RFC 3264 §8): 488.
    case streamsMissing(expected: Int, got: Int)
    /// The answer does not have the offer's number of `m=` lines (RFC 3264 §6).
    case streamCountDiffers(expected: Int, got: Int)
    /// The answer's stream has another media type or transport protocol than the offer's.
    case streamDiffers(media: Int)
    /// The answer accepts a stream but none of the offered formats.
    case noCommonFormat(media: Int)
    /// An answer came, but no offer of ours waits for one.
    case noOfferPending
    /// Fewer local addresses were given than there are streams: a bug of the caller, reported, not trapped.
    case localAddressMissing(media: Int)
}

/// A payload type number on one leg that becomes another on the other leg.
package struct PayloadTypeTranslation: Hashable, Sendable {
    package var from: UInt8
    package var to: UInt8

    package init(from: UInt8, to: UInt8) {
        self.from = from
        self.to = to
    }
}

/// What one leg has said and heard, so that its next offer or answer is consistent with the last.
///
/// A value: each fork of a call keeps its own copy.
package struct NegotiationLeg: Hashable, Sendable {
    /// The number in our `o=` line, constant for the leg's life.
    package let sessionID: UInt64
    /// Our address in the `o=` line.
    package let address: IPAddress
    /// The payload type telephone-event must have on this leg; nil: whatever the other leg offers.
    package var telephoneEvent: UInt8?
    /// The last description we sent on this leg.
    package internal(set) var sent: SessionDescription?
    /// The last description agreed with or offered by this peer.
    package internal(set) var received: SessionDescription?
    /// We sent an offer that has no answer yet.
    package internal(set) var isOfferPending = false

    /// The last offer this peer made; a further fork may answer it again.
    var offered: SessionDescription?
    /// Our last offer on this leg while it may still be answered, and which number became which in it, by stream.
    var offer: SessionDescription?
    var offerFormats: [[FormatPair]] = []
    /// The last description that went out, agreed or not: the version in `o=` counts from it (RFC 3264 §8).
    var rendered: SessionDescription?
    var version: UInt64 = 0
    /// What each number has meant on this leg so far, by stream: it never changes meaning (RFC 3264 §8.3.2).
    var assigned: [[UInt8: SDPCodec]] = []

    package init(sessionID: UInt64, address: IPAddress, telephoneEvent: UInt8? = nil) {
        self.sessionID = sessionID & 0x7FFF_FFFF  // some phones keep it in 32 bits
        self.address = address
        self.telephoneEvent = telephoneEvent
    }
}

/// A format as the other leg offered it and as we offer it here.
struct FormatPair: Hashable, Sendable {
    let offered: UInt8
    let relayed: UInt8
    /// nil: a dynamic number without `a=rtpmap`, known by its number only.
    let codec: SDPCodec?
}

/// What is spoken on a stream, as far as the descriptions tell.
package struct StreamMedia: Hashable, Sendable {
    package var codec: SDPCodec
    /// telephone-event as packets of the leg that offered carry it, and of the leg that answered; nil: not agreed.
    package var eventFromOfferer: UInt8?
    package var eventFromAnswerer: UInt8?

    package init(codec: SDPCodec, eventFromOfferer: UInt8? = nil, eventFromAnswerer: UInt8? = nil) {
        self.codec = codec
        self.eventFromOfferer = eventFromOfferer
        self.eventFromAnswerer = eventFromAnswerer
    }
}

/// What offer and answer agreed on for one stream.
package struct StreamAgreement: Hashable, Sendable {
    /// false: rejected on both legs.
    package var isActive: Bool
    /// Changes on packets from the leg that offered to the leg that answered; at most four.
    package var fromOfferer: [PayloadTypeTranslation]
    /// Changes on packets from the leg that answered to the leg that offered; at most four.
    package var fromAnswerer: [PayloadTypeTranslation]

    /// nil: nobody says what the numbers mean.
    package var media: StreamMedia?

    package init(
        isActive: Bool, fromOfferer: [PayloadTypeTranslation], fromAnswerer: [PayloadTypeTranslation],
        media: StreamMedia? = nil
    ) {
        self.isActive = isActive
        self.fromOfferer = fromOfferer
        self.fromAnswerer = fromAnswerer
        self.media = media
    }
}

/// The answer for the leg that offered, and what follows for the media.
package struct RelayedAnswer: Hashable, Sendable {
    package var description: SessionDescription
    package var streams: [StreamAgreement]

    package init(description: SessionDescription, streams: [StreamAgreement]) {
        self.description = description
        self.streams = streams
    }
}

/// Where and how a peer takes part in one stream, for the media engine.
package struct RemoteStream: Hashable, Sendable {
    package var rtp: TransportAddress
    package var rtcp: TransportAddress?
    package var rtcpMux: Bool
    package var sends: Bool
    package var receives: Bool

    package init(rtp: TransportAddress, rtcp: TransportAddress?, rtcpMux: Bool, sends: Bool, receives: Bool) {
        self.rtp = rtp
        self.rtcp = rtcp
        self.rtcpMux = rtcpMux
        self.sends = sends
        self.receives = receives
    }
}
