import Primitives

/// Why a stream is no WAVE audio of ours.
package enum WaveError: Error, Equatable, Sendable {
    case notWave
    /// Linear PCM of sixteen bits, 8 to 48 kHz, is what we read.
    case unsupported(format: Int, bits: Int, samplesPerSecond: Int)
}

/// Reads WAVE audio (RIFF, linear PCM of sixteen bits) piece by piece, as it comes from a synthesizer; of several
/// channels the first. Lengths that a stream cannot know are not believed.
package struct WaveReader: Sendable {
    private static let headerByteCountMax = 65_536

    /// Known once samples come.
    package private(set) var samplesPerSecond = 0
    private var channelCount = 1
    private var isInSamples = false
    private var pending: [UInt8] = []

    package init() {}

    /// The samples that are complete with this piece.
    package mutating func read(_ bytes: some Sequence<UInt8>) throws(WaveError) -> [Int16] {
        pending += bytes
        if !isInSamples { try readHeader() }
        guard isInSamples else { return [] }
        let frame = 2 * channelCount
        let count = pending.count / frame
        let samples = (0..<count).map { Int16(truncatingIfNeeded: word16(at: $0 * frame)) }
        pending.removeFirst(count * frame)
        return samples
    }

    private mutating func readHeader() throws(WaveError) {
        guard pending.count >= 12 else { return }
        guard name(at: 0) == "RIFF", name(at: 8) == "WAVE" else { throw .notWave }
        var offset = 12
        while pending.count >= offset + 8 {
            let length = word16(at: offset + 4) | word16(at: offset + 6) << 16
            if name(at: offset) == "data" {
                guard samplesPerSecond > 0 else { throw .notWave }
                pending.removeFirst(offset + 8)
                isInSamples = true
                return
            }
            guard length <= Self.headerByteCountMax else { throw .notWave }
            if name(at: offset) == "fmt " {
                guard length >= 16 else { throw .notWave }
                guard pending.count >= offset + 24 else { return }
                try readFormat(at: offset + 8)
            }
            offset += 8 + length + length % 2
        }
        guard pending.count <= Self.headerByteCountMax else { throw .notWave }
    }

    private mutating func readFormat(at offset: Int) throws(WaveError) {
        let format = word16(at: offset)
        let rate = word16(at: offset + 4) | word16(at: offset + 6) << 16
        let bits = word16(at: offset + 14)
        channelCount = word16(at: offset + 2)
        guard format == 1, bits == 16, (8_000...48_000).contains(rate), (1...8).contains(channelCount) else {
            throw .unsupported(format: format, bits: bits, samplesPerSecond: rate)
        }
        samplesPerSecond = rate
    }

    private func word16(at offset: Int) -> Int { Int(pending[offset]) | Int(pending[offset + 1]) << 8 }

    private func name(at offset: Int) -> String { String(decoding: pending[offset..<offset + 4], as: UTF8.self) }
}
