import Console
import Primitives
import TestSupport
import Testing

@Suite("Console reports")
struct GoldenReportTests {
    private static func input(_ name: String) throws -> JSONValue {
        let bytes = try Golden.input(name)  // not inline: 6.3.1 crashes on the span of a temporary array here
        return try JSONValue(parsing: bytes.span)
    }

    @Test("status", arguments: ["status", "status-daemon", "status-empty", "status-strange"])
    func status(_ name: String) throws {
        try Golden.check(name, StatusReport.render(try Self.input(name)))
    }

    @Test("calls", arguments: ["calls", "calls-none", "status-empty"])
    func calls(_ name: String) throws {
        let suffix = name == "status-empty" ? "-as-calls" : ""
        try Golden.check(name + suffix, CallList.render(try Self.input(name)))
    }

    @Test("shield", arguments: ["shield", "shield-off"])
    func shield(_ name: String) throws {
        try Golden.check(name, ShieldReport.render(try Self.input(name)))
    }

    @Test("says what an order did and what it cut")
    func order() {
        #expect(
            ShieldReport.renderOrder("block", ["prefix": "192.0.2.0/24", "cuts": ["trunk a", "call 7"]])
                == "192.0.2.0/24 blocked\nthis cuts trunk a, call 7\n")
        #expect(
            ShieldReport.renderOrder("unblock", ["prefix": "192.0.2.0/24", "cuts": []])
                == "192.0.2.0/24 neither blocked nor allowed any more\n")
    }

    @Test("calls in detail")
    func details() throws {
        try Golden.check("calls-daemon", CallList.render(try Self.input("calls-daemon"), details: true))
        try Golden.check("calls-details", CallList.render(try Self.input("calls"), details: true))
    }

    @Test(
        "no answer, however odd, is a problem",
        arguments: [.null, .bool(true), .string("x"), .array([]), .object([.init("calls", .object([]))])] as [JSONValue]
    )
    func odd(_ answer: JSONValue) {
        #expect(StatusReport.render(answer).hasPrefix("-: Cresset -, up -\n"))
        #expect(CallList.render(answer) == "no calls\n")
    }
}
