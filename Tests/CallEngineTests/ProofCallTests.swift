import CallEngine
import EmergencyCalling
import MediaEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("933 placed by the box itself")
struct ProofCallTests {
    private func bed(_ trunk: EmergencyTrunk = EmergencyTrunk(carriesLocation: true)) -> Testbed {
        let bed = Testbed { settings in
            var address = CivicAddress(place: PlaceDetail(floor: "1"))
            (address.houseNumber, address.street) = ("123", "Manufacturing")
            (address.city, address.state, address.postalCode) = ("Industrial City", "MI", "48001")
            settings.emergency.sites = [
                "plant": EmergencySite(
                    name: "plant", address: address, trunks: ["carrier-a"], psap: "+13135550911",
                    elins: ["+13135550190"])
            ]
            for name in ["carrier-a", "carrier-b"] {
                settings.trunks[name]?.transport = .udp
                settings.trunks[name]?.emergency = trunk
            }
        }
        bed.engine.setWallTime(WallClockTime(secondsSinceEpoch: 1_795_000_000), at: bed.now)
        return bed
    }

    private func request(site: String? = "plant", trunk: String = "carrier-a") -> AnnouncementRequest {
        AnnouncementRequest(
            id: AnnouncementID(rawValue: 1), target: .number("933", trunk: trunk),
            playlist: Playlist([.silence(.seconds(1))], repetitions: nil, pause: .zero), durationMax: .seconds(3),
            proof: EmergencyProof(site: site))
    }

    private func record(_ bed: Testbed) throws -> EmergencyRecord {
        try #require(bed.emergencyRecords.count == 1)
        return try #require(bed.emergencyRecords.values.first)
    }

    @Test("goes out as a station's would, counts what it hears, hangs up, and is on record")
    func heard() throws {
        let bed = bed()
        let carrier = bed.carrier()
        bed.handle(.placeAnnouncement(request()))
        let invite = try carrier.take(.invite)
        #expect(invite.requestURI.text == "sip:933@203.0.113.10", "never the PSAP's number")
        #expect(invite.from?.uri.text.contains("+13135550190") == true)
        #expect(invite.headers.first(.priority) == nil)
        let body = try #require(MessageBody.multipart(in: invite))
        #expect(body.parts.map(\.contentType.text) == ["application/sdp", "application/pidf+xml"])
        try carrier.respond(invite, 180, "Ringing")
        bed.advance(by: .milliseconds(200))
        try carrier.respond(invite, 200, "OK", body: sdp("203.0.113.10", 6_000))
        _ = try carrier.take(.ack)
        let description = try #require(MessageBody.sessionDescription(in: invite))
        let port = try #require(try SessionDescription(parsing: description.span).media.first?.port)
        let local = Testbed.address(Testbed.boxWAN, port)
        for index in 0..<5 {
            let packet = RTPHeader(
                payloadType: 0, marker: index == 0, sequenceNumber: UInt16(index), timestamp: UInt32(index * 160),
                ssrc: 9
            ).datagram(payload: [UInt8](repeating: 0xFF, count: 160))
            bed.handle(
                .mediaDatagram(local: local, source: Testbed.address("203.0.113.10", 6_000), bytes: packet))
        }
        bed.advance(by: .seconds(4))
        try carrier.respond(try carrier.take(.bye), 200)
        let record = try record(bed)
        #expect(record.isProof && record.number == .test && record.site == "plant")
        #expect(record.attempts.map(\.outcome) == ["200"])
        #expect(record.attempts.first?.ringing != nil)
        #expect(record.answer.map { $0 - record.start } == .milliseconds(200))
        #expect(record.packetsFromCallee == 5)
        #expect(record.packetsFromCaller > 0)
        #expect(record.elin == "+13135550190" && record.callbackNumber == "+13135550190")
        #expect(record.location?.pidf?.contains("Industrial City") == true)
        #expect(record.ending == "hung up by the box")
        bed.expectNothingLeft()
    }

    @Test("a refusal is on record with its code")
    func refused() throws {
        let bed = bed()
        let carrier = bed.carrier()
        bed.handle(.placeAnnouncement(request()))
        try carrier.respond(try carrier.take(.invite), 503, "Service Unavailable")
        let record = try record(bed)
        #expect(record.attempts.map(\.outcome) == ["503 Service Unavailable"])
        #expect(record.answer == nil && record.end != nil && record.ending == "not answered")
        bed.expectNothingLeft()
    }

    @Test("one that cannot even start has a record that ended")
    func impossible() throws {
        let bed = bed()
        bed.handle(.placeAnnouncement(request(site: "gone", trunk: "nowhere")))
        let record = try record(bed)
        #expect(record.isProof && record.end != nil && record.site == nil && record.attempts.isEmpty)
        #expect(record.ending == "404 No trunk nowhere")
        bed.expectNothingLeft()
    }

    @Test("shows the registered number where the trunk wants no ELIN")
    func withoutELIN() throws {
        let bed = bed(EmergencyTrunk(carriesLocation: false, showsELIN: false))
        let carrier = bed.carrier()
        bed.handle(.placeAnnouncement(request()))
        let invite = try carrier.take(.invite)
        #expect(invite.from?.uri.text.contains("+13135550190") == false)
        #expect(invite.headers.first(.geolocation) == nil)
    }
}
