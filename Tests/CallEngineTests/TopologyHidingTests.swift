import CallEngine
import Primitives
import SIPEngine
import SignallingFormats
import Testing

extension Testbed {
    /// Records an issue for each of these texts found in what was sent to a realm since `start`.
    func expectHidden(
        _ texts: [String], from realm: RealmID, since start: Int = 0, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for (path, bytes) in transmitted.dropFirst(start) where path.realm == realm {
            let message = String(decoding: bytes, as: UTF8.self)
            for text in texts where message.lowercased().contains(text.lowercased()) {
                Issue.record("\(text) was sent to \(realm):\n\(message)", sourceLocation: sourceLocation)
            }
        }
    }
}

@Suite("topology hiding, byte by byte")
struct TopologyHidingTests {
    /// What the phone's messages hold; `192.0.2.` is every address of its side, ours included.
    static let phoneSecrets = [
        "192.0.2.", "call-2001", "tag-2001", "z9hG4bKbranch-2001", "phone 4711", "PhoneOS", "proxy.lan.example",
        "2001@",
    ]
    static let carrierSecrets = [
        "203.0.113.", "call-gw", "tag-gw", "z9hG4bKbranch-gw", "carrier 815", "SwitchOS", "core.carrier.example", "gw@",
    ]
    /// Headers that try to carry the phone's side across.
    static let phoneHeaders = [
        "User-Agent: PhoneOS/1.2", "X-Own-Address: 192.0.2.11", "P-Preferred-Identity: <sip:2001@192.0.2.11>",
        "Remote-Party-ID: <sip:2001@192.0.2.11>", "Diversion: <sip:2009@192.0.2.11:5062>;reason=unconditional",
        "History-Info: <sip:2001@192.0.2.11>;index=1", "Reason: SIP;cause=200;text=\"by 192.0.2.11\"",
        "Referred-By: <sip:2001@192.0.2.11>", "Timestamp: 54", "X-Kept: yes",
    ]
    static let carrierHeaders = [
        "Server: SwitchOS 7", "X-Node: 203.0.113.10", "X-Core: at core.carrier.example", "X-Kept: yes",
        "Warning: 399 core.carrier.example \"gone\"", "Reason: SIP;cause=503;text=\"203.0.113.10 down\"",
        "P-Charging-Vector: icid-value=1;orig-ioi=core.carrier.example", "Record-Route: <sip:core.carrier.example;lr>",
        "Alert-Info: <http://203.0.113.10/ring.wav>",
    ]

    static func carrierDescription(_ port: Int, version: Int = 1) -> String {
        sdp("203.0.113.10", port, version: version).replacing("o=phone 4711", with: "o=carrier 815")
    }

    private func expectBothHidden(_ bed: Testbed, since start: Int, sourceLocation: SourceLocation = #_sourceLocation) {
        bed.expectHidden(Self.phoneSecrets, from: Testbed.wan, since: start, sourceLocation: sourceLocation)
        bed.expectHidden(Self.carrierSecrets, from: Testbed.lan, since: start, sourceLocation: sourceLocation)
    }

