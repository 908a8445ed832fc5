import CallEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

/// A call from a phone to a carrier, step by step.
struct OutboundCall {
    let bed: Testbed
    let phone: ScriptedPeer
    let carrier: ScriptedPeer
    /// As sent by the phone, and as received by the carrier.
    var callerInvite: SIPRequest
    var calleeInvite: SIPRequest
    var answer: SIPResponse
    var caller: ScriptedPeer.DialogState
    var callee: ScriptedPeer.DialogState

    /// Answered and acknowledged.
    init(
        _ bed: Testbed = Testbed(), phone: ScriptedPeer? = nil, headers: [String] = [], answerHeaders: [String] = []
    ) throws {
        self.bed = bed
        self.phone = try phone ?? bed.phone("2001", "192.0.2.11")
        carrier = bed.carrier()
        callerInvite = try self.phone.invite("95550123", offer: sdp("192.0.2.11", 4_000), headers: headers)
        calleeInvite = try carrier.take(.invite)
        try carrier.respond(calleeInvite, 180)
        _ = try self.phone.take(180)
        try carrier.respond(
            calleeInvite, 200, body: sdp("203.0.113.10", 6_000), headers: answerHeaders)
        answer = try self.phone.take(200)
        _ = try carrier.take(.ack)
        try self.phone.ack(callerInvite, answer)
        caller = self.phone.dialog(callerInvite, answer)
        callee = carrier.dialog(answering: calleeInvite)
        self.phone.inbox = []
        carrier.inbox = []
    }
}

