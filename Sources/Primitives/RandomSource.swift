/// Where tags, branches, Call-IDs and nonces come from: the system in service, a seed in tests.
package struct RandomSource: RandomNumberGenerator, Sendable {
    private var seeded: UInt64?
    private var system = SystemRandomNumberGenerator()

    /// Cryptographically secure numbers from the operating system.
    package init() {}

    /// SplitMix64: repeatable, for tests only.
    package init(seed: UInt64) { seeded = seed }

    /// An independent source for a part of the owner; a seeded one stays repeatable.
    package mutating func fork() -> RandomSource { seeded == nil ? RandomSource() : RandomSource(seed: next()) }

    package mutating func next() -> UInt64 {
        guard var state = seeded else { return system.next() }
        state &+= 0x9E37_79B9_7F4A_7C15
        seeded = state
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Lower-case hexadecimal digits, a token in every SIP grammar; `digitCount` 16 carries 64 bits.
    package mutating func hexToken(digitCount: Int) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digitCount)
        var pool: UInt64 = 0
        for index in 0..<digitCount {
            if index % 16 == 0 { pool = next() }
            let nibble = UInt8(truncatingIfNeeded: pool & 15)
            bytes.append(nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10)
            pool >>= 4
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
