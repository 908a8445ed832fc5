import Primitives

/// What a simulated network does to datagrams.
package struct NetworkConditions: Sendable, CustomStringConvertible {
    /// Shares of all datagrams, 0...1.
    package var loss: Double
    package var duplication: Double
    /// These take `reorderDelay` longer, so that later ones overtake them.
    package var reorder: Double
    package var delay: ClosedRange<Duration>
    package var reorderDelay: Duration

    package init(
        loss: Double = 0, duplication: Double = 0, reorder: Double = 0,
        delay: ClosedRange<Duration> = .milliseconds(5)...(.milliseconds(40)),
        reorderDelay: Duration = .milliseconds(700)
    ) {
        self.loss = loss
        self.duplication = duplication
        self.reorder = reorder
        self.delay = delay
        self.reorderDelay = reorderDelay
    }

    package static let perfect = NetworkConditions()

    package var description: String { "loss \(loss), duplication \(duplication), reorder \(reorder)" }
}

/// A network in virtual time: what is sent arrives later, twice, out of order or never, as a seed decides.
///
/// Reliable packets, as of TCP, only take their time and keep their order.
package struct NetworkSimulation<Packet: Sendable>: Sendable {
    private struct Transit: Sendable {
        let packet: Packet
        let sentAt: MonotonicTime
    }

    package var conditions: NetworkConditions
    package private(set) var sentCount = 0
    package private(set) var lostCount = 0
    package private(set) var duplicatedCount = 0
    private var random: RandomSource
    private var timers = TimerTable<Int>()
    private var transits: [Int: Transit] = [:]
    private var nextNumber = 0

    package init(_ conditions: NetworkConditions, seed: UInt64) {
        self.conditions = conditions
        random = RandomSource(seed: seed)
    }

    package var isQuiet: Bool { transits.isEmpty }
    package var nextDeadline: MonotonicTime? { timers.earliest }

    package mutating func send(_ packet: Packet, isReliable: Bool = false, at now: MonotonicTime) {
        sentCount += 1
        if isReliable { return schedule(packet, after: conditions.delay.upperBound, at: now) }
        if chance(conditions.loss) {
            lostCount += 1
            return
        }
        let copies = chance(conditions.duplication) ? 2 : 1
        duplicatedCount += copies - 1
        for _ in 0..<copies {
            let span = (conditions.delay.upperBound - conditions.delay.lowerBound).wholeNanoseconds
            var delay = conditions.delay.lowerBound + .nanoseconds(Int64.random(in: 0...span, using: &random))
            if chance(conditions.reorder) { delay += conditions.reorderDelay }
            schedule(packet, after: delay, at: now)
        }
    }

    /// One packet that has arrived by now; nil when there is none.
    package mutating func popArrived(_ now: MonotonicTime) -> Packet? {
        guard let number = timers.popDue(now) else { return nil }
        return transits.removeValue(forKey: number)?.packet
    }

    /// true with this probability, from the same seed; also for a scenario's own choices.
    package mutating func chance(_ probability: Double) -> Bool {
        Double.random(in: 0..<1, using: &random) < probability
    }

    private mutating func schedule(_ packet: Packet, after delay: Duration, at now: MonotonicTime) {
        nextNumber += 1
        transits[nextNumber] = Transit(packet: packet, sentAt: now)
        timers.start(nextNumber, at: now + delay)
    }
}

/// The earliest of several deadlines; nil when none runs.
package func earliest(_ deadlines: MonotonicTime?...) -> MonotonicTime? { deadlines.compactMap { $0 }.min() }
