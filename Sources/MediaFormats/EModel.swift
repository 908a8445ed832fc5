import Glibc
import Primitives

/// How a codec suffers, for the E-model: equipment impairment and robustness to loss (ITU-T G.113 Appendix I).
package struct CodecImpairment: Hashable, Sendable {
    /// Ie, without loss.
    package var equipment: Double
    /// Bpl, for random loss, with the concealment the codec has.
    package var lossRobustness: Double

    package init(equipment: Double, lossRobustness: Double) {
        self.equipment = equipment
        self.lossRobustness = lossRobustness
    }

    /// By the name in SDP (`a=rtpmap`), lower case; nil for codecs without published figures, Opus among them.
    ///
    /// G.711 is taken with concealment (its Appendix I), as telephones have it. Wideband codecs are put on the narrowband
    /// scale of R ≤ 100: G.722 counts as G.711 there, since its gain lies above the scale (G.107.1).
    package static func of(_ codec: String) -> CodecImpairment? {
        switch codec {
        case "pcmu", "pcma", "g722": CodecImpairment(equipment: 0, lossRobustness: 25.1)
        case "g729", "g729a": CodecImpairment(equipment: 11, lossRobustness: 19)
        case "g723": CodecImpairment(equipment: 15, lossRobustness: 16.1)
        case "gsm-efr", "amr": CodecImpairment(equipment: 5, lossRobustness: 10)  // AMR at 12.2 kbit/s is GSM-EFR
        case "gsm": CodecImpairment(equipment: 20, lossRobustness: 43)
        default: nil
        }
    }
}

/// The E-model (ITU-T G.107) with its default values for everything but codec, loss and delay.
package enum EModel {
    private enum SpecificationConstants {
        /// Basic signal-to-noise ratio less simultaneous impairments: Ro − Is with all defaults.
        static let signal = 93.3553
        static let noiseRatio = 94.7688  // Ro
        static let noEchoNoise = -61.18  // No, in dBm0p
        static let receiveLoudness = 2.0  // RLR, in dB
        static let talkerEchoLoudness = 65.0  // TELR, in dB
        static let weightedEchoPathLoss = 110.0  // WEPL, in dB
    }

    /// The transmission rating R, 0...93.2 for narrowband.
    ///
    /// - `lossPercent`: 0...100; `burstRatio` is 1 where losses are independent.
    /// - `oneWayDelay`: mouth to ear.
    package static func rating(
        _ codec: CodecImpairment, lossPercent: Double, burstRatio: Double = 1, oneWayDelay: Duration
    ) -> Double {
        let loss = min(max(lossPercent, 0), 100)
        let effective =
            codec.equipment
            + (95 - codec.equipment) * loss / (loss / max(burstRatio, 1) + codec.lossRobustness)  // equation 7-29
        let delay = max(0, Double(oneWayDelay.wholeNanoseconds) / 1e6)
        return min(max(SpecificationConstants.signal - delayImpairment(milliseconds: delay) - effective, 0), 100)
    }

    /// Id = Idte + Idle + Idd (G.107 §7.4), with the default echo loss.
    private static func delayImpairment(milliseconds delay: Double) -> Double {
        let echoNoise = -1.5 * (SpecificationConstants.noEchoNoise - SpecificationConstants.receiveLoudness)  // Roe
        let echoLoss =
            SpecificationConstants.talkerEchoLoudness - 40 * log10((1 + delay / 10) / (1 + delay / 150))
            + 6 * exp(-0.3 * delay * delay)  // TERV
        let talkerEcho = 80 + 2.5 * (echoLoss - 14)  // Re
        let half = (echoNoise - talkerEcho) / 2
        let talker = (half + (half * half + 100).squareRoot() - 1) * (1 - exp(-delay))
        let listenerEcho =
            10.5 * (SpecificationConstants.weightedEchoPathLoss + 7) * pow(2 * delay + 1, -0.25)  // Rle, Tr = 2 T
        let listenerHalf = (SpecificationConstants.noiseRatio - listenerEcho) / 2
        let listener = listenerHalf + (listenerHalf * listenerHalf + 169).squareRoot()
        guard delay > 100 else { return talker + listener }
        let x = log2(delay / 100)
        let absolute = 25 * (pow(1 + pow(x, 6), 1 / 6) - 3 * pow(1 + pow(x / 3, 6), 1 / 6) + 2)
        return talker + listener + absolute
    }

    /// The mean opinion score a rating stands for, 1...4.5 (G.107 Annex B).
    package static func meanOpinionScore(rating: Double) -> Double {
        if rating <= 0 { return 1 }
        if rating >= 100 { return 4.5 }
        return max(1, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6)
    }
}
