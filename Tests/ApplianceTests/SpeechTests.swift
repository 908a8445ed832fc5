import Glibc
import LinuxIO
import MediaEngine
import MediaFormats
import Primitives
import Testing

@testable import Appliance

@Suite("Spoken sentences")
struct SpeechTests {
    static let sentence: [SpeechPart] = [
        .phrase(.emergencyCallFromExtension), .digits("2001"), .phrase(.callbackNumber), .digits("+1 313-555-0101"),
        .phrase(.location), .text("Floor 2, Röntgen lab"),
    ]

    @Test("a synthesizer gets figures one by one, and no control characters")
    func text() {
        #expect(
            SpokenSentence.text(Self.sentence)
                == "emergency call from extension, 2 0 0 1, callback number, 1 3 1 3 5 5 5 0 1 0 1, location, "
                + "Floor 2, Röntgen lab.")
        #expect(SpokenSentence.text([.text("a\u{1}b\n\u{7F}c")]) == "a b  c.")
        #expect(SpokenSentence.text([.text(String(repeating: "ö", count: 4_000))]).utf8.count == 2_001)
    }

    @Test("from recordings words are spoken where recorded, else spelled; what cannot be spelled is left out")
    func recordings() {
        let letters = Set("abcdefghijklmnopqrstuvwxyz0123456789".map { String($0) })
        let names = letters.union(["emergency-call-from-extension", "callback-number", "floor"])
        let pieces = SpokenSentence.pieces(Self.sentence, available: names)
        let said = pieces.compactMap { if case .recording(let name) = $0 { name } else { nil } }
        #expect(
            said == ["emergency-call-from-extension", "2", "0", "0", "1", "callback-number"]
                + "13135550101".map { String($0) } + "location".map { String($0) } + ["floor", "2", "r"]
                + "ntgen".map { String($0) } + ["l", "a", "b"])
        #expect(pieces.contains(.pause(.milliseconds(300))))
        #expect(SpokenSentence.pieces(Self.sentence, available: []).isEmpty)
        let long = SpokenSentence.pieces([.text(String(repeating: "z", count: 500))], available: letters)
        #expect(long.count == 60)
    }

    @Test("every phrase has a recording in the package, and so has every digit and letter")
    func package() throws {
        let names = try Files.list(Self.directory)
        for phrase in SpeechPart.Phrase.allCases {
            #expect(names.contains(SpokenSentence.recording(of: phrase) + ".ulaw"), "run share/phrases/generate")
        }
        for character in "abcdefghijklmnopqrstuvwxyz0123456789" { #expect(names.contains("\(character).ulaw")) }
    }

    static let directory = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/share/phrases"

    /// What is to be played, once it is known.
    static func speak(_ parts: [SpeechPart], synthesizer: String) throws -> [PlayoutItem]? {
        let loop = try EventLoop()
        let log = StandardErrorLog()
        log.level = .error
        let speech = Speech(
            loop: loop, log: log, synthesizer: synthesizer, directory: directory, timeLimit: .seconds(30))
        var items: [PlayoutItem]?
        speech.speak(parts) {
            items = $0
            loop.postpone { loop.stop() }
        }
        try loop.run(until: Clock.monotonic + .seconds(40))
        return withExtendedLifetime(speech) { items }
    }

    @Test(
        "without a synthesizer, and with one that fails, recordings speak",
        arguments: ["/no/such", "/bin/false", "/bin/cat"])
    func fallback(_ synthesizer: String) throws {
        let items = try #require(try Self.speak(Self.sentence, synthesizer: synthesizer))
        guard case .clip(let first)? = items.first else {
            Issue.record("nothing is said")
            return
        }
        #expect(first.samples == (try Files.read(Self.directory + "/emergency-call-from-extension.ulaw")))
        #expect(items.count > 20)
    }

    @Test(
        "espeak-ng speaks: seconds of audio with the loudness of speech, and longer for more words",
        .enabled(if: access("/usr/bin/espeak-ng", X_OK) == 0, "espeak-ng is not installed"))
    func synthesizer() throws {
        func clip(_ parts: [SpeechPart]) throws -> AudioClip? {
            let items = try Self.speak(parts, synthesizer: "/usr/bin/espeak-ng")
            guard case .clip(let clip)? = items?.first, items?.count == 1 else { return nil }
            return clip
        }
        let short = try #require(try clip([.phrase(.location)]))
        let long = try #require(try clip(Self.sentence))
        #expect(short.duration > .milliseconds(400) && short.duration < .seconds(3))
        #expect(long.duration > .seconds(6) && long.duration < .seconds(25))
        let power = long.samples.reduce(0.0) { $0 + pow(Double(G711.muLaw.decode($1)), 2) } / Double(long.samples.count)
        #expect(power.squareRoot() > 500 && power.squareRoot() < 12_000)
    }
}
