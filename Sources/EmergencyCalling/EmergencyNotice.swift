import Primitives

/// Where a call for help stands, as people are told.
package enum EmergencyState: String, Hashable, Sendable, CaseIterable {
    case calling, ringing, answered
    /// It was answered and is over.
    case ended
    /// It is over, and nobody answered.
    case failed
    /// The caller gave up before anybody answered.
    case abandoned
    /// Kept from every trunk by test mode.
    case blocked

    /// It was never answered and is over: whoever was told must know, for nobody else is on the way.
    var isMisfortune: Bool { self == .failed || self == .blocked }
}

extension EmergencyRecord {
    /// How a call ends that its caller gave up.
    package static let endingCancelled = "cancelled by the caller"

    package var state: EmergencyState {
        if blockedBy != nil { return .blocked }
        if end != nil {
            if answer != nil { return .ended }
            return ending == Self.endingCancelled ? .abandoned : .failed
        }
        if answer != nil { return .answered }
        return attempts.contains { $0.ringing != nil && $0.end == nil } ? .ringing : .calling
    }

    /// Where the caller is, the very text the called side was given; else as much as is known.
    package var locationText: String { location?.text ?? site.map { "site \($0)" } ?? "unknown" }

    /// Whom to call back.
    package var callbackText: String { callbackNumber ?? elin ?? caller.number }

    /// The phone it came from.
    package var callerText: String {
        let name = caller.displayName.map { " (\($0))" } ?? ""
        return (caller.station ?? "unregistered phone at \(caller.source.address)") + name
    }
}

/// Names one notice; never reused.
package struct NoticeID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package var description: String { "notice-\(rawValue)" }
}

/// What one contact is to be told about one call, with all its tries.
struct Notice: Sendable {
    enum Progress: Sendable, Equatable {
        /// Others of the same contact come first.
        case waiting
        case inFlight(since: MonotonicTime)
        /// Until the next try.
        case resting
        case done(delivered: Bool)
    }

    let id: NoticeID
    let call: EmergencyCallID
    let contact: NotificationContact
    /// What it tells, or told last.
    var state: EmergencyState
    let start: MonotonicTime
    var progress = Progress.waiting
    var tries = 0
    var end: MonotonicTime?
    /// One for each try: what came of it, and when it began, in milliseconds after the INVITE.
    var results: [String] = []

    var isDone: Bool { if case .done = progress { true } else { false } }

    /// As it stands in the record.
    var recorded: EmergencyRecord.Notification {
        var entry = EmergencyRecord.Notification(
            channel: contact.channel.rawValue, target: contact.name, occasion: state.rawValue, start: start)
        entry.end = end
        entry.tries = tries
        entry.isDelivered = progress == .done(delivered: true)
        entry.result = results.isEmpty ? nil : results.joined(separator: "; ")
        return entry
    }
}

/// One try: tell this contact now.
package struct NoticeDelivery: Equatable, Sendable {
    package let id: NoticeID
    package let contact: String
    package let channel: NotificationChannel
    /// 1 for the first.
    package let tryNumber: Int
    /// The call as it stands now.
    package let record: EmergencyRecord
    /// Further calls this contact could not be told of one by one: there were too many.
    package let furtherCalls: Int

    package init(
        id: NoticeID, contact: String, channel: NotificationChannel, tryNumber: Int, record: EmergencyRecord,
        furtherCalls: Int
    ) {
        self.id = id
        self.contact = contact
        self.channel = channel
        self.tryNumber = tryNumber
        self.record = record
        self.furtherCalls = furtherCalls
    }
}

/// How a try went.
package enum NoticeOutcome: Equatable, Sendable {
    /// The person called has pressed the key; the end of the try still comes.
    case acknowledged
    /// The last: whether they were told, and what happened in words, "250", "486 Busy Here".
    case finished(delivered: Bool, result: String)
}

/// The lamp: on from the first INVITE of a call for help until it is over and somebody said: I know of it.
package struct EmergencyBeacon: Equatable, Sendable {
    package enum Mode: String, Sendable { case off, active, steady }

    package struct Call: Equatable, Sendable {
        package var id: EmergencyCallID
        package var site: String?
        package var caller: String
        package var location: String
        package var start: MonotonicTime
        package var isActive: Bool
        package var acknowledgement: EmergencyRecord.Acknowledgement?

        package init(
            id: EmergencyCallID, site: String?, caller: String, location: String, start: MonotonicTime, isActive: Bool,
            acknowledgement: EmergencyRecord.Acknowledgement? = nil
        ) {
            self.id = id
            self.site = site
            self.caller = caller
            self.location = location
            self.start = start
            self.isActive = isActive
            self.acknowledgement = acknowledgement
        }
    }

    /// Oldest first.
    package var calls: [Call]
    /// Unacknowledged calls there was no room for here.
    package var furtherCalls: Int

    package init(calls: [Call] = [], furtherCalls: Int = 0) {
        self.calls = calls
        self.furtherCalls = furtherCalls
    }

    /// `active` while a call lasts, `steady` until all are acknowledged.
    package var mode: Mode {
        if calls.contains(where: \.isActive) { return .active }
        return calls.isEmpty && furtherCalls == 0 ? .off : .steady
    }
}
