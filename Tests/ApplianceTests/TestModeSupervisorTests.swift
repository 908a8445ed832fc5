import Configuration
import EmergencyCalling
import LinuxIO
import Primitives
import Testing

@testable import Appliance

@Suite("Who may put the box in test mode")
struct TestModeSupervisorTests {
    private static let box = SystemConfiguration(name: "box", domain: "branch.example")
    private static let production = SystemConfiguration(name: "box", domain: "branch.example", isProduction: true)

    /// The engine's part, kept here.
    private final class State {
        var mode = EmergencyTestMode()
        var hasCall = false
    }

    private func supervisor(_ state: State) throws -> TestModeSupervisor {
        let log = StandardErrorLog()
        log.level = .error
        let supervisor = TestModeSupervisor(loop: try EventLoop(), log: log)
        supervisor.current = { state.mode }
        supervisor.arm = { state.mode.armed = $0 }
        supervisor.hasEmergencyCall = { state.hasCall }
        return supervisor
    }

    private func arm(_ minutes: Int, acknowledged: Bool = false) -> JSONValue {
        ["action": "arm", "minutes": .init(minutes), "production-acknowledged": .bool(acknowledged)]
    }

    @Test("root, for 1 to 60 minutes, and it can be taken back")
    func armed() throws {
        let state = State()
        let supervisor = try supervisor(state)
        for minutes in [0, 61, -1] { #expect(supervisor.answer(arm(minutes), by: 0, Self.box)["ok"] == .bool(false)) }
        #expect(supervisor.answer(arm(5), by: 1000, Self.box)["ok"] == .bool(false))
        #expect(state.mode.armed == nil && supervisor.notice == nil)
        let answer = supervisor.answer(arm(5), by: 0, Self.box)
        #expect(answer["result"]?["active"] == .bool(true))
        #expect(supervisor.notice?.hasPrefix("TEST MODE: every 911 is blocked (armed by root, 4 min 5") == true)
        #expect(supervisor.answer(["action": "disarm"], by: 1000, Self.box)["ok"] == .bool(false))
        #expect(supervisor.answer(["action": "disarm"], by: 0, Self.box)["result"]?["active"] == .bool(false))
    }

    @Test("on a production box only with the acknowledgement, and never during a call for help")
    func guarded() throws {
        let state = State()
        let supervisor = try supervisor(state)
        let refusal = supervisor.answer(arm(5), by: 0, Self.production)["error"]?.stringValue
        #expect(refusal?.contains("--production-acknowledged") == true)
        state.hasCall = true
        #expect(supervisor.answer(arm(5, acknowledged: true), by: 0, Self.production)["ok"] == .bool(false))
        state.hasCall = false
        #expect(supervisor.answer(arm(5, acknowledged: true), by: 0, Self.production)["ok"] == .bool(true))
    }

    @Test("a production box with a sign of tests does not start, and hears which")
    func refusal() {
        let signs = ["the environment variable TESTING"]
        #expect(TestModeSupervisor.refusal(Self.box, signs: signs) == nil)
        #expect(TestModeSupervisor.refusal(Self.production, signs: []) == nil)
        let text = TestModeSupervisor.refusal(Self.production, signs: signs)
        #expect(text?.contains("the environment variable TESTING means test mode") == true)
        #expect(text?.contains("unset it") == true)
        let path = TestModeSupervisor.refusal(Self.production, signs: ["the configuration directory /etc/test"])
        #expect(path?.contains("rename it") == true)
    }
}
