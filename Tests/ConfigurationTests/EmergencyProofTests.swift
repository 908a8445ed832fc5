import Configuration
import Primitives
import Testing

@Suite("[emergency.proof]")
struct EmergencyProofTests {
    /// 2026-11-21T00:00:00Z and so many seconds.
    private func wall(_ seconds: Int64) -> WallClockTime { WallClockTime(secondsSinceEpoch: 1_795_219_200 + seconds) }

    @Test(
        "is due at its time of day, and every so often before and after",
        arguments: [
            (0, 86_400, 11_400), (11_399, 86_400, 11_400), (11_400, 86_400, 97_800), (12_000, 86_400, 97_800),
            (0, 3_600, 600), (600, 3_600, 4_200), (4_199, 3_600, 4_200),
        ] as [(Int64, Int64, Int64)])
    func due(_ now: Int64, _ every: Int64, _ next: Int64) {
        let proof = EmergencyProofConfiguration(every: .seconds(every))
        #expect(proof.next(after: wall(now)) == wall(next))
    }

    @Test("is never due without the table")
    func off() { #expect(EmergencyProofConfiguration().next(after: wall(0)) == nil) }

    @Test("is read, and written as it was read")
    func read() throws {
        let outcome = Sample.parse(
            Sample.text + "\n[emergency.proof]\nevery = \"12h\"\nat = \"04:30\"\nlisten = \"5s\"\n")
        let configuration = try #require(outcome.configuration, "\(outcome.issues)")
        #expect(
            configuration.emergency.proof
                == EmergencyProofConfiguration(
                    every: .seconds(43_200), timeOfDay: .seconds(16_200), listen: .seconds(5)))
        let again = Sample.parse(configuration.rendered(secrets: .revealed))
        #expect(again.configuration?.emergency == configuration.emergency)
    }

    @Test(
        "says what is wrong",
        arguments: [
            ("every = \"24h\"\nat = \"4:30\"", "03:10"),
            ("every = \"24h\"\nat = \"24:00\"", "03:10"), ("every = \"5m\"", "every"),
            ("every = \"24h\"\nwhen = \"now\"", "when"),
        ])
    func wrong(_ text: String, _ said: String) {
        let outcome = Sample.parse(Sample.text + "\n[emergency.proof]\n\(text)\n")
        #expect(outcome.configuration == nil)
        #expect(outcome.errors.contains { "\($0)".contains(said) }, "\(outcome.errors)")
    }
}
