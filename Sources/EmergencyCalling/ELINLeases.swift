import Primitives

/// A caller's claim to be called back: the number of the place that stands for him, and for how long.
package struct CallbackLease: Equatable, Sendable {
    /// nil: the site has no number to lease; the caller's own was shown.
    package let elin: String?
    package let site: String?
    /// As of the last call under this lease.
    package var caller: EmergencyCaller
    /// Of the first call, and of the last.
    package let start: MonotonicTime
    package var lastCall: MonotonicTime
    /// Calls for help under this lease that are not over.
    package var activeCalls: Set<EmergencyCallID>
    /// When it ends; nil while a call lasts.
    package var end: MonotonicTime?

    package init(
        elin: String?, site: String?, caller: EmergencyCaller, start: MonotonicTime, lastCall: MonotonicTime,
        activeCalls: Set<EmergencyCallID> = [], end: MonotonicTime? = nil
    ) {
        self.elin = elin
        self.site = site
        self.caller = caller
        self.start = start
        self.lastCall = lastCall
        self.activeCalls = activeCalls
        self.end = end
    }

    package func isOver(at now: MonotonicTime) -> Bool { end.map { $0 <= now } ?? false }

    /// Whether this is the same phone: by station, else by address.
    func belongs(to other: EmergencyCaller) -> Bool {
        guard let station = caller.station else {
            return other.station == nil && other.source.address == caller.source.address
        }
        return station == other.station
    }
}

/// Which number of a site stands for which caller.
///
/// An unused one first, else the one with fewest active calls, of those the one idle longest: two callers then share
/// it. Never refuses: without a number to lease the caller's own is shown.
package struct ELINLeases: Equatable, Sendable {
    /// What a caller was given.
    package struct Grant: Equatable, Sendable {
        package var elin: String?
        /// Others have it too.
        package var isShared: Bool
    }

    /// How many callers are remembered; beyond it those whose lease ends first are forgotten.
    static let countMax = 1_000

    package private(set) var leases: [CallbackLease] = []

    package init() {}

    /// The number for a call that begins; nothing is leased yet.
    package func choice(
        for caller: EmergencyCaller, site: String?, pool: [String], at now: MonotonicTime
    ) -> Grant {
        let current = leases.filter { !$0.isOver(at: now) }
        if let own = current.last(where: { $0.belongs(to: caller) && $0.site == site && isIn(pool, $0.elin) }) {
            return Grant(elin: own.elin, isShared: isShared(own.elin, by: caller, current))
        }
        guard !pool.isEmpty else { return Grant(elin: nil, isShared: false) }
        var best: (elin: String, use: Use)?
        for elin in pool {
            let use = Use(of: elin, among: current)
            if best.map({ use < $0.use }) ?? true { best = (elin, use) }
        }
        return Grant(elin: best?.elin, isShared: isShared(best?.elin, by: caller, current))
    }

    private func isIn(_ pool: [String], _ elin: String?) -> Bool { elin.map(pool.contains) ?? pool.isEmpty }

    private func isShared(_ elin: String?, by caller: EmergencyCaller, _ current: [CallbackLease]) -> Bool {
        elin != nil && current.contains { $0.elin == elin && !$0.belongs(to: caller) }
    }

    /// How much a number is used; the smaller, the better to take.
    private struct Use: Comparable {
        var isLeased: Bool
        var activeCallCount: Int
        /// While it has active calls, when the last began; else when its leases end, thus when it was last used.
        var lastUse: MonotonicTime

        init(of elin: String, among leases: [CallbackLease]) {
            let own = leases.filter { $0.elin == elin }
            isLeased = !own.isEmpty
            activeCallCount = own.reduce(0) { $0 + $1.activeCalls.count }
            lastUse = own.map { $0.end ?? $0.lastCall }.max() ?? .zero
        }

        static func < (left: Self, right: Self) -> Bool {
            (left.isLeased ? 1 : 0, left.activeCallCount, left.lastUse)
                < (right.isLeased ? 1 : 0, right.activeCallCount, right.lastUse)
        }
    }

    /// A call for help begins under the number that `choice` gave.
    package mutating func take(
        _ grant: Grant, for caller: EmergencyCaller, site: String?, call: EmergencyCallID, at now: MonotonicTime
    ) {
        expire(at: now)
        if let index = leases.lastIndex(where: {
            $0.belongs(to: caller) && $0.site == site && $0.elin == grant.elin
        }) {
            leases[index].caller = caller
            leases[index].lastCall = now
            leases[index].activeCalls.insert(call)
            leases[index].end = nil
            return
        }
        if leases.count >= Self.countMax { forgetOne() }
        leases.append(
            CallbackLease(
                elin: grant.elin, site: site, caller: caller, start: now, lastCall: now, activeCalls: [call]))
    }

    /// A call for help is over; with the last of a lease its window begins. false: it was under none.
    package mutating func release(_ call: EmergencyCallID, window: Duration, at now: MonotonicTime) -> Bool {
        guard let index = leases.firstIndex(where: { $0.activeCalls.contains(call) }) else { return false }
        leases[index].activeCalls.remove(call)
        if leases[index].activeCalls.isEmpty { leases[index].end = now + window }
        return true
    }

    /// Leases of an earlier life.
    package mutating func restore(_ earlier: [CallbackLease]) { leases = Array(earlier.suffix(Self.countMax)) + leases }

    package mutating func expire(at now: MonotonicTime) { leases.removeAll { $0.isOver(at: now) } }

    private mutating func forgetOne() {
        let index = leases.indices.min { Self.lastNeeded(leases[$0]) < Self.lastNeeded(leases[$1]) }
        if let index { leases.remove(at: index) }
    }

    private static func lastNeeded(_ lease: CallbackLease) -> MonotonicTime {
        lease.end ?? MonotonicTime(nanoseconds: .max)
    }

    // MARK: Who is called back

    /// Those a called number stands for: whose call is over before those who still talk, of them the latest first.
    package func callers(of number: String, at now: MonotonicTime) -> [CallbackLease] {
        Self.inOrder(leases.filter { !$0.isOver(at: now) && $0.elin.map { Self.isSame($0, number) } == true })
    }

    /// The lease of a station, whatever number it was given.
    package func lease(ofStation user: String, at now: MonotonicTime) -> CallbackLease? {
        Self.inOrder(leases.filter { !$0.isOver(at: now) && $0.caller.station == user }).first
    }

    private static func inOrder(_ leases: [CallbackLease]) -> [CallbackLease] {
        leases.sorted { left, right in
            (left.activeCalls.isEmpty ? 0 : 1, -left.lastCall.nanoseconds)
                < (right.activeCalls.isEmpty ? 0 : 1, -right.lastCall.nanoseconds)
        }
    }

    /// Whether two ways of writing mean one number: a leading `+` is optional, and so is `1` before ten digits (NANP).
    static func isSame(_ left: String, _ right: String) -> Bool { significant(left) == significant(right) }

    private static func significant(_ number: String) -> Substring {
        let digits = number.first == "+" ? number.dropFirst() : number[...]
        return digits.utf8.count == 11 && digits.first == "1" ? digits.dropFirst() : digits
    }
}
