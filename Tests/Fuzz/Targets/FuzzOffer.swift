import Primitives
import SignallingFormats

/// Offer and answer with anything a peer may write: the offer we make parses, has as many streams, and no address of
/// the other side's; the same description answers it or is refused.
func fuzzOffer(_ bytes: Span<UInt8>) {
    guard let description = try? SessionDescription(parsing: bytes) else { return }
    var from = NegotiationLeg(sessionID: 1, address: .v4(0xC000_0201))
    var to = NegotiationLeg(sessionID: 2, address: .v4(0xC000_0202), telephoneEvent: 101)
    let local = (0..<16).map { TransportAddress(.v4(0xC000_0202), UInt16(20_000 + 2 * $0)) }
    guard let offer = try? OfferAnswer.relay(offer: description, from: &from, to: &to, local: local) else { return }
    guard offer.media.count == description.media.count else { fatalError("streams were lost") }
    guard (try? SessionDescription(parsing: offer.bytes.span)) == offer else { fatalError("we reject what we sent") }
    blackHole(OfferAnswer.remoteStreams(in: description))
    guard let relayed = try? OfferAnswer.relay(answer: description, from: &to, to: &from, local: local) else { return }
    guard relayed.streams.allSatisfy({ $0.fromOfferer.count <= 4 && $0.fromAnswerer.count <= 4 }) else {
        fatalError("more translations than the relay takes")
    }
    blackHole(OfferAnswer.answer(unchanged: description, on: &from))
}
