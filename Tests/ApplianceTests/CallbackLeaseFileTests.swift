import EmergencyCalling
import Glibc
import LinuxIO
import Primitives
import Testing

@testable import Appliance

@Suite("Leases over a restart")
struct CallbackLeaseFileTests {
    let file: CallbackLeaseFile
    let now = MonotonicTime.zero + .seconds(50_000)
    let wall = WallClockTime(secondsSinceEpoch: 1_800_000_000)
    let window = Duration.seconds(1800)

    init() throws {
        var template = Array("/tmp/cresset-leases-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        file = CallbackLeaseFile(
            directory: String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    private func lease(end: Duration?, station: String? = "2001") -> CallbackLease {
        CallbackLease(
            elin: "+13135550190", site: "plant",
            caller: EmergencyCaller(
                station: station, number: "2001", displayName: "Front “desk”\n",
                source: TransportAddress(IPAddress("2001:db8::7")!, 5062),
                contact: CallbackContact(realm: RealmID("lan"), isTCP: true, uri: "sip:2001@[2001:db8::7]:5062")),
            start: now + .seconds(-90), lastCall: now + .seconds(-30),
            activeCalls: end == nil ? [EmergencyCallID(rawValue: "a")] : [], end: end.map { now + $0 })
    }

    /// Read in a later life, whose monotonic clock began anew.
    private func read(after: Duration, wall: WallClockTime? = nil) throws -> [CallbackLease] {
        try file.read(window: window, at: .zero + .seconds(7), wall: wall ?? self.wall + after)
    }

    private func write(_ leases: [CallbackLease]) throws {
        try file.write(CallbackLeaseFile.bytes(leases, at: now, wall: wall))
    }

    @Test("what is left of the window is left after it")
    func roundTrip() throws {
        #expect(try read(after: .zero) == [])
        try write([lease(end: .seconds(1000)), lease(end: .seconds(500), station: nil)])
        let leases = try read(after: .seconds(600))
        #expect(leases.count == 1)
        #expect(leases.first?.end == .zero + .seconds(7 + 400))
        #expect(leases.first?.caller == lease(end: .zero).caller)
        #expect(leases.first?.lastCall == .zero + .seconds(7 - 630))
        #expect(leases.first?.elin == "+13135550190" && leases.first?.site == "plant")
    }

    @Test("a call that lasted when the power went has the full window from now")
    func active() throws {
        try write([lease(end: nil)])
        let leases = try read(after: .seconds(100_000))
        #expect(leases.map(\.end) == [.zero + .seconds(7 + 1800)])
        #expect(leases.first?.activeCalls.isEmpty == true)
    }

    @Test("a clock that jumped back gives the full window and no more")
    func clockBehind() throws {
        try write([lease(end: .seconds(1000))])
        let leases = try read(after: .zero, wall: WallClockTime(secondsSinceEpoch: 0))
        #expect(leases.map(\.end) == [.zero + .seconds(7 + 1800)])
        #expect(try #require(leases.first).lastCall <= .zero + .seconds(7))
    }

    @Test(
        "damage loses no more than what is damaged",
        arguments: [#"{"leases": [{"number": "1"}]}"#, #"{"leases": [7]}"#, "{}", #"{"leases": {}}"#])
    func damage(_ text: String) throws {
        try Files.writeAtomically(Array(text.utf8), to: file.path)
        #expect(try read(after: .zero) == [])
    }

    @Test("what is no JSON is an error with the file's name")
    func garbage() throws {
        try Files.writeAtomically(Array("{".utf8), to: file.path)
        let error = #expect(throws: SystemCallError.self) { try read(after: .zero) }
        #expect("\(error!)".contains("callback-leases.json"))
    }
}
