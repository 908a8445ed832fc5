// In words, for the log, the operator and the record.
extension CallAttempt.Outcome {
    package var text: String {
        switch self {
        case .pending: "pending"
        case .response(let code): String(code)
        case .timedOut: "no answer in time"
        case .transportFailed(let reason): reason
        case .cancelled: "cancelled"
        }
    }
}

extension CallEnding {
    package var text: String {
        switch self {
        case .hungUp(let side): "hung up by the \(side)"
        case .cancelled: "cancelled by the caller"
        case .rejected(let code): "rejected with \(code)"
        case .ringTimeout: "nobody answered"
        case .acknowledgementMissing: "the answer was never acknowledged"
        case .sessionExpired(let side): "session with the \(side) expired"
        case .dialogLost(let side): "the \(side) no longer knows the call"
        case .mediaInactive: "no media"
        case .transportFailed(let side): "connection to the \(side) lost"
        case .preempted: "made room for a call for help"
        case .shutdown: "shutdown"
        }
    }
}
