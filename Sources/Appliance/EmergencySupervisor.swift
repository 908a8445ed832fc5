import EmergencyCalling
import LinuxIO
import Primitives

/// Carries out what `EmergencyEngine` wants done about calls for help; nothing here can reach the call itself.
final class EmergencySupervisor {
    private let log: StandardErrorLog

    private let keeper: EmergencyRecordKeeper

    init(keeper: EmergencyRecordKeeper, log: StandardErrorLog) {
        self.keeper = keeper
        self.log = log
    }

    func perform(_ output: EmergencyEngine.Output) {
        switch output {
        case .record(let record):
            keeper.keep(record)
            guard record.end != nil else { return }
            log.write(.notice, record.text)
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
