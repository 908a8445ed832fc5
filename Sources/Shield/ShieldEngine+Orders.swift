import Primitives

// What operators say, whom we know, and what becomes of a source where the kernel does not decide.
extension ShieldEngine {
    // MARK: Orders

    /// Blocks or allows a prefix by an operator's word; an order of the same prefix is replaced. What it cuts is
    /// returned; without `force` nothing may be cut. `now` and `wall` are the same moment.
    package mutating func carryOut(
        _ order: Order, force: Bool, console: IPAddress? = nil, at now: MonotonicTime, wall: WallClockTime,
        protections: Protections
    ) -> Result<[Protection], OrderRefusal> {
        var cuts: [Protection] = []
        if order.kind == .block {
            // What is allowed in detail stays served, and what is allowed as a whole is so no more.
            cuts = self.protections(of: order.prefix).filter {
                if case .allowed(let prefix) = $0 { prefix.bitLength < order.prefix.bitLength } else { true }
            }
            if let console, order.prefix.contains(console) {
                let own = IPPrefix(source: console)
                if !cuts.contains(.console(own)) { cuts.append(.console(own)) }
            }
            cuts += protections(order.prefix)
            guard cuts.isEmpty || force else { return .failure(.wouldCut(cuts)) }
        }
        guard orders[order.prefix] != nil || orders.count < Limits.orderCountMax else {
            return .failure(.tooMany(Limits.orderCountMax))
        }
        take(order, at: now, wall: wall)
        output(.event(.ordered(order, cuts: cuts)))
        return .success(cuts)
    }

    /// Orders of an earlier life; those whose time is over are left out.
    package mutating func restore(_ orders: [Order], at now: MonotonicTime, wall: WallClockTime) {
        for order in orders.prefix(Limits.orderCountMax) where order.until.map({ $0 > wall }) ?? true {
            take(order, at: now, wall: wall)
        }
    }

    private mutating func take(_ order: Order, at now: MonotonicTime, wall: WallClockTime) {
        let deadline = order.until.map { now + ($0 - wall) }
        let old = orders.updateValue(order, forKey: order.prefix)
        orderTimers.stop(order.prefix)
        if let deadline { orderTimers.start(order.prefix, at: deadline) }
        switch order.kind {
        case .block: output(.block(order.prefix, until: deadline))
        case .allow:
            // An allowance ends what was blocked under it automatically.
            if old?.kind == .block { output(.unblock(order.prefix)) }
            for blocked in blocked where order.prefix.overlaps(blocked.prefix) && liftBlock(blocked.prefix) {
                output(.unblock(blocked.prefix))
            }
        }
        if order.kind == .allow || old?.kind == .allow { output(.standingsChanged) }
    }

    /// Takes an order back, or ends an automatic block.
    package mutating func unblock(_ prefix: IPPrefix, by operatorName: String) -> Result<Void, OrderRefusal> {
        let order = orders.removeValue(forKey: prefix)
        orderTimers.stop(prefix)
        let lifted = liftBlock(prefix)
        guard order != nil || lifted else { return .failure(.noSuchPrefix(prefix)) }
        if lifted || order?.kind == .block { output(.unblock(prefix)) }
        if order?.kind == .allow { output(.standingsChanged) }
        if let order { output(.event(.orderWithdrawn(order, by: operatorName))) }
        if lifted { output(.event(.unblocked(prefix, by: operatorName))) }
        return .success(())
    }

    mutating func endOrder(_ prefix: IPPrefix) {
        guard let order = orders.removeValue(forKey: prefix) else { return }
        switch order.kind {
        case .block:
            if let until = sources[prefix]?.blockedUntil {
                output(.block(prefix, until: until))
            } else {
                output(.unblock(prefix))
            }
        case .allow: output(.standingsChanged)
        }
        output(.event(.orderEnded(order)))
    }

    // MARK: Whom we know

