import CallEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("payload types of telephone-event on both legs")
struct TelephoneEventMappingTests {
    struct Sample: Sendable {
        let phone: Int
        /// The trunk's setting, what the carrier is offered then, and what it answers.
        let forced: UInt8?
        let offered: Int
        let answered: Int
        /// From the phone, from the carrier.
        let outward: [MediaFlow.PayloadTypeMapping]
        let inward: [MediaFlow.PayloadTypeMapping]
    }

    static func mapping(_ from: UInt8, _ to: UInt8) -> MediaFlow.PayloadTypeMapping { .init(from: from, to: to) }

    static let samples: [Sample] = [
        Sample(phone: 101, forced: nil, offered: 101, answered: 101, outward: [], inward: []),
        Sample(phone: 96, forced: nil, offered: 96, answered: 96, outward: [], inward: []),
        Sample(
            phone: 96, forced: 101, offered: 101, answered: 101, outward: [mapping(96, 101)],
            inward: [mapping(101, 96)]),
        // The carrier answers with a number of its own: what it receives changes, what it sends may be either.
        Sample(
            phone: 96, forced: nil, offered: 96, answered: 101, outward: [mapping(96, 101)],
            inward: [mapping(101, 96)]),
        Sample(
            phone: 96, forced: 101, offered: 101, answered: 100, outward: [mapping(96, 100)],
            inward: [mapping(101, 96), mapping(100, 96)]),
    ]

    @Test("are mapped in both directions when they differ", arguments: samples)
    func outbound(_ sample: Sample) throws {
        let bed = Testbed { $0.trunks["carrier-a"]?.telephoneEvent = sample.forced }
        let call = try RingingCall(
            bed, offer: sdp("192.0.2.11", 4_000, formats: "0 \(sample.phone)", telephoneEvent: sample.phone))
        #expect(call.outgoing.sdp?.media.first?.formats == ["0", "\(sample.offered)"])
        try call.carrier.respond(
            call.outgoing, 200,
            body: sdp("203.0.113.10", 6_000, formats: "0 \(sample.answered)", telephoneEvent: sample.answered))
        let answer = try call.phone.take(200)
        #expect(answer.sdp?.media.first?.formats == ["0", "\(sample.phone)"])
        #expect(bed.flow(.caller)?.payloadTypes == sample.outward)
        #expect(bed.flow(.callee)?.payloadTypes == sample.inward)
        #expect(bed.flow(.caller)?.kind == .rtp)
        try call.finish(answer)
    }

    @Test("are mapped when the trunk that forces one calls")
    func inbound() throws {
        let bed = Testbed { $0.trunks["carrier-a"]?.telephoneEvent = 101 }
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try carrier.invite(
            "+13135550101", offer: sdp("203.0.113.10", 6_000, formats: "0 101", telephoneEvent: 101))
        let incoming = try phone.take(.invite)
        try phone.respond(
            incoming, 200, body: sdp("192.0.2.11", 4_000, formats: "0 96", telephoneEvent: 96))
        let answer = try carrier.take(200)
        #expect(answer.sdp?.media.first?.formats == ["0", "101"])
        #expect(bed.flow(.caller)?.payloadTypes == [Self.mapping(101, 96)])
        #expect(bed.flow(.callee)?.payloadTypes == [Self.mapping(96, 101)])
        try carrier.ack(invite, answer)
        // A re-INVITE of the phone with its own number is offered with the trunk's.
        var dialog = phone.dialog(answering: incoming)
        let again = try phone.request(
            "INVITE", &dialog, body: sdp("192.0.2.11", 4_000, formats: "0 96", version: 2, telephoneEvent: 96))
        let reinvite = try carrier.take(.invite)
        #expect(reinvite.sdp?.media.first?.formats == ["0", "101"])
        try carrier.respond(
            reinvite, 200, body: sdp("203.0.113.10", 6_000, formats: "0 101", version: 2, telephoneEvent: 101))
        try phone.ack(again, try phone.take(200))
        #expect(bed.flow(.caller)?.payloadTypes == [Self.mapping(101, 96)])
        #expect(bed.flow(.callee)?.payloadTypes == [Self.mapping(96, 101)])
    }

    @Test("the fork that answers has its own mapping")
    func forks() throws {
        let call = try RingingCall(offer: sdp("192.0.2.11", 4_000, formats: "0 96", telephoneEvent: 96))
        try call.carrier.respond(
            call.outgoing, 183, tag: "one", body: sdp("203.0.113.10", 6_000, formats: "0 101", telephoneEvent: 101))
        try call.carrier.respond(
            call.outgoing, 183, tag: "two", body: sdp("203.0.113.11", 6_100, formats: "0 96", telephoneEvent: 96))
        #expect(call.bed.flow(.caller)?.payloadTypes == [])
        try call.carrier.respond(call.outgoing, 200, tag: "one")
        #expect(call.bed.flow(.caller)?.payloadTypes == [Self.mapping(96, 101)])
    }
}

