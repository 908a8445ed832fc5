import CallEngine
import MediaEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("session timers, each leg by itself (RFC 4028)")
struct SessionTimerLegTests {
    /// Nobody sends media here, and nobody minds.
    static func withoutMedia() -> Testbed { Testbed { $0.media.inactivityTimeout = .seconds(100_000) } }

    @Test("the caller that supports them refreshes its own leg; one that does not is refreshed by us")
    func callerRefresher() throws {
        for (headers, refresher) in [
            (["Supported: timer", "Session-Expires: 600"], "uac"),
            (["Supported: timer", "Session-Expires: 600;refresher=uas"], "uas"), ([], "uas"),
        ] {
            let call = try OutboundCall(Self.withoutMedia(), headers: headers)
            let expires = try #require(call.answer.headers.first(.sessionExpires))
            #expect(expires.hasSuffix("refresher=\(refresher)"))
            #expect(expires.hasPrefix(headers.isEmpty ? "1800;" : "600;"))
            #expect(call.answer.require.contains("timer") == (refresher == "uac"))
        }
    }

    @Test("we refresh by UPDATE where the peer allows it, else by re-INVITE", arguments: [true, false])
    func refreshes(_ byUpdate: Bool) throws {
        let allow = byUpdate ? "Allow: INVITE, ACK, BYE, UPDATE" : "Allow: INVITE, ACK, BYE"
        let call = try OutboundCall(
            Self.withoutMedia(), headers: [allow], answerHeaders: ["Session-Expires: 600;refresher=uac", allow])
        call.bed.advance(by: .seconds(301))
        if byUpdate {
            let refresh = try call.carrier.take(.update)
            #expect(refresh.body.isEmpty)
            #expect(refresh.headers.first(.sessionExpires)?.contains("refresher=uac") == true)
            try call.carrier.respond(refresh, 200, headers: ["Session-Expires: 600;refresher=uac"])
        } else {
            let refresh = try call.carrier.take(.invite)
            #expect(refresh.sdp?.rtpAddress(ofMedia: 0) == call.calleeInvite.sdp?.rtpAddress(ofMedia: 0))
            try call.carrier.respond(
                refresh, 200, body: sdp("203.0.113.10", 6_000), headers: ["Session-Expires: 600;refresher=uac"])
            _ = try call.carrier.take(.ack)
        }
        #expect(call.phone.inbox.isEmpty)
        call.bed.advance(by: .seconds(300))
        #expect(call.carrier.has(byUpdate ? .update : .invite))
        // The caller's leg has its own clock: 900 s.
        #expect(call.phone.inbox.isEmpty)
    }

    @Test("our re-INVITE that gets 100 and no more is cancelled; the session lives on until it expires")
    func refreshUnanswered() throws {
        var call = try OutboundCall(
            Self.withoutMedia(), answerHeaders: ["Session-Expires: 600;refresher=uac", "Allow: INVITE, ACK, BYE"])
        call.bed.advance(by: .seconds(301))
        let refresh = try call.carrier.take(.invite)
        try call.carrier.respond(refresh, 100)
        call.bed.advance(by: .seconds(26))
        try call.carrier.respond(try call.carrier.take(.cancel), 200)
        try call.carrier.respond(refresh, 487)
        _ = try call.carrier.take(.ack)
        // Nothing is in the way of the peer's own.
        let request = try call.carrier.request("INVITE", &call.callee, body: sdp("203.0.113.10", 6_050, version: 2))
        try call.phone.respond(try call.phone.take(.invite), 200, body: sdp("192.0.2.11", 4_000, version: 2))
        try call.carrier.ack(request, try call.carrier.take(200))
        _ = try call.phone.take(.ack)
        try call.hangUp()
    }

