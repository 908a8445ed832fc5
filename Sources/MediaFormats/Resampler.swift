import Glibc

/// Brings linear audio of 8 to 48 kHz to the 8 kHz of telephony, piece by piece.
///
/// A windowed sinc below 3.6 kHz in as many phases as the rates ask for; its table (56 kB for 22 050 Hz) lives as long
/// as this does.
package struct Resampler: Sendable {
    private static let cutoff = 3_600.0  // Hz
    private static let zeroCrossings = 12.0

    /// Input samples advance by `step` phases an output sample.
    private let step: Int
    private let phaseCount: Int
    /// On each side of the output's place.
    private let reach: Int
    /// `2 × reach` weights a phase.
    private let weights: [Float]
    /// The input still needed; the first of it is input sample `origin`.
    private var input: [Float]
    /// Of the next output, in phases from the first of `input` that `reach` samples precede.
    private var place = 0

    /// `samplesPerSecond` within 8 000...48 000.
    package init(from samplesPerSecond: Int) {
        precondition((8_000...48_000).contains(samplesPerSecond), "rates WaveReader lets through")
        let divisor = Self.greatestCommonDivisor(samplesPerSecond, 8_000)
        step = samplesPerSecond / divisor
        phaseCount = 8_000 / divisor
        let cutoff = min(Self.cutoff, 0.45 * Double(samplesPerSecond)) / Double(samplesPerSecond)
        reach = Int((Self.zeroCrossings / (2 * cutoff)).rounded(.up))
        var weights: [Float] = []
        weights.reserveCapacity(phaseCount * 2 * reach)
        for phase in 0..<phaseCount {
            var row: [Double] = []
            for tap in (1 - reach)...reach {
                let distance = Double(tap) - Double(phase) / Double(phaseCount)
                let angle = 2 * Double.pi * cutoff * distance
                let sinc = angle == 0 ? 1 : sin(angle) / angle
                // Blackman: what folds back from above 4 kHz is not heard.
                let turn = Double.pi * distance / Double(reach)
                row.append(sinc * max(0, 0.42 + 0.5 * cos(turn) + 0.08 * cos(2 * turn)))
            }
            let sum = row.reduce(0, +)
            weights += row.map { Float($0 / sum) }
        }
        self.weights = weights
        input = [Float](repeating: 0, count: reach - 1)
    }

    /// The output that this piece of input completes.
    package mutating func resample(_ samples: [Int16]) -> [Int16] {
        input.reserveCapacity(input.count + samples.count)
        for sample in samples { input.append(Float(sample)) }
        var output: [Int16] = []
        output.reserveCapacity(samples.count * phaseCount / step + 1)
        while case let first = place / phaseCount, first + 2 * reach <= input.count {
            let row = place % phaseCount * 2 * reach
            var sum: Float = 0
            for tap in 0..<2 * reach { sum += input[first + tap] * weights[row + tap] }
            output.append(Int16(max(-32_768, min(32_767, sum.rounded()))))
            place += step
        }
        let used = min(place / phaseCount, input.count)
        input.removeFirst(used)
        place -= used * phaseCount
        return output
    }

    /// What is left when no more input comes.
    package mutating func finish() -> [Int16] { resample([Int16](repeating: 0, count: reach)) }

    private static func greatestCommonDivisor(_ first: Int, _ second: Int) -> Int {
        second == 0 ? first : greatestCommonDivisor(second, first % second)
    }
}
