import CallEngine
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("peers that break the rules")
struct HostilePeerTests {
    @Test("a repeated 2xx that names a dialog of another call is not acknowledged")
    func strayDialog() throws {
        let bed = Testbed()
        var call = try OutboundCall(bed)
        let other = try bed.phone("2002", "192.0.2.12")
        try other.invite("95550124", offer: sdp("192.0.2.12", 4_000))
        let early = try call.carrier.take(.invite)
        try call.carrier.respond(early, 180, tag: "first")
        try call.carrier.respond(early, 180, tag: "second")

        try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_002, version: 2))
        let reinvite = try call.carrier.take(.invite)
        try call.carrier.respond(reinvite, 200, body: sdp("203.0.113.10", 6_000, version: 2))
        _ = try call.carrier.take(.ack)
        // The second fork of a call that has two, in the transaction of a call that has one.
        try call.carrier.send(
            """
            SIP/2.0 200 OK
            Via: \(reinvite.topVia?.text ?? "")
            From: \(early.headers.first(.from) ?? "")
            To: \(early.headers.first(.to) ?? "");tag=second
            Call-ID: \(early.callID)
            CSeq: \(reinvite.cseq?.text ?? "")
            Contact: \(call.carrier.contact)
            """)
        #expect(!call.carrier.has(.ack))
        #expect(bed.engine.calls(at: bed.now).count == 2)
    }

    @Test("a call whose answer waits for a PRACK that never comes is refused and ends")
    func answerWithoutPRACK() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000), headers: ["Require: 100rel"])
        let outgoing = try carrier.take(.invite)
        try carrier.respond(outgoing, 180, body: "ringing", contentType: "text/plain")
        #expect(try phone.take(180).bodyText == "ringing")
        try carrier.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        #expect(!phone.has(200))
        bed.advance(by: .seconds(33))
        _ = try phone.take(504)
        try carrier.respond(try carrier.take(.bye), 200)
        #expect(bed.summaries.map(\.ending) == [.acknowledgementMissing])
        bed.expectNothingLeft()
    }

    @Test("more provisional responses than may wait for their PRACK do not keep the answer back")
    func provisionalFlood() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000), headers: ["Supported: 100rel"])
        let outgoing = try carrier.take(.invite)
        for _ in 0..<14 { try carrier.respond(outgoing, 183, body: sdp("203.0.113.10", 6_000)) }
        var dialog: ScriptedPeer.DialogState?
        var acknowledged: Set<String> = []
        while phone.has(183) {
            let response = try phone.take(183)
            guard let number = response.headers.first(.rseq), acknowledged.insert(number).inserted else { continue }
            var current = dialog ?? phone.dialog(invite, response)
            try phone.request("PRACK", &current, headers: ["RAck: \(number) \(response.cseq?.text ?? "")"])
            dialog = current
        }
        #expect(acknowledged.count == 9)
        try carrier.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        #expect(try phone.take(200).cseq?.method == .prack)
        while phone.has(200) {
            let response = try phone.take(200)
            if response.cseq?.method == .invite { return }
        }
        Issue.record("the answer did not come: \(phone.summary)")
    }
}

@Suite("what a side says of itself in passing")
struct WithheldHeaderTests {
    @Test(
        "is withheld from the other",
        arguments: [
            "Warning: 399 phone \"see 192.0.2.11\"", "Diversion: <sip:2002@192.0.2.11>;reason=busy;host=192.0.2.11",
            "Subject: at 192.0.2.11", "Call-Info: <http://192.0.2.11/x>",
        ])
    func withheld(_ header: String) throws {
        let call = try OutboundCall(headers: [header])
        #expect(!call.calleeInvite.text.contains("192.0.2.11"))
    }

    @Test(
        "crosses when it shows nothing",
        arguments: [
            ("Warning: 399 192.0.2.11 \"busy\"", "Warning: 399 203.0.113.2 \"busy\""),
            ("Diversion: <sip:2002@192.0.2.11>;reason=busy", "Diversion: <sip:2002@203.0.113.2>;reason=busy"),
            ("Subject: lunch", "Subject: lunch"),
        ])
    func crosses(_ header: String, _ expected: String) throws {
        let call = try OutboundCall(headers: [header])
        #expect(call.calleeInvite.text.contains(expected))
    }
}
