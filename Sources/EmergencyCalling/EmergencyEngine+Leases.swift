import Primitives

// Numbers leased to callers, and what keeps a call for help from the trunks: test mode.
extension EmergencyEngine {
    /// The number to show. A test call shows what a call for help would, and leases nothing.
    mutating func leaseNumber(
        of site: EmergencySite?, to caller: EmergencyCaller, for id: EmergencyCallID, _ number: EmergencyNumber,
        at now: MonotonicTime
    ) -> String? {
        let grant = leases.choice(for: caller, site: site?.name, pool: site?.elins ?? [], at: now)
        guard number == .emergency else { return grant.elin }
        leases.take(grant, for: caller, site: site?.name, call: id, at: now)
        outputs.append(.leases(leases.leases))
        if grant.isShared, let elin = grant.elin {
            let callers = leases.leases.count { $0.site == site?.name && $0.elin != nil }
            outputs.append(.elinShared(elin: elin, site: site?.name ?? "", callers: callers))
        }
        return grant.elin
    }

    mutating func releaseLease(of id: EmergencyCallID, at now: MonotonicTime) {
        guard leases.release(id, window: settings.callbackWindow, at: now) else { return }
        outputs.append(.leases(leases.leases))
    }

    /// Leases of an earlier life: those of calls that lasted when it ended have no call any more, but an end.
    package mutating func restoreLeases(_ earlier: [CallbackLease], at now: MonotonicTime) {
        leases.restore(earlier)
        leases.expire(at: now)
    }

    /// The ordinary call that had to go for this one.
    package mutating func preempted(_ id: EmergencyCallID, call: String) {
        change(id) { $0.preemptedCall = call }
    }

    // MARK: Test mode

    /// Why this call must not reach a trunk; nil: it must.
    package func reasonToBlock(_ number: EmergencyNumber, at now: MonotonicTime) -> String? {
        number == .emergency ? testMode.reason(at: now) : nil
    }

    /// A call for help that was refused for test mode: its record, with which people are told.
    package mutating func block(
        dialled: String, by caller: EmergencyCaller, reason: String, at now: MonotonicTime
    ) {
        let id = begin(.emergency, dialled: dialled, by: caller, isBlocked: true, at: now).id
        records[id]?.blockedBy = reason
        ended(id, ending: "blocked, test mode: \(reason)", packetsFromCaller: 0, packetsFromCallee: 0, at: now)
    }

    package mutating func setTestModeSigns(_ signs: [String]) { testMode.signs = signs }

    package mutating func armTestMode(_ armed: EmergencyTestMode.Armed?) { testMode.armed = armed }
}
