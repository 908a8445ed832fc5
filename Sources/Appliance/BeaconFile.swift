import EmergencyCalling
import LinuxIO
import Primitives

/// The beacon in `beacon.json` of the state directory: for whoever drives a lamp, and for us after a restart.
///
/// Written by a thread of its own, for a disk may take seconds and the loop carries the next call; the latest state only,
/// again until it works.
final class BeaconFile {
    private enum Limits {
        static let delay = Duration.milliseconds(20)  // many changes of one moment are one write
        static let retryInterval = Duration.seconds(5)
    }

    /// How the beacon is when it is written.
    var current: () -> EmergencyBeacon = { EmergencyBeacon() }
    private let path: String
    private let loop: EventLoop
    private let work: BackgroundWork
    private let log: StandardErrorLog
    private var isChanged = false
    private var isScheduled = false
    private var isFlushing = false
    /// What somebody must look at; nil: all is well.
    private(set) var alarm: String?

    init(directory: String, loop: EventLoop, log: StandardErrorLog) throws(SystemCallError) {
        path = directory + "/beacon.json"
        work = try BackgroundWork(loop: loop)
        self.loop = loop
        self.log = log
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

    func writeLater() {
        isChanged = true
        schedule(Limits.delay)
    }

    /// At the end of the process.
    func flush() {
        isFlushing = true
        work.wait()
        guard isChanged else { return }
        isChanged = false
        finished(Self.write(bytes, to: path))
    }

    private var bytes: [UInt8] {
        Array((current().json(at: Clock.monotonic, wall: Clock.wall).prettyText + "\n").utf8)
    }

    private static func write(_ bytes: [UInt8], to path: String) -> SystemCallError? {
        do throws(SystemCallError) {
            try Files.writeAtomically(bytes, to: path, mode: 0o640)
            return nil
        } catch {
            return error
        }
    }

    private func schedule(_ delay: Duration) {
        guard !isScheduled else { return }
        isScheduled = true
        loop.schedule(at: Clock.monotonic + delay) { [weak self] in
            self?.isScheduled = false
            self?.write()
        }
    }

    /// What is written now is followed by what came meanwhile.
    private func write() {
        guard isChanged, !work.isBusy else { return }
        isChanged = false
        let (bytes, path) = (bytes, path)
        let isStarted = work.start({ Self.write(bytes, to: path) }) { [weak self] in self?.finished($0) }
        if !isStarted { finished(Self.write(bytes, to: path)) }
    }

    private func finished(_ error: SystemCallError?) {
        guard let error else {
            if alarm != nil { log.write(.notice, "the beacon's state can be written down again") }
            alarm = nil
            if isChanged, !isFlushing { schedule(Limits.delay) }
            return
        }
        if alarm == nil { log.write(.error, "the beacon's state cannot be written down: \(error)") }
        alarm = "the beacon's state cannot be written down: \(error)"
        isChanged = true
        if !isFlushing { schedule(Limits.retryInterval) }
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