    /// New settings; automatic blocks of what is now allowed or a trunk end.
    package mutating func reconfigure(_ new: ShieldPolicy) {
        let old = policy
        policy = new
        if old.allowed != new.allowed || old.trunks != new.trunks { output(.standingsChanged) }
        for blocked in blocked where !new.isOn || !protections(of: blocked.prefix).isEmpty {
            if liftBlock(blocked.prefix), orders[blocked.prefix]?.kind != .block { output(.unblock(blocked.prefix)) }
        }
    }

    /// These addresses have stations registered until then; they stay known for a day longer. An automatic block of
    /// such an address ends: somebody behind it has proven who he is.
    package mutating func noteStations(
        _ registered: [(address: IPAddress, expires: MonotonicTime)], at now: MonotonicTime
    ) {
        var changed = false
        for (address, expires) in registered {
            let until = expires + Limits.stationGrace
            if stations[address] == nil {
                guard stations.count < Limits.stationCountMax else { continue }
                changed = true
            }
            stations[address] = max(until, stations[address] ?? until)
            let prefix = IPPrefix(source: address)
            if liftBlock(prefix) {
                if orders[prefix]?.kind != .block { output(.unblock(prefix)) }
                output(.event(.blockEnded(prefix)))
            }
        }
        let forgotten = stations.filter { $0.value <= now }
        for address in forgotten.keys { stations[address] = nil }
        if changed || !forgotten.isEmpty { output(.standingsChanged) }
    }

    /// The allowlist as the kernel takes it: the longest prefix decides alone, so each has the highest standing of all
    /// that contain it.
    package var standings: [IPPrefix: Standing] {
        var given: [IPPrefix: Standing] = [:]
        func give(_ prefix: IPPrefix, _ standing: Standing) { given[prefix] = max(standing, given[prefix] ?? .unknown) }
        for prefix in policy.allowed { give(prefix, .allowed) }
        for order in orders.values where order.kind == .allow { give(order.prefix, .allowed) }
        for address in helped.keys {
            if let prefix = IPPrefix(address: address, bitLength: address.bitCount) { give(prefix, .allowed) }
        }
        for prefixes in policy.trunks.values { prefixes.forEach { give($0, .trunk) } }
        // Few but for the stations, so each station is only compared with the few.
        let wide = given
        for (prefix, standing) in wide {
            for (other, higher) in wide where higher > standing && other.bitLength < prefix.bitLength {
                if other.contains(prefix.address) { give(prefix, higher) }
            }
        }
        for address in stations.keys {
            guard let prefix = IPPrefix(address: address, bitLength: address.bitCount) else { continue }
            give(prefix, wide.reduce(.station) { $1.key.contains(address) ? max($0, $1.value) : $0 })
        }
        return given
    }

    /// What the policy itself knows a prefix would cut.
    func protections(of prefix: IPPrefix) -> [Protection] {
        var found: [Protection] = []
        for (name, prefixes) in policy.trunks.sorted(by: { $0.key < $1.key })
        where prefixes.contains(where: { $0.overlaps(prefix) }) {
            found.append(.trunk(name))
        }
        for console in policy.consoles where console.overlaps(prefix) { found.append(.console(console)) }
        for allowed in policy.allowed where allowed.overlaps(prefix) { found.append(.allowed(allowed)) }
        for order in orders.values.sorted(by: { $0.prefix.description < $1.prefix.description })
        where order.kind == .allow && order.prefix.overlaps(prefix) && !found.contains(.allowed(order.prefix)) {
            found.append(.allowed(order.prefix))
        }
        return found
    }

    // MARK: Without the kernel

    /// Whether a message or a new connection of this source is taken up: for what did not pass the kernel's shield.
    /// Where emergencies are heard a blocked source is read at the unknown ones' rate: whoever reads it must ask
    /// `isBlocked` of what is no request for help.
    package mutating func admits(_ address: IPAddress, hearsEmergencies: Bool = false, at now: MonotonicTime) -> Bool {
        guard policy.isOn || !orders.isEmpty else { return true }
        if isBlocked(address), !hearsEmergencies {
            countRefused()
            return false
        }
        guard policy.isOn, standing(of: address) == .unknown else { return true }
        guard buckets.take(IPPrefix(source: address), policy, at: now) else {
            counters.refusedRate &+= 1
            return false
        }
        return true
    }

