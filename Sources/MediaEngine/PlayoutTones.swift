import Glibc
import MediaFormats
import Primitives

extension CallTone {
    /// Two frequencies in hertz (0: none), the level of each in dBm0, and how long it sounds and rests.
    ///
    /// Dial, ringback, busy and reorder: the precise tone plan (Telcordia GR-506, ANSI T1.401). Attention: 1 kHz, which
    /// no one may confuse with the signals of 47 CFR §11.31 (853 and 960 Hz), whose use is forbidden here (§11.45).
    private var recipe: (low: Double, high: Double, level: Double, on: Duration, off: Duration) {
        switch self {
        case .dial: (350, 440, -13, .seconds(1), .zero)
        case .ringback: (440, 480, -19, .seconds(2), .seconds(4))
        case .busy: (480, 620, -24, .milliseconds(500), .milliseconds(500))
        case .reorder: (480, 620, -24, .milliseconds(250), .milliseconds(250))
        case .attention: (1_000, 0, -16, .milliseconds(500), .milliseconds(250))
        case .confirmation: (350, 440, -13, .milliseconds(100), .milliseconds(100))
        }
    }

    /// The sample at a place in the tone, linear.
    func sample(at index: Int) -> Int16 {
        let recipe = recipe
        let on = recipe.on.sampleCount
        guard index % max(1, on + recipe.off.sampleCount) < on else { return 0 }
        let angle = 2 * Double.pi * Double(index) / Double(AudioClip.samplesPerSecond)
        // A sine of full scale is 3.17 dBm0 in μ-law (ITU-T G.711).
        let amplitude = 32_635 * pow(10, (recipe.level - 3.17) / 20)
        return Int16(amplitude * (sin(recipe.low * angle) + sin(recipe.high * angle)))
    }
}

extension Duration {
    /// At 8 000 samples a second.
    var sampleCount: Int { Int(clamping: max(0, wholeNanoseconds / 125_000)) }
}
