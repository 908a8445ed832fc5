import EmergencyCalling
import Primitives

/// The daemon's answer to `cresset emergency elins`.
enum CallbackLeaseAnswer {
    static func list(_ leases: [CallbackLease], _ settings: EmergencySettings, at now: MonotonicTime) -> JSONValue {
        let current = leases.filter { !$0.isOver(at: now) }
        let sites = settings.sites.values.sorted { $0.name < $1.name }
        return [
            "window-minutes": .init(settings.callbackWindow.wholeSeconds / 60),
            "sites": .array(
                sites.map { site in
                    let used = current.filter { $0.site == site.name && $0.elin != nil }
                    return [
                        "site": .string(site.name), "numbers": .init(site.elins.count),
                        "leased": .init(Set(used.map(\.elin)).count), "callers": .init(used.count),
                    ]
                }),
            "leases": .array(
                current.sorted { ($0.site ?? "", $0.elin ?? "", $0.start) < ($1.site ?? "", $1.elin ?? "", $1.start) }
                    .map { lease in
                        [
                            "elin": .init(lease.elin), "site": .init(lease.site),
                            "station": .string(lease.caller.station ?? "at \(lease.caller.source.address)"),
                            "age-seconds": .init((now - lease.start).wholeSeconds),
                            "active-calls": .init(lease.activeCalls.count),
                            "remaining-seconds": lease.end.map { .init(max(0, ($0 - now).wholeSeconds)) } ?? .null,
                            "shared": .bool(
                                lease.elin != nil && current.count { $0.elin == lease.elin } > 1),
                        ]
                    }),
        ]
    }
}
