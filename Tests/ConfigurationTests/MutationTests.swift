import Configuration
import Primitives
import Testing

@Suite("Damaged configuration")
struct MutationTests {
    private static let fragments: [[UInt8]] =
        [
            "[", "]", "[[", "]]", "{", "}", "\"", "'", "\"\"\"", "'''", "\\", "\\u12", "=", ".", ",", "#", "\n", "\r\n",
            "\r",
            "-", "_", "+", "0x", "1e", "9223372036854775808", "inf", "true", "2026-11-21", "é", "\u{0}", "911", "X.",
            "[1-",
            "::", "/129", "99999", "-1", "h", "99999999999999h", "password-file = \"x\"", "stations", "realms.lan",
        ].map { Array($0.utf8) } + [[0xFF], [0xC3], [0xF0, 0x9F], [0xED, 0xA0, 0x80]]

    private static func damage(_ bytes: inout [UInt8], _ random: inout RandomSource) {
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            let end = min(bytes.count, place + Int.random(in: 0...12, using: &random))
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes.removeSubrange(place..<end)
            case 1: bytes.insert(contentsOf: bytes[place..<end], at: Int.random(in: 0...bytes.count, using: &random))
            case 2:
                let fragment = fragments[Int.random(in: 0..<fragments.count, using: &random)]
                bytes.replaceSubrange(place..<end, with: fragment)
            case 3 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &random)
            default: bytes.removeSubrange(end...)
            }
        }
    }

    @Test("never stops the process, always has a reason, and what is accepted survives rendering", arguments: 1...8)
    func mutations(_ seed: Int) {
        var random = RandomSource(seed: UInt64(seed))
        var acceptedCount = 0
        for round in 0..<500 {
            var bytes = Array((round % 2 == 0 ? Sample.text : RenderingTests.rich).utf8)
            Self.damage(&bytes, &random)
            let outcome = ConfigurationParser.parse(
                files: [.init(name: "box.toml", bytes: bytes)], readingSecrets: { .success(Array($0.utf8)) })
            guard let box = outcome.configuration else {
                #expect(!outcome.errors.isEmpty, "seed \(seed) round \(round)")
                continue
            }
            acceptedCount += 1
            let again = ConfigurationParser.parse(
                files: [.init(name: "box.toml", bytes: Array(box.rendered(secrets: .revealed).utf8))],
                readingSecrets: { .success(Array($0.utf8)) })
            #expect(again.configuration == box, "seed \(seed) round \(round): \(again.errors)")
        }
        #expect(acceptedCount > 0)
    }

    @Test("takes random bytes")
    func noise() {
        var random = RandomSource(seed: 7)
        for length in 0..<512 {
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            #expect(
                ConfigurationParser.parse(files: [.init(name: "noise.toml", bytes: bytes)]).configuration == nil)
        }
    }
}