    @Test("the answer to our re-INVITE may move the peer's media")
    func refreshMovesMedia() throws {
        var call = try OutboundCall(
            Self.withoutMedia(), answerHeaders: ["Session-Expires: 600;refresher=uac", "Allow: INVITE, ACK, BYE"])
        call.bed.advance(by: .seconds(301))
        try call.carrier.respond(
            try call.carrier.take(.invite), 200, body: sdp("203.0.113.10", 6_050, version: 2),
            headers: ["Session-Expires: 600;refresher=uac"])
        _ = try call.carrier.take(.ack)
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_050))
        try call.hangUp()
    }

    @Test("a session nobody refreshes ends on both sides before it expires")
    func expires() throws {
        let call = try OutboundCall(
            Self.withoutMedia(), headers: ["Supported: timer", "Session-Expires: 600;refresher=uac"])
        call.bed.advance(by: .seconds(567))
        #expect(call.bed.engine.status(at: call.bed.now).activeCalls == 1)
        call.bed.advance(by: .seconds(2))
        let bye = try call.phone.take(.bye)
        #expect(bye.headers.first(.reason)?.contains("408") == true)
        try call.phone.respond(bye, 200)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        #expect(call.bed.summaries.map(\.ending) == [.sessionExpired(.caller)])
        call.bed.expectNothingLeft()
    }

    @Test("a peer that refreshes keeps the call", arguments: ["UPDATE", "INVITE"])
    func refreshedByPeer(_ method: String) throws {
        var call = try OutboundCall(
            Self.withoutMedia(), headers: ["Supported: timer", "Session-Expires: 600;refresher=uac"])
        for _ in 0..<4 {
            call.bed.advance(by: .seconds(300))
            let request = try call.phone.request(
                method, &call.caller, body: method == "INVITE" ? sdp("192.0.2.11", 4_000) : nil,
                headers: ["Supported: timer", "Session-Expires: 600;refresher=uac"])
            let answer = try call.phone.take(200)
            #expect(answer.headers.first(.sessionExpires) == "600;refresher=uac")
            if method == "INVITE" { try call.phone.ack(request, answer) }
        }
        #expect(call.bed.engine.status(at: call.bed.now).activeCalls == 1)
        try call.hangUp()
    }

    @Test("an interval below our minimum is answered 422 with Min-SE, also inside the dialog")
    func tooSmall() throws {
        let bed = Testbed { $0.calls.sessionExpiresMin = .seconds(120) }
        let phone = try bed.phone("2001", "192.0.2.11")
        let invite = try phone.invite(
            "95550123", offer: sdp("192.0.2.11", 4_000), headers: ["Supported: timer", "Session-Expires: 100"])
        let refusal = try phone.take(422)
        #expect(refusal.headers.first(.minSE) == "120")
        try phone.ack(invite, refusal)
        var call = try OutboundCall(bed, phone: phone)
        for method in ["UPDATE", "INVITE"] {
            try call.phone.request(
                method, &call.caller, body: method == "INVITE" ? sdp("192.0.2.11", 4_000) : nil,
                headers: ["Supported: timer", "Session-Expires: 100"])
            #expect(try call.phone.take(422).headers.first(.minSE) == "120")
        }
        #expect(bed.engine.status(at: bed.now).activeCalls == 1)
    }

    @Test("a callee's 422 is obeyed, and stays unseen by the caller")
    func obeys422() throws {
        let call = try RingingCall()
        try call.carrier.respond(call.outgoing, 422, headers: ["Min-SE: 3600"])
        _ = try call.carrier.take(.ack)
        let again = try call.carrier.take(.invite)
        #expect(again.headers.first(.sessionExpires)?.hasPrefix("3600") == true)
        #expect(again.headers.first(.minSE) == "3600")
        #expect(call.phone.inbox.isEmpty)
        try call.carrier.respond(again, 200, body: sdp("203.0.113.10", 6_000))
        try call.finish(try call.phone.take(200))
    }

    @Test("a refresh of ours that meets one of the peer waits as RFC 3261 §14.1 says", arguments: CallSide.allCases)
    func glare(_ side: CallSide) throws {
        let expires = "Session-Expires: 600;refresher=\(side == .callee ? "uac" : "uas")"
        let allow = "Allow: INVITE, ACK, BYE"
        var call = try OutboundCall(
            Self.withoutMedia(), headers: side == .caller ? ["Supported: timer", expires, allow] : [allow],
            answerHeaders: side == .callee ? [expires, allow] : [allow])
        call.bed.advance(by: .seconds(301))
        let peer = side == .caller ? call.phone : call.carrier
        let refresh = try peer.take(.invite)
        try peer.respond(refresh, 491)
        _ = try peer.take(.ack)
        peer.inbox = []  // it was repeated meanwhile
        #expect(call.bed.counter("glare") == 1)
        // Who made the Call-ID waits 2.1 to 4 s; the other one up to 2 s.
        call.bed.advance(by: .milliseconds(side == .callee ? 2_090 : 2_000))
        #expect(peer.has(.invite) == (side == .caller))
        call.bed.advance(by: .milliseconds(2_000))
        let again = try peer.take(.invite)
        try peer.respond(
            again, 200, body: side == .caller ? sdp("192.0.2.11", 4_000) : sdp("203.0.113.10", 6_000),
            headers: ["Session-Expires: 600;refresher=uac"])
        _ = try peer.take(.ack)
        try call.hangUp()
    }

    @Test("a peer's re-INVITE during our refresh is answered 491, and comes through afterwards")
    func glareWithRefresh() throws {
        var call = try OutboundCall(
            Self.withoutMedia(), answerHeaders: ["Session-Expires: 600;refresher=uac", "Allow: INVITE, ACK, BYE"])
        call.bed.advance(by: .seconds(301))
        let refresh = try call.carrier.take(.invite)
        let theirs = try call.carrier.request("INVITE", &call.callee, body: sdp("203.0.113.10", 6_002, version: 2))
        try call.carrier.ack(theirs, try call.carrier.take(491))
        try call.carrier.respond(
            refresh, 200, body: sdp("203.0.113.10", 6_000), headers: ["Session-Expires: 600;refresher=uac"])
        _ = try call.carrier.take(.ack)
        try call.carrier.request("INVITE", &call.callee, body: sdp("203.0.113.10", 6_002, version: 2))
        _ = try call.phone.take(.invite)
    }

    @Test("a refresh answered 481, or not at all, ends the call", arguments: [true, false])
    func refreshFails(_ answers: Bool) throws {
        let call = try OutboundCall(
            Self.withoutMedia(), answerHeaders: ["Session-Expires: 600;refresher=uac", "Allow: INVITE, UPDATE, BYE"])
        call.bed.advance(by: .seconds(301))
        let refresh = try call.carrier.take(.update)
        if answers { try call.carrier.respond(refresh, 481) } else { call.bed.advance(by: .seconds(33)) }
        try call.phone.respond(try call.phone.take(.bye), 200)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        #expect(call.bed.summaries.map(\.ending) == [.dialogLost(.callee)])
        call.bed.expectNothingLeft()
    }
}
