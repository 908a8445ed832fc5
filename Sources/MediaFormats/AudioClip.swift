/// A piece of recorded or spoken audio, mono, 8 000 samples a second, in G.711 μ-law.
///
/// A-law is made from it when it is played. A second takes 8 kB; copies share them.
package struct AudioClip: Hashable, Sendable {
    package static let samplesPerSecond = 8_000

    /// One byte a sample (ITU-T G.711, μ-law).
    package var samples: [UInt8]

    package init(samples: [UInt8]) { self.samples = samples }

    package var duration: Duration {
        .nanoseconds(Int64(samples.count) * (1_000_000_000 / Int64(Self.samplesPerSecond)))
    }
}
