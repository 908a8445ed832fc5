import CallEngine
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("failed attempts")
struct FailoverTests {
    @Test("go on to the next trunk", arguments: [500, 502, 503, 504, 408, 302, 401, 407])
    func failsOver(_ code: Int) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        try first.respond(try first.take(.invite), code)
        _ = try first.take(.ack)
        let outgoing = try second.take(.invite)
        #expect(outgoing.requestURI.text == "sip:+13135550123@203.0.113.20")
        try second.respond(outgoing, 200, body: sdp("203.0.113.20", 6_000))
        let answer = try phone.take(200)
        try phone.ack(invite, answer)
        var dialog = phone.dialog(invite, answer)
        try phone.request("BYE", &dialog)
        try second.respond(try second.take(.bye), 200)
        #expect(bed.summaries.first?.attempts.map(\.outcome) == [.response(code), .response(200)])
        #expect(bed.summaries.first?.callee.kind == .trunk(name: "carrier-b"))
        bed.expectNothingLeft()
    }

    @Test(
        "that say something about the number are passed on", arguments: [403, 404, 410, 480, 484, 486, 488, 600, 603])
    func passesOn(_ code: Int) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        try first.respond(try first.take(.invite), code, "As The Carrier Says", headers: ["Reason: Q.850;cause=17"])
        let refusal = try phone.take(code)
        #expect(refusal.reasonPhrase == "As The Carrier Says")
        #expect(refusal.headers.first(.reason) == "Q.850;cause=17")
        try phone.ack(invite, refusal)
        #expect(second.inbox.isEmpty)
        #expect(bed.summaries.map(\.ending) == [.rejected(code)])
        bed.expectNothingLeft()
    }

    struct Mapping: Sendable {
        let first: Int
        let second: Int
        let caller: Int
    }

    @Test(
        "of all trunks become one sensible code",
        arguments: [
            Mapping(first: 503, second: 503, caller: 503), Mapping(first: 503, second: 486, caller: 486),
            Mapping(first: 401, second: 407, caller: 502), Mapping(first: 408, second: 408, caller: 504),
            Mapping(first: 302, second: 302, caller: 502), Mapping(first: 500, second: 404, caller: 404),
        ])
    func maps(_ mapping: Mapping) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        try first.respond(try first.take(.invite), mapping.first)
        try second.respond(try second.take(.invite), mapping.second)
        let refusal = try phone.take(mapping.caller)
        #expect(mapping.caller != 503 || refusal.headers.contains(.retryAfter))
        #expect(refusal.contacts.isEmpty)
        try phone.ack(invite, refusal)
        bed.expectNothingLeft()
    }

    @Test("silence beyond the attempt's limit goes on to the next trunk; 100 does not stop the clock")
    func attemptTimeout() throws {
        let bed = Testbed { $0.trunks["carrier-a"]?.attemptTimeout = .seconds(3) }
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        let outgoing = try first.take(.invite)
        try first.respond(outgoing, 100)
        bed.advance(by: .milliseconds(2_900))
        #expect(!second.has(.invite))
        bed.advance(by: .milliseconds(200))
        _ = try second.take(.invite)
        // The first one was heard (100), so it is cancelled at once.
        try first.respond(try first.take(.cancel), 200)
        try first.respond(outgoing, 487)
        #expect(bed.engine.calls(at: bed.now).first?.attempts.first?.outcome == .timedOut)
    }

    @Test("a ringing trunk is waited for")
    func ringingStopsTheClock() throws {
        let bed = Testbed { $0.trunks["carrier-a"]?.attemptTimeout = .seconds(3) }
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        try first.respond(try first.take(.invite), 183)
        bed.advance(by: .seconds(60))
        #expect(second.inbox.isEmpty)
    }

    @Test("an answer after the limit is acknowledged and hung up")
    func answerAfterTimeout() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        let outgoing = try first.take(.invite)
        bed.advance(by: .milliseconds(4_100))
        let other = try second.take(.invite)
        try first.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        _ = try first.take(.ack)
        try first.respond(try first.take(.bye), 200)
        try second.respond(other, 486)
        try phone.ack(invite, try phone.take(486))
        bed.expectNothingLeft()
    }

    @Test("a transport error goes on to the next trunk")
    func transportError() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        bed.handle(.transportFailed(first.path, reason: "network unreachable"))
        _ = try second.take(.invite)
        #expect(
            bed.engine.calls(at: bed.now).first?.attempts.first?.outcome
                == .transportFailed("network unreachable"))
    }

    @Test("credentials answer a carrier's challenge, for INVITE and for BYE")
    func challenged() throws {
        let bed = Testbed {
            $0.trunks["carrier-a"]?.authentication = .init(username: "box7", password: "carrier-secret")
        }
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        let first = try carrier.take(.invite)
        let challenge = "Digest realm=\"carrier.example\", nonce=\"n1\", qop=\"auth\", algorithm=MD5"
        try carrier.respond(first, 407, headers: ["Proxy-Authenticate: \(challenge)"])
        _ = try carrier.take(.ack)
        let second = try carrier.take(.invite)
        #expect(second.callID == first.callID)
        #expect(second.cseq?.number == 2)
        #expect(second.from?.tag == first.from?.tag)
        let credentials = try #require(second.headers.first(.proxyAuthorization))
        #expect(credentials.contains("username=\"box7\""))
        try carrier.respond(second, 200, body: sdp("203.0.113.10", 6_000))
        let answer = try phone.take(200)
        try phone.ack(invite, answer)
        var dialog = phone.dialog(invite, answer)
        try phone.request("BYE", &dialog)
        let bye = try carrier.take(.bye)
        try carrier.respond(
            bye, 407,
            headers: ["Proxy-Authenticate: Digest realm=\"carrier.example\", nonce=\"n2\", qop=\"auth\", stale=true"])
        let again = try carrier.take(.bye)
        #expect(again.headers.contains(.proxyAuthorization))
        #expect((again.cseq?.number ?? 0) > (bye.cseq?.number ?? 0))
        try carrier.respond(again, 200)
        bed.expectNothingLeft()
    }

    @Test("a trunk that is full is passed over; when all are, 503 with Retry-After")
    func callsMax() throws {
        let bed = Testbed {
            $0.trunks["carrier-a"]?.callsMax = 1
            $0.trunks["carrier-b"]?.callsMax = 1
        }
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        _ = try first.take(.invite)
        try phone.invite("95550124", offer: sdp("192.0.2.11", 4_002))
        _ = try second.take(.invite)
        let third = try phone.invite("95550125", offer: sdp("192.0.2.11", 4_004))
        let refusal = try phone.take(503)
        #expect(refusal.headers.contains(.retryAfter))
        try phone.ack(third, refusal)
    }
}
