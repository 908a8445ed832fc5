import CallEngine
import Primitives
import SIPEngine
import SignallingFormats
import Testing

/// A carrier that answers OPTIONS (and REGISTER) by itself.
extension Testbed {
    /// From now on OPTIONS are answered with this code; nil stays silent.
    func answerPings(_ codes: [String: Int?]) {
        deliver = { bed, peer, message in
            guard case .request(let request) = message, request.method == .options,
                let code = codes[peer.address]
            else { return peer.inbox.append(message) }
            guard let code else { return }
            do { try peer.respond(request, code) } catch { Issue.record("\(error)") }
        }
    }

    func health(_ name: String) -> TrunkStatus.Health? {
        engine.status(at: now).trunks.first { $0.name == name }?.health
    }

    func registration(_ name: String) -> TrunkStatus.Registration? {
        engine.status(at: now).trunks.first { $0.name == name }?.registration
    }
}

@Suite("trunk health")
struct TrunkHealthTests {
    static let health = CallEngineSettings.TrunkHealth(
        interval: .seconds(10), timeout: .seconds(2), failures: 3, successes: 2)

    private func bed() -> Testbed {
        Testbed {
            $0.trunks["carrier-a"]?.health = Self.health
            $0.trunks["carrier-b"]?.health = Self.health
        }
    }

    @Test("three silent OPTIONS take a trunk down, two answers bring it up")
    func hysteresis() throws {
        let bed = bed()
        _ = (bed.carrier(), bed.carrier("203.0.113.20"))
        bed.answerPings(["203.0.113.10": Optional<Int>.none, "203.0.113.20": 200])
        bed.advance(by: .seconds(10))
        #expect(bed.health("carrier-a") == .up)
        bed.advance(by: .seconds(25))
        #expect(bed.health("carrier-a") == .down)
        #expect(bed.health("carrier-b") == .up)
        #expect(bed.events.count { if case .trunkDown("carrier-a", _) = $0 { true } else { false } } == 1)
        bed.answerPings(["203.0.113.10": 200, "203.0.113.20": 200])
        bed.advance(by: .seconds(10))
        #expect(bed.health("carrier-a") == .down)
        bed.advance(by: .seconds(10))
        #expect(bed.health("carrier-a") == .up)
        #expect(bed.events.contains(.trunkUp("carrier-a")))
    }

    @Test("these answers to OPTIONS show life", arguments: [200, 401, 403, 404, 405, 407, 480, 486, 500, 501, 603])
    func alive(_ code: Int) {
        let bed = bed()
        _ = bed.carrier()
        bed.answerPings(["203.0.113.10": code])
        bed.advance(by: .seconds(60))
        #expect(bed.health("carrier-a") == .up)
    }

    @Test("these do not", arguments: [408, 503])
    func dead(_ code: Int) {
        let bed = bed()
        _ = bed.carrier()
        bed.answerPings(["203.0.113.10": code])
        bed.advance(by: .seconds(60))
        #expect(bed.health("carrier-a") == .down)
    }

    @Test("a trunk that is down is passed over; when all are, they are tried in order all the same")
    func routing() throws {
        let bed = bed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        bed.answerPings(["203.0.113.10": Optional<Int>.none, "203.0.113.20": 200])
        bed.advance(by: .seconds(60))
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        #expect(!first.has(.invite))
        try second.respond(try second.take(.invite), 486)
        try phone.ack(invite, try phone.take(486))
        bed.answerPings(["203.0.113.10": Optional<Int>.none, "203.0.113.20": Optional<Int>.none])
        bed.advance(by: .seconds(60))
        #expect(bed.health("carrier-b") == .down)
        try phone.invite("95550124", offer: sdp("192.0.2.11", 4_000))
        try first.respond(try first.take(.invite), 503)
        _ = try second.take(.invite)
    }

    @Test("calls are evidence: three that die after a 100 take the trunk down, one that rings does not bring it up")
    func evidence() throws {
        let bed = Testbed {
            $0.trunks["carrier-a"]?.health = .init(
                interval: .seconds(3_600), timeout: .seconds(2), failures: 3, successes: 2)
        }
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        bed.answerPings(["203.0.113.10": 200])
        func call(_ index: Int, _ codes: [Int]) throws {
            let invite = try phone.invite("8555012\(index)", offer: sdp("192.0.2.11", 4_000))
            let outgoing = try carrier.take(.invite)
            for code in codes { try carrier.respond(outgoing, code) }
            if codes == [100] {
                bed.advance(by: .seconds(5))
                try carrier.respond(try carrier.take(.cancel), 200)
                try carrier.respond(outgoing, 487)
            }
            for message in phone.inbox {
                if case .response(let response) = message, response.statusCode >= 300 {
                    try phone.ack(invite, response)
                }
            }
            phone.inbox = []
            carrier.inbox = []
        }
        try call(0, [100, 503])
        try call(1, [100])
        #expect(bed.health("carrier-a") == .up)
        try call(2, [100])
        #expect(bed.health("carrier-a") == .down)
        try call(3, [100, 180, 183, 486])
        #expect(bed.health("carrier-a") == .down)
        try call(4, [100, 404])
        #expect(bed.health("carrier-a") == .up)
    }

