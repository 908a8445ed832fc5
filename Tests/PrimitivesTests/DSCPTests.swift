import Primitives
import Testing

@Suite("DSCP names (RFC 2474, 2597, 3246, 5865, 8622)")
struct DSCPTests {
    @Test(
        "reads names and numbers",
        arguments: [
            ("EF", 46), ("ef", 46), ("CS0", 0), ("CS3", 24), ("CS7", 56), ("AF11", 10), ("AF41", 34), ("AF43", 38),
            ("VA", 44), ("LE", 1), ("BE", 0), ("0", 0), ("63", 63), ("046", 46),
        ] as [(String, UInt8)])
    func reads(_ text: String, _ value: UInt8) {
        #expect(DSCP(text)?.rawValue == value)
    }

    @Test("refuses what is none", arguments: ["", "64", "-1", "+1", "AF14", "AF51", "CS8", "EF ", "0x2E", "256", "４６"])
    func refuses(_ text: String) {
        #expect(DSCP(text) == nil)
    }

    @Test("every value has a text that means it")
    func roundTrip() {
        for value: UInt8 in 0...63 {
            #expect(DSCP(rawValue: value).flatMap { DSCP($0.description) }?.rawValue == value)
        }
        #expect(DSCP(rawValue: 64) == nil)
    }
}