@Suite("a call from a station to a trunk")
struct OutboundCallTests {
    @Test("rings, is answered, acknowledged and hung up by the caller")
    func completes() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        _ = try phone.take(100)
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.requestURI.text == "sip:+13135550123@203.0.113.10")
        #expect(outgoing.from?.uri.text == "sip:+13135550101@203.0.113.2")
        #expect(outgoing.nameAddress(.pAssertedIdentity)?.uri.text == "sip:+13135550101@203.0.113.2")
        #expect(outgoing.maxForwards == 69)
        let offered = try #require(outgoing.sdp)
        #expect(offered.connection(ofMedia: 0)?.host.address == IPAddress(Testbed.boxWAN))
        try carrier.respond(outgoing, 180)
        _ = try phone.take(180)
        try carrier.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        let answer = try phone.take(200)
        #expect(answer.sdp?.connection(ofMedia: 0)?.host.address == IPAddress(Testbed.boxLAN))
        _ = try carrier.take(.ack)
        try phone.ack(invite, answer)

        #expect(bed.engine.calls(at: bed.now).map(\.phase) == [.answered])
        let caller = try #require(bed.engine.calls(at: bed.now).first?.callerMedia.first)
        let flow = try #require(bed.flows[caller])
        #expect(flow.acceptedSource == Testbed.address("192.0.2.11", 4_000))
        #expect(flow.rewrittenDestination == Testbed.address("203.0.113.10", 6_000))

        var dialog = phone.dialog(invite, answer)
        try phone.request("BYE", &dialog)
        _ = try phone.take(200)
        let bye = try carrier.take(.bye)
        try carrier.respond(bye, 200)
        let summary = try #require(bed.summaries.first)
        #expect(bed.summaries.count == 1)
        #expect(summary.ending == .hungUp(.caller))
        #expect(summary.caller == CallParty(.station(user: "2001"), number: "2001"))
        #expect(summary.callee == CallParty(.trunk(name: "carrier-a"), number: "+13135550123"))
        #expect(summary.dialled == "95550123")
        #expect(summary.attempts.map(\.outcome) == [.response(200)])
        bed.expectNothingLeft()
    }

    @Test("is hung up by the carrier")
    func calleeHangsUp() throws {
        var call = try OutboundCall()
        try call.carrier.request("BYE", &call.callee)
        _ = try call.carrier.take(200)
        try call.phone.respond(try call.phone.take(.bye), 200)
        #expect(call.bed.summaries.map(\.ending) == [.hungUp(.callee)])
        call.bed.expectNothingLeft()
    }

    @Test("ends once when both hang up at the same time")
    func byesCross() throws {
        var call = try OutboundCall()
        try call.phone.request("BYE", &call.caller)
        try call.carrier.request("BYE", &call.callee)
        _ = try call.phone.take(200)
        _ = try call.carrier.take(200)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        #expect(call.bed.summaries.map(\.ending) == [.hungUp(.caller)])
        call.bed.expectNothingLeft()
    }

    @Test("is cancelled while it rings")
    func cancelled() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        let outgoing = try carrier.take(.invite)
        try carrier.respond(outgoing, 180)
        try phone.cancel(invite)
        _ = try phone.take(200)
        let refusal = try phone.take(487)
        try phone.ack(invite, refusal)
        let cancel = try carrier.take(.cancel)
        try carrier.respond(cancel, 200)
        try carrier.respond(outgoing, 487)
        _ = try carrier.take(.ack)
        #expect(bed.summaries.map(\.ending) == [.cancelled])
        #expect(bed.summaries.first?.attempts.map(\.outcome) == [.cancelled])
        bed.expectNothingLeft()
    }

    @Test("that is answered while CANCEL is on its way is acknowledged and hung up")
    func answerCrossesCancel() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        let outgoing = try carrier.take(.invite)
        try carrier.respond(outgoing, 180)
        try phone.cancel(invite)
        try phone.ack(invite, try phone.take(487))
        try carrier.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        _ = try carrier.take(.ack)
        try carrier.respond(try carrier.take(.bye), 200)
        #expect(!phone.has(.bye))
        #expect(bed.summaries.map(\.ending) == [.cancelled])
        bed.expectNothingLeft()
    }

    @Test("is hung up by the carrier before the caller's ACK: the caller's BYE waits for it")
    func byeBeforeACK() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        let outgoing = try carrier.take(.invite)
        try carrier.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        _ = try carrier.take(.ack)
        let answer = try phone.take(200)
        var dialog = carrier.dialog(answering: outgoing)
        try carrier.request("BYE", &dialog)
        _ = try carrier.take(200)
        #expect(!phone.has(.bye))
        try phone.ack(invite, answer)
        try phone.respond(try phone.take(.bye), 200)
        bed.expectNothingLeft()
    }

    @Test("without the caller's ACK ends with BYE on both sides after 64·T1")
    func acknowledgementMissing() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        let outgoing = try carrier.take(.invite)
        try carrier.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        bed.advance(by: .seconds(33))
        try phone.respond(try phone.take(.bye), 200)
        try carrier.respond(try carrier.take(.bye), 200)
        #expect(bed.summaries.map(\.ending) == [.acknowledgementMissing])
        bed.expectNothingLeft()
    }

    @Test("answers a repeated 2xx with its ACK again")
    func repeatsACK() throws {
        let call = try OutboundCall()
        try call.carrier.respond(call.calleeInvite, 200, body: sdp("203.0.113.10", 6_000))
        _ = try call.carrier.take(.ack)
        #expect(call.bed.engine.status(at: call.bed.now).activeCalls == 1)
    }

    @Test("rings at most for the ring timeout")
    func ringTimeout() throws {
        let bed = Testbed { $0.calls.ringTimeout = .seconds(30) }
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        let outgoing = try carrier.take(.invite)
        try carrier.respond(outgoing, 180)
        bed.advance(by: .seconds(31))
        try phone.ack(invite, try phone.take(480))
        let cancel = try carrier.take(.cancel)
        #expect(cancel.headers.first(.reason)?.contains("408") == true)
        try carrier.respond(cancel, 200)
        try carrier.respond(outgoing, 487)
        #expect(bed.summaries.map(\.ending) == [.ringTimeout])
        bed.expectNothingLeft()
    }
}
