/// The companding laws of ITU-T G.711: eight bits a sample, 8 000 samples a second.
package enum G711: String, Hashable, Sendable, CaseIterable {
    /// μ-law, PCMU in SDP.
    case muLaw = "pcmu"
    /// A-law, PCMA in SDP.
    case aLaw = "pcma"

    /// Its static payload type (RFC 3551 §6).
    package var payloadType: UInt8 {
        switch self {
        case .muLaw: 0
        case .aLaw: 8
        }
    }

    /// What is heard as nothing.
    package var silence: UInt8 {
        switch self {
        case .muLaw: 0xFF
        case .aLaw: 0xD5
        }
    }

    /// From linear sixteen bits.
    package func encode(_ sample: Int16) -> UInt8 {
        switch self {
        case .muLaw: Self.muLaw(sample)
        case .aLaw: Self.aLaw(sample)
        }
    }

    /// To linear sixteen bits.
    package func decode(_ byte: UInt8) -> Int16 {
        switch self {
        case .muLaw:
            let inverted = ~byte
            let segment = Int16(inverted >> 4 & 7)
            let magnitude = ((Int16(inverted & 0x0F) << 3) + 0x84) << segment - 0x84
            return inverted & 0x80 != 0 ? -magnitude : magnitude
        case .aLaw:
            let toggled = byte ^ 0x55
            let segment = Int16(toggled >> 4 & 7)
            let interval = Int16(toggled & 0x0F) << 4
            let magnitude = segment == 0 ? interval + 8 : (interval + 0x108) << (segment - 1)
            return toggled & 0x80 != 0 ? magnitude : -magnitude
        }
    }

    private static func muLaw(_ sample: Int16) -> UInt8 {
        let magnitude = min(Int(sample.magnitude), 32_635) + 0x84
        let segment = Int.bitWidth - 1 - magnitude.leadingZeroBitCount - 7  // 0...7, for the magnitude is at least 2^7
        let mantissa = magnitude >> (segment + 3) & 0x0F
        return ~(UInt8(sample < 0 ? 0x80 : 0) | UInt8(segment << 4 | mantissa))
    }

    private static func aLaw(_ sample: Int16) -> UInt8 {
        // Negative values count from −1, so that both signs have as many steps.
        let magnitude = Int(sample < 0 ? -(sample + 1) : sample) >> 3
        let segment = magnitude < 32 ? 0 : Int.bitWidth - 1 - magnitude.leadingZeroBitCount - 4
        let mantissa = magnitude >> max(1, segment) & 0x0F
        return (UInt8(sample < 0 ? 0 : 0x80) | UInt8(segment << 4 | mantissa)) ^ 0x55
    }
}
