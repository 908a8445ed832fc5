import Glibc
import Primitives

/// The system's two clocks. Only the loop reads them; everything below is handed the time.
package enum Clock {
    /// CLOCK_MONOTONIC: never jumps.
    package static var monotonic: MonotonicTime { MonotonicTime(nanoseconds: read(CLOCK_MONOTONIC)) }

    /// CLOCK_REALTIME: civil time, which jumps when someone sets it.
    package static var wall: WallClockTime { WallClockTime(nanosecondsSinceEpoch: read(CLOCK_REALTIME)) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        guard clock_gettime(clock, &time) == 0 else { preconditionFailure("Linux always has these two clocks") }
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
