import MediaFormats
import Primitives
import Testing

@Suite("E-model (ITU-T G.107)")
struct EModelTests {
    struct Score: Sendable {
        let rating: Double
        let score: Double
    }

    /// G.107 Annex B; 93.2 is the rating with all defaults, the others are the borders of G.109 table 1.
    static let scores: [Score] = [
        .init(rating: 93.2, score: 4.41), .init(rating: 90, score: 4.34), .init(rating: 80, score: 4.03),
        .init(rating: 70, score: 3.60), .init(rating: 60, score: 3.10), .init(rating: 50, score: 2.58),
        .init(rating: 0, score: 1), .init(rating: -5, score: 1), .init(rating: 100, score: 4.5),
        .init(rating: 120, score: 4.5), .init(rating: 6.5, score: 1),
    ]

    @Test("maps a rating to the opinion score of Annex B", arguments: scores)
    func meanOpinionScore(_ sample: Score) {
        #expect(abs(EModel.meanOpinionScore(rating: sample.rating) - sample.score) < 0.007)
    }

    struct Rating: Sendable {
        let codec: String
        let loss: Double
        let milliseconds: Int64
        let rating: Double
        var burstRatio = 1.0
    }

    /// R without delay is 93.2 less Ie-eff of equation 7-29 with the figures of G.113 Appendix I; the delays are points
    /// of the curve for TELR = 65 dB in G.107.
    static let ratings: [Rating] = [
        .init(codec: "pcmu", loss: 0, milliseconds: 0, rating: 93.2),
        .init(codec: "pcma", loss: 1, milliseconds: 0, rating: 93.2 - 3.64),
        .init(codec: "pcma", loss: 5, milliseconds: 0, rating: 93.2 - 15.78),
        .init(codec: "g722", loss: 0, milliseconds: 0, rating: 93.2),
        .init(codec: "g729", loss: 0, milliseconds: 0, rating: 82.2),
        .init(codec: "g729", loss: 1, milliseconds: 0, rating: 82.2 - 4.2),
        .init(codec: "g729", loss: 5, milliseconds: 0, rating: 82.2 - 17.5),
        .init(codec: "amr", loss: 0, milliseconds: 0, rating: 88.2),
        .init(codec: "pcmu", loss: 5, milliseconds: 0, rating: 93.2 - 17.213, burstRatio: 2),
        .init(codec: "pcmu", loss: 100, milliseconds: 0, rating: 93.2 - 75.94),
        .init(codec: "pcmu", loss: 0, milliseconds: 150, rating: 89.5),
        .init(codec: "pcmu", loss: 0, milliseconds: 200, rating: 85.8),
        .init(codec: "pcmu", loss: 0, milliseconds: 300, rating: 72.7),
        .init(codec: "pcmu", loss: 0, milliseconds: 400, rating: 62.2),
        .init(codec: "pcmu", loss: 0, milliseconds: 100_000, rating: 0),
        .init(codec: "g723", loss: 90, milliseconds: 100_000, rating: 0),
    ]

    @Test("rates codec, loss and delay", arguments: ratings)
    func rating(_ sample: Rating) throws {
        let codec = try #require(CodecImpairment.of(sample.codec))
        let rating = EModel.rating(
            codec, lossPercent: sample.loss, burstRatio: sample.burstRatio,
            oneWayDelay: .milliseconds(sample.milliseconds))
        #expect(abs(rating - sample.rating) < 0.06, "\(rating)")
    }

    @Test("says nothing of codecs without published figures", arguments: ["opus", "l16", "", "telephone-event"])
    func unknown(_ codec: String) {
        #expect(CodecImpairment.of(codec) == nil)
    }

    @Test("takes any number for loss and delay")
    func odd() throws {
        let codec = try #require(CodecImpairment.of("pcmu"))
        for loss in [-1, 0, 100, 1e9, .infinity] as [Double] {
            for delay in [-1, 0, 1, 100, 101, 1_000_000] as [Int64] {
                let rating = EModel.rating(codec, lossPercent: loss, oneWayDelay: .milliseconds(delay))
                #expect((0...93.3).contains(rating))
            }
        }
    }
}
