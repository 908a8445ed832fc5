import CallEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("a call from a trunk to stations")
struct InboundCallTests {
    @Test(
        "finds the station by the called number, with and without +",
        arguments: ["+13135550101", "13135550101", "+1-313-555-0101"])
    func completes(_ number: String) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try carrier.invite(
            number, from: "\"A Caller\" <sip:+13135559999@carrier.example>", offer: sdp("203.0.113.10", 6_000),
            headers: ["P-Asserted-Identity: \"A Caller\" <sip:+13135559999@carrier.example>"])
        let incoming = try phone.take(.invite)
        #expect(incoming.requestURI.text == "sip:2001@192.0.2.11:5060")
        #expect(incoming.to?.uri.text == "sip:2001@branch.example")
        #expect(incoming.from?.uri.text == "sip:+13135559999@branch.example")
        #expect(incoming.from?.displayName == "A Caller")
        #expect(incoming.nameAddress(.pAssertedIdentity)?.uri.text == "sip:+13135559999@branch.example")
        try phone.respond(incoming, 180)
        _ = try carrier.take(180)
        try phone.respond(incoming, 200, body: sdp("192.0.2.11", 4_000))
        let answer = try carrier.take(200)
        _ = try phone.take(.ack)
        try carrier.ack(invite, answer)
        var dialog = carrier.dialog(invite, answer)
        try carrier.request("BYE", &dialog)
        _ = try carrier.take(200)
        try phone.respond(try phone.take(.bye), 200)
        #expect(bed.summaries.first?.caller == CallParty(.trunk(name: "carrier-a"), number: "+13135559999"))
        #expect(bed.summaries.first?.callee == CallParty(.station(user: "2001"), number: "2001"))
        bed.expectNothingLeft()
    }

    @Test("rings every contact of every station; the first answer wins, the others are cancelled")
    func forks() throws {
        let bed = Testbed()
        let phones = [
            try bed.phone("2001", "192.0.2.11"), try bed.phone("2001", "192.0.2.12"),
            try bed.phone("2002", "192.0.2.13"),
        ]
        let carrier = bed.carrier()
        let invite = try carrier.invite("+13135550100", offer: sdp("203.0.113.10", 6_000))
        let incoming = try phones.map { try $0.take(.invite) }
        #expect(Set(incoming.map(\.callID)).count == 3)
        for (phone, request) in zip(phones, incoming) { try phone.respond(request, 180) }
        let tags = try (0..<3).map { _ in try carrier.take(180).to?.tag }
        #expect(Set(tags).count == 3)
        try phones[1].respond(incoming[1], 200, body: sdp("192.0.2.12", 4_000))
        let answer = try carrier.take(200)
        #expect(answer.to?.tag == tags[1])
        _ = try phones[1].take(.ack)
        for index in [0, 2] {
            let cancel = try phones[index].take(.cancel)
            try phones[index].respond(cancel, 200)
            try phones[index].respond(incoming[index], 487)
            _ = try phones[index].take(.ack)
        }
        try carrier.ack(invite, answer)
        #expect(bed.engine.status(at: bed.now).activeCalls == 1)
        var dialog = phones[1].dialog(answering: incoming[1])
        try phones[1].request("BYE", &dialog)
        try carrier.respond(try carrier.take(.bye), 200)
        #expect(bed.summaries.first?.attempts.map(\.outcome) == [.cancelled, .response(200), .cancelled])
        bed.expectNothingLeft()
    }

    @Test("acknowledges a second answer that crossed the CANCEL, and hangs up on it")
    func lateAnswer() throws {
        let bed = Testbed()
        let phones = [try bed.phone("2001", "192.0.2.11"), try bed.phone("2001", "192.0.2.12")]
        let carrier = bed.carrier()
        let invite = try carrier.invite("+13135550101", offer: sdp("203.0.113.10", 6_000))
        let incoming = try phones.map { try $0.take(.invite) }
        try phones[0].respond(incoming[0], 200, body: sdp("192.0.2.11", 4_000))
        try phones[1].respond(incoming[1], 200, body: sdp("192.0.2.12", 4_000))
        let answer = try carrier.take(200)
        #expect(!carrier.has(200))
        _ = try phones[1].take(.ack)
        try phones[1].respond(try phones[1].take(.bye), 200)
        #expect(!phones[0].has(.bye))
        try carrier.ack(invite, answer)
        var dialog = carrier.dialog(invite, answer)
        try carrier.request("BYE", &dialog)
        try phones[0].respond(try phones[0].take(.bye), 200)
        bed.expectNothingLeft()
    }

    @Test("busy on one phone and no answer on the other is busy; 6xx of one ends the call for all")
    func bestResponse() throws {
        for (codes, expected) in [([480, 486], 486), ([486, 480], 486), ([408, 404], 404), ([500, 480], 480)] {
            let bed = Testbed()
            let phones = [try bed.phone("2001", "192.0.2.11"), try bed.phone("2001", "192.0.2.12")]
            let carrier = bed.carrier()
            let invite = try carrier.invite("+13135550101", offer: sdp("203.0.113.10", 6_000))
            for (phone, code) in zip(phones, codes) { try phone.respond(try phone.take(.invite), code) }
            try carrier.ack(invite, try carrier.take(expected))
            bed.expectNothingLeft()
        }
        let bed = Testbed()
        let phones = [try bed.phone("2001", "192.0.2.11"), try bed.phone("2001", "192.0.2.12")]
        let carrier = bed.carrier()
        let invite = try carrier.invite("+13135550101", offer: sdp("203.0.113.10", 6_000))
        let second = try phones[1].take(.invite)
        try phones[1].respond(second, 180)
        try phones[0].respond(try phones[0].take(.invite), 603, "Decline")
        let refusal = try carrier.take(603)
        #expect(refusal.reasonPhrase == "Decline")
        try carrier.ack(invite, refusal)
        try phones[1].respond(try phones[1].take(.cancel), 200)
        try phones[1].respond(second, 487)
        bed.expectNothingLeft()
    }

    @Test("sends requests inside the dialog where the station's last one came from")
    func followsThePath() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try carrier.invite("+13135550101", offer: sdp("203.0.113.10", 6_000))
        let incoming = try phone.take(.invite)
        try phone.respond(incoming, 200, body: sdp("192.0.2.11", 4_000))
        let answer = try carrier.take(200)
        try carrier.ack(invite, answer)
        // The NAT in between has chosen another port.
        let moved = ScriptedPeer(
            bed, user: "2001", domain: Testbed.domain, path: bed.path(Testbed.lan, "192.0.2.11", 6_099))
        var dialog = phone.dialog(answering: incoming)
        try moved.request("UPDATE", &dialog)
        _ = try moved.take(200)
        var other = carrier.dialog(invite, answer)
        try carrier.request("BYE", &other)
        try moved.respond(try moved.take(.bye), 200)
        bed.expectNothingLeft()
    }

    @Test("uses the connection a station registered over")
    func overTCP() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11", port: 49_152, tcp: 7)
        let carrier = bed.carrier()
        try carrier.invite("+13135550101", offer: sdp("203.0.113.10", 6_000))
        let incoming = try phone.take(.invite)
        #expect(incoming.topVia?.transport == .tcp)
        #expect(incoming.contacts.first?.uri.sip?.parameters.value("transport")?.lowercased() == "tcp")
        #expect(bed.transmitted.last { $0.path.realm == Testbed.lan }?.path.connection == ConnectionID(rawValue: 7))
    }

    @Test(
        "from a source that matches no trunk is dropped without a sound", arguments: ["203.0.113.99", "198.51.100.1"])
    func unknownSource(_ address: String) throws {
        let bed = Testbed()
        let stranger = bed.carrier(address)
        try stranger.invite("+13135550101", offer: sdp(address, 6_000))
        #expect(stranger.inbox.isEmpty)
        #expect(bed.transmitted.isEmpty)
        #expect(bed.counter("unknown-sources") == 1)
        bed.expectNothingLeft()
    }

    @Test("is accepted from the prefixes of the trunk")
    func sources() throws {
        let bed = Testbed {
            $0.trunks["carrier-a"]?.sources = [IPPrefix("203.0.113.0/28")].compactMap { $0 }
        }
        let gateway = bed.carrier("203.0.113.12")
        try gateway.invite("+19995550101", offer: sdp("203.0.113.12", 6_000))
        _ = try gateway.take(404)
    }

    @Test("takes the number from To when the carrier calls the registered contact")
    func registeredContact() throws {
        let bed = Testbed {
            $0.trunks["carrier-a"]?.registration = .init(
                credentials: .init(username: "box7", password: "x"), registrar: Testbed.address("203.0.113.10"),
                domain: "carrier.example")
        }
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        carrier.inbox = []
        try carrier.invite("+13135550101", offer: sdp("203.0.113.10", 6_000), requestURI: "sip:box7@203.0.113.2")
        _ = try phone.take(.invite)
    }
}