    /// Of a blocked source, by whoever read it.
    package mutating func countRefused() { counters.refusedBlocked &+= 1 }

    /// Somebody there has called for help: for an hour nothing of him is dropped, whatever blocks him, and he can be
    /// called back.
    package mutating func noteEmergency(_ address: IPAddress, at now: MonotonicTime) {
        guard helped[address] != nil || helped.count < Limits.helpedCountMax else { return }
        helped[address] = now + Limits.helpedTime
        helpedTimers.start(address, at: now + Limits.helpedTime)
        output(.standingsChanged)
    }

    /// The longest block against the longest allowance of the operator, as in the kernel.
    package func isBlocked(_ address: IPAddress) -> Bool {
        var longest = -1
        if let order = longestOrder(.block, address) { longest = order.prefix.bitLength }
        let source = IPPrefix(source: address)
        if sources[source]?.blockedUntil != nil { longest = max(longest, source.bitLength) }
        guard longest >= 0 else { return false }
        guard helped[address] == nil else { return false }
        let allowed = longestOrder(.allow, address)?.prefix.bitLength ?? -1
        let configured = policy.allowed.filter { $0.contains(address) }.map(\.bitLength).max() ?? -1
        return max(allowed, configured) < longest
    }

    private func longestOrder(_ kind: Order.Kind, _ address: IPAddress) -> Order? {
        orders.values.filter { $0.kind == kind && $0.prefix.contains(address) }.max {
            $0.prefix.bitLength < $1.prefix.bitLength
        }
    }

    package func standing(of address: IPAddress) -> Standing {
        if policy.allowed.contains(where: { $0.contains(address) }) { return .allowed }
        if helped[address] != nil || longestOrder(.allow, address) != nil { return .allowed }
        if policy.trunks.values.contains(where: { $0.contains { $0.contains(address) } }) { return .trunk }
        return stations[address] == nil ? .unknown : .station
    }
}

/// Token buckets, each kept as the time at which it would be full again.
struct SourceBuckets: Sendable {
    private var fullAt: [IPPrefix: MonotonicTime] = [:]
    private var commonFullAt = MonotonicTime.zero
    private var nextSweep = MonotonicTime.zero

    /// One token of the source and one of the unknown sources' common bucket.
    mutating func take(_ source: IPPrefix, _ policy: ShieldPolicy, at now: MonotonicTime) -> Bool {
        let common = Self.taken(commonFullAt, policy.unknownRate, policy.unknownBurst, now)
        guard let common else { return false }
        if policy.sourceRate > 0 {
            guard let own = Self.taken(fullAt[source] ?? now, policy.sourceRate, policy.sourceBurst, now) else {
                return false
            }
            if fullAt[source] == nil, fullAt.count >= ShieldEngine.Limits.bucketCountMax {
                if now >= nextSweep {
                    nextSweep = now + .seconds(1)
                    fullAt = fullAt.filter { $0.value > now }
                }
                // Full all the same: only the common bucket counts.
            }
            if fullAt[source] != nil || fullAt.count < ShieldEngine.Limits.bucketCountMax { fullAt[source] = own }
        }
        commonFullAt = common
        return true
    }

    /// The new time, or nil when the bucket is empty (the virtual scheduling algorithm of ITU-T I.371).
    private static func taken(
        _ fullAt: MonotonicTime, _ rate: Int, _ burst: Int, _ now: MonotonicTime
    ) -> MonotonicTime? {
        guard rate > 0 else { return fullAt }
        let interval = Duration.nanoseconds(1_000_000_000 / Int64(rate))
        let from = max(fullAt, now)
        return from - now <= interval * (max(1, burst) - 1) ? from + interval : nil
    }
}
