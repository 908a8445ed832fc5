import CallEngine
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("other requests inside a dialog")
struct InDialogPolicyTests {
    @Test("cross in both directions with body and response", arguments: ["MESSAGE", "NOTIFY", "INFO"])
    func cross(_ method: String) throws {
        var call = try OutboundCall()
        try call.phone.request(
            method, &call.caller, body: "hello", contentType: "text/plain", headers: ["Event: example", "X-Kept: yes"])
        let outgoing = try call.carrier.take(SIPMethod(rawValue: method))
        #expect(outgoing.bodyText == "hello")
        #expect(outgoing.headers.first("X-Kept") == "yes")
        #expect(outgoing.callID != call.caller.callID)
        try call.carrier.respond(outgoing, 415, "As The Carrier Says")
        #expect(try call.phone.take(415).reasonPhrase == "As The Carrier Says")
        try call.carrier.request(
            method, &call.callee, body: "hello", contentType: "text/plain", headers: ["Event: example"])
        try call.phone.respond(try call.phone.take(SIPMethod(rawValue: method)), 200)
        _ = try call.carrier.take(200)
        #expect(call.bed.engine.status(at: call.bed.now).activeCalls == 1)
        try call.phone.request("BYE", &call.caller)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        call.bed.expectNothingLeft()
    }

    @Test("that ask for a transfer are declined and the call goes on")
    func refer() throws {
        var call = try OutboundCall()
        try call.phone.request("REFER", &call.caller, headers: ["Refer-To: <sip:2002@branch.example>"])
        #expect(try call.phone.take(603).reasonPhrase == "Transfer Not Offered")
        try call.carrier.request("REFER", &call.callee, headers: ["Refer-To: <sip:2002@203.0.113.2>"])
        _ = try call.carrier.take(603)
        #expect(!call.carrier.has(.refer) && !call.phone.has(.refer))
        #expect(call.bed.engine.status(at: call.bed.now).activeCalls == 1)
        try call.phone.request("BYE", &call.caller)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        call.bed.expectNothingLeft()
    }
}

@Suite("callers that hide (RFC 3323, RFC 3325)")
struct PrivacyTests {
    @Test(
        "are anonymous in From; the trunk is told whom we vouch for, with Privacy beside it",
        arguments: ["Privacy: id", "Privacy: user;id;critical", "Privacy: user ; id"])
    func stationHides(_ header: String) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000), headers: [header])
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.from?.uri.text == "sip:anonymous@anonymous.invalid")
        #expect(outgoing.from?.displayName == "Anonymous")
        #expect(outgoing.nameAddress(.pAssertedIdentity)?.uri.text == "sip:+13135550101@203.0.113.2")
        #expect("Privacy: \(outgoing.headers.first(.privacy) ?? "")" == header)
        #expect(outgoing.contacts.first?.uri.sip?.user?.contains("3135550101") != true)
    }

    @Test("by From alone are known by their credentials; the trunk is asked for privacy all the same")
    func anonymousFrom() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let from = "\"Anonymous\" <sip:anonymous@anonymous.invalid>"
        let first = try phone.invite(
            "95550123", from: from, offer: sdp("192.0.2.11", 4_000), callID: "hidden@192.0.2.11")
        let challenge = try phone.take(407)
        try phone.ack(first, challenge)
        func credentials(_ user: String, _ password: String) throws -> String {
            try TestDigest.authorization(
                challenge: challenge.headers.values(.proxyAuthenticate).last ?? "", method: "INVITE",
                uri: "sip:95550123@branch.example", username: user, password: password)
        }
        let wrong = try phone.invite(
            "95550123", from: from, offer: sdp("192.0.2.11", 4_000),
            headers: ["Proxy-Authorization: \(try credentials("2001", "wrong"))"], callID: "hidden@192.0.2.11", cseq: 2)
        try phone.ack(wrong, try phone.take(403))
        #expect(!carrier.has(.invite))
        try phone.invite(
            "95550123", from: from, offer: sdp("192.0.2.11", 4_000),
            headers: ["Proxy-Authorization: \(try credentials("2001", "secret-1"))"], callID: "hidden@192.0.2.11",
            cseq: 3)
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.from?.uri.text == "sip:anonymous@anonymous.invalid")
        #expect(outgoing.nameAddress(.pAssertedIdentity)?.uri.text == "sip:+13135550101@203.0.113.2")
        #expect(outgoing.headers.first(.privacy) == "id")
    }

    @Test("stay hidden from stations: neither number nor name crosses")
    func trunkCallerHides() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try carrier.invite(
            "+13135550101", from: "\"Anonymous\" <sip:anonymous@anonymous.invalid>", offer: sdp("203.0.113.10", 6_000),
            headers: ["P-Asserted-Identity: \"A Caller\" <sip:+13135559999@carrier.example>", "Privacy: id"])
        let incoming = try phone.take(.invite)
        #expect(incoming.from?.uri.sip?.user == "anonymous")
        #expect(!incoming.text.contains("3135559999"))
        #expect(!incoming.text.contains("A Caller"))
    }

    @Test("without Privacy the asserted number crosses with our host in it")
    func shown() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try carrier.invite(
            "+13135550101", from: "<sip:+13135559999@carrier.example>", offer: sdp("203.0.113.10", 6_000),
            headers: ["P-Asserted-Identity: <sip:+13135559999@carrier.example>"])
        let incoming = try phone.take(.invite)
        #expect(incoming.nameAddress(.pAssertedIdentity)?.uri.text == "sip:+13135559999@branch.example")
        #expect(!incoming.text.contains("carrier.example"))
    }
}
