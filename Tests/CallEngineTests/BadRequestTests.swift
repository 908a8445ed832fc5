import CallEngine
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("requests that cannot be served")
struct BadRequestTests {
    /// A request outside a dialog.
    private func request(
        _ method: String, _ peer: ScriptedPeer, uri: String = "sip:95550123@branch.example", callID: String = "odd-1",
        branch: String? = nil, toTag: String? = nil, lines: [String] = []
    ) -> String {
        """
        \(method) \(uri) SIP/2.0
        \(peer.via(branch))
        Max-Forwards: 70
        From: <sip:\(peer.user)@\(peer.domain)>;tag=odd
        To: <sip:95550123@branch.example>\(toTag.map { ";tag=\($0)" } ?? "")
        Call-ID: \(callID)
        CSeq: 1 \(method)
        Contact: \(peer.contact)
        \(lines.joined(separator: "\n"))
        """
    }

    struct Sample: Sendable {
        let method: String
        let code: Int
        var allows = false
    }

    @Test(
        "are answered by method",
        arguments: [
            Sample(method: "BYE", code: 481), Sample(method: "PRACK", code: 481), Sample(method: "UPDATE", code: 481),
            Sample(method: "INFO", code: 481), Sample(method: "NOTIFY", code: 481), Sample(method: "CANCEL", code: 481),
            Sample(method: "REFER", code: 405, allows: true), Sample(method: "SUBSCRIBE", code: 405, allows: true),
            Sample(method: "PUBLISH", code: 405, allows: true), Sample(method: "MESSAGE", code: 405, allows: true),
            Sample(method: "FROBNICATE", code: 501, allows: true), Sample(method: "invite", code: 501, allows: true),
        ])
    func byMethod(_ sample: Sample) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        try phone.send(request(sample.method, phone))
        let response = try phone.take(sample.code)
        if sample.allows { #expect(response.headers.values(.allow).joined(separator: ",").contains("INVITE")) }
        #expect(phone.inbox.isEmpty)
        bed.expectNothingLeft()
    }

    @Test(
        "inside a dialog nobody knows get 481; ACK gets nothing",
        arguments: ["INVITE", "BYE", "UPDATE", "INFO", "PRACK", "MESSAGE", "REFER", "OPTIONS", "ACK"])
    func unknownDialog(_ method: String) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        try phone.send(request(method, phone, toTag: "nobody"))
        if method == "ACK" { #expect(phone.inbox.isEmpty) } else { _ = try phone.take(481) }
        bed.expectNothingLeft()
    }

    @Test(
        "ACK is never answered, whatever it asks for",
        arguments: [
            "Require: teleport", "Proxy-Require: teleport", "Content-Type: text/plain", "X: y",
        ])
    func acknowledgement(_ line: String) throws {
        let bed = Testbed()
        let call = try OutboundCall(bed)
        for tag in [nil, "nobody", call.caller.remoteTag] {
            try call.phone.send(
                request("ACK", call.phone, callID: tag == nil ? "none" : call.caller.callID, toTag: tag, lines: [line]))
        }
        #expect(call.phone.inbox.isEmpty)
        #expect(call.carrier.inbox.isEmpty)
    }