    @Test("nothing crosses in a call with ringing, hold, INFO and BYE", arguments: [true, false])
    func wholeCall(callerHangsUp: Bool) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        // Responses carry the requester's own Via, Call-ID and tags back: compared per leg below.
        let start = bed.transmitted.count
        let invite = try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000), headers: Self.phoneHeaders)
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.headers.first("X-Kept") == "yes")
        for (index, code) in [180, 181, 183].enumerated() {
            try carrier.respond(
                outgoing, code, "Seen At 203.0.113.10", body: code == 183 ? Self.carrierDescription(6_000) : nil,
                headers: Self.carrierHeaders + ["X-Number: \(index)"])
            let response = try phone.take(code)
            #expect(response.headers.first("X-Kept") == "yes")
        }
        try carrier.respond(outgoing, 200, body: Self.carrierDescription(6_000), headers: Self.carrierHeaders)
        let answer = try phone.take(200)
        try phone.ack(invite, answer)
        var caller = phone.dialog(invite, answer)
        var callee = carrier.dialog(answering: outgoing)

        let hold = try phone.request(
            "INVITE", &caller, body: sdp("192.0.2.11", 4_000, version: 2, direction: "sendonly"),
            headers: Self.phoneHeaders)
        try carrier.respond(
            try carrier.take(.invite), 200, body: Self.carrierDescription(6_000, version: 2),
            headers: Self.carrierHeaders)
        try phone.ack(hold, try phone.take(200))
        let resume = try carrier.request(
            "INVITE", &callee, body: Self.carrierDescription(6_002, version: 3), headers: Self.carrierHeaders)
        try phone.respond(
            try phone.take(.invite), 488, "Not At 192.0.2.11",
            headers: Self.phoneHeaders + ["Warning: 304 192.0.2.11:5060 \"media\""])
        let refusal = try carrier.take(488)
        #expect(refusal.headers.first("X-Kept") == "yes")
        try carrier.ack(resume, refusal)
        try phone.request(
            "INFO", &caller, body: "Signal=1", contentType: "application/dtmf-relay", headers: Self.phoneHeaders)
        try carrier.respond(try carrier.take(.info), 200, "OK From 203.0.113.10", headers: Self.carrierHeaders)

        if callerHangsUp {
            try phone.request("BYE", &caller, headers: Self.phoneHeaders)
            try carrier.respond(try carrier.take(.bye), 200, headers: Self.carrierHeaders)
        } else {
            try carrier.request("BYE", &callee, headers: Self.carrierHeaders)
            try phone.respond(try phone.take(.bye), 200, headers: Self.phoneHeaders)
        }
        expectBothHidden(bed, since: start)
        bed.expectNothingLeft()
    }

    @Test(
        "nothing crosses in a refusal, also one that is mapped",
        arguments: [302, 401, 403, 404, 407, 422, 480, 486, 488, 500, 503, 600, 606])
    func refusals(_ code: Int) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let start = bed.transmitted.count
        let invite = try phone.invite("85550123", offer: sdp("192.0.2.11", 4_000), headers: Self.phoneHeaders)
        try carrier.respond(
            try carrier.take(.invite), code, "Refused By 203.0.113.10",
            headers: Self.carrierHeaders + [
                "Contact: <sip:gw2@203.0.113.99>", "Error-Info: <sip:announcement@203.0.113.10>",
                "WWW-Authenticate: Digest realm=\"core.carrier.example\", nonce=\"1\"",
                "Warning: 370 203.0.113.10 \"bandwidth\", 307 203.0.113.10:5060 \"at gw@core.carrier.example\"",
            ])
        let refusals = phone.inbox.compactMap { message -> SIPResponse? in
            guard case .response(let response) = message, response.statusCode >= 300 else { return nil }
            return response
        }
        let refusal = try #require(refusals.first)
        try phone.ack(invite, refusal)
        expectBothHidden(bed, since: start)
        bed.expectNothingLeft()
    }

    @Test("nothing crosses in a CANCEL and its Reason, nor in a call from the trunk")
    func inbound() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let start = bed.transmitted.count
        let invite = try carrier.invite(
            "+13135550101", from: "\"Caller\" <sip:+13125550000@203.0.113.10>", offer: Self.carrierDescription(6_000),
            headers: Self.carrierHeaders + ["P-Asserted-Identity: \"Caller\" <sip:+13125550000@203.0.113.10>"])
        let outgoing = try phone.take(.invite)
        #expect(outgoing.from?.uri.sip?.user == "+13125550000")
        try phone.respond(outgoing, 183, body: sdp("192.0.2.11", 4_000), headers: Self.phoneHeaders)
        try carrier.cancel(invite)
        try phone.respond(try phone.take(.cancel), 200, headers: Self.phoneHeaders)
        try phone.respond(outgoing, 487, headers: Self.phoneHeaders)
        try carrier.ack(invite, try carrier.take(487))
        // To the phone, its own contact is the Request-URI; everything else is checked.
        bed.expectHidden(Self.phoneSecrets, from: Testbed.wan, since: start)
        bed.expectHidden(Self.carrierSecrets, from: Testbed.lan, since: start)
        bed.expectNothingLeft()
    }
}

