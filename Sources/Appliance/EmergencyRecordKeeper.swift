import EmergencyCalling
import FlatFiles
import LinuxIO
import Primitives

/// Writes down what happened to each call for help, after it happened: nothing here can hold up the call.
///
/// Every change of a record is a line of `emergency/emergency-2026-11.jsonl` in the state directory; while a call
/// lasts, a line every few seconds says that it still did. So a record that a power cut left open can be closed
/// honestly at the next start.
final class EmergencyRecordKeeper {
    private enum Limits {
        static let sign = Duration.seconds(15)  // how much of a call's end a power cut may hide
        static let endedKept = 256  // whose INVITE's time is remembered, for lines that follow the end
    }

    /// Packets so far of calls that last, from the caller and from the called side.
    var packets: ([EmergencyCallID]) -> [EmergencyCallID: (fromCaller: UInt64, fromCalled: UInt64)] = { _ in [:] }

    private let loop: EventLoop
    private let log: StandardErrorLog
    private let ledger: Ledger
    private var lasting: [EmergencyCallID: EmergencyRecord] = [:]
    private var inviteLeft: [EmergencyCallID: MonotonicTime] = [:]
    private var ended: [EmergencyCallID] = []
    private var sign: EventLoop.TimerToken?

    init(stateDirectory: String, loop: EventLoop, log: StandardErrorLog) throws(SystemCallError) {
        self.loop = loop
        self.log = log
        ledger = try Ledger(.init(directory: stateDirectory + "/emergency", name: "emergency"), loop: loop)
        ledger.changed = { [unowned self] in tellHealth() }
        ledger.opened = { [unowned self] opening in closeInterrupted(opening) }
    }

    func start() { ledger.open() }

    /// Waits for the disk: at the end of the process.
    func flush() { ledger.flush() }

    /// Somebody asks for help just now; tests and proofs do not count.
    var isHelpNeeded: Bool { lasting.values.contains { $0.number == .emergency } }

    /// For `cresset status`; the longest write is the disk's word on `fsync`.
    var counters: [(String, UInt64)] {
        [
            ("record-lines-written", UInt64(ledger.health.written)), ("record-lines-lost", UInt64(ledger.health.lost)),
            ("record-write-milliseconds-max", UInt64(clamping: ledger.health.slowestWrite.wholeMilliseconds)),
        ]
    }

    /// What the operator must see.
    var alarms: [String] { ledger.health.alarms.map { "911 records: \($0)" } }

    /// A record as it stands now. The first with an attempt comes right after its INVITE was given to the kernel.
    func keep(_ record: EmergencyRecord) {
        var record = record
        let now = Clock.monotonic
        if !record.attempts.isEmpty, record.inviteLeft == nil {
            record.inviteLeft = inviteLeft[record.id] ?? now
            inviteLeft[record.id] = record.inviteLeft
        }
        if record.end == nil {
            lasting[record.id] = record
            giveSignLater()
        } else if lasting.removeValue(forKey: record.id) != nil {
            ended.append(record.id)
            if ended.count > Limits.endedKept { inviteLeft[ended.removeFirst()] = nil }
        }
        write(record, at: now)
    }

    private func write(_ record: EmergencyRecord, at now: MonotonicTime) {
        let wall = Clock.wall
        ledger.append(.init(key: record.id.rawValue, record: record.json(wall: wall, at: now), written: wall))
    }

    // MARK: Signs of life

    private func giveSignLater() {
        guard sign == nil else { return }
        sign = loop.schedule(at: Clock.monotonic + Limits.sign) { [unowned self] in
            sign = nil
            let counted = packets(Array(lasting.keys))
            let now = Clock.monotonic
            for var record in lasting.values.sorted(by: { $0.start < $1.start }) {
                if let packets = counted[record.id] {
                    record.packetsFromCaller = packets.fromCaller
                    record.packetsFromCallee = packets.fromCalled
                }
                write(record, at: now)
            }
            if !lasting.isEmpty { giveSignLater() }
        }
    }

    // MARK: The last run

    /// Calls of the last run without an end get one that says what is known of it, and no more.
    private func closeInterrupted(_ opening: Ledger.Opening) {
        if opening.tornBytes > 0 {
            log.write(.warning, "911 records: \(opening.tornBytes) bytes of an unfinished line cut off")
        }
        let wall = Clock.wall
        for (record, lastSeen) in opening.records where record["state"]?.stringValue == "open" {
            let id = record["id"]?.stringValue ?? ""
            let ending =
                "interrupted: cressetd stopped at or after \(lastSeen); last seen "
                + (record["answer-ms"]?.integerValue == nil ? "ringing" : "answered") + "; closed at \(wall.rfc3339)"
            log.write(.warning, "911 call \(id) of the last run: \(ending)")
            let closed = record.replacing([
                "state": "interrupted", "ending": .string(ending), "last-seen": .string(lastSeen),
            ])
            ledger.append(.init(key: id, record: closed, written: wall))
        }
        // Reading took memory that is not needed again.
        ProcessResources.returnFreeMemory()
    }

    private func tellHealth() {
        let alarms = alarms
        for alarm in alarms { log.write(.error, alarm) }
        if alarms.isEmpty { log.write(.notice, "911 records: written down again, the disk has space") }
    }
}

extension JSONValue {
    /// An object with these members in place of those of their names, or behind them.
    fileprivate func replacing(_ new: KeyValuePairs<String, JSONValue>) -> JSONValue {
        guard case .object(var members) = self else { return self }
        for (name, value) in new {
            if let index = members.firstIndex(where: { $0.name == name }) {
                members[index] = .init(name, value)
            } else {
                members.append(.init(name, value))
            }
        }
        return .object(members)
    }
}
