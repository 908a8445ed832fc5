import CallEngine
import MediaEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("Calls the box places itself")
struct AnnouncementTests {
    static let clip = AudioClip(samples: (0..<400).map { UInt8(truncatingIfNeeded: $0) })

    /// To a station, one clip of 50 ms twice, key 1.
    static func request(
        _ id: UInt64 = 1, to target: AnnouncementRequest.Target = .station(user: "2001"), key: Character? = "1",
        repetitions: Int? = 2
    ) -> AnnouncementRequest {
        AnnouncementRequest(
            id: AnnouncementID(rawValue: id), target: target,
            playlist: Playlist([.clip(clip)], repetitions: repetitions, pause: .milliseconds(100)),
            acknowledgementKey: key, confirmation: [.tone(.confirmation, for: .milliseconds(200))],
            callingNumber: "2002", displayName: "Emergency")
    }

    /// One key press of the listener towards our media port, with the packets RFC 4733 asks for.
    static func press(_ key: Character, on bed: Testbed, _ invite: SIPRequest, from source: TransportAddress) throws {
        let port = try #require(invite.sdp?.media.first?.port)
        let host = invite.contacts.first?.uri.sip?.host
        guard case .address(let address)? = host else { throw Missing(description: "our address") }
        let code = UInt8(try #require(Array("0123456789*#ABCD").firstIndex(of: key)))
        for index in 0..<6 {
            let packet = RTPHeader(
                payloadType: 101, marker: index == 0, sequenceNumber: UInt16(100 + index), timestamp: 4_000, ssrc: 77
            ).datagram(payload: [code, index >= 3 ? 0x8A : 0x0A, 0, 160])
            bed.handle(.mediaDatagram(local: TransportAddress(address, port), source: source, bytes: packet))
        }
    }

    @Test("rings, plays the clip, hears the key, confirms, hangs up; every step is told once and in order")
    func acknowledged() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        bed.handle(.placeAnnouncement(Self.request()))
        let invite = try phone.take(.invite)
        #expect(invite.from?.uri.text == "sip:2002@branch.example" && invite.from?.displayName == "Emergency")
        #expect(invite.to?.uri.text == "sip:2001@branch.example")
        #expect(invite.sdp?.media.first?.formats == ["0", "8", "101"])
        try phone.respond(invite, 180, "Ringing")
        try phone.respond(invite, 200, "OK", body: sdp("192.0.2.11", 4_000))
        _ = try phone.take(.ack)
        #expect(bed.flows.isEmpty, "a played leg stays in user space")
        bed.advance(by: .milliseconds(500))
        // 400 samples are two and a half packets; the pause follows in the third.
        #expect(Array(bed.played.flatMap { $0.bytes.dropFirst(12) }.prefix(400)) == Self.clip.samples)
        #expect(bed.played.allSatisfy { $0.to == Testbed.address("192.0.2.11", 4_000) })
        try Self.press("5", on: bed, invite, from: Testbed.address("192.0.2.11", 4_000))
        #expect(
            bed.announcements.map(\.event) == [
                .ringing, .answered(by: "sip:2001@192.0.2.11:5060"), .played(times: 1), .played(times: 2),
            ])
        try Self.press("1", on: bed, invite, from: Testbed.address("192.0.2.11", 4_001))
        #expect(bed.announcements.count == 4, "not the listener's port")
        bed.advance(by: .seconds(1))
        for index in 0..<2 {
            let packet = RTPHeader(payloadType: 101, sequenceNumber: UInt16(200 + index), timestamp: 9_000, ssrc: 77)
                .datagram(payload: [1, 0x8A, 0, 160])
            bed.handle(
                .mediaDatagram(
                    local: try #require(bed.played.last?.from), source: Testbed.address("192.0.2.11", 4_000),
                    bytes: packet))
        }
        #expect(bed.announcements.last?.event == .acknowledged(key: "1"))
        #expect(!phone.has(.bye))
        bed.advance(by: .seconds(1))
        try phone.respond(try phone.take(.bye), 200, "OK")
        #expect(bed.announcements.map(\.event).suffix(2) == [.acknowledged(key: "1"), .ended(.acknowledged)])
        bed.expectNothingLeft()
    }

    @Test("all phones of a station ring; the first to answer hears it, the others stop ringing")
    func forking() throws {
        let bed = Testbed()
        let desk = try bed.phone("2001", "192.0.2.11")
        let handset = try bed.phone("2001", "192.0.2.12")
        bed.handle(.placeAnnouncement(Self.request(key: nil)))
        let first = try desk.take(.invite)
        let second = try handset.take(.invite)
        try desk.respond(first, 180, "Ringing")
        try handset.respond(second, 180, "Ringing")
        try handset.respond(second, 200, "OK", body: sdp("192.0.2.12", 4_000))
        let cancel = try desk.take(.cancel)
        try desk.respond(cancel, 200, "OK")
        // The desk phone was answered in the same moment: it is hung up on.
        try desk.respond(first, 200, "OK", body: sdp("192.0.2.11", 4_000))
        _ = try desk.take(.ack)
        try desk.respond(try desk.take(.bye), 200, "OK")
        bed.advance(by: .seconds(2))
        #expect(bed.played.allSatisfy { $0.to == Testbed.address("192.0.2.12", 4_000) })
        try handset.respond(try handset.take(.bye), 200, "OK")
        #expect(
            bed.announcements.map(\.event) == [
                .ringing, .answered(by: "sip:2001@192.0.2.12:5060"), .played(times: 1), .played(times: 2),
                .ended(.played),
            ])
        bed.expectNothingLeft()
    }

    @Test("nobody there, busy, unanswered, stopped, unknown: each fails with its code and leaves nothing")
    func failures() throws {
        let bed = Testbed()
        func outcome(_ id: UInt64) -> AnnouncementEvent? {
            bed.announcements.last { $0.id == AnnouncementID(rawValue: id) }?.event
        }
        bed.handle(.placeAnnouncement(Self.request(1)))
        #expect(outcome(1) == .failed(statusCode: 480, reason: "No phone of station 2001 is registered"))
        bed.handle(.placeAnnouncement(Self.request(2, to: .station(user: "2999"))))
        #expect(outcome(2) == .failed(statusCode: 404, reason: "No station 2999"))
        bed.handle(.placeAnnouncement(Self.request(3, to: .number("+13135550155", trunk: "nowhere"))))
        #expect(outcome(3) == .failed(statusCode: 404, reason: "No trunk nowhere"))
        let name = try #require(SIPURI("sip:paging@pager.example"))
        bed.handle(.placeAnnouncement(Self.request(4, to: .uri(name, realm: Testbed.lan))))
        #expect(
            outcome(4) == .failed(statusCode: 416, reason: "sip:paging@pager.example is no sip: URI with an address"))
        let phone = try bed.phone("2001", "192.0.2.11")
        bed.handle(.placeAnnouncement(Self.request(5)))
        try phone.respond(try phone.take(.invite), 486, "Busy Here")
        #expect(outcome(5) == .failed(statusCode: 486, reason: "Busy Here"))
        bed.handle(.placeAnnouncement(Self.request(6)))
        var invite = try phone.take(.invite)
        try phone.respond(invite, 180, "Ringing")
        bed.advance(by: .seconds(30))
        #expect(outcome(6) == .failed(statusCode: 408, reason: "Nobody answered"))
        try phone.respond(try phone.take(.cancel), 200, "OK")
        try phone.respond(invite, 487, "Request Terminated")
        bed.handle(.placeAnnouncement(Self.request(7)))
        invite = try phone.take(.invite)
        try phone.respond(invite, 180, "Ringing")
        bed.handle(.stopAnnouncement(AnnouncementID(rawValue: 7)))
        #expect(outcome(7) == .failed(statusCode: 487, reason: "Stopped"))
        try phone.respond(try phone.take(.cancel), 200, "OK")
        try phone.respond(invite, 487, "Request Terminated")
        bed.handle(.placeAnnouncement(Self.request(8)))
        try phone.respond(try phone.take(.invite), 200, "OK", body: sdp("192.0.2.11", 4_000, formats: "9 101"))
        _ = try phone.take(.ack)
        try phone.respond(try phone.take(.bye), 200, "OK")
        #expect(outcome(8) == .failed(statusCode: 488, reason: "No G.711 in the answer"))
        bed.expectNothingLeft()
    }

    @Test("the listener hangs up, the key does not come, the limit passes, we are stopped: each ends it once")
    func endings() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        func answered(_ request: AnnouncementRequest) throws -> SIPRequest {
            bed.handle(.placeAnnouncement(request))
            let invite = try phone.take(.invite)
            try phone.respond(invite, 200, "OK", body: sdp("192.0.2.11", 4_000))
            _ = try phone.take(.ack)
            return invite
        }
        func ending(_ id: UInt64) -> [AnnouncementEvent] {
            bed.announcements.filter { $0.id == AnnouncementID(rawValue: id) }.map(\.event).filter {
                if case .ended = $0 { true } else { false }
            }
        }
        var dialog = phone.dialog(answering: try answered(Self.request(1)))
        try phone.request("BYE", &dialog)
        _ = try phone.take(200)
        #expect(ending(1) == [.ended(.hungUp)])
        #expect(!phone.has(.bye))
        _ = try answered(Self.request(2))
        bed.advance(by: .milliseconds(5_400))
        #expect(ending(2) == [.ended(.played)])
        try phone.respond(try phone.take(.bye), 200, "OK")
        _ = try answered(Self.request(3, repetitions: nil))
        bed.advance(by: .seconds(119))
        #expect(ending(3).isEmpty)
        bed.advance(by: .seconds(1))
        #expect(ending(3) == [.ended(.timedOut)])
        try phone.respond(try phone.take(.bye), 200, "OK")
        _ = try answered(Self.request(4, repetitions: nil))
        bed.handle(.stopAnnouncement(AnnouncementID(rawValue: 4)))
        bed.handle(.stopAnnouncement(AnnouncementID(rawValue: 4)))
        #expect(ending(4) == [.ended(.stopped)])
        try phone.respond(try phone.take(.bye), 200, "OK")
        bed.expectNothingLeft()
    }

    @Test("a key in an INFO counts too; hold stops the audio, and a re-INVITE to A-law changes it")
    func requestsInside() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        bed.handle(.placeAnnouncement(Self.request(repetitions: nil)))
        let invite = try phone.take(.invite)
        try phone.respond(invite, 200, "OK", body: sdp("192.0.2.11", 4_000))
        _ = try phone.take(.ack)
        var dialog = phone.dialog(answering: invite)
        try phone.request("INVITE", &dialog, body: sdp("192.0.2.11", 4_000, version: 2, direction: "sendonly"))
        var answer = try phone.take(200)
        try phone.request("ACK", &dialog)
        #expect(answer.sdp?.media.first?.direction == .recvonly)
        bed.played = []
        bed.advance(by: .seconds(1))
        #expect(bed.played.isEmpty)
        try phone.request(
            "INVITE", &dialog, body: sdp("192.0.2.11", 4_002, formats: "8 96", version: 3, telephoneEvent: 96))
        answer = try phone.take(200)
        try phone.request("ACK", &dialog)
        #expect(answer.sdp?.media.first?.formats == ["8", "96"])
        bed.advance(by: .seconds(1))
        #expect(bed.played.count == 50)
        #expect(bed.played.allSatisfy { $0.to.port == 4_002 && $0.bytes[1] & 0x7F == 8 })
        try phone.request(
            "INVITE", &dialog, body: sdp("192.0.2.11", 4_002, formats: "9", version: 4, telephoneEvent: nil))
        _ = try phone.take(488)
        try phone.request("MESSAGE", &dialog, body: "x", contentType: "text/plain")
        _ = try phone.take(405)
        try phone.request(
            "INFO", &dialog, body: "Signal=1\r\nDuration=160\r\n", contentType: "application/dtmf-relay")
        _ = try phone.take(200)
        #expect(bed.announcements.last?.event == .acknowledged(key: "1"))
        bed.advance(by: .seconds(1))
        try phone.respond(try phone.take(.bye), 200, "OK")
        bed.expectNothingLeft()
    }

    @Test("through a trunk with credentials and reliable provisionals; to a paging adapter that is no trunk of ours")
    func elsewhere() throws {
        let bed = Testbed { settings in
            settings.trunks["carrier-a"]?.authentication = .init(username: "branch", password: "secret-a")
            settings.trunks["carrier-a"]?.reliableProvisional = .required
        }
        let carrier = bed.carrier()
        bed.handle(.placeAnnouncement(Self.request(1, to: .number("+13135550155", trunk: "carrier-a"), key: nil)))
        var invite = try carrier.take(.invite)
        #expect(invite.requestURI.text == "sip:+13135550155@203.0.113.10")
        #expect(invite.require == ["100rel"])
        try carrier.respond(
            invite, 401, "Unauthorized",
            headers: ["WWW-Authenticate: Digest realm=\"carrier\", nonce=\"abc\", algorithm=MD5, qop=\"auth\""])
        _ = try carrier.take(.ack)
        invite = try carrier.take(.invite)
        #expect(invite.headers.contains(.authorization) && invite.cseq?.number == 2)
        try carrier.respond(
            invite, 183, "Session Progress", body: sdp("203.0.113.10", 6_000),
            headers: ["Require: 100rel", "RSeq: 7"])
        let prack = try carrier.take(.prack)
        #expect(prack.headers.first(.rack) == "7 2 INVITE")
        try carrier.respond(prack, 200, "OK")
        try carrier.respond(invite, 200, "OK")  // the answer was in the 183
        _ = try carrier.take(.ack)
        bed.advance(by: .seconds(2))
        #expect(bed.played.allSatisfy { $0.to == Testbed.address("203.0.113.10", 6_000) } && bed.played.count > 10)
        let bye = try carrier.take(.bye)
        #expect(bye.headers.contains(.authorization))
        try carrier.respond(bye, 200, "OK")
        #expect(bed.announcements.last?.event == .ended(.played))

        let adapter = ScriptedPeer(
            bed, user: "zone1", domain: "203.0.113.77", path: bed.path(Testbed.wan, "203.0.113.77", 5_070))
        let uri = try #require(SIPURI("sip:zone1@203.0.113.77:5070"))
        bed.handle(.placeAnnouncement(Self.request(2, to: .uri(uri, realm: Testbed.wan), key: nil, repetitions: nil)))
        invite = try adapter.take(.invite)
        try adapter.respond(invite, 200, "OK", body: sdp("203.0.113.77", 7_000))
        _ = try adapter.take(.ack)
        var dialog = adapter.dialog(answering: invite)
        try adapter.request("BYE", &dialog)
        _ = try adapter.take(200)
        #expect(bed.announcements.last?.event == .ended(.hungUp))
        bed.expectNothingLeft()
    }

    @Test("with announcements everywhere a full box still takes 911, and one call no limit counts")
    func besideEmergency() throws {
        let bed = Testbed { settings in
            settings.calls.maximum = 1
            settings.realms[Testbed.lan]?.mediaPorts = 20_000...20_039  // 20 pairs
        }
        let phone = try bed.phone("2001", "192.0.2.11")
        let caller = try bed.phone("2002", "192.0.2.12")
        let carrier = bed.carrier()
        for id in 1...40 { bed.handle(.placeAnnouncement(Self.request(UInt64(id), repetitions: nil))) }
        let refused = bed.announcements.filter {
            $0.event
                == .failed(
                    statusCode: 503, reason: "No media port free, or too many announcements")
        }
        #expect(refused.count == 36, "sixteen pairs are left to others")
        for _ in 1...4 { try phone.respond(try phone.take(.invite), 200, "OK", body: sdp("192.0.2.11", 4_000)) }
        #expect(bed.engine.status(at: bed.now).activeCalls == 0)
        let call = try caller.invite("911", offer: sdp("192.0.2.12", 5_000))
        let emergency = try carrier.take(.invite)
        try carrier.respond(emergency, 200, "OK", body: sdp("203.0.113.10", 6_000))
        try caller.ack(call, try caller.take(200))
        // The flows between caller and carrier, RTP and RTCP, and none that leads to who is told.
        #expect(bed.flows.count == 4)
        let told = Testbed.address("192.0.2.11").address
        #expect(
            bed.flows.values.allSatisfy { $0.acceptedSource.address != told && $0.rewrittenDestination.address != told }
        )
        #expect(bed.engine.calls(at: bed.now).filter { $0.announcement != nil }.count == 4)
        bed.engine.shutdown(at: bed.now)
        bed.drain()
        #expect(bed.announcements.filter { $0.event == .ended(.shutdown) }.count == 4)
        for _ in 1...4 { try phone.respond(try phone.take(.bye), 200, "OK") }
        try caller.respond(try caller.take(.bye), 200, "OK")
        try carrier.respond(try carrier.take(.bye), 200, "OK")
        bed.expectNothingLeft()
    }
}
