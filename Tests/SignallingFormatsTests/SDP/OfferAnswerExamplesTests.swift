import Primitives
import SignallingFormats
import TestSupport
import Testing

/// The exchanges of RFC 4317 through the box, with addresses for the RFC's host names (the relay resolves none).
///
/// Each golden file is the whole exchange: what came, and what went out on the other leg.
@Suite("Offer/answer examples (RFC 4317)")
struct OfferAnswerExamplesTests {
    struct Step: Sendable {
        enum Kind: String, Sendable { case offerFromA, answerFromB, offerFromB, answerFromA }
        let kind: Kind
        let media: [String]

        init(_ kind: Kind, _ media: String...) {
            self.kind = kind
            self.media = media
        }
    }

    struct Example: Sendable, CustomTestStringConvertible {
        let name: String
        let steps: [Step]
        var testDescription: String { name }

        init(_ name: String, _ steps: Step...) {
            self.name = name
            self.steps = steps
        }
    }

    static let examples: [Example] = [
        Example(
            "rfc4317-2.1-audio-and-video",
            Step(
                .offerFromA, "m=audio 49170 RTP/AVP 0 8 97", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
                "a=rtpmap:97 iLBC/8000", "m=video 51372 RTP/AVP 31 32", "a=rtpmap:31 H261/90000",
                "a=rtpmap:32 MPV/90000"),
            Step(
                .answerFromB, "m=audio 49174 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "m=video 49170 RTP/AVP 32",
                "a=rtpmap:32 MPV/90000")),
        Example(
            "rfc4317-2.2-video-declined-then-one-codec",
            Step(
                .offerFromA, "m=audio 49170 RTP/AVP 0 8 97", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
                "a=rtpmap:97 iLBC/8000", "m=video 51372 RTP/AVP 31 32", "a=rtpmap:31 H261/90000",
                "a=rtpmap:32 MPV/90000"),
            Step(
                .answerFromB, "m=audio 49172 RTP/AVP 0 8", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
                "m=video 0 RTP/AVP 31", "a=rtpmap:31 H261/90000"),
            Step(
                .offerFromA, "m=audio 51372 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "m=video 0 RTP/AVP 31",
                "a=rtpmap:31 H261/90000"),
            Step(
                .answerFromB, "m=audio 49172 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "m=video 0 RTP/AVP 31",
                "a=rtpmap:31 H261/90000")),
        Example(
            "rfc4317-2.4-two-audio-streams",
            Step(
                .offerFromA, "m=audio 49170 RTP/AVP 0 8 97", "a=rtpmap:97 iLBC/8000", "m=audio 49172 RTP/AVP 98",
                "a=rtpmap:98 telephone-event/8000", "a=sendonly"),
            Step(
                .answerFromB, "m=audio 49172 RTP/AVP 97", "a=rtpmap:97 iLBC/8000", "m=audio 49174 RTP/AVP 98",
                "a=rtpmap:98 telephone-event/8000", "a=recvonly")),
        Example(
            "rfc4317-2.6-other-dynamic-number",
            Step(
                .offerFromA, "m=audio 49170 RTP/AVP 99", "a=rtpmap:99 iLBC/8000"),
            Step(.answerFromB, "m=audio 49172 RTP/AVP 97", "a=rtpmap:97 iLBC/8000")),
        Example(
            "rfc4317-3.1-hold-and-unhold",
            Step(.offerFromA, "m=audio 49170 RTP/AVP 0 97", "a=rtpmap:97 iLBC/8000"),
            Step(.answerFromB, "m=audio 49172 RTP/AVP 97", "a=rtpmap:97 iLBC/8000"),
            Step(.offerFromB, "m=audio 49172 RTP/AVP 97", "a=rtpmap:97 iLBC/8000", "a=sendonly"),
            Step(.answerFromA, "m=audio 49170 RTP/AVP 97", "a=rtpmap:97 iLBC/8000", "a=recvonly"),
            Step(.offerFromB, "m=audio 49172 RTP/AVP 97", "a=rtpmap:97 iLBC/8000"),
            Step(.answerFromA, "m=audio 49170 RTP/AVP 97", "a=rtpmap:97 iLBC/8000")),
        Example(
            "rfc4317-4.1-second-audio-added",
            Step(.offerFromA, "m=audio 49170 RTP/AVP 0 97", "a=rtpmap:97 iLBC/8000"),
            Step(.answerFromB, "m=audio 49172 RTP/AVP 97", "a=rtpmap:97 iLBC/8000"),
            Step(
                .offerFromA, "m=audio 49170 RTP/AVP 97", "a=rtpmap:97 iLBC/8000", "m=audio 49172 RTP/AVP 98",
                "a=rtpmap:98 telephone-event/8000", "a=sendonly"),
            Step(
                .answerFromB, "m=audio 49172 RTP/AVP 97", "a=rtpmap:97 iLBC/8000", "m=audio 49174 RTP/AVP 98",
                "a=rtpmap:98 telephone-event/8000", "a=recvonly")),
        Example(
            "rfc4317-4.3-video-deleted",
            Step(
                .offerFromA, "m=audio 49170 RTP/AVP 99", "a=rtpmap:99 iLBC/8000", "m=video 51372 RTP/AVP 31",
                "a=rtpmap:31 H261/90000"),
            Step(
                .answerFromB, "m=audio 49174 RTP/AVP 99", "a=rtpmap:99 iLBC/8000", "m=video 49170 RTP/AVP 31",
                "a=rtpmap:31 H261/90000"),
            Step(.offerFromB, "m=audio 49174 RTP/AVP 99", "a=rtpmap:99 iLBC/8000", "m=video 0 RTP/AVP 31"),
            Step(.answerFromA, "m=audio 49170 RTP/AVP 99", "a=rtpmap:99 iLBC/8000", "m=video 0 RTP/AVP 31")),
    ]

    @Test("passes the exchange on", arguments: examples)
    func exchange(_ example: Example) throws {
        var pair = Pair()
        var transcript = ""
        for (index, step) in example.steps.enumerated() {
            let address = step.kind == .offerFromA || step.kind == .answerFromA ? "10.0.0.5" : "198.51.100.9"
            let lines = from(address, version: index + 1) + step.media
            transcript += "== \(step.kind.rawValue)\n" + lines.joined(separator: "\n") + "\n-- relayed\n"
            let made: SessionDescription
            switch step.kind {
            case .offerFromA: made = try pair.offerFromA(lines)
            case .offerFromB: made = try pair.offerFromB(lines)
            case .answerFromA, .answerFromB:
                let relayed = try step.kind == .answerFromA ? pair.answerFromA(lines) : pair.answerFromB(lines)
                made = relayed.description
                transcript += relayed.streams.map { stream in
                    func list(_ translations: [PayloadTypeTranslation]) -> String {
                        translations.map { "\($0.from)→\($0.to)" }.joined(separator: " ")
                    }
                    return stream.isActive
                        ? "# active; from offerer [\(list(stream.fromOfferer))], from answerer [\(list(stream.fromAnswerer))]\n"
                        : "# rejected\n"
                }.joined()
            }
            transcript += text(made).joined(separator: "\n") + "\n"
        }
        try Golden.check(example.name, transcript)
    }
}
