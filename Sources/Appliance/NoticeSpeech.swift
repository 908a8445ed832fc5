import CallEngine
import EmergencyCalling
import Primitives

extension NoticeDelivery {
    /// What is said: that a 911 call was made, from where, whom to call back (47 CFR 9.3).
    ///
    /// - Parameter key: What to press; nil where nobody can.
    func speech(key: Character?) -> [SpeechPart] {
        var parts: [SpeechPart] = []
        if record.number == .test { parts.append(.phrase(.test)) }
        parts += [.phrase(.emergencyCallFromExtension), .digits(record.caller.station ?? record.caller.number)]
        switch record.state {
        case .failed: parts.append(.phrase(.failed))
        case .blocked: parts.append(.phrase(.blocked))
        case .calling, .ringing, .answered, .ended, .abandoned: break
        }
        parts += [.phrase(.location), .text(record.locationText)]
        parts += [.phrase(.callbackNumber), .digits(record.callbackText)]
        if furtherCalls > 0 { parts.append(.text("and \(furtherCalls) further emergency calls")) }
        if let key { parts += [.phrase(.press), .digits(String(key)), .phrase(.toAcknowledge)] }
        return parts
    }

    /// What the called phone shows: it says the most important where there is no voice.
    var displayName: String {
        let state = record.state == .failed || record.state == .blocked ? " \(record.state.rawValue)" : ""
        let test = record.number == .test ? "Test " : ""
        return "\(test)\(record.number.dialString)\(state): \(record.caller.station ?? record.caller.number)"
            + (record.site.map { " \($0)" } ?? "")
    }
}

/// Hears one announcement to its end, and says what it meant for the notice.
struct AnnouncementHearing {
    private var times = 0
    private var isAcknowledged = false

    /// What the event means; nil when nothing yet.
    mutating func outcome(of event: AnnouncementEvent) -> NoticeOutcome? {
        switch event {
        case .ringing, .answered: return nil
        case .played(let times):
            self.times = times
            return nil
        case .acknowledged:
            isAcknowledged = true
            return .acknowledged
        case .failed(let statusCode, let reason):
            return .finished(delivered: false, result: "\(statusCode) \(reason)")
        case .ended(let end):
            if isAcknowledged { return .finished(delivered: true, result: "acknowledged by key") }
            let heard = times == 0 ? "not heard to the end" : times == 1 ? "heard once" : "heard \(times) times"
            return .finished(delivered: times > 0, result: "\(heard), \(end.rawValue)")
        }
    }
}
