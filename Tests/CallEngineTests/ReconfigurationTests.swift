import CallEngine
import MediaEngine
import Primitives
import SIPEngine
import SignallingFormats
import Testing

extension Testbed {
    func reconfigure(_ settings: CallEngineSettings) {
        engine.reconfigure(settings, at: now)
        drain()
    }

    func reconfigure(_ change: (inout CallEngineSettings) -> Void) {
        var settings = engine.settings
        change(&settings)
        reconfigure(settings)
    }

    func shutdown() {
        engine.shutdown(at: now)
        drain()
    }
}

@Suite("new settings under a live call")
struct ReconfigurationTests {
    struct Change: Sendable, CustomTestStringConvertible {
        let name: String
        let apply: @Sendable (inout CallEngineSettings) -> Void
        var testDescription: String { name }
    }

    static let changes = [
        Change(name: "trunk removed") {
            $0.trunks["carrier-a"] = nil
            $0.routes = []
        },
        Change(name: "trunk moved") { $0.trunks["carrier-a"]?.peer = Testbed.address("203.0.113.30") },
        Change(name: "trunk sources narrowed") { $0.trunks["carrier-a"]?.sources = [] },
        Change(name: "trunk limits") { $0.trunks["carrier-a"]?.callsMax = 1 },
        Change(name: "trunk added") {
            $0.trunks["carrier-c"] = .init(realm: Testbed.wan, peer: Testbed.address("203.0.113.40"), health: nil)
        },
        Change(name: "routes removed") { $0.routes = [] },
        Change(name: "numbers removed") { $0.numbers = [:] },
        Change(name: "station removed") { $0.stations["2001"] = nil },
        Change(name: "station's password") { $0.stations["2001"]?.password = "new" },
        Change(name: "station added") { $0.stations["2009"] = .init(realm: Testbed.lan, password: "x") },
        Change(name: "calls") { $0.calls.maximum = 1 },
        Change(name: "media") { $0.media.inactivityTimeout = .seconds(600) },
        Change(name: "realm") { $0.realms[Testbed.wan]?.mediaPorts = 40_000...40_999 },
    ]

    @Test("leave it alone: hold, and BYE from either side", arguments: changes, [true, false])
    func survives(_ change: Change, callerHangsUp: Bool) throws {
        let bed = Testbed()
        var call = try OutboundCall(bed)
        bed.reconfigure(change.apply)
        #expect(bed.engine.calls(at: bed.now).map(\.phase) == [.answered])
        let hold = try call.phone.request(
            "INVITE", &call.caller, body: sdp("192.0.2.11", 4_000, version: 2, direction: "sendonly"))
        try call.carrier.respond(
            try call.carrier.take(.invite), 200, body: sdp("203.0.113.10", 6_000, version: 2, direction: "recvonly"))
        try call.phone.ack(hold, try call.phone.take(200))
        _ = try call.carrier.take(.ack)
        let resume = try call.carrier.request(
            "INVITE", &call.callee, body: sdp("203.0.113.10", 6_002, version: 3))
        try call.phone.respond(try call.phone.take(.invite), 200, body: sdp("192.0.2.11", 4_000, version: 3))
        try call.carrier.ack(resume, try call.carrier.take(200))
        if callerHangsUp {
            try call.phone.request("BYE", &call.caller)
            _ = try call.phone.take(200)
            try call.carrier.respond(try call.carrier.take(.bye), 200)
        } else {
            try call.carrier.request("BYE", &call.callee)
            _ = try call.carrier.take(200)
            try call.phone.respond(try call.phone.take(.bye), 200)
        }
        #expect(bed.summaries.map(\.ending) == [.hungUp(callerHangsUp ? .caller : .callee)])
        bed.expectNothingLeft()
    }

    @Test("a call from a trunk that is removed can still be cancelled, and a refusal acknowledged")
    func removedWhileRinging() throws {
        for cancels in [true, false] {
            let bed = Testbed()
            let phone = try bed.phone("2001", "192.0.2.11")
            let carrier = bed.carrier()
            let invite = try carrier.invite("+13135550101", offer: sdp("203.0.113.10", 6_000))
            let outgoing = try phone.take(.invite)
            try phone.respond(outgoing, 180)
            bed.reconfigure { $0.trunks["carrier-a"] = nil }
            if cancels {
                try carrier.cancel(invite)
                _ = try carrier.take(200)
                try phone.respond(try phone.take(.cancel), 200)
                try phone.respond(outgoing, 487)
                try carrier.ack(invite, try carrier.take(487))
            } else {
                try phone.respond(outgoing, 486)
                try carrier.ack(invite, try carrier.take(486))
            }
            #expect(bed.summaries.count == 1)
            bed.expectNothingLeft()
            // A new call is a stranger's.
            let count = bed.transmitted.count
            try carrier.invite("+13135550101", offer: sdp("203.0.113.10", 6_000))
            #expect(bed.transmitted.count == count)
        }
    }

