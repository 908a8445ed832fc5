import Primitives

/// Decides who is blocked and who is served first. One owner; drain `nextOutput()` after each call.
package struct ShieldEngine: Sendable {
    package enum Output: Equatable, Sendable {
        /// nil: until `unblock`. Of a prefix that is blocked already: the new time.
        case block(IPPrefix, until: MonotonicTime?)
        case unblock(IPPrefix)
        /// The whole list changed: see `standings`.
        case standingsChanged
        case event(ShieldEvent)
    }

    package enum Limits {
        /// Beyond it a new source goes unnoticed until older ones are forgotten.
        package static let sourceCountMax = 8_192
        /// Automatic ones; beyond it a source is not blocked, and an event says so.
        package static let blockCountMax = 4_096
        package static let orderCountMax = 1_024
        /// How long a station that was registered keeps its place before the unknown ones.
        package static let stationGrace = Duration.seconds(86_400)
        package static let stationCountMax = 8_192
        package static let helpedTime = Duration.seconds(3_600)
        /// Beyond it a caller for help is served like the others there.
        package static let helpedCountMax = 1_024
        /// Sources whose messages are counted here, where the kernel does not.
        package static let bucketCountMax = 8_192
    }

    /// Gives what a prefix would cut, apart from what the policy knows itself.
    package typealias Protections = (IPPrefix) -> [Protection]

    struct Source: Sendable {
        /// Points, as of `time`; they melt.
        var score = 0.0
        var time: MonotonicTime
        var blockCount = 0
        /// Blocked until then; nil when it is not.
        var blockedUntil: MonotonicTime?
        var reason = ""
        /// No further refusal is reported before.
        var quietUntil: MonotonicTime?
        var blocksForgottenAt = MonotonicTime.zero
        /// When nothing of it is remembered.
        var forgottenAt: MonotonicTime
    }

    package internal(set) var policy: ShieldPolicy
    var sources: [IPPrefix: Source] = [:]
    /// Ends of automatic blocks.
    var timers = TimerTable<IPPrefix>()
    var blockCount = 0
    package internal(set) var orders: [IPPrefix: Order] = [:]
    var orderTimers = TimerTable<IPPrefix>()
    /// Addresses that registered, and how long they count for known.
    var stations: [IPAddress: MonotonicTime] = [:]
    /// Addresses that called for help, and until when that counts.
    var helped: [IPAddress: MonotonicTime] = [:]
    var helpedTimers = TimerTable<IPAddress>()
    private var nextSweep = MonotonicTime.zero
    private var reportedFull = false
    var buckets = SourceBuckets()
    private var outputs = Queue<Output>()
    package internal(set) var counters = Counters()

    package struct Counters: Equatable, Sendable {
        package var offences: UInt64 = 0
        package var blocks: UInt64 = 0
        package var refusedBlocks: UInt64 = 0
        /// Messages and connections refused by `admits`.
        package var refusedBlocked: UInt64 = 0
        package var refusedRate: UInt64 = 0
    }

    package init(policy: ShieldPolicy) { self.policy = policy }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    mutating func output(_ output: Output) { outputs.append(output) }

    package var nextDeadline: MonotonicTime? {
        [timers.earliest, orderTimers.earliest, helpedTimers.earliest].compactMap { $0 }.min()
    }

    package mutating func advance(to now: MonotonicTime) {
        while let prefix = timers.popDue(now) { endBlock(prefix, at: now) }
        while let prefix = orderTimers.popDue(now) { endOrder(prefix) }
        while let address = helpedTimers.popDue(now) {
            helped[address] = nil
            output(.standingsChanged)
        }
    }

    // MARK: Offences

    /// Takes an offence into account; may block the source.
    package mutating func note(
        _ offence: Offence, from address: IPAddress, at now: MonotonicTime, protections: Protections
    ) {
        guard policy.isOn else { return }
        counters.offences &+= 1
        let prefix = IPPrefix(source: address)
        guard var source = sources[prefix] ?? newSource(at: now) else { return }
        guard source.blockedUntil == nil else { return }
        if source.blocksForgottenAt <= now { source.blockCount = 0 }
        source.score = melted(source, at: now) + Double(min(offence.points, policy.scoreLimit))
        source.time = now
        source.forgottenAt = max(source.forgottenAt, now + policy.scoreWindow)
        sources[prefix] = source
        if source.score >= Double(policy.scoreLimit) { blockSource(prefix, offence.text, at: now, protections) }
    }

    private func melted(_ source: Source, at now: MonotonicTime) -> Double {
        let window = max(1, policy.scoreWindow.wholeMilliseconds)
        let passed = Double((now - source.time).wholeMilliseconds) / Double(window)
        return max(0, source.score - passed * Double(policy.scoreLimit))
    }

    private mutating func newSource(at now: MonotonicTime) -> Source? {
        if sources.count >= Limits.sourceCountMax {
            // Once a second at most: a flood of new sources must not make this its work.
            guard now >= nextSweep else { return nil }
            nextSweep = now + .seconds(1)
            sources = sources.filter { $0.value.blockedUntil != nil || $0.value.forgottenAt > now }
            guard sources.count < Limits.sourceCountMax else { return nil }
        }
        return Source(time: now, forgottenAt: now)
    }

    private mutating func blockSource(
        _ prefix: IPPrefix, _ reason: String, at now: MonotonicTime, _ protections: Protections
    ) {
        guard var source = sources[prefix] else { return }
        let protected = self.protections(of: prefix) + protections(prefix)
        source.score = 0
        defer { sources[prefix] = source }
        guard protected.isEmpty else {
            counters.refusedBlocks &+= 1
            if source.quietUntil.map({ $0 <= now }) ?? true {
                source.quietUntil = now + policy.blockTime
                source.forgottenAt = max(source.forgottenAt, now + policy.blockTime)
                output(.event(.blockRefused(prefix, reason: reason, protections: protected)))
            }
            return
        }
        guard blockCount < Limits.blockCountMax else {
            if !reportedFull { output(.event(.tableFull(maximum: Limits.blockCountMax))) }
            reportedFull = true
            return
        }
        let time = Self.blockTime(policy, repetition: source.blockCount)
        source.blockCount += 1
        source.blockedUntil = now + time
        source.reason = reason
        source.blocksForgottenAt = now + time + policy.blockTimeMax
        source.forgottenAt = source.blocksForgottenAt
        blockCount += 1
        counters.blocks &+= 1
        timers.start(prefix, at: now + time)
        // An operator's order for the very prefix stands above this.
        if orders[prefix] == nil { output(.block(prefix, until: now + time)) }
        output(.event(.blocked(prefix, for: time, reason: reason, repetition: source.blockCount)))
    }

    private static func blockTime(_ policy: ShieldPolicy, repetition: Int) -> Duration {
        let doubled = policy.blockTime * (1 << min(repetition, 20))
        return min(doubled, max(policy.blockTime, policy.blockTimeMax))
    }

    private mutating func endBlock(_ prefix: IPPrefix, at now: MonotonicTime) {
        guard sources[prefix]?.blockedUntil != nil else { return }
        sources[prefix]?.blockedUntil = nil
        sources[prefix]?.time = now
        blockCount -= 1
        reportedFull = false
        if orders[prefix]?.kind != .block { output(.unblock(prefix)) }
        output(.event(.blockEnded(prefix)))
    }

    /// Ends an automatic block before its time; false if there was none.
    mutating func liftBlock(_ prefix: IPPrefix) -> Bool {
        guard sources[prefix]?.blockedUntil != nil else { return false }
        sources[prefix] = nil
        timers.stop(prefix)
        blockCount -= 1
        reportedFull = false
        return true
    }

    /// The scanner a User-Agent gives away; nil for all others.
    package func scanner(inUserAgent userAgent: String) -> String? {
        guard policy.isOn, !policy.scanners.isEmpty else { return nil }
        let lowercased = userAgent.lowercased()
        return policy.scanners.first { lowercased.contains($0) }
    }

    // MARK: What is blocked

    package struct Blocked: Equatable, Sendable {
        package let prefix: IPPrefix
        package let until: MonotonicTime
        package let reason: String
        package let repetition: Int
    }

    /// The automatic blocks, by prefix.
    package var blocked: [Blocked] {
        sources.compactMap { prefix, source in
            source.blockedUntil.map {
                Blocked(prefix: prefix, until: $0, reason: source.reason, repetition: source.blockCount)
            }
        }.sorted { $0.prefix.description < $1.prefix.description }
    }
}
