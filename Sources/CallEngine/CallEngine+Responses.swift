import Primitives
import SIPEngine
import SignallingFormats

// Responses, and their absence, to whoever asked.
extension CallEngine {
    mutating func handle(
        _ response: SIPResponse, _ transaction: ClientTransactionID, from path: TransportPath, at now: MonotonicTime
    ) {
        guard let owner = clientOwners[transaction] else { return }
        switch owner {
        case .invite(let call, let attempt):
            handleInviteResponse(response, call, attempt, from: path, at: now)
        case .relay(let call, let relay):
            handleRelayResponse(response, call, relay, transaction, from: path, at: now)
        case .refresh(let dialog): refreshAnswered(dialog, transaction, response, from: path, at: now)
        case .bye(let dialog, let authorizationCount):
            guard response.statusCode >= 200 else { return }
            byeFinished(dialog, response, authorizationCount: authorizationCount, at: now)
        case .prack(let dialog):
            guard response.statusCode >= 200 else { return }
            withCall(dialog.call, at: now) { _, call in call.openTransactions -= 1 }
        case .stray(let request, let nextHop):
            guard (200...299).contains(response.statusCode) else { return }
            hangUpOnStray(request, nextHop, response, at: now)
        case .ping(let trunk, let sent): pingAnswered(trunk, transaction, response, sent: sent, at: now)
        case .registration(let trunk): registrationAnswered(trunk, transaction, response, at: now)
        case .announcement(let id, let branch): announcementAnswered(id, branch, response, from: path, at: now)
        case .announcementBye(let id, let authorizationCount):
            guard response.statusCode >= 200 else { return }
            announcementByeFinished(id, response, authorizationCount: authorizationCount, at: now)
        }
    }

    enum SendFailure: Sendable {
        case timedOut
        case transportFailed(String)

        var outcome: CallAttempt.Outcome {
            switch self {
            case .timedOut: .timedOut
            case .transportFailed(let reason): .transportFailed(reason)
            }
        }

        var text: String {
            switch self {
            case .timedOut: "no answer"
            case .transportFailed(let reason): reason
            }
        }
    }

    mutating func failed(_ transaction: ClientTransactionID, _ failure: SendFailure, at now: MonotonicTime) {
        guard let owner = clientOwners[transaction] else { return }
        switch owner {
        case .invite(let call, let attempt): inviteFailed(call, attempt, failure.outcome, at: now)
        case .relay(let call, let relay): relayFailed(call, relay, at: now)
        case .refresh(let dialog): refreshFailed(dialog, transaction, at: now)
        case .bye(let dialog, _): byeFinished(dialog, nil, authorizationCount: 0, at: now)
        case .prack(let dialog): withCall(dialog.call, at: now) { _, call in call.openTransactions -= 1 }
        case .stray: break
        case .ping(let trunk, _): pingFailed(trunk, transaction, reason: failure.text, at: now)
        case .registration(let trunk): registrationFailed(trunk, transaction, reason: failure.text, at: now)
        case .announcement(let id, let branch): announcementUnanswered(id, branch, failure, at: now)
        case .announcementBye(let id, _): announcementByeFinished(id, nil, authorizationCount: 0, at: now)
        }
    }

    /// The transaction is gone from the table; only an INVITE's owner outlives its final response.
    mutating func endedClient(_ transaction: ClientTransactionID, at now: MonotonicTime) {
        clientOwners[transaction] = nil
    }
}
