import CallEngine
import EmergencyCalling
import MediaEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("911")
struct EmergencyCallTests {
    private let offer = sdp("192.0.2.11", 4_000)

    /// A phone that never registered.
    private func stranger(_ bed: Testbed, _ user: String = "9999") -> ScriptedPeer {
        ScriptedPeer(
            bed, user: user, domain: Testbed.domain, path: bed.path(Testbed.lan, "192.0.2.77"))
    }

    private func emergencies(_ bed: Testbed) -> [CallEvent] {
        bed.events.filter { if case .emergencyCall = $0 { true } else { false } }
    }

    @Test(
        "is placed without any route, and heard both ways",
        arguments: ["911", "9911", "9-911", "*911", "1911", "12911", "112", "+911"])
    func emptyDialPlan(_ dialled: String) throws {
        let bed = Testbed { $0.routes = [] }
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite(dialled, offer: offer)
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.requestURI.text == "sip:911@203.0.113.10")
        #expect(outgoing.from?.uri.text.contains("+13135550101") == true)
        try carrier.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        let answer = try phone.take(200)
        try phone.ack(invite, answer)
        #expect(bed.flows.values.contains { $0.isEmergency })
        #expect(bed.flows.values.allSatisfy { $0.isEmergency })
        var dialog = phone.dialog(invite, answer)
        try phone.request("BYE", &dialog)
        try carrier.respond(try carrier.take(.bye), 200)
        #expect(bed.summaries.map(\.dialled) == ["911"])
        bed.expectNothingLeft()
    }

    @Test(
        "is known by service name, foreign host and sips, too",
        arguments: [
            "urn:service:sos", "urn:service:sos.police", "sip:911@elsewhere.example", "sips:911@branch.example",
            "tel:911;phone-context=+1",
        ])
    func otherURIs(_ uri: String) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("911", offer: offer, requestURI: uri)
        #expect(try carrier.take(.invite).requestURI.text == "sip:911@203.0.113.10")
    }

    @Test("needs no registration and no password")
    func unregistered() throws {
        let bed = Testbed()
        let phone = stranger(bed)
        let carrier = bed.carrier()
        let invite = try phone.invite("911", offer: offer)
        let outgoing = try carrier.take(.invite)
        try carrier.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        let answer = try phone.take(200)
        try phone.ack(invite, answer)
        #expect(emergencies(bed).count == 1)
        // The other side may hang up on it like on anybody.
        var dialog = carrier.dialog(answering: outgoing)
        try carrier.request("BYE", &dialog)
        try phone.respond(try phone.take(.bye), 200)
        bed.expectNothingLeft()
    }

    @Test("shows the claimed station's number although its password is wrong, and hides nobody")
    func callbackNumber() throws {
        let bed = Testbed()
        let phone = stranger(bed, "2002")
        let carrier = bed.carrier()
        try phone.invite(
            "911", from: "\"Anonymous\" <sip:2002@branch.example>", offer: offer,
            headers: ["Privacy: id", "Proxy-Authorization: Digest username=\"2002\", response=\"0\""])
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.from?.uri.text.contains("+13135550102") == true)
        #expect(outgoing.headers.first(.pAssertedIdentity)?.contains("+13135550102") == true)
    }

    @Test("an ordinary call of the same phone is still challenged")
    func othersAreChallenged() throws {
        let bed = Testbed()
        let phone = stranger(bed)
        let carrier = bed.carrier()
        try phone.invite("95550123", offer: offer)
        _ = try phone.take(407)
        try phone.invite("5551911", offer: offer)
        _ = try phone.take(407)
        #expect(carrier.inbox.isEmpty)
    }

    @Test("passes when the box and the trunks are full, and takes nobody's place")
    func capacity() throws {
        let bed = Testbed {
            $0.calls.maximum = 1
            $0.trunks["carrier-a"]?.callsMax = 1
            $0.trunks["carrier-b"] = nil
        }
        let (first, second) = (try bed.phone("2001", "192.0.2.11"), try bed.phone("2002", "192.0.2.12"))
        let carrier = bed.carrier()
        try first.invite("95550123", offer: offer)
        _ = try carrier.take(.invite)
        try second.invite("95550124", offer: offer)
        _ = try second.take(503)
        try second.invite("911", offer: offer)
        let help = try carrier.take(.invite)
        #expect(help.requestURI.text == "sip:911@203.0.113.10")
    }

    @Test("does not keep ordinary calls out while it lasts")
    func takesNoPlace() throws {
        let bed = Testbed { $0.calls.maximum = 1 }
        let (first, second) = (try bed.phone("2001", "192.0.2.11"), try bed.phone("2002", "192.0.2.12"))
        let carrier = bed.carrier()
        try first.invite("911", offer: offer)
        _ = try carrier.take(.invite)
        try second.invite("95550124", offer: offer)
        #expect(try carrier.take(.invite).requestURI.text == "sip:+13135550124@203.0.113.10")
    }

    @Test("goes to the next trunk whatever the first one says", arguments: [403, 404, 486, 500, 503, 600, 603])
    func failsOver(_ code: Int) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        try phone.invite("911", offer: offer)
        try first.respond(try first.take(.invite), code)
        #expect(try second.take(.invite).requestURI.text == "sip:911@203.0.113.20")
    }

    @Test("does not give up a slow trunk when there is no other")
    func onlyTrunk() throws {
        let bed = Testbed { $0.trunks["carrier-b"] = nil }
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("911", offer: offer)
        let outgoing = try carrier.take(.invite)
        try carrier.respond(outgoing, 100)
        bed.advance(by: .seconds(60))
        #expect(carrier.inbox.isEmpty)
        try carrier.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        try phone.ack(invite, try phone.take(200))
    }

    @Test("comes back to a slow trunk when all others have failed")
    func slowTrunk() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        let invite = try phone.invite("911", offer: offer)
        let given = try first.take(.invite)
        try first.respond(given, 100)
        bed.advance(by: .seconds(5))
        try first.respond(try first.take(.cancel), 200)
        try first.respond(given, 487)
        try second.respond(try second.take(.invite), 503)
        _ = try first.take(.ack)
        let again = try first.take(.invite)
        try first.respond(again, 100)
        bed.advance(by: .seconds(60))
        try first.respond(again, 180)
        try first.respond(again, 200, body: sdp("203.0.113.10", 6_000))
        try phone.ack(invite, try phone.take(200))
    }

    @Test("waits for a silent trunk no longer than the limit for emergencies")
    func silentTrunk() throws {
        let bed = Testbed {
            $0.emergency = .init(trunks: ["carrier-b"], attemptTimeout: .seconds(2))
            $0.trunks["carrier-b"]?.attemptTimeout = .seconds(9)
        }
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        try phone.invite("911", offer: offer)
        _ = try second.take(.invite)
        #expect(first.inbox.isEmpty)
        bed.advance(by: .milliseconds(2_001))
        _ = try first.take(.invite)
    }

    @Test("tries trunks that are down, after the others")
    func downTrunks() throws {
        let bed = Testbed {
            let health = CallEngineSettings.TrunkHealth(
                interval: .seconds(5), timeout: .seconds(1), failures: 1, successes: 1)
            $0.trunks["carrier-a"]?.health = health
        }
        let phone = try bed.phone("2001", "192.0.2.11")
        let second = bed.carrier("203.0.113.20")
        bed.advance(by: .seconds(20))
        #expect(bed.engine.status(at: bed.now).trunks.map(\.health) == [.down, .unchecked])
        let first = bed.carrier()
        try phone.invite("911", offer: offer)
        #expect(
            first.inbox.allSatisfy { if case .request(let request) = $0 { request.method != .invite } else { true } })
        try second.respond(try second.take(.invite), 503)
        #expect(try first.take(.invite).requestURI.text == "sip:911@203.0.113.10")
    }

    @Test("ignores a requirement we cannot meet, but not a loop")
    func requirements() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("911", offer: offer, headers: ["Require: teleportation", "Session-Expires: 30;refresher=uac"])
        _ = try carrier.take(.invite)
    }

    @Test("rings as long as it takes")
    func noRingTimeout() throws {
        let bed = Testbed { $0.calls.ringTimeout = .seconds(10) }
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("911", offer: offer)
        let outgoing = try carrier.take(.invite)
        try carrier.respond(outgoing, 180)
        _ = try phone.take(180)
        bed.advance(by: .seconds(100))
        try carrier.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        try phone.ack(invite, try phone.take(200))
    }

    @Test("is not ended because nobody speaks")
    func silence() throws {
        let bed = Testbed { $0.media.inactivityTimeout = .seconds(10) }
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("911", offer: offer)
        try carrier.respond(try carrier.take(.invite), 200, body: sdp("203.0.113.10", 6_000))
        try phone.ack(invite, try phone.take(200))
        bed.advance(by: .seconds(120))
        #expect(bed.summaries.isEmpty)
        #expect(bed.engine.calls(at: bed.now).map(\.phase) == [.answered])
    }

    @Test("is said to people only after the INVITE has left")
    func order() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        var sawINVITE = false
        bed.deliver = { bed, peer, message in
            if case .request(let request) = message, request.method == .invite {
                sawINVITE = true
                #expect(!bed.events.contains { if case .emergencyCall = $0 { true } else { false } })
            }
            peer.inbox.append(message)
        }
        _ = bed.carrier()
        try phone.invite("911", offer: offer)
        #expect(sawINVITE)
        #expect(emergencies(bed).count == 1)
    }

    @Test("has a test number that asks for the password and takes the same way")
    func testNumber() throws {
        let bed = Testbed { $0.emergency.trunks = ["carrier-b"] }
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        try phone.invite("933", offer: offer)
        #expect(try second.take(.invite).requestURI.text == "sip:933@203.0.113.20")
        #expect(first.inbox.isEmpty)
        let other = stranger(bed)
        try other.invite("933", offer: offer)
        _ = try other.take(407)
    }

    @Test("leaves a record of every trunk that was asked")
    func record() throws {
        let bed = Testbed { $0.emergency.trunks = ["carrier-b"] }
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        try phone.invite("9911", offer: offer)
        try second.respond(second.take(.invite), 503)
        bed.advance(by: .milliseconds(40))
        try first.respond(first.take(.invite), 404)
        bed.advance(by: .seconds(40))
        let record = try #require(bed.emergencyRecords.values.first)
        #expect(record.number == .emergency)
        #expect(record.dialled == "9911")
        #expect(record.caller.station == "2001")
        #expect(record.attempts.map(\.trunk) == ["carrier-b", "carrier-a"])
        #expect(record.attempts.map(\.outcome) == ["503", "404"])
        #expect(record.attempts.map { ($0.end ?? $0.start) - $0.start } == [.zero, .milliseconds(40)])
        #expect(record.ending == "rejected with 404")
        #expect(record.answer == nil)
    }

    @Test("from a trunk is a call to a number we do not have")
    func fromTrunk() throws {
        let bed = Testbed()
        let carrier = bed.carrier()
        try carrier.invite("911", offer: sdp("203.0.113.10", 6_000))
        _ = try carrier.take(404)
        #expect(emergencies(bed).isEmpty)
    }

    @Test("without any trunk says so")
    func noTrunk() throws {
        let bed = Testbed { $0.trunks = [:] }
        let phone = try bed.phone("2001", "192.0.2.11")
        try phone.invite("911", offer: offer)
        #expect(try phone.take(503).reasonPhrase == "No trunk is configured")
    }
}
