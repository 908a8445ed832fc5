import CallEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

/// A call that has been offered to the carrier and is not answered yet.
struct RingingCall {
    let bed: Testbed
    let phone: ScriptedPeer
    let carrier: ScriptedPeer
    let invite: SIPRequest
    let outgoing: SIPRequest

    init(
        _ bed: Testbed = Testbed(), headers: [String] = [], offer: String? = sdp("192.0.2.11", 4_000)
    ) throws {
        self.bed = bed
        phone = try bed.phone("2001", "192.0.2.11")
        carrier = bed.carrier()
        invite = try phone.invite("95550123", offer: offer, headers: headers)
        outgoing = try carrier.take(.invite)
        _ = try phone.take(100)
    }

    /// A reliable provisional of the carrier.
    func reliably(_ code: Int, number: Int, tag: String? = nil, body: String? = nil, headers: [String] = []) throws {
        try carrier.respond(
            outgoing, code, tag: tag, body: body, headers: ["Require: 100rel", "RSeq: \(number)"] + headers)
    }

    func prack(
        _ provisional: SIPResponse, _ dialog: inout ScriptedPeer.DialogState, body: String? = nil
    ) throws {
        let number = try #require(provisional.headers.first(.rseq))
        try phone.request(
            "PRACK", &dialog, body: body, headers: ["RAck: \(number) \(invite.cseq?.text ?? "")"])
    }

    /// ACK, then BYE by the phone; nothing may be left.
    func finish(_ answer: SIPResponse, dialog early: ScriptedPeer.DialogState? = nil, body: String? = nil) throws {
        try phone.ack(invite, answer, body: body)
        var dialog = early ?? phone.dialog(invite, answer)
        try phone.request("BYE", &dialog)
        try carrier.respond(try carrier.take(.bye), 200)
        bed.expectNothingLeft()
    }
}

extension Testbed {
    /// Where packets of the phone go, as the kernel is told; nil without a flow.
    func destination(fromCaller: Bool = true) -> TransportAddress? {
        guard let call = engine.calls(at: now).first else { return nil }
        return (fromCaller ? call.callerMedia : call.calleeMedia).first.flatMap { flows[$0]?.rewrittenDestination }
    }
}