    @Test("that require the unknown get 420 with Unsupported", arguments: ["INVITE", "OPTIONS"])
    func requires(_ method: String) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        try phone.send(request(method, phone, lines: ["Require: timer, teleport", "Proxy-Require: privacy"]))
        let response = try phone.take(420)
        #expect(response.headers.values(.unsupported).joined(separator: ", ") == "teleport, privacy")
        bed.expectNothingLeft()
    }

    @Test(
        "with a scheme we do not speak get 416",
        arguments: ["mailto:a@example.com", "sips:95550123@branch.example", "im:x@y"])
    func scheme(_ uri: String) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000), requestURI: uri)
        _ = try phone.take(416)
        bed.expectNothingLeft()
    }

    struct Body: Sendable {
        let type: String
        let body: String
        let headers: [String]
        let code: Int
        let hint: SIPHeaderName?
    }

    static let bodies = [
        Body(type: "text/plain", body: "hello", headers: [], code: 415, hint: .accept),
        Body(
            type: "application/sdp", body: "v=0\r\n", headers: ["Content-Encoding: gzip"], code: 415,
            hint: .acceptEncoding),
        Body(type: "application/sdp", body: "nonsense", headers: [], code: 488, hint: nil),
        Body(type: "application/sdp", body: "v=0\r\n", headers: [], code: 488, hint: nil),
        Body(
            type: "application/sdp",
            body: sdp("192.0.2.11", 4_000) + (0..<40).map { "m=audio \(5_000 + $0 * 2) RTP/AVP 0\r\n" }.joined(),
            headers: [], code: 488, hint: nil),
    ]

    @Test("with a body we cannot use get 415 or 488", arguments: bodies)
    func body(_ body: Body) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        try phone.invite("95550123", offer: body.body, contentType: body.type, headers: body.headers)
        let response = try phone.take(body.code)
        if let hint = body.hint { #expect(response.headers.contains(hint)) }
        bed.expectNothingLeft()

        // The same inside a dialog leaves the call as it was.
        let other = Testbed()
        var call = try OutboundCall(other)
        let reinvite = try call.phone.request(
            "INVITE", &call.caller, body: body.body, contentType: body.type, headers: body.headers)
        let refusal = try call.phone.take(body.code)
        if let hint = body.hint { #expect(refusal.headers.contains(hint)) }
        try call.phone.ack(reinvite, refusal)
        #expect(other.engine.calls(at: other.now).map(\.phase) == [.answered])
        try call.phone.request("BYE", &call.caller)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        other.expectNothingLeft()
    }

    @Test("an SDP of 60 kB is relayed or refused, never worse")
    func oversized() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let padding = (0..<600).map { "a=x-pad\($0):" + String(repeating: "x", count: 90) }
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000, extra: padding))
        if carrier.has(.invite) || bed.transmitted.contains(where: { $0.path.realm == Testbed.wan }) {
            try phone.cancel(invite)
        }
        bed.advance(by: .seconds(200))
        bed.expectNothingLeft()
    }

    @Test("that come twice by different ways get 482 the second time")
    func merged() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let body = sdp("192.0.2.11", 4_000)
        let lines = ["Content-Type: application/sdp"]
        try phone.send(request("INVITE", phone, branch: "z9hG4bKfirst", lines: lines), body: body)
        try phone.send(request("INVITE", phone, branch: "z9hG4bKsecond", lines: lines), body: body)
        _ = try phone.take(482)
        _ = try carrier.take(.invite)
        #expect(!carrier.has(.invite))
    }

    @Test(
        "from strangers on a trunk's realm are dropped and counted",
        arguments: ["INVITE", "OPTIONS", "REGISTER", "BYE", "MESSAGE", "ACK", "CANCEL", "FROB"])
    func strangers(_ method: String) throws {
        let bed = Testbed()
        let stranger = bed.carrier("203.0.113.66")
        try stranger.send(request(method, stranger, uri: "sip:+13135550101@203.0.113.2"))
        try stranger.send(request(method, stranger, uri: "sip:+13135550101@203.0.113.2", toTag: "x"))
        bed.handle(.malformed(nil, from: stranger.path))
        #expect(bed.transmitted.isEmpty)
        #expect(bed.counter("unknown-sources") == 3)
        bed.expectNothingLeft()
    }

    @Test("OPTIONS of a trunk is answered; REGISTER of a trunk is not for it")
    func trunkOptions() throws {
        let bed = Testbed()
        let carrier = bed.carrier()
        try carrier.send(request("OPTIONS", carrier, uri: "sip:203.0.113.2"))
        #expect(try carrier.take(200).headers.contains(.allow))
        try carrier.send(request("REGISTER", carrier, uri: "sip:203.0.113.2", callID: "odd-2"))
        _ = try carrier.take(403)
    }

    @Test("a redirection to a hundred contacts is not followed", arguments: [300, 301, 302, 305, 380])
    func redirection(_ code: Int) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000))
        try first.respond(
            try first.take(.invite), code, headers: (0..<100).map { "Contact: <sip:victim@198.51.100.\($0)>" })
        _ = try first.take(.ack)
        try second.respond(try second.take(.invite), code, headers: ["Contact: <sip:victim@198.51.100.1>"])
        let refusal = try phone.take(502)
        #expect(!refusal.headers.contains(.contact))
        try phone.ack(invite, refusal)
        #expect(!bed.transmitted.contains { $0.path.remote.address.description.hasPrefix("198.51.100.") })
        bed.expectNothingLeft()
    }
}
