import Glibc
import MediaFormats
import Testing

@Suite("WAVE and resampling")
struct WaveTests {
    /// Header as espeak-ng writes it, with lengths no stream can keep.
    static func header(rate: Int, channels: Int = 1, bits: Int = 16, format: Int = 1) -> [UInt8] {
        func word(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(value >> (8 * $0) & 0xFF) } }
        return Array("RIFF".utf8) + word(0x7FFF_F024, 4) + Array("WAVEfmt ".utf8) + word(16, 4) + word(format, 2)
            + word(channels, 2) + word(rate, 4) + word(rate * channels * bits / 8, 4) + word(channels * bits / 8, 2)
            + word(bits, 2) + Array("data".utf8) + word(0x7FFF_F000, 4)
    }

    static func bytes(_ samples: [Int16]) -> [UInt8] {
        samples.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
    }

    @Test("whatever the pieces are cut into, the samples are the same", arguments: [1, 2, 3, 7, 44, 1_000])
    func pieces(_ size: Int) throws {
        let samples = (0..<500).map { Int16(truncatingIfNeeded: $0 &* 131) }
        let stream = Self.header(rate: 22_050) + Self.bytes(samples)
        var reader = WaveReader()
        var read: [Int16] = []
        for start in stride(from: 0, to: stream.count, by: size) {
            read += try reader.read(stream[start..<min(start + size, stream.count)])
        }
        #expect(read == samples)
        #expect(reader.samplesPerSecond == 22_050)
    }

    @Test("of two channels the first; other formats and no WAVE at all are refused")
    func formats() throws {
        var reader = WaveReader()
        #expect(try reader.read(Self.header(rate: 16_000, channels: 2) + Self.bytes([1, -1, 2, -2])) == [1, 2])
        for (header, error) in [
            (Self.header(rate: 22_050, bits: 8), WaveError.unsupported(format: 1, bits: 8, samplesPerSecond: 22_050)),
            (Self.header(rate: 4_000), .unsupported(format: 1, bits: 16, samplesPerSecond: 4_000)),
            (Self.header(rate: 8_000, format: 7), .unsupported(format: 7, bits: 16, samplesPerSecond: 8_000)),
            (Array("this is no audio at all".utf8), .notWave),
            (Array("RIFF0000WAVELIST\u{7F}\u{7F}\u{7F}\u{7F}".utf8), .notWave),
            (Array("RIFF0000WAVEdata0000".utf8), .notWave),
        ] {
            #expect(throws: error) {
                var reader = WaveReader()
                _ = try reader.read(header)
            }
        }
    }

    @Test(
        "a tone keeps frequency and level at 8 kHz, one above the band is gone",
        arguments: [8_000, 16_000, 22_050, 44_100, 48_000])
    func tones(_ rate: Int) throws {
        func amplitude(of frequency: Double) -> (count: Int, amplitude: Double) {
            let input = (0..<rate).map {
                Int16(8_000 * sin(2 * .pi * frequency * Double($0) / Double(rate)))
            }
            var resampler = Resampler(from: rate)
            var output: [Int16] = []
            for start in stride(from: 0, to: input.count, by: 999) {
                output += resampler.resample(Array(input[start..<min(start + 999, input.count)]))
            }
            output += resampler.finish()
            // Correlated with the tone over the middle.
            var (cosine, sine) = (0.0, 0.0)
            for index in 2_000..<6_000 {
                let angle = 2 * .pi * frequency * Double(index) / 8_000
                cosine += Double(output[index]) * cos(angle)
                sine += Double(output[index]) * sin(angle)
            }
            return (output.count, (cosine * cosine + sine * sine).squareRoot() / 2_000)
        }
        let tone = amplitude(of: 1_000)
        #expect(abs(tone.count - 8_000) <= 60)
        #expect(abs(tone.amplitude - 8_000) < 160)
        if rate > 10_000 { #expect(amplitude(of: 5_000).amplitude < 40) }
    }
}
