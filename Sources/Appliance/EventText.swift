import CallEngine
import LinuxIO
import Primitives

/// Personal data as it may stand in a log: enough to recognise, not enough to call.
package enum Masked {
    /// Numbers of seven or more digits lose all but their first two and last two; extensions stay.
    package static func number(_ number: String) -> String {
        let characters = Array(number)
        let digits = characters.count(where: \.isNumber)
        guard digits >= 7 else { return number }
        let head = characters.first == "+" ? 3 : 2
        return String(characters.prefix(head)) + String(repeating: "•", count: max(0, characters.count - head - 2))
            + String(characters.suffix(2))
    }
}

extension CallEvent {
    /// How much this matters to whoever reads the log.
    package var level: StandardErrorLog.Level {
        switch self {
        case .trunkDown, .trunkRegistrationFailed, .mediaPortsExhausted, .mediaBindFailed: .error
        case .emergencyCall, .emergencyBlocked, .emergencyCallback, .callPreempted, .authenticationFailed,
            .mediaWrongSource, .restartRequired, .mediaInactive, .attemptFailed:
            .warning
        case .trunkUp, .trunkRegistered, .trunkUnregistered, .callRefused, .mediaSilent, .mediaResumed: .notice
        case .callStarted, .callRinging, .callAnswered, .callHeld, .callResumed, .stationRegistered,
            .stationUnregistered:
            .info
        case .mediaLearned: .debug
        }
    }

    /// One line, personal data masked.
    package var text: String {
        switch self {
        case .callStarted(let id, let caller, let dialled):
            "call \(id): \(caller.text) dials \(Masked.number(dialled))"
        case .emergencyCall(let id, let caller, let source, let number):
            "call \(id): \(number == .test ? "TEST OF THE EMERGENCY PATH" : "EMERGENCY CALL") \(number.dialString) by \(caller.text) at \(source.address)"
        case .emergencyBlocked(let caller, let source, let reason):
            "EMERGENCY CALL 911 by \(caller.text) at \(source.address) BLOCKED: test mode, \(reason)"
        case .emergencyCallback(let id, let caller, let called):
            "call \(id): CALLBACK by \(caller.text) to \(Masked.number(called)), which stands for a caller for help"
        case .callPreempted(let id, let other): "call \(id): ended to make room for call \(other), which is for help"
        case .callRinging(let id, let callee): "call \(id): \(callee.text) rings"
        case .callAnswered(let id, let callee): "call \(id): \(callee.text) answered"
        case .attemptFailed(let id, let target, let outcome):
            "call \(id): \(target.text) failed (\(outcome.text)), next one is tried"
        case .callHeld(let id, let side): "call \(id): held by the \(side)"
        case .callResumed(let id, let side): "call \(id): resumed by the \(side)"
        case .callRefused(let source, let dialled, let statusCode, let reason):
            "call from \(source) to \(Masked.number(dialled)) refused: \(statusCode) \(reason)"
        case .mediaLearned(let id, let side, let source): "call \(id): media of the \(side) comes from \(source)"
        case .mediaWrongSource(let id, let side, let source):
            "call \(id): media for the \(side) from \(source), which is not its source, refused"
        case .mediaSilent(let id, let side, let duration):
            "call \(id): no packets from the \(side) for \(duration.wholeSeconds) s"
        case .mediaResumed(let id, let side): "call \(id): packets from the \(side) again"
        case .mediaInactive(let id): "call \(id): no packets from either side, ending it"
        case .mediaPortsExhausted(let realm): "no media ports left in realm \(realm): widen its media-ports"
        case .mediaBindFailed(let address, let reason): "media port \(address) cannot be used: \(reason)"
        case .stationRegistered(let user, let contact, let source, let expires):
            "station \(user) registered \(contact) from \(source) for \(expires.wholeSeconds) s"
        case .stationUnregistered(let user, let contact, let reason):
            "station \(user) no longer at \(contact) (\(reason.rawValue))"
        case .authenticationFailed(let user, let source):
            "authentication of \(user.isEmpty ? "somebody without a name" : user) from \(source) failed"
        case .trunkUp(let name): "trunk \(name) is up"
        case .trunkDown(let name, let reason): "trunk \(name) is down: \(reason)"
        case .trunkRegistered(let name, let expires): "trunk \(name) registered for \(expires.wholeSeconds) s"
        case .trunkRegistrationFailed(let name, let reason): "trunk \(name) cannot register: \(reason)"
        case .trunkUnregistered(let name): "trunk \(name) unregistered"
        case .restartRequired(let setting): "\(setting) changed: takes effect after a restart of cressetd"
        }
    }
}

extension CallParty {
    /// `station 2001`, `trunk carrier-a`; nil when it is neither.
    package var name: String? {
        switch kind {
        case .station(let user): "station \(user)"
        case .trunk(let name): "trunk \(name)"
        case .none: nil
        }
    }

    /// For the log: the name, with the number masked where it belongs to the public network.
    package var text: String {
        switch kind {
        case .station(let user): "station \(user)"
        case .trunk(let name): "trunk \(name) (\(Masked.number(number)))"
        case .none: Masked.number(number)
        }
    }
}

extension CallSummary {
    /// One line, personal data masked.
    package var text: String {
        let attempts = attempts.map { "\($0.target.text) \($0.outcome.text) \($0.milliseconds) ms" }
        let talk = answer.map { "\((end - $0).wholeMilliseconds) ms" } ?? "never answered"
        return "call \(id): ended, \(ending.text); \(caller.text) → \(callee.text), talk \(talk)"
            + "; attempts: \(attempts.joined(separator: ", "))"
            + "; packets \(fromCaller.packets) from caller, \(fromCallee.packets) from callee"
            + (fromCaller.packets + fromCallee.packets == 0
                ? ""
                : "; caller to callee: \(QualityAnswer.text(callerToCallee))"
                    + "; callee to caller: \(QualityAnswer.text(calleeToCaller))")
    }
}
