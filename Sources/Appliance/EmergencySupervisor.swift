import EmergencyCalling
import LinuxIO
import Primitives

/// Carries out what `EmergencyEngine` wants done about calls for help; nothing here can reach the call itself.
final class EmergencySupervisor {
    private let leases: CallbackLeaseKeeper
    private let log: StandardErrorLog

    private let notifications: NotificationSupervisor
    /// The record of a 933 call of the box's own that is over.
    var proofEnded: (EmergencyRecord) -> Void = { _ in }

    init(notifications: NotificationSupervisor, leases: CallbackLeaseKeeper, log: StandardErrorLog) {
        self.notifications = notifications
        self.leases = leases
        self.log = log
    }

    func perform(_ output: EmergencyEngine.Output) {
        switch output {
        case .record(let record):
            notifications.take(record)
            guard record.end != nil else { return }
            log.write(.notice, record.text)
            if record.isProof { proofEnded(record) }
        case .leases(let all): leases.keep(all)
        case .elinShared(let elin, let site, let callers):
            log.write(
                .warning,
                "site \(site) has more callers for help (\(callers)) than numbers: \(Masked.number(elin)) is shared, and a"
                    + " callback may reach the wrong one first; give the site more elins")
        }
    }
}

extension EmergencyRecord {
    /// One line for the log, without numbers of persons.
    var text: String {
        let attempts = attempts.map { attempt in
            let milliseconds = attempt.end.map { "\(($0 - attempt.start).wholeMilliseconds) ms" } ?? "unfinished"
            return "\(attempt.trunk) \(attempt.outcome ?? "pending") \(milliseconds)"
        }
        return "\(number.dialString) \(id): site \(site ?? "none"), \(ending ?? "lasting")"
            + "; trunks asked: \(attempts.isEmpty ? "none" : attempts.joined(separator: ", "))"
            + "; packets \(packetsFromCaller) from the caller, \(packetsFromCallee) from the called side"
    }
}
