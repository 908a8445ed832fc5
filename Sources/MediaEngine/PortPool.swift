import Primitives

/// The free RTP ports of one realm; each stands for a pair, itself and the odd port above.
///
/// Constant time: a random one is taken, so that nobody outside can guess the next. A returned port rests before it
/// is used again, so that late packets of a dead call never reach a new one.
struct PortPool: Sendable {
    private let range: ClosedRange<UInt16>
    private var free: [UInt16] = []
    private var resting = TimerTable<UInt16>()

    var freeCount: Int { free.count }

    /// `used` are pairs that live legs hold (after a change of the range).
    init(_ range: ClosedRange<UInt16>, used: Set<UInt16> = [], resting: PortPool? = nil) {
        self.range = range
        self.resting = resting?.resting ?? TimerTable()
        let first = Int(range.lowerBound) + Int(range.lowerBound) % 2
        for port in stride(from: max(2, first), to: Int(range.upperBound), by: 2) {
            let port = UInt16(port)
            if !used.contains(port), self.resting.deadline(of: port) == nil { free.append(port) }
        }
    }

    /// How many could be taken.
    mutating func freeCount(at now: MonotonicTime) -> Int {
        endRests(at: now)
        return free.count
    }

    private mutating func endRests(at now: MonotonicTime) {
        while let port = resting.popDue(now) {
            // Rested through a change of the range: it may be outside now.
            if range.contains(port), range.contains(port | 1) { free.append(port) }
        }
    }

    /// nil when all are taken or resting.
    mutating func take(at now: MonotonicTime, random: inout RandomSource) -> UInt16? {
        endRests(at: now)
        guard !free.isEmpty else { return nil }
        let index = Int.random(in: 0..<free.count, using: &random)
        free.swapAt(index, free.count - 1)
        return free.removeLast()
    }

    /// For whom nothing else is left: one that rests, the longest first; nil when there is none.
    mutating func takeResting() -> UInt16? {
        guard let deadline = resting.earliest else { return nil }
        return resting.popDue(deadline)
    }

    /// Never handed out to a socket, thus free at once.
    mutating func giveBack(_ port: UInt16) { free.append(port) }

    mutating func rest(_ port: UInt16, until: MonotonicTime) { resting.start(port, at: until) }
}
