import Primitives

/// Offer and answer (RFC 3264) of a B2BUA that relays media, as functions on values.
///
/// An offer from one leg becomes an offer for the other, the answer comes back the same way. Late offers, re-offers
/// and offers in 18x/PRACK/UPDATE are the same two functions with the legs in the other order. Nothing is changed
/// when they throw.
package enum OfferAnswer {
    /// Makes the offer for leg `to` from the offer its other side, leg `from`, sent.
    ///
    /// `local` holds our RTP address towards `to` for each stream (RTCP is the next port). What we cannot relay keeps
    /// its place with port 0.
    package static func relay(
        offer: SessionDescription, from: inout NegotiationLeg, to: inout NegotiationLeg, local: [TransportAddress]
    ) throws(OfferAnswerError) -> SessionDescription {
        let usable = offer.media.indices.map { offer.isRelayable($0) }
        let expected = max(from.sent?.media.count ?? 0, to.sent?.media.count ?? 0)
        guard offer.media.count >= expected else {
            throw .streamsMissing(expected: expected, got: offer.media.count)
        }
        // A later offer may switch every stream off; a first one that does is of no use to anybody.
        guard usable.contains(true) || (to.sent != nil && offer.media.allSatisfy(\.isRejected)) else {
            throw .nothingUsable
        }
        var pairs: [[FormatPair]] = []
        var media: [MediaDescription] = []
        for (index, stream) in offer.media.enumerated() {
            guard usable[index] else {
                media.append(stream.rejected)
                pairs.append([])
                continue
            }
            guard local.indices.contains(index) else { throw .localAddressMissing(media: index) }
            let table = to.assigned.indices.contains(index) ? to.assigned[index] : [:]
            let streamPairs = Numbering(table: table, telephoneEvent: to.telephoneEvent).pairs(for: stream)
            media.append(
                stream.relayed(
                    to: local[index], session: to.address, direction: offer.direction(ofMedia: index),
                    renumbering: Dictionary(uniqueKeysWithValues: streamPairs.map { ($0.offered, $0.relayed) }),
                    formats: streamPairs.map(\.relayed), rtcpMux: stream.hasRTCPMux))
            pairs.append(streamPairs)
        }
        let made = to.describe(offer, media: media)
        from.note(offer)
        from.offered = offer
        from.offer = nil
        from.isOfferPending = false
        to.note(made)
        to.offer = made
        to.offerFormats = pairs
        to.offered = nil
        to.isOfferPending = true
        return made
    }

    /// Makes the answer for leg `to`, which offered, from the answer of leg `from`.
    ///
    /// `local` holds our RTP address towards `to` for each stream. An answer may come again (183, then 200, or from
    /// another fork, which has its own copy of `from`) as long as no new offer was made.
    package static func relay(
        answer: SessionDescription, from: inout NegotiationLeg, to: inout NegotiationLeg, local: [TransportAddress]
    ) throws(OfferAnswerError) -> RelayedAnswer {
        guard let offer = from.offer, let original = to.offered else { throw .noOfferPending }
        // A repetition of ours that is still out has nothing to do with what the other leg offered.
        guard original.media.count == offer.media.count, from.offerFormats.count == offer.media.count else {
            throw .noOfferPending
        }
        guard answer.media.count == offer.media.count else {
            throw .streamCountDiffers(expected: offer.media.count, got: answer.media.count)
        }
        var media: [MediaDescription] = []
        var streams: [StreamAgreement] = []
        for (index, stream) in answer.media.enumerated() {
            let offered = original.media[index]
            // Tolerated: an answer that accepts what was offered with port 0; it stays off.
            guard !offer.media[index].isRejected, answer.rtpAddress(ofMedia: index) != nil else {
                media.append(offered.rejected)
                streams.append(StreamAgreement(isActive: false, fromOfferer: [], fromAnswerer: []))
                continue
            }
            try check(stream, answers: offer.media[index], index: index)
            guard local.indices.contains(index) else { throw .localAddressMissing(media: index) }
            let match = FormatMatch(answer: stream, pairs: from.offerFormats[index])
            guard !match.formats.isEmpty else { throw .noCommonFormat(media: index) }
            // Tolerated: an answer that wants more than the offer allows, such as sendrecv to sendonly.
            let direction = answer.direction(ofMedia: index)
                .intersection(offer.direction(ofMedia: index).reversed)
            var description = stream.relayed(
                to: local[index], session: to.address, direction: direction, renumbering: match.renumbering,
                formats: match.formats.map(\.offered), rtcpMux: stream.hasRTCPMux && offered.hasRTCPMux)
            description.transportProtocol = offered.transportProtocol
            description.addMissingMappings(from: offered)
            media.append(description)
            streams.append(
                StreamAgreement(
                    isActive: true, fromOfferer: match.fromOfferer, fromAnswerer: match.fromAnswerer, media: match.media
                ))
        }
        let made = to.describe(answer, media: media)
        from.note(answer)
        from.received = answer
        from.sent = offer
        from.isOfferPending = false
        to.note(made)
        to.received = original
        to.sent = made
        return RelayedAnswer(description: made, streams: streams)
    }

    /// Our last description as an offer again, unchanged: a session refresh (RFC 4028 §7.4). nil before the first.
    package static func repeatOffer(on leg: inout NegotiationLeg) -> SessionDescription? {
        guard let sent = leg.sent else { return nil }
        leg.offer = sent
        leg.offerFormats = []
        leg.isOfferPending = true
        return leg.render(sent)
    }

    /// Takes the answer to `repeatOffer`, which concerns nobody else; read `remoteStreams` again afterwards.
    package static func accept(
        answer: SessionDescription, on leg: inout NegotiationLeg
    ) throws(OfferAnswerError) {
        guard leg.isOfferPending, let offer = leg.offer else { throw .noOfferPending }
        guard answer.media.count == offer.media.count else {
            throw .streamCountDiffers(expected: offer.media.count, got: answer.media.count)
        }
        for (index, stream) in answer.media.enumerated()
        where !stream.isRejected && !offer.media[index].isRejected {
            try check(stream, answers: offer.media[index], index: index)
        }
        leg.note(answer)
        leg.received = answer
        leg.offer = nil
        leg.isOfferPending = false
    }

    /// The offer says what this leg said before: answer with `answer(unchanged:)` and bother nobody (RFC 3264 §8).
    package static func isUnchanged(_ offer: SessionDescription, on leg: NegotiationLeg) -> Bool {
        leg.received == offer && leg.sent != nil
    }

    /// The answer to an offer that repeats what was agreed; nil when it does not.
    package static func answer(
        unchanged offer: SessionDescription, on leg: inout NegotiationLeg
    ) -> SessionDescription? {
        guard isUnchanged(offer, on: leg), var answer = leg.sent, answer.media.count == offer.media.count else {
            return nil
        }
        for (index, stream) in offer.media.enumerated() where !answer.media[index].isRejected {
            let direction = answer.direction(ofMedia: index).intersection(offer.direction(ofMedia: index).reversed)
            answer.media[index].keepFormats { stream.formats.contains($0) }
            answer.media[index].setDirection(direction)
            if answer.media[index].formats.isEmpty { return nil }  // the peer has other numbers: relay it
        }
        leg.offer = nil
        leg.isOfferPending = false
        let made = leg.render(answer)
        leg.sent = made
        return made
    }

    /// The offer we sent on this leg failed (4xx, CANCEL, glare): what was agreed before still holds.
    package static func abandonOffer(on leg: inout NegotiationLeg) {
        leg.offer = nil
        leg.offerFormats = []
        leg.isOfferPending = false
    }

    /// How many streams a leg needs for this description: one per `m=` line.
    package static func streamCount(of description: SessionDescription) -> Int { description.media.count }

    /// The peer's side of each stream for the media engine; nil where there is none.
    ///
    /// With our own description of the same exchange (`leg.sent`) only what both allow counts; without it, before the
    /// answer, what the peer alone says.
    package static func remoteStreams(
        in description: SessionDescription, agreedWith ours: SessionDescription? = nil
    ) -> [RemoteStream?] {
        description.media.indices.map { index in
            guard description.isRelayable(index), let rtp = description.rtpAddress(ofMedia: index) else { return nil }
            var direction = description.direction(ofMedia: index)
            var rtcpMux = false
            if let ours {
                guard ours.media.indices.contains(index), !ours.media[index].isRejected else { return nil }
                direction = direction.intersection(ours.direction(ofMedia: index).reversed)
                rtcpMux = description.media[index].hasRTCPMux && ours.media[index].hasRTCPMux
            }
            return RemoteStream(
                rtp: rtp, rtcp: description.rtcpAddress(ofMedia: index), rtcpMux: rtcpMux, sends: direction.sends,
                receives: direction.receives)
        }
    }

    private static func check(
        _ stream: MediaDescription, answers offer: MediaDescription, index: Int
    ) throws(OfferAnswerError) {
        // Tolerated: RTP/AVP for RTP/AVPF and the other way round; what passes through the relay is the same.
        guard stream.kind == offer.kind, stream.isPlainRTP else { throw .streamDiffers(media: index) }
    }
}

extension SessionDescription {
    /// RTP in the clear between two addresses: what the relay can carry.
    func isRelayable(_ index: Int) -> Bool {
        guard media.indices.contains(index) else { return false }
        let stream = media[index]
        return ["audio", "video", "text"].contains(stream.kind) && stream.isPlainRTP && !stream.payloadTypes.isEmpty
            && rtpAddress(ofMedia: index) != nil
    }
}
