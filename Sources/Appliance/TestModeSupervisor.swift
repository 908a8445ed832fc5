import Configuration
import EmergencyCalling
import Glibc
import LinuxIO
import Primitives

/// Knows whether this box is one that only tests, says so wherever somebody looks, and takes the operator's word.
final class TestModeSupervisor {
    var current: () -> EmergencyTestMode = { EmergencyTestMode() }
    var hasEmergencyCall: () -> Bool = { false }
    var arm: (EmergencyTestMode.Armed?) -> Void = { _ in }

    /// The environment does not change while the process lives.
    private let environment: [String]
    private let loop: EventLoop
    private let log: StandardErrorLog

    init(loop: EventLoop, log: StandardErrorLog) {
        environment = Self.environment
        self.loop = loop
        self.log = log
    }

    private static var environment: [String] {
        EmergencyTestMode.signs { name in getenv(name).map { String(cString: $0) } }  // lives as long as the process
    }

    /// What says "test" here and now.
    static func signs(configuration directory: String) -> [String] {
        let files = (try? Files.list(directory)) ?? []
        return environment
            + EmergencyTestMode.signs(
                ofConfiguration: directory, files: files.filter { $0.hasSuffix(".toml") })
    }

    /// Why a box with people around it must not run like this; nil: it may.
    static func refusal(_ system: SystemConfiguration, signs: [String]) -> String? {
        guard system.isProduction, let sign = signs.first else { return nil }
        return "system.production is true, but \(sign) means test mode, in which every 911 is blocked: "
            + (sign.hasPrefix("the environment") ? "unset it" : "rename it")
            + " (`systemctl show cressetd -p Environment`), or set system.production to false where nobody dials 911"
    }

    func tell(_ signs: [String]) {
        for sign in signs { log.write(.error, "TEST MODE: every 911 is blocked, because of \(sign)") }
    }

    /// For every answer and for the alarms; nil out of test mode.
    var notice: String? {
        let now = Clock.monotonic
        guard let reason = current().reason(at: now) else { return nil }
        return "TEST MODE: every 911 is blocked (\(reason)\(remaining(at: now).map { ", \($0)" } ?? ""))"
    }

    private func remaining(at now: MonotonicTime) -> String? {
        let mode = current()
        guard mode.signs.isEmpty, let armed = mode.armed else { return nil }
        let seconds = max(0, (armed.until - now).wholeSeconds)
        return "\(seconds / 60) min \(seconds % 60) s left"
    }

    // MARK: The operator

    /// The answer to `{"command": "test-mode", "action": "arm" | "disarm" | "show"}`.
    func answer(_ request: JSONValue, by user: UInt32, _ system: SystemConfiguration) -> JSONValue {
        let now = Clock.monotonic
        switch request["action"]?.stringValue {
        case "show": break
        case "arm":
            guard user == 0 else { return Self.no("only root may arm test mode: it blocks every 911") }
            guard let minutes = request["minutes"]?.integerValue,
                EmergencyTestMode.armedMinutes.contains(Int(clamping: minutes))
            else { return Self.no("test mode is armed for 1 to 60 minutes") }
            guard !system.isProduction || request["production-acknowledged"]?.boolValue == true else {
                return Self.no(
                    "this box is marked system.production: people may dial 911 here, and would not be helped; "
                        + "if nobody can, say so with --production-acknowledged")
            }
            guard !hasEmergencyCall() else { return Self.no("a call for help lasts; test mode would cut its way") }
            let until = now + .seconds(minutes * 60)
            arm(EmergencyTestMode.Armed(by: "root", until: until))
            log.write(.error, "TEST MODE armed by root for \(minutes) min: every 911 is blocked")
            loop.schedule(at: until) { [weak self] in self?.tellEnd(of: until) }
        case "disarm":
            guard user == 0 else { return Self.no("only root may disarm test mode") }
            if current().armed != nil { log.write(.notice, "test mode disarmed by root") }
            arm(nil)
        default: return Self.no("the action is one of arm, disarm, show")
        }
        return ["ok": true, "result": fact]
    }

    private func tellEnd(of until: MonotonicTime) {
        guard current().armed?.until == until else { return }
        arm(nil)
        log.write(.notice, "test mode armed by root is over" + (notice == nil ? ": 911 is placed again" : ""))
    }

    /// How long an operator's word still holds; nil without one.
    var left: Duration? {
        let now = Clock.monotonic
        return current().armed.flatMap { now < $0.until ? $0.until - now : nil }
    }

    /// For `cresset emergency test-mode`.
    var fact: JSONValue {
        let now = Clock.monotonic
        let mode = current()
        return [
            "active": .bool(mode.reason(at: now) != nil),
            "signs": .array(mode.signs.map { .string($0) }),
            "armed-by": .init(left == nil ? nil : mode.armed?.by),
            "armed-seconds-left": left.map { .init($0.wholeSeconds) } ?? .null,
        ]
    }

    private static func no(_ reason: String) -> JSONValue { ["ok": false, "error": .string(reason)] }
}
