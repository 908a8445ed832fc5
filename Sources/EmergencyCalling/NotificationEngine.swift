import Primitives

/// Tells people of calls for help: whom, when again, when the next level, and what came of it.
///
/// Fed with every record `EmergencyEngine` gives; since those come behind the INVITE, so does all this. It stands apart
/// from the call: nothing in here can reach it. Drain `nextOutput()` to nil.
package struct NotificationEngine: Sendable {
    package enum Output: Equatable, Sendable {
        case deliver(NoticeDelivery)
        /// The record as given, with what is known of notices and acknowledgement.
        case record(EmergencyRecord)
        /// `beacon` says how it is now.
        case beaconChanged
        case event(NotificationEvent)
    }

    enum Limits {
        /// Calls that are over and that nobody acknowledged; of older ones only the number is kept.
        static let unacknowledgedMax = 64
        /// Calls that last. Those beyond are told only as a number.
        static let activeMax = 256
        /// Notices waiting for one contact; those beyond are told only as a number.
        static let waitingMax = 8
        static let retryAfterMax = Duration.seconds(60)
        /// Calls kept for who asks afterwards.
        static let recentMax = 16
    }

    enum Timer: Hashable, Sendable { case patience(NoticeID), retry(NoticeID), escalation(EmergencyCallID) }

    /// One call, as long as it lasts, somebody is to be told, or nobody has acknowledged it.
    struct Incident: Sendable {
        var record: EmergencyRecord
        let order: UInt64
        /// Told so far; nil when there is nobody.
        var level: Int?
        var notices: [NoticeID] = []

        /// What all times in results count from.
        var invite: MonotonicTime { record.inviteLeft ?? record.attempts.first?.start ?? record.start }
    }

    /// One after the other for each contact.
    struct Lane: Sendable {
        var inFlight: NoticeID?
        var waiting: [NoticeID] = []
        var furtherCalls = 0
    }

    package private(set) var settings: NotificationSettings
    var incidents: [EmergencyCallID: Incident] = [:]
    var notices: [NoticeID: Notice] = [:]
    var lanes: [String: Lane] = [:]
    /// Calls beyond the limit, while they last.
    private var untold: Set<EmergencyCallID> = []
    /// From before a restart.
    private var restored: [EmergencyBeacon.Call] = []
    private var forgottenCalls = 0
    private var beaconChanged = false
    /// Calls nothing more is done about, the newest last.
    private var recent: [EmergencyRecord] = []
    private var changed: Set<EmergencyCallID> = []
    var timers = TimerTable<Timer>()
    private var outputs = Queue<Output>()
    private var lastID: UInt64 = 0

    package init(settings: NotificationSettings) { self.settings = settings }

    /// Of calls from now on; what runs goes on with the contacts it has.
    package mutating func reconfigure(_ new: NotificationSettings) { settings = new }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }
    package var nextDeadline: MonotonicTime? { timers.earliest }

    // MARK: Calls

    /// A call's record as it stands.
    package mutating func handle(_ record: EmergencyRecord, at now: MonotonicTime) {
        defer { settle() }
        guard isTold(record), !untold.contains(record.id) else {
            if record.end != nil { untold.remove(record.id) }
            return output(.record(record))
        }
        guard let before = incidents[record.id]?.record else {
            guard !record.attempts.isEmpty || record.blockedBy != nil || record.end != nil else {
                return output(.record(record))  // its INVITE has not left
            }
            return begin(record, at: now)
        }
        var merged = record
        merged.acknowledgement = before.acknowledgement
        beaconChanged = beaconChanged || (before.end == nil) != (record.end == nil)
        incidents[record.id]?.record = merged
        changed.insert(record.id)
        if merged.state != before.state { follow(record.id, from: before.state, at: now) }
    }

    private func isTold(_ record: EmergencyRecord) -> Bool {
        !record.isProof && (record.number == .emergency || settings.tellsOfTests)
    }

    private mutating func begin(_ record: EmergencyRecord, at now: MonotonicTime) {
        makeRoom()
        beaconChanged = true
        guard incidents.count < Limits.activeMax else {
            untold.insert(record.id)
            for contact in concerned(with: record) { lanes[contact.name, default: Lane()].furtherCalls += 1 }
            output(.event(.tooManyCalls(record.id)))
            return output(.record(record))
        }
        lastID += 1
        incidents[record.id] = Incident(record: record, order: lastID)
        changed.insert(record.id)
        guard let level = concerned(with: record).map(\.level).min() else {
            return output(.event(.nobodyToTell(record.id)))
        }
        tell(record.id, level, at: now)
    }

    /// The oldest that is over gives way; the beacon keeps counting it.
    private mutating func makeRoom() {
        guard incidents.count >= Limits.unacknowledgedMax else { return }
        let over = incidents.values.filter { $0.record.end != nil }
        guard over.count >= Limits.unacknowledgedMax, let oldest = over.min(by: { $0.order < $1.order }) else { return }
        if oldest.record.acknowledgement == nil { forgottenCalls += 1 }
        close(oldest.record.id)
    }

    private func concerned(with record: EmergencyRecord) -> [NotificationContact] {
        settings.contacts.filter { $0.isConcerned(with: record.site) }
    }

    // MARK: Levels

    private mutating func tell(_ call: EmergencyCallID, _ level: Int, at now: MonotonicTime) {
        guard let record = incidents[call]?.record else { return }
        incidents[call]?.level = level
        for contact in concerned(with: record) where contact.level == level { enqueue(contact, call, at: now) }
        timers.start(.escalation(call), at: now + settings.escalationAfter)
    }

    private mutating func escalate(_ call: EmergencyCallID, at now: MonotonicTime) {
        timers.stop(.escalation(call))
        guard let incident = incidents[call], let level = incident.level, incident.record.acknowledgement == nil
        else { return }
        if let next = concerned(with: incident.record).map(\.level).filter({ $0 > level }).min() {
            output(.event(.escalated(call, level: next)))
            tell(call, next, at: now)
        } else {
            output(.event(.nobodyAcknowledged(call)))
        }
    }

    /// A level nobody of which could be told is not waited for.
    private mutating func escalateIfUnheard(_ call: EmergencyCallID, at now: MonotonicTime) {
        guard let incident = incidents[call], timers.deadline(of: .escalation(call)) != nil else { return }
        let level = incident.notices.compactMap { notices[$0] }.filter { $0.contact.level == incident.level }
        if level.allSatisfy({ $0.progress == .done(delivered: false) }) { escalate(call, at: now) }
    }

    /// The call's state has changed: those who read are told each change, those who hear only that nobody answered.
    private mutating func follow(_ call: EmergencyCallID, from old: EmergencyState, at now: MonotonicTime) {
        guard let incident = incidents[call], let level = incident.level else { return }
        let state = incident.record.state
        guard state != .ringing, state != .calling else { return }
        for contact in concerned(with: incident.record) where contact.level <= level {
            if contact.channel.isSpoken, !state.isMisfortune || old.isMisfortune { continue }
            // What has not been sent yet will say how things stand then.
            let isPending = incident.notices.contains {
                guard let notice = notices[$0], notice.contact.name == contact.name else { return false }
                return notice.progress == .waiting || notice.progress == .resting
            }
            if !isPending { enqueue(contact, call, at: now) }
        }
    }

    // MARK: Notices

    private mutating func enqueue(_ contact: NotificationContact, _ call: EmergencyCallID, at now: MonotonicTime) {
        guard let incident = incidents[call] else { return }
        lastID += 1
        let id = NoticeID(rawValue: lastID)
        notices[id] = Notice(id: id, call: call, contact: contact, state: incident.record.state, start: now)
        incidents[call]?.notices.append(id)
        changed.insert(call)
        let lane = lanes[contact.name, default: Lane()]
        if lane.inFlight != nil, lane.waiting.count >= Limits.waitingMax {
            lanes[contact.name]?.furtherCalls += 1
            return finish(id, delivered: false, "not told by itself, there were too many", at: now)
        }
        lanes[contact.name, default: Lane()].waiting.append(id)
        startNext(contact.name, at: now)
    }

    private mutating func startNext(_ contact: String, at now: MonotonicTime) {
        guard var lane = lanes[contact], lane.inFlight == nil else { return }
        while !lane.waiting.isEmpty {
            let id = lane.waiting.removeFirst()
            guard var notice = notices[id], let record = incidents[notice.call]?.record else { continue }
            notice.tries += 1
            notice.progress = .inFlight(since: now)
            notice.state = record.state
            notices[id] = notice
            changed.insert(notice.call)
            output(
                .deliver(
                    NoticeDelivery(
                        id: id, contact: contact, channel: notice.contact.channel, tryNumber: notice.tries,
                        record: record, furtherCalls: lane.furtherCalls)))
            lane.inFlight = id
            lane.furtherCalls = 0
            timers.start(.patience(id), at: now + notice.contact.channel.patience)
            break
        }
        lanes[contact] = lane.inFlight == nil && lane.furtherCalls == 0 ? nil : lane
    }

    /// What became of a try; of one that is no longer waited for, nothing.
    package mutating func handle(_ outcome: NoticeOutcome, of id: NoticeID, at now: MonotonicTime) {
        defer { settle() }
        guard let notice = notices[id] else {
            if case .finished = outcome { release(id, at: now) }
            return
        }
        guard case .inFlight = notice.progress else { return }
        switch outcome {
        case .acknowledged: acknowledge(notice.call, by: notice.contact.name, means: "key", at: now)
        case .finished(let delivered, let result): finish(id, delivered: delivered, result, at: now)
        }
    }

    /// The contact is free again, though the call the try was about is forgotten.
    private mutating func release(_ id: NoticeID, at now: MonotonicTime) {
        timers.stop(.patience(id))
        guard let contact = lanes.first(where: { $0.value.inFlight == id })?.key else { return }
        lanes[contact]?.inFlight = nil
        startNext(contact, at: now)
    }

    private mutating func finish(_ id: NoticeID, delivered: Bool, _ result: String, at now: MonotonicTime) {
        guard var notice = notices[id], let incident = incidents[notice.call] else { return }
        changed.insert(notice.call)
        func milliseconds(_ time: MonotonicTime) -> Int64 { (time - incident.invite).wholeMilliseconds }
        if case .inFlight(let since) = notice.progress {
            notice.results.append("\(milliseconds(since)) to \(milliseconds(now)) ms: \(result)")
            timers.stop(.patience(id))
            lanes[notice.contact.name]?.inFlight = nil
        } else {
            notice.results.append("\(milliseconds(now)) ms: \(result)")
        }
        let isAnswered = notice.contact.channel.isSpoken && incident.record.acknowledgement != nil
        if !delivered, notice.tries > 0, notice.tries < settings.triesMax, !isAnswered {
            notice.progress = .resting
            timers.start(.retry(id), at: now + backOff(notice.tries))
        } else {
            notice.progress = .done(delivered: delivered)
            notice.end = now
        }
        notices[id] = notice
        startNext(notice.contact.name, at: now)
        if notice.isDone, !delivered { escalateIfUnheard(notice.call, at: now) }
    }

    private func backOff(_ tries: Int) -> Duration {
        min(settings.retryAfter * (1 << min(tries - 1, 16)), max(settings.retryAfter, Limits.retryAfterMax))
    }

    private mutating func retry(_ id: NoticeID, at now: MonotonicTime) {
        guard var notice = notices[id], notice.progress == .resting else { return }
        if notice.contact.channel.isSpoken, incidents[notice.call]?.record.acknowledgement != nil {
            notice.progress = .done(delivered: false)
            notice.end = now
            notice.results.append("not tried again, the call is acknowledged")
            changed.insert(notice.call)
            notices[id] = notice
            return
        }
        notice.progress = .waiting
        notices[id] = notice
        lanes[notice.contact.name, default: Lane()].waiting.append(id)
        startNext(notice.contact.name, at: now)
    }

    package mutating func advance(to now: MonotonicTime) {
        defer { settle() }
        while let timer = timers.popDue(now) {
            switch timer {
            case .patience(let id):
                if notices[id] == nil { release(id, at: now) }
                finish(id, delivered: false, "nothing was heard of it", at: now)
            case .retry(let id): retry(id, at: now)
            case .escalation(let call): escalate(call, at: now)
            }
        }
    }

    // MARK: Acknowledgement

    /// Somebody knows of the call, or of all when none is named.
    ///
    /// - Parameters:
    ///   - means: `key`, `console` or `panel`.
    /// - Returns: The calls that were acknowledged by this, not those that had been before.
    @discardableResult
    package mutating func acknowledge(
        _ call: EmergencyCallID?, by name: String, means: String, at now: MonotonicTime
    ) -> [EmergencyCallID] {
        defer { settle() }
        var acknowledged: [EmergencyCallID] = []
        let acknowledgement = EmergencyRecord.Acknowledgement(by: name, means: means, time: now)
        for id in incidents.keys where call == nil || id == call {
            guard incidents[id]?.record.acknowledgement == nil else { continue }
            incidents[id]?.record.acknowledgement = acknowledgement
            timers.stop(.escalation(id))
            changed.insert(id)
            acknowledged.append(id)
        }
        for earlier in restored where call == nil || earlier.id == call { acknowledged.append(earlier.id) }
        restored.removeAll { call == nil || $0.id == call }
        if call == nil { forgottenCalls = 0 }
        beaconChanged = true
        for id in acknowledged { output(.event(.acknowledged(id, by: name, means: means))) }
        return acknowledged
    }

    /// What the beacon showed before a restart: calls that ended with it.
    package mutating func restore(_ beacon: EmergencyBeacon) {
        restored = beacon.calls.suffix(Limits.unacknowledgedMax).filter { $0.acknowledgement == nil }.map { call in
            var call = call
            call.isActive = false
            return call
        }
        forgottenCalls = beacon.furtherCalls
        beaconChanged = !restored.isEmpty || forgottenCalls > 0
        settle()
    }

    package var beacon: EmergencyBeacon {
        let open = incidents.values.filter { incident in
            incident.record.number == .emergency
                && (incident.record.end == nil || incident.record.acknowledgement == nil)
        }.sorted { $0.order < $1.order }
        return EmergencyBeacon(
            calls: restored
                + open.map { incident in
                    let record = incident.record
                    return EmergencyBeacon.Call(
                        id: record.id, site: record.site, caller: record.callerText, location: record.locationText,
                        start: record.start, isActive: record.end == nil, acknowledgement: record.acknowledgement)
                },
            furtherCalls: forgottenCalls)
    }

    /// The newest calls with what was done to tell people, newest first.
    package var latest: [EmergencyRecord] {
        incidents.values.sorted { $0.order > $1.order }.map(recorded) + recent.reversed()
    }

    // MARK: Bookkeeping

    private mutating func output(_ output: Output) { outputs.append(output) }

    private func recorded(_ incident: Incident) -> EmergencyRecord {
        var record = incident.record
        record.notifications = incident.notices.compactMap { notices[$0]?.recorded }
        return record
    }

    /// Tells once what many steps have changed, and forgets calls nothing is left to do about.
    private mutating func settle() {
        let calls = changed.sorted { $0.rawValue < $1.rawValue }
        changed.removeAll()
        for call in calls {
            guard let incident = incidents[call] else { continue }
            output(.record(recorded(incident)))
            let isQuiet = incident.notices.allSatisfy { notices[$0]?.isDone ?? true }
            if incident.record.end != nil, incident.record.acknowledgement != nil, isQuiet { close(call) }
        }
        if beaconChanged {
            beaconChanged = false
            output(.beaconChanged)
        }
    }

    private mutating func close(_ call: EmergencyCallID) {
        guard let incident = incidents[call] else { return }
        recent.append(recorded(incident))
        if recent.count > Limits.recentMax { recent.removeFirst(recent.count - Limits.recentMax) }
        timers.stop(.escalation(call))
        for id in incident.notices {
            guard let notice = notices.removeValue(forKey: id) else { continue }
            timers.stop(.retry(id))
            // What is in flight keeps its contact busy until it has ended.
            lanes[notice.contact.name]?.waiting.removeAll { $0 == id }
        }
        incidents[call] = nil
    }
}

/// What is worth a line in the log.
package enum NotificationEvent: Equatable, Sendable {
    case nobodyToTell(EmergencyCallID)
    case tooManyCalls(EmergencyCallID)
    case escalated(EmergencyCallID, level: Int)
    /// The last level has been told, and its time is over.
    case nobodyAcknowledged(EmergencyCallID)
    case acknowledged(EmergencyCallID, by: String, means: String)
}