@Suite("early media and forks")
struct EarlyMediaTests {
    @Test("183 with a description connects media before the answer; 180 and 200 follow")
    func connects() throws {
        let call = try RingingCall()
        try call.carrier.respond(call.outgoing, 183, body: sdp("203.0.113.10", 6_000))
        let progress = try call.phone.take(183)
        let address = progress.sdp?.rtpAddress(ofMedia: 0)
        #expect(address?.address == IPAddress(Testbed.boxLAN))
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_000))
        #expect(call.bed.destination(fromCaller: false) == Testbed.address("192.0.2.11", 4_000))
        try call.carrier.respond(call.outgoing, 180)
        let ringing = try call.phone.take(180)
        #expect(ringing.body.isEmpty)
        #expect(ringing.to?.tag == progress.to?.tag)
        try call.carrier.respond(call.outgoing, 200, body: sdp("203.0.113.10", 6_000))
        let answer = try call.phone.take(200)
        #expect(answer.to?.tag == progress.to?.tag)
        #expect(answer.sdp?.rtpAddress(ofMedia: 0) == address)
        try call.finish(answer)
    }

    @Test("a 2xx without description repeats to the caller what an unreliable 183 said")
    func answerWithoutDescription() throws {
        let call = try RingingCall()
        try call.carrier.respond(call.outgoing, 183, body: sdp("203.0.113.10", 6_000))
        _ = try call.phone.take(183)
        try call.carrier.respond(call.outgoing, 200)
        let answer = try call.phone.take(200)
        #expect(answer.sdp != nil)
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_000))
        try call.finish(answer)
    }

    @Test("each To tag of the callee has its own towards the caller, and the fork answered has the media")
    func forks() throws {
        let call = try RingingCall()
        try call.carrier.respond(call.outgoing, 183, tag: "one", body: sdp("203.0.113.10", 6_000))
        try call.carrier.respond(call.outgoing, 183, tag: "two", body: sdp("203.0.113.11", 6_100))
        try call.carrier.respond(call.outgoing, 180, tag: "one")
        let (one, two) = (try call.phone.take(183), try call.phone.take(183))
        #expect(one.to?.tag != two.to?.tag)
        #expect(try call.phone.take(180).to?.tag == one.to?.tag)
        #expect(![one, two].contains { $0.text.contains("203.0.113.1") || $0.to?.tag == "one" })
        #expect(call.bed.destination() == Testbed.address("203.0.113.11", 6_100))
        // The first one answers, without repeating its description.
        try call.carrier.respond(call.outgoing, 200, tag: "one")
        let answer = try call.phone.take(200)
        #expect(answer.to?.tag == one.to?.tag)
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_000))
        let ack = try call.carrier.take(.ack)
        #expect(ack.to?.tag == "one")
        // The other one answers too late.
        try call.carrier.respond(call.outgoing, 200, tag: "two", body: sdp("203.0.113.11", 6_100))
        #expect(try call.carrier.take(.ack).to?.tag == "two")
        let bye = try call.carrier.take(.bye)
        #expect(bye.to?.tag == "two")
        try call.carrier.respond(bye, 200)
        #expect(!call.phone.has(200))
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_000))
        try call.finish(answer)
    }

    @Test("however many ring, the last of them may answer, and those who answer after it are ended")
    func manyForks() throws {
        let call = try RingingCall()
        for number in 1...18 { try call.carrier.respond(call.outgoing, 180, tag: "phone-\(number)") }
        #expect(Set(try (1...16).map { _ in try call.phone.take(180).to?.tag }).count == 16)
        try call.carrier.respond(call.outgoing, 200, tag: "phone-17", body: sdp("203.0.113.17", 6_000))
        let answer = try call.phone.take(200)
        #expect(try call.carrier.take(.ack).to?.tag == "phone-17")
        #expect(call.bed.destination() == Testbed.address("203.0.113.17", 6_000))
        for tag in ["phone-18", "phone-1"] {
            try call.carrier.respond(call.outgoing, 200, tag: tag, body: sdp("203.0.113.18", 6_000))
            #expect(try call.carrier.take(.ack).to?.tag == tag)
            let bye = try call.carrier.take(.bye)
            #expect(bye.to?.tag == tag)
            try call.carrier.respond(bye, 200)
        }
        #expect(!call.phone.has(200) && !call.phone.has(.bye))
        #expect(call.bed.destination() == Testbed.address("203.0.113.17", 6_000))
        try call.finish(answer)
    }

    @Test("an answer without To tag cannot be connected: it is acknowledged and ended, early forks are let be")
    func answerWithoutTag() throws {
        let call = try RingingCall()
        try call.carrier.respond(call.outgoing, 180, tag: "one")
        try call.carrier.send(
            """
            SIP/2.0 200 OK
            \(call.outgoing.vias.map { "Via: \($0.text)" }.joined(separator: "\n"))
            From: \(call.outgoing.headers.first(.from) ?? "")
            To: \(call.outgoing.headers.first(.to) ?? "")
            Call-ID: \(call.outgoing.callID)
            CSeq: \(call.outgoing.cseq?.text ?? "")
            Contact: \(call.carrier.contact)
            """)
        let ack = try call.carrier.take(.ack)
        #expect(ack.to?.tag == nil)
        let bye = try call.carrier.take(.bye)
        #expect(bye.to?.tag == nil && !call.carrier.has(.bye) && !call.carrier.has(.ack))
        try call.carrier.respond(bye, 200)
        try call.phone.ack(call.invite, try call.phone.take(502))
        #expect(call.bed.summaries.map(\.ending) == [.rejected(502)])
        call.bed.expectNothingLeft()
    }

    @Test("a fork that answered reliably gets its media back when it takes the call")
    func reliableForks() throws {
        let call = try RingingCall()
        try call.reliably(183, number: 7, tag: "one", body: sdp("203.0.113.10", 6_000))
        try call.carrier.respond(try call.carrier.take(.prack), 200)
        try call.carrier.respond(call.outgoing, 183, tag: "two", body: sdp("203.0.113.11", 6_100))
        #expect(call.bed.destination() == Testbed.address("203.0.113.11", 6_100))
        try call.carrier.respond(call.outgoing, 200, tag: "one")
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_000))
        try call.finish(try call.phone.take(200))
    }

    @Test("early media of one phone gives way to the phone that answers")
    func attempts() throws {
        let bed = Testbed()
        let phones = [try bed.phone("2001", "192.0.2.11"), try bed.phone("2001", "192.0.2.12")]
        let carrier = bed.carrier()
        let invite = try carrier.invite("+13135550101", offer: sdp("203.0.113.10", 6_000))
        let incoming = try phones.map { try $0.take(.invite) }
        try phones[0].respond(incoming[0], 183, body: sdp("192.0.2.11", 4_000))
        try phones[1].respond(incoming[1], 183, body: sdp("192.0.2.12", 4_100))
        try phones[0].respond(incoming[0], 200)
        #expect(bed.destination() == Testbed.address("192.0.2.11", 4_000))
        #expect(bed.destination(fromCaller: false) == Testbed.address("203.0.113.10", 6_000))
        let answer = try carrier.take(200)
        #expect(answer.sdp != nil)
        try carrier.ack(invite, answer)
        try phones[1].respond(try phones[1].take(.cancel), 200)
        try phones[1].respond(incoming[1], 487)
        var dialog = carrier.dialog(invite, answer)
        try carrier.request("BYE", &dialog)
        try phones[0].respond(try phones[0].take(.bye), 200)
        bed.expectNothingLeft()
    }

    @Test("an early description that does not fit the offer does not stop the ringing")
    func unfitEarlyDescription() throws {
        let call = try RingingCall()
        try call.carrier.respond(call.outgoing, 183, body: sdp("203.0.113.10", 6_000) + "m=audio 6002 RTP/AVP 0\r\n")
        #expect(try call.phone.take(183).body.isEmpty)
        try call.carrier.respond(call.outgoing, 200, body: sdp("203.0.113.10", 6_000))
        try call.finish(try call.phone.take(200))
    }

    @Test("an answer that does not fit the offer is acknowledged, hung up, and the caller told so")
    func unfitAnswer() throws {
        let call = try RingingCall()
        try call.carrier.respond(
            call.outgoing, 200, body: sdp("203.0.113.10", 6_000, formats: "18", telephoneEvent: nil))
        _ = try call.carrier.take(.ack)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        try call.phone.ack(call.invite, try call.phone.take(502))
        call.bed.expectNothingLeft()
    }

    @Test("a CANCEL that crosses our 2xx changes nothing (RFC 3261 §9.2)")
    func cancelCrossesAnswer() throws {
        let call = try RingingCall()
        try call.carrier.respond(call.outgoing, 200, body: sdp("203.0.113.10", 6_000))
        let answer = try call.phone.take(200)
        try call.phone.cancel(call.invite)
        #expect(try call.phone.take(200).cseq?.method == .cancel)
        #expect(!call.phone.has(487))
        #expect(!call.carrier.has(.bye))
        #expect(call.bed.engine.status(at: call.bed.now).activeCalls == 1)
        try call.finish(answer)
    }

    static let useless: [(String, String)] = [
        (
            "no address we can reach",
            "v=0\r\no=- 1 1 IN IP4 x\r\ns=-\r\nc=IN IP4 host.example\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
        ),
        (
            "encrypted",
            "v=0\r\no=- 1 1 IN IP4 192.0.2.11\r\ns=-\r\nc=IN IP4 192.0.2.11\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\n"
        ),
        ("no stream", "v=0\r\no=- 1 1 IN IP4 192.0.2.11\r\ns=-\r\nc=IN IP4 192.0.2.11\r\nt=0 0\r\n"),
        (
            "an image",
            "v=0\r\no=- 1 1 IN IP4 192.0.2.11\r\ns=-\r\nc=IN IP4 192.0.2.11\r\nt=0 0\r\nm=image 4000 udptl t38\r\n"
        ),
        (
            "switched off",
            "v=0\r\no=- 1 1 IN IP4 192.0.2.11\r\ns=-\r\nc=IN IP4 192.0.2.11\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n"
        ),
        ("no description at all", "hello"),
    ]

    @Test("an offer with nothing to relay is refused with 488", arguments: useless)
    func nothingUsable(_ name: String, _ offer: String) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("95550123", offer: offer)
        try phone.ack(invite, try phone.take(488))
        #expect(!carrier.has(.invite))
        bed.expectNothingLeft()
    }
}