    @Test("credentials of a removed trunk still answer the challenge of a BYE")
    func removedCredentials() throws {
        let bed = Testbed { $0.trunks["carrier-a"]?.authentication = .init(username: "box7", password: "secret") }
        var call = try OutboundCall(bed)
        bed.reconfigure { $0.trunks["carrier-a"] = nil }
        try call.phone.request("BYE", &call.caller)
        try call.carrier.respond(
            try call.carrier.take(.bye), 407,
            headers: ["Proxy-Authenticate: Digest realm=\"carrier.example\", nonce=\"n\", qop=\"auth\""])
        let again = try call.carrier.take(.bye)
        #expect(again.headers.first(.proxyAuthorization)?.contains("box7") == true)
        try call.carrier.respond(again, 200)
        bed.expectNothingLeft()
    }

    @Test("count for the next call")
    func nextCall() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, third) = (bed.carrier(), bed.carrier("203.0.113.40"))
        bed.reconfigure {
            $0.trunks["carrier-c"] = .init(realm: Testbed.wan, peer: Testbed.address("203.0.113.40"), health: nil)
            $0.routes = [.matching("7NXX", strip: 1, prepend: "00", trunks: ["carrier-c"])]
        }
        try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        _ = try phone.take(404)
        try phone.invite("7211", offer: sdp("192.0.2.11", 4_000))
        #expect(try third.take(.invite).requestURI.text == "sip:00211@203.0.113.40")
        #expect(first.inbox.isEmpty)
        bed.reconfigure { $0.stations["2001"] = nil }
        #expect(bed.events.contains { if case .stationUnregistered("2001", _, .removed) = $0 { true } else { false } })
        phone.inbox = []
        try phone.invite("7212", offer: sdp("192.0.2.11", 4_000))
        _ = try phone.take(407)
    }

    @Test("a new password counts for the next REGISTER")
    func password() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        bed.reconfigure { $0.stations["2001"]?.password = "new" }
        bed.advance(by: .seconds(1))
        try bed.register(phone, password: "secret-1")
        _ = try phone.take(403)
        bed.advance(by: .seconds(1))
        try bed.register(phone, password: "new")
        _ = try phone.take(200)
    }

    @Test("realms and domain need a restart, and nothing of them changes before")
    func restart() throws {
        let bed = Testbed()
        bed.reconfigure {
            $0.domain = "other.example"
            $0.digestAlgorithms = [.md5]
            $0.realms[Testbed.lan]?.endpoint = Testbed.address("192.0.2.200")
            $0.realms[RealmID("third")] = .init(
                role: .trunks, endpoint: Testbed.address("198.51.100.1"), mediaPorts: 1_000...1_001)
        }
        #expect(
            bed.events == [
                .restartRequired(setting: "system.domain"), .restartRequired(setting: "system.digest-algorithms"),
                .restartRequired(setting: "realms.lan"), .restartRequired(setting: "realms.third"),
            ])
        #expect(bed.engineSettings.domain == Testbed.domain)
        #expect(bed.engineSettings.digestAlgorithms == [.sha256, .md5])
        _ = try OutboundCall(bed)
    }

    @Test("shutdown ends calls in every state and refuses new ones")
    func shutdown() throws {
        let bed = Testbed()
        let call = try OutboundCall(bed)
        let ringing = try bed.phone("2002", "192.0.2.12")
        let invite = try ringing.invite("85550123", offer: sdp("192.0.2.12", 4_000))
        let outgoing = try call.carrier.take(.invite)
        try call.carrier.respond(outgoing, 180)
        let answered = try bed.phone("2003", "192.0.2.13")
        let third = try answered.invite("85550124", offer: sdp("192.0.2.13", 4_000))
        let answering = try call.carrier.take(.invite)
        try call.carrier.respond(answering, 200, body: sdp("203.0.113.10", 6_000))
        let unacknowledged = try answered.take(200)

        bed.shutdown()
        try call.phone.respond(try call.phone.take(.bye), 200)
        try ringing.ack(invite, try ringing.take(503))
        try call.carrier.respond(try call.carrier.take(.cancel), 200)
        try call.carrier.respond(outgoing, 487)
        try answered.ack(third, unacknowledged)
        try answered.respond(try answered.take(.bye), 200)
        for _ in 0..<2 { try call.carrier.respond(try call.carrier.take(.bye), 200) }
        let late = try ringing.invite("85550125", offer: sdp("192.0.2.12", 4_000))
        try ringing.ack(late, try ringing.take(503))
        #expect(bed.summaries.map(\.ending) == [.shutdown, .shutdown, .shutdown])
        bed.expectNothingLeft()
    }
}