@Suite("a call between stations")
struct StationCallTests {
    @Test("uses the extension on both sides and relays media on one interface")
    func completes() throws {
        let bed = Testbed()
        let caller = try bed.phone("2001", "192.0.2.11")
        let callee = try bed.phone("2002", "192.0.2.12")
        let invite = try caller.invite("2002", offer: sdp("192.0.2.11", 4_000))
        let incoming = try callee.take(.invite)
        #expect(incoming.from?.uri.text == "sip:2001@branch.example")
        #expect(incoming.from?.displayName == "Front desk")
        try callee.respond(incoming, 200, body: sdp("192.0.2.12", 4_100))
        let answer = try caller.take(200)
        try caller.ack(invite, answer)
        #expect(bed.flows.values.contains { $0.rewrittenDestination == Testbed.address("192.0.2.12", 4_100) })
        var dialog = caller.dialog(invite, answer)
        try caller.request("BYE", &dialog)
        try callee.respond(try callee.take(.bye), 200)
        bed.expectNothingLeft()
    }

    @Test("a local number rings the station without leaving by a trunk")
    func localNumber() throws {
        let bed = Testbed()
        let caller = try bed.phone("2002", "192.0.2.12")
        let callee = try bed.phone("2001", "192.0.2.11")
        try caller.invite("+13135550101", offer: sdp("192.0.2.12", 4_000))
        _ = try callee.take(.invite)
    }

    @Test("to a station that is not registered is answered 480, to an unknown one 404")
    func unavailable() throws {
        let bed = Testbed()
        let caller = try bed.phone("2001", "192.0.2.11")
        let invite = try caller.invite("2003", offer: sdp("192.0.2.11", 4_000))
        try caller.ack(invite, try caller.take(480))
        let other = try caller.invite("2999", offer: sdp("192.0.2.11", 4_000))
        try caller.ack(other, try caller.take(404))
        bed.expectNothingLeft()
    }
}
