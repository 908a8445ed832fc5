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

    package init(sessionID: UInt64, address: IPAddress, telephoneEvent: UInt8? = nil) {
        self.sessionID = sessionID
        self.address = address
        self.telephoneEvent = telephoneEvent
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

    package init(isActive: Bool, fromOfferer: [PayloadTypeTranslation], fromAnswerer: [PayloadTypeTranslation]) {
        self.isActive = isActive
        self.fromOfferer = fromOfferer
        self.fromAnswerer = fromAnswerer
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

/// Offer and answer (RFC 3264) of a B2BUA that relays media, as functions on values.
///
/// An offer from one leg becomes an offer for the other, the answer comes back the same way. Late offers, re-offers
/// and offers in 18x/PRACK/UPDATE are the same two functions with the legs in the other order.
package enum OfferAnswer {
    /// Makes the offer for leg `to` from the offer its other side, leg `from`, sent.
    ///
    /// `local` holds our RTP address towards `to` for each stream (RTCP is the next port).
    package static func relay(
        offer: SessionDescription, from: inout NegotiationLeg, to: inout NegotiationLeg, local: [TransportAddress]
    ) throws(OfferAnswerError) -> SessionDescription {
        throw .nothingUsable
    }

    /// Makes the answer for leg `to`, which offered, from the answer of leg `from`.
    ///
    /// `local` holds our RTP address towards `to` for each stream.
    package static func relay(
        answer: SessionDescription, from: inout NegotiationLeg, to: inout NegotiationLeg, local: [TransportAddress]
    ) throws(OfferAnswerError) -> RelayedAnswer {
        throw .nothingUsable
    }

    /// Our last description as an offer again, unchanged: a session refresh (RFC 4028 §7.4). nil before the first.
    package static func repeatOffer(on leg: inout NegotiationLeg) -> SessionDescription? { leg.sent }

    /// The offer is the one this leg made before: answer with `leg.sent` and bother nobody (RFC 3264 §8).
    package static func isUnchanged(_ offer: SessionDescription, on leg: NegotiationLeg) -> Bool {
        leg.received == offer && leg.sent != nil
    }

    /// The offer we sent on this leg failed (4xx, CANCEL, glare): what was agreed before still holds.
    package static func abandonOffer(on leg: inout NegotiationLeg) {}

    /// How many streams a leg needs for this description: one per `m=` line.
    package static func streamCount(of description: SessionDescription) -> Int { description.media.count }

    /// The peer's side of each stream for the media engine; nil where there is none.
    package static func remoteStreams(in description: SessionDescription) -> [RemoteStream?] { [] }
}
