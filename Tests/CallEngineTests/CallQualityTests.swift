import CallEngine
import MediaFormats
import Primitives
import Testing

@Suite("Quality of a call")
struct CallQualityTests {
    static let clean = CallMediaCounters(
        packets: 1_000, codec: "pcmu", quality: MediaQuality(received: 1_000, expected: 1_000))

    @Test("a clean call is as good as its codec and the shortest delay allow")
    func cleanCall() throws {
        let quality = CallQuality(speaker: Self.clean, listener: Self.clean)
        let score = try #require(quality.meanOpinionScore)
        #expect(score > 4.35 && score < 4.41)
    }

    @Test("takes the greater loss, ours or the listener's, and the round trips of both sides")
    func listener() throws {
        var (speaker, listener) = (Self.clean, Self.clean)
        speaker.quality.expected = 1_010
        #expect(abs(CallQuality(speaker: speaker, listener: listener).lossPercent - 0.99) < 0.01)
        listener.reports.farEnd = RTCPReportBlock(ssrc: 1, cumulativeLost: 51)
        let lossy = CallQuality(speaker: speaker, listener: listener)
        #expect(abs(lossy.lossPercent - 5.05) < 0.01)
        listener.reports.roundTrip = .init(.milliseconds(300))
        speaker.reports.roundTrip = .init(.milliseconds(300))
        let late = CallQuality(speaker: speaker, listener: listener)
        #expect(late.roundTrip?.latest == .milliseconds(300))
        #expect(try #require(late.rating) < #require(lossy.rating) - 20)
        listener.reports.farEnd?.cumulativeLost = -7
        #expect(abs(CallQuality(speaker: speaker, listener: listener).lossPercent - 0.99) < 0.01)
    }

    @Test("says nothing where nothing came, or the codec is unknown")
    func unknown() {
        var speaker = Self.clean
        speaker.codec = "opus"
        #expect(CallQuality(speaker: speaker, listener: Self.clean).meanOpinionScore == nil)
        #expect(CallQuality(speaker: CallMediaCounters(codec: "pcmu"), listener: Self.clean).rating == nil)
    }

    @Test("of several streams or forks the one spoken on counts")
    func streams() {
        let early = CallMediaCounters(
            packets: 10, codec: "g729", quality: MediaQuality(received: 10, expected: 12),
            reports: MediaReports(senderReports: 1))
        for sum in [early + Self.clean, Self.clean + early, CallMediaCounters() + Self.clean + CallMediaCounters()] {
            #expect(sum.codec == "pcmu" && sum.quality == Self.clean.quality && sum.reports == MediaReports())
        }
        #expect((early + Self.clean).packets == 1_010)
    }
}
