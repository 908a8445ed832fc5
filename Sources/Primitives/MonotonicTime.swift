/// A point on the clock that never jumps (CLOCK_MONOTONIC), in nanoseconds since an arbitrary start.
///
/// Engines are handed one with every input and never read a clock themselves. Public for `TimerTable`.
public struct MonotonicTime: Comparable, Hashable, Sendable {
    public let nanoseconds: Int64

    package static let zero = MonotonicTime(nanoseconds: 0)

    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    @inlinable
    public static func < (left: MonotonicTime, right: MonotonicTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    package static func + (time: MonotonicTime, duration: Duration) -> MonotonicTime {
        MonotonicTime(nanoseconds: time.nanoseconds.addingSaturated(duration.wholeNanoseconds))
    }

    package static func - (later: MonotonicTime, earlier: MonotonicTime) -> Duration {
        .nanoseconds(later.nanoseconds &- earlier.nanoseconds)
    }
}

extension Int64 {
    /// The sum, or the end of the range it would leave: a far deadline stays far.
    func addingSaturated(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }
}

extension Duration {
    /// The duration in nanoseconds, clamped to what 64 bits hold (292 years).
    package var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, overflowed) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        return overflowed ? (seconds < 0 ? .min : .max) : sum
    }

    /// The duration in whole milliseconds, rounded towards zero.
    package var wholeMilliseconds: Int64 { wholeNanoseconds / 1_000_000 }

    /// The duration in whole seconds, rounded towards zero.
    package var wholeSeconds: Int64 { components.seconds }
}
