import Primitives

/// The timers of one transaction, at most four, named by the RFC's letters; no allocation.
struct TransactionTimers<Timer: RawRepresentable<Int> & Sendable>: Sendable {
    /// Nanoseconds; `.max` does not run.
    private var deadlines = SIMD4<Int64>(repeating: .max)

    mutating func start(_ timer: Timer, at deadline: MonotonicTime) {
        deadlines[timer.rawValue] = deadline.nanoseconds
    }

    mutating func stop(_ stopped: Timer...) {
        for timer in stopped { deadlines[timer.rawValue] = .max }
    }

    mutating func stopAll() { deadlines = SIMD4(repeating: .max) }

    var earliest: MonotonicTime? {
        let nanoseconds = deadlines.min()
        return nanoseconds == .max ? nil : MonotonicTime(nanoseconds: nanoseconds)
    }

    /// Stops and returns one timer that is due, the earliest first.
    mutating func popDue(_ now: MonotonicTime) -> Timer? {
        let nanoseconds = deadlines.min()
        guard nanoseconds != .max, nanoseconds <= now.nanoseconds else { return nil }
        for index in 0..<4 where deadlines[index] == nanoseconds {
            deadlines[index] = .max
            return Timer(rawValue: index)
        }
        return nil
    }
}
