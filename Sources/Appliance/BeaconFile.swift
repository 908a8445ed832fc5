import EmergencyCalling
import LinuxIO
import Primitives

/// The beacon in `beacon.json` of the state directory: for whoever drives a lamp, and for us after a restart.
///
/// Written soon after a change, not in the same turn; a file that cannot be written is said once and tried again.
final class BeaconFile {
    private enum Limits {
        static let delay = Duration.milliseconds(20)  // many changes of one moment are one write
        static let retry = Duration.seconds(5)
    }

    /// How the beacon is when it is written.
    var current: () -> EmergencyBeacon = { EmergencyBeacon() }
    private let path: String
    private let loop: EventLoop
    private let log: StandardErrorLog
    private var isChanged = false
    private var timer: EventLoop.TimerToken?
    private var hasFailed = false

    init(directory: String, loop: EventLoop, log: StandardErrorLog) {
        path = directory + "/beacon.json"
        self.loop = loop
        self.log = log
    }

    func writeLater() {
        isChanged = true
        schedule(Limits.delay)
    }

    private func schedule(_ delay: Duration) {
        guard timer == nil else { return }
        timer = loop.schedule(at: Clock.monotonic + delay) { [unowned self] in
            timer = nil
            flush()
        }
    }

    /// What is not written yet, now.
    func flush() {
        guard isChanged else { return }
        let json = current().json(at: Clock.monotonic, wall: Clock.wall)
        do throws(SystemCallError) {
            try Files.writeAtomically(Array((json.prettyText + "\n").utf8), to: path, mode: 0o640)
            isChanged = false
            if hasFailed { log.write(.notice, "the beacon's state can be written down again") }
            hasFailed = false
        } catch {
            if !hasFailed { log.write(.error, "the beacon's state cannot be written down: \(error)") }
            hasFailed = true
            schedule(Limits.retry)
        }
    }

    /// As the last run left it; dark when there is no file.
    func read() -> EmergencyBeacon {
        do throws(SystemCallError) {
            let bytes = try Files.read(path, byteCountMax: 1 << 20)
            guard let json = try? JSONValue(parsing: bytes.span) else {
                log.write(.warning, "\(path) is no JSON: whether a 911 call was acknowledged before is not known")
                return EmergencyBeacon()
            }
            return EmergencyBeacon(json: json, at: Clock.monotonic, wall: Clock.wall)
        } catch {
            if error.code != .noSuchFile { log.write(.warning, "\(error): the beacon begins dark") }
            return EmergencyBeacon()
        }
    }
}

extension EmergencyBeacon {
    func json(at now: MonotonicTime, wall: WallClockTime) -> JSONValue {
        func civil(_ time: MonotonicTime) -> WallClockTime { wall + (.zero - (now - time)) }
        return [
            "state": .string(mode.rawValue),
            "calls": .array(
                calls.map { call in
                    [
                        "call": .string(call.id.rawValue), "site": .init(call.site), "from": .string(call.caller),
                        "location": .string(call.location), "time": .string(civil(call.start).rfc3339),
                        "time-ns": .init(civil(call.start).nanosecondsSinceEpoch), "active": .bool(call.isActive),
                        "acknowledged-by": .init(call.acknowledgement?.by),
                    ]
                }),
            "further-calls": .init(furtherCalls),
        ]
    }

    /// What of it can be read; calls that were acknowledged are left out.
    init(json: JSONValue, at now: MonotonicTime, wall: WallClockTime) {
        let calls = (json["calls"]?.arrayValue ?? []).compactMap { call -> Call? in
            guard let id = call["call"]?.stringValue, call["acknowledged-by"]?.stringValue == nil else { return nil }
            let time = call["time-ns"]?.integerValue.map { WallClockTime(nanosecondsSinceEpoch: $0) } ?? wall
            return Call(
                id: EmergencyCallID(rawValue: id), site: call["site"]?.stringValue,
                caller: call["from"]?.stringValue ?? "unknown", location: call["location"]?.stringValue ?? "unknown",
                start: now + (time - wall), isActive: false)
        }
        self.init(calls: calls, furtherCalls: Int(clamping: max(0, json["further-calls"]?.integerValue ?? 0)))
    }
}