@Suite("headers on their way through")
struct HeaderPolicyTests {
    @Test("unknown ones are carried in order and byte for byte")
    func carried() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let lines = [
            "X-First:   spaced  \tinside,comma;semi=\"quo\\\"ted\"", "Subject: lunch", "X-first: again",
            "P-Early-Media: supported", "Call-Info: <http://www.example.com/alice/photo.jpg>;purpose=icon",
            "Priority: non-urgent", "X-Utf8: \u{e9}\u{4e2d}", "Geolocation: <cid:target123@branch.invalid>",
            "Reason: Q.850;cause=16", "Accept-Contact: *;audio", "Accept-Language: de, en;q=0.5",
        ]
        try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000), headers: lines)
        let outgoing = try carrier.take(.invite)
        let names = Set(lines.map { String($0.prefix { $0 != ":" }).lowercased() })
        let arrived = outgoing.headers.fields.filter { names.contains($0.name.text.lowercased()) }
            .map { "\($0.name.text.lowercased()):\($0.value)" }
        let expected = lines.flatMap { line -> [String] in
            let name = line.prefix { $0 != ":" }
            var value = line.dropFirst(name.count + 1)
            while value.first == " " { value = value.dropFirst() }
            return ["\(name.lowercased()):\(value)"]
        }
        // Fields that are lists may arrive value by value; joined they are the same.
        func joined(_ fields: [String]) -> String { fields.joined(separator: "\n") }
        let listed = arrived.filter { !$0.hasPrefix("accept-language") }
        #expect(joined(listed) == joined(expected.filter { !$0.hasPrefix("accept-language") }))
        #expect(outgoing.headers.values("Accept-Language").joined(separator: ", ") == "de, en;q=0.5")
    }

    @Test(
        "those of one hop or dialog are not",
        arguments: [
            "Route: <sip:10.0.0.1;lr>", "Proxy-Authorization: Digest username=\"x\"", "Path: <sip:10.0.0.2;lr>",
            "Security-Client: tls", "Allow-Events: refer", "Timestamp: 54321", "Min-SE: 400",
            "Replaces: a@b;to-tag=1;from-tag=2",
            "Join: a@b;to-tag=1;from-tag=2", "Target-Dialog: a;local-tag=b;remote-tag=c", "In-Reply-To: other@call",
            "P-Access-Network-Info: IEEE-802.11", "P-Visited-Network-ID: net", "Refer-To: <sip:a@example.com>",
        ])
    func withheld(_ line: String) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("95550123", offer: sdp("192.0.2.11", 4_000), headers: [line])
        let outgoing = try carrier.take(.invite)
        let value = String(line.drop { $0 != ":" }.dropFirst(2))
        #expect(!outgoing.text.contains(value))
    }

    @Test("Max-Forwards is counted down; at zero 483, but a BYE still ends the call")
    func maxForwards() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        func text(_ hops: Int, _ call: String) -> String {
            """
            INVITE sip:95550123@\(Testbed.domain) SIP/2.0
            \(phone.via())
            Max-Forwards: \(hops)
            From: <sip:2001@\(Testbed.domain)>;tag=hops\(call)
            To: <sip:95550123@\(Testbed.domain)>
            Call-ID: \(call)
            CSeq: 1 INVITE
            Contact: \(phone.contact)
            Content-Type: application/sdp
            """
        }
        try phone.send(text(0, "zero"), body: sdp("192.0.2.11", 4_000))
        _ = try phone.take(483)
        #expect(!carrier.has(.invite))
        #expect(bed.counter("loops") == 1)
        for (hops, expected) in [(1, 0), (17, 16), (255, 254)] {
            try phone.send(text(hops, "hops-\(hops)"), body: sdp("192.0.2.11", 4_000))
            #expect(try carrier.take(.invite).maxForwards == expected)
        }

        let second = Testbed()
        let call = try OutboundCall(second)
        try call.phone.send(
            """
            BYE \(call.caller.target) SIP/2.0
            \(call.phone.via())
            Max-Forwards: 0
            From: <\(call.caller.localURI)>;tag=\(call.caller.localTag)
            To: <\(call.caller.remoteURI)>;tag=\(call.caller.remoteTag)
            Call-ID: \(call.caller.callID)
            CSeq: 2 BYE
            """)
        _ = try call.phone.take(200)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        second.expectNothingLeft()
    }
}
