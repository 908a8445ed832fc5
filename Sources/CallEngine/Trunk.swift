import Primitives
import SIPEngine
import SignallingFormats

/// A carrier's gateway as it is now: health, registration, credentials.
struct Trunk: Sendable {
    let name: String
    var settings: CallEngineSettings.Trunk
    var health: Health
    var registration: RegistrationClient?
    /// The latest REGISTER; answers to earlier ones belong to a registration that is no more.
    var registering: ClientTransactionID?
    var digest: DigestClient
    /// The OPTIONS that is unanswered.
    var ping: ClientTransactionID?
    var roundTrip: Duration?

    var credentials: CallEngineSettings.Credentials? {
        settings.authentication ?? settings.registration?.credentials
    }

    var nextHop: NextHop {
        NextHop(realm: settings.realm, remote: settings.peer, policy: Self.policy(settings.transport))
    }

    static func policy(_ transport: CallEngineSettings.TrunkTransport) -> NextHop.Policy {
        switch transport {
        case .automatic: .automatic
        case .udp: .udp
        case .tcp: .tcp
        }
    }

    /// Saves a round trip when the carrier has challenged before.
    mutating func authorizePreemptively(_ request: inout SIPRequest) {
        guard let credentials else { return }
        digest.authorizePreemptively(&request, username: credentials.username, password: credentials.password)
    }

    mutating func authorize(_ request: inout SIPRequest, after response: SIPResponse) -> Bool {
        guard let credentials else { return false }
        return digest.authorize(
            &request, after: response, username: credentials.username, password: credentials.password)
    }
}

extension Trunk {
    /// Up or down, with hysteresis: so many failures in a row, so many answers in a row.
    struct Health: Sendable {
        private enum State: Hashable, Sendable {
            case unchecked
            /// Failures in a row.
            case up(failureCount: Int)
            /// Answers in a row.
            case down(successCount: Int)
        }

        /// What a piece of evidence changed.
        enum Change: Hashable, Sendable { case none, wentUp, wentDown }

        private var state: State
        private let limits: CallEngineSettings.TrunkHealth?

        /// Up until the contrary is known: a box that has just started can call.
        init(_ limits: CallEngineSettings.TrunkHealth?) {
            self.limits = limits
            state = limits == nil ? .unchecked : .up(failureCount: 0)
        }

        var isDown: Bool {
            guard case .down = state else { return false }
            return true
        }

        var isChecked: Bool { state != .unchecked }

        mutating func note(success: Bool) -> Change {
            guard let limits else { return .none }
            switch (state, success) {
            case (.unchecked, _): return .none
            case (.up, true):
                state = .up(failureCount: 0)
                return .none
            case (.up(let count), false) where count + 1 >= limits.failures:
                state = .down(successCount: 0)
                return .wentDown
            case (.up(let count), false):
                state = .up(failureCount: count + 1)
                return .none
            case (.down, false):
                state = .down(successCount: 0)
                return .none
            case (.down(let count), true) where count + 1 >= limits.successes:
                state = .up(failureCount: 0)
                return .wentUp
            case (.down(let count), true):
                state = .down(successCount: count + 1)
                return .none
            }
        }
    }
}