@Suite("silence")
struct SilenceTests {
    @Test("of both sides ends the call on both legs, with a Reason")
    func inactivity() throws {
        let call = try OutboundCall()
        call.bed.advance(by: .seconds(62))
        for peer in [call.phone, call.carrier] {
            let bye = try peer.take(.bye)
            #expect(bye.headers.first(.reason) == "Q.850;cause=102;text=\"Media inactivity\"")
            try peer.respond(bye, 200)
        }
        #expect(call.bed.summaries.map(\.ending) == [.mediaInactive])
        #expect(call.bed.events.contains { if case .mediaInactive = $0 { true } else { false } })
        call.bed.expectNothingLeft()
    }

    @Test("of one side is an event that names it; the call goes on", arguments: CallSide.allCases)
    func oneSide(_ silent: CallSide) throws {
        var call = try OutboundCall()
        for _ in 0..<20 {
            call.bed.advance(by: .milliseconds(500))
            let loud = try #require(call.bed.flow(silent.other))
            call.bed.counters[loud.local, default: MediaFlowCounters()].packets += 25
            call.bed.counters[loud.local]?.lastArrival = call.bed.now
        }
        let sides = call.bed.events.compactMap { event -> CallSide? in
            if case .mediaSilent(_, let side, _) = event { side } else { nil }
        }
        #expect(sides == [silent])
        try call.hangUp()
    }
}

@Suite("bodies")
struct BodyTests {
    static let boundary = "----part 7"

    static func multipart(_ description: String) -> String {
        """
        ------part 7\r
        Content-Type: application/sdp\r
        Content-ID: <session@192.0.2.11>\r
        \r
        \(description)\r
        ------part 7\r
        Content-Type: application/pidf+xml\r
        Content-ID: <location-1@phone.example>\r
        Content-Disposition: by-reference;handling=optional\r
        \r
        <presence>  Gebäude 4\n\n<!-- kept -->  </presence>\r
        ------part 7--\r

        """
    }

    @Test("of several parts cross: the description is replaced, the others stay byte for byte")
    func multipart() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let type = "multipart/mixed;boundary=\"\(Self.boundary)\""
        let sent = Self.multipart(sdp("192.0.2.11", 4_000))
        let invite = try phone.invite(
            "95550123", offer: sent, contentType: type,
            headers: ["Geolocation: <cid:location-1@phone.example>", "MIME-Version: 1.0"])
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.contentType?.type == "multipart")
        #expect(outgoing.sdp?.rtpAddress(ofMedia: 0)?.address == IPAddress(Testbed.boxWAN))
        let part = try #require(sent.range(ofPart: "Content-Type: application/pidf+xml"))
        #expect(outgoing.bodyText.hasSuffix(part))
        #expect(outgoing.headers.first("Geolocation") == "<cid:location-1@phone.example>")
        #expect(outgoing.headers.first("MIME-Version") == "1.0")
        #expect(!outgoing.bodyText.contains("c=IN IP4 192.0.2.11"))
        // And in an answer.
        try carrier.respond(
            outgoing, 200, body: Self.multipart(sdp("203.0.113.10", 6_000)), contentType: type)
        let answer = try phone.take(200)
        #expect(answer.sdp?.rtpAddress(ofMedia: 0)?.address == IPAddress(Testbed.boxLAN))
        #expect(answer.bodyText.hasSuffix(part))
        try phone.ack(invite, answer)
        var dialog = phone.dialog(invite, answer)
        try phone.request("BYE", &dialog)
        try carrier.respond(try carrier.take(.bye), 200)
        bed.expectNothingLeft()
    }

    @Test("of INFO cross in both directions, and so do the responses", arguments: CallSide.allCases)
    func info(_ side: CallSide) throws {
        var call = try OutboundCall()
        let (sender, receiver) = side == .caller ? (call.phone, call.carrier) : (call.carrier, call.phone)
        var dialog = side == .caller ? call.caller : call.callee
        for code in [200, 415] {
            try sender.request(
                "INFO", &dialog, body: "Signal=5\r\nDuration=160\r\n", contentType: "application/dtmf-relay",
                headers: ["Info-Package: dtmf"])
            let info = try receiver.take(.info)
            #expect(info.bodyText == "Signal=5\r\nDuration=160\r\n")
            #expect(info.contentType?.text == "application/dtmf-relay")
            #expect(info.headers.first("Info-Package") == "dtmf")
            try receiver.respond(info, code, "As It Is")
            #expect(try sender.take(code).reasonPhrase == "As It Is")
        }
        if side == .caller { call.caller = dialog } else { call.callee = dialog }
        try call.hangUp()
    }
}

extension String {
    /// From the header line of a part to the end.
    fileprivate func range(ofPart line: String) -> String? {
        var rest = self[...]
        while !rest.isEmpty {
            if rest.hasPrefix(line) { return String(rest) }
            rest = rest.dropFirst()
        }
        return nil
    }
}

extension Testbed {
    /// What the kernel relays from this side's peer.
    func flow(_ side: CallSide) -> MediaFlow? {
        guard let call = engine.calls(at: now).first else { return nil }
        return (side == .caller ? call.callerMedia : call.calleeMedia).first.flatMap { flows[$0] }
    }
}