    @Test("without health check a trunk is asked nothing and is always tried")
    func unchecked() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        bed.advance(by: .seconds(120))
        #expect(carrier.inbox.isEmpty)
        #expect(bed.health("carrier-a") == .unchecked)
        for index in 0..<5 {
            let invite = try phone.invite("8555012\(index)", offer: sdp("192.0.2.11", 4_000))
            try carrier.respond(try carrier.take(.invite), 503)
            try phone.ack(invite, try phone.take(503))
        }
        #expect(bed.health("carrier-a") == .unchecked)
    }
}

@Suite("registration of a trunk")
struct TrunkRegistrationTests {
    static let registration = CallEngineSettings.TrunkRegistration(
        credentials: .init(username: "box7", password: "carrier-secret"),
        registrar: Testbed.address("203.0.113.10"), domain: "carrier.example", expires: .seconds(600))

    private func bed() -> Testbed {
        let bed = Testbed { _ in }
        return bed
    }

    /// The carrier exists before the trunk is configured, so that it sees the first REGISTER.
    private func start(_ bed: Testbed) -> ScriptedPeer {
        let carrier = bed.carrier()
        var settings = bed.engineSettings
        settings.trunks["carrier-a"]?.registration = Self.registration
        bed.reconfigure(settings)
        return carrier
    }

    @Test("answers the challenge, refreshes in time, and is taken back at shutdown")
    func lifecycle() throws {
        let bed = bed()
        let carrier = start(bed)
        let first = try carrier.take(.register)
        #expect(first.requestURI.text == "sip:carrier.example")
        #expect(first.to?.uri.text == "sip:box7@carrier.example")
        #expect(!first.headers.contains(.authorization))
        try carrier.respond(
            first, 401, headers: ["WWW-Authenticate: Digest realm=\"carrier.example\", nonce=\"n1\", qop=\"auth\""])
        let second = try carrier.take(.register)
        #expect(second.headers.first(.authorization)?.contains("username=\"box7\"") == true)
        #expect(second.callID == first.callID)
        try carrier.respond(second, 200, headers: ["Expires: 600"])
        #expect(bed.registration("carrier-a") == .registered(expiresIn: .seconds(600)))
        for _ in 0..<590 where !carrier.has(.register) { bed.advance(by: .seconds(1)) }
        let refresh = try carrier.take(.register)
        try carrier.respond(refresh, 200, headers: ["Expires: 600"])
        bed.shutdown()
        let last = try carrier.take(.register)
        #expect(last.headers.first(.expires) == "0")
        try carrier.respond(last, 200)
        #expect(bed.events.contains(.trunkUnregistered("carrier-a")))
    }

    @Test("asks for longer after 423")
    func tooBrief() throws {
        let bed = bed()
        let carrier = start(bed)
        try carrier.respond(try carrier.take(.register), 423, headers: ["Min-Expires: 1800"])
        #expect(try carrier.take(.register).headers.first(.expires) == "1800")
    }

    @Test("backs off after a failure", arguments: [403, 500, 503])
    func failure(_ code: Int) throws {
        let bed = bed()
        let carrier = start(bed)
        try carrier.respond(try carrier.take(.register), code)
        guard case .failed? = bed.registration("carrier-a") else {
            Issue.record("not failed")
            return
        }
        bed.advance(by: .seconds(4))
        #expect(!carrier.has(.register))
        for _ in 0..<400 where !carrier.has(.register) { bed.advance(by: .seconds(1)) }
        try carrier.respond(try carrier.take(.register), 200, headers: ["Expires: 600"])
        #expect(bed.events.contains { if case .trunkRegistered("carrier-a", _) = $0 { true } else { false } })
    }

    @Test("a change that does not concern it leaves it alone; a new password registers again; removal takes it back")
    func reconfigured() throws {
        let bed = bed()
        let carrier = start(bed)
        try carrier.respond(try carrier.take(.register), 200, headers: ["Expires: 600"])
        var settings = bed.engineSettings
        settings.trunks["carrier-a"]?.callsMax = 3
        settings.trunks["carrier-a"]?.attemptTimeout = .seconds(9)
        bed.reconfigure(settings)
        #expect(!carrier.has(.register))
        #expect(bed.registration("carrier-a") == .registered(expiresIn: .seconds(600)))

        settings.trunks["carrier-a"]?.registration?.credentials.password = "other"
        bed.reconfigure(settings)
        let again = try carrier.take(.register)
        #expect(again.headers.first(.expires) == "600")
        #expect(!carrier.has(.register))
        try carrier.respond(again, 200, headers: ["Expires: 600"])

        settings.trunks["carrier-a"]?.registration?.credentials.username = "box8"
        bed.reconfigure(settings)
        let old = try carrier.take(.register)
        #expect(old.headers.first(.expires) == "0")
        let new = try carrier.take(.register)
        #expect(new.to?.uri.sip?.user == "box8")
        // The answer to the old one says nothing of the new one.
        try carrier.respond(old, 200)
        #expect(bed.registration("carrier-a") == .trying)
        try carrier.respond(new, 200, headers: ["Expires: 600"])

        settings.trunks["carrier-a"] = nil
        bed.reconfigure(settings)
        let last = try carrier.take(.register)
        #expect(last.headers.first(.expires) == "0")
        try carrier.respond(
            last, 401, headers: ["WWW-Authenticate: Digest realm=\"carrier.example\", nonce=\"n9\", qop=\"auth\""])
        let authorized = try carrier.take(.register)
        #expect(authorized.headers.first(.expires) == "0")
        #expect(authorized.headers.first(.authorization)?.contains("username=\"box8\"") == true)
        try carrier.respond(authorized, 200)
        bed.expectNothingLeft()
    }
}
