import Primitives

/// Timer values of RFC 3261 §17.1.1.1 and Table 4: do not tune.
enum SpecificationConstants {
    /// Round-trip estimate.
    static let t1 = Duration.milliseconds(500)
    /// The longest interval between retransmissions of a non-INVITE request or an INVITE response.
    static let t2 = Duration.seconds(4)
    /// How long a message may stay in the network.
    static let t4 = Duration.seconds(5)
    /// Timers B, F, H, J, L and M, and D over UDP.
    static let transactionLifetime = Duration.milliseconds(64 * 500)
    /// An INVITE is answered with 100 within this time (RFC 3261 §17.2.1).
    static let tryingDelay = Duration.milliseconds(200)
    /// The largest request sent over UDP when the path MTU is unknown (RFC 3261 §18.1.1).
    static let datagramByteCountMax = 1_300
    /// How far below a known path MTU a request must stay to go over UDP (RFC 3261 §18.1.1).
    static let pathMTUMargin = 200
    /// Where a Via or URI without a port points.
    static let defaultPort: UInt16 = 5060
    /// Max-Forwards of a new request (RFC 3261 §8.1.1.6).
    static let maxForwards = 70
    /// CSeq and RSeq numbers stay below 2^31.
    static let sequenceNumberMax: UInt32 = 0x7FFF_FFFF
}

/// What one transaction layer holds at most.
enum Limits {
    /// Beyond it a new request outside any dialog gets 503, unless it is an emergency call. Over UDP an answered request
    /// stays for 32 s: this is 512 requests a second.
    static let serverTransactionCountMax = 16_384
    /// A request with more bytes of headers counts for as many as it would make: nobody fills the memory with a few
    /// thousand of 64 kB.
    static let headerByteCountOfOne = 4_096
    /// Beyond it every request gets 503, unless it is an emergency call.
    static let serverTransactionCountHardMax = 32_768
    /// What Retry-After of that 503 says, in seconds.
    static let retryAfterSeconds = 5
    /// Reliable provisional responses of one INVITE that wait for their turn; further ones are sent unreliably.
    static let reliableProvisionalQueueMax = 8
}
