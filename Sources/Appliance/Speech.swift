import Glibc
import LinuxIO
import MediaEngine
import MediaFormats
import Primitives

/// Makes sentences audible: by espeak-ng where it is installed, else from recorded phrases.
///
/// The synthesizer is a process of its own, with two seconds to speak; the loop never waits for it.
final class Speech {
    private enum Limits {
        /// Two minutes at 22 050 Hz, sixteen bits.
        static let synthesisByteCount = 5_300_000
        static let recordingByteCount = 80_000  // ten seconds
        /// One runs, the others wait: their sum is no more than one's time each.
        static let waitingCountMax = 32
    }

    /// What speaks now.
    enum Voice: String, Sendable { case synthesizer = "espeak-ng", recordings, none }

    private let loop: EventLoop
    private let log: StandardErrorLog
    private let synthesizer: String
    private let directory: String
    private let timeLimit: Duration
    private var current: ChildProcess?
    private var waiting: [(parts: [SpeechPart], then: ([PlayoutItem]) -> Void)] = []
    private(set) var failureCount: UInt64 = 0

    /// `directory` holds the recordings, raw G.711 μ-law, `emergency-call-from-extension.ulaw`.
    init(
        loop: EventLoop, log: StandardErrorLog, synthesizer: String = "/usr/bin/espeak-ng",
        directory: String = "/usr/share/cresset/phrases", timeLimit: Duration = .seconds(2)
    ) {
        self.loop = loop
        self.log = log
        self.synthesizer = synthesizer
        self.directory = directory
        self.timeLimit = timeLimit
    }

    var voice: Voice {
        if access(synthesizer, X_OK) == 0 { return .synthesizer }
        return recordings.isEmpty ? .none : .recordings
    }

    /// `then` gets what to play, once: at once from recordings, within seconds from the synthesizer; empty when nothing
    /// can be said.
    func speak(_ parts: [SpeechPart], then: @escaping ([PlayoutItem]) -> Void) {
        guard access(synthesizer, X_OK) == 0, waiting.count < Limits.waitingCountMax else {
            return then(recorded(parts))
        }
        waiting.append((parts, then))
        if current == nil { synthesizeNext() }
    }

    // MARK: The synthesizer

    private func synthesizeNext() {
        guard !waiting.isEmpty else { return }
        let (parts, then) = waiting.removeFirst()
        let utterance = Utterance()
        do throws(SystemCallError) {
            current = try ChildProcess(
                "/usr/bin/nice",
                arguments: ["-n", "10", synthesizer, "-v", "en-us", "-s", "150", "--stdin", "--stdout"],
                input: Array(SpokenSentence.text(parts).utf8),
                limits: .init(time: timeLimit, outputByteCount: Limits.synthesisByteCount), loop: loop,
                onOutput: { utterance.take($0) },
                onEnd: { [weak self] end in self?.finish(parts, utterance, end, then) })
        } catch {
            fail("\(error)")
            then(recorded(parts))
            loop.postpone { [weak self] in self?.synthesizeNext() }
        }
    }

    private func finish(
        _ parts: [SpeechPart], _ utterance: Utterance, _ end: ChildProcess.End, _ then: ([PlayoutItem]) -> Void
    ) {
        current = nil
        if end == .exited(status: 0), let clip = utterance.clip {
            then([.clip(clip)])
        } else {
            fail(utterance.failure ?? "\(end)")
            then(recorded(parts))
        }
        if current == nil { synthesizeNext() }
    }

    private func fail(_ reason: String) {
        failureCount += 1
        log.write(.warning, "\(synthesizer) does not speak, recordings do: \(reason)")
    }

    /// What the synthesizer has said so far, as telephony wants it.
    private final class Utterance {
        private var reader = WaveReader()
        private var resampler: Resampler?
        private var samples: [UInt8] = []
        private(set) var failure: String?

        func take(_ bytes: [UInt8]) {
            guard failure == nil else { return }
            do throws(WaveError) {
                let linear = try reader.read(bytes)
                guard !linear.isEmpty else { return }
                if resampler == nil { resampler = Resampler(from: reader.samplesPerSecond) }
                append(resampler?.resample(linear) ?? [])
            } catch {
                failure = "\(error)"
            }
        }

        private func append(_ linear: [Int16]) {
            for sample in linear { samples.append(G711.muLaw.encode(sample)) }
        }

        /// nil without a sample.
        var clip: AudioClip? {
            guard failure == nil else { return nil }
            append(resampler?.finish() ?? [])
            resampler = nil
            return samples.isEmpty ? nil : AudioClip(samples: samples)
        }
    }

    // MARK: Recordings

    private var recordings: Set<String> {
        guard let names = try? Files.list(directory) else { return [] }
        return Set(names.filter { $0.hasSuffix(".ulaw") }.map { String($0.dropLast(5)) })
    }

    private func recorded(_ parts: [SpeechPart]) -> [PlayoutItem] {
        SpokenSentence.pieces(parts, available: recordings).compactMap { piece in
            switch piece {
            case .pause(let duration): .silence(duration)
            case .recording(let name):
                (try? Files.read("\(directory)/\(name).ulaw", byteCountMax: Limits.recordingByteCount)).map {
                    .clip(AudioClip(samples: $0))
                }
            }
        }
    }
}
