import CallEngine
import EmergencyCalling
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("911: what the carrier gets")
struct EmergencyInviteTests {
    private let offer = sdp("192.0.2.11", 4_000)

    private static func bed(_ trunk: EmergencyTrunk, _ change: (inout CallEngineSettings) -> Void = { _ in }) -> Testbed
    {
        let bed = Testbed { settings in
            var address = CivicAddress(place: PlaceDetail(building: "A & B", floor: "1"))
            (address.houseNumber, address.street, address.streetType) = ("123", "Manufacturing", "Dr")
            (address.city, address.state, address.postalCode) = ("Industrial City", "MI", "48001")
            settings.emergency.sites = [
                "plant": EmergencySite(
                    name: "plant", networks: [IPRange("192.0.2.0/24")!], address: address, trunks: ["carrier-a"],
                    psap: "+13135550911")
            ]
            settings.emergency.stations = ["2001": EmergencyStation(place: PlaceDetail(room: "210"))]
            for name in ["carrier-a", "carrier-b"] {
                settings.trunks[name]?.transport = .udp
                settings.trunks[name]?.emergency = trunk
            }
            change(&settings)
        }
        bed.engine.setWallTime(WallClockTime(secondsSinceEpoch: 1_795_000_000), at: bed.now)
        return bed
    }

    private func location(in request: SIPRequest) throws -> (part: MIMEPart, xml: String) {
        let body = try #require(MessageBody.multipart(in: request))
        let part = try #require(body.parts.last)
        #expect(part.contentType.matches(LocationObject.mediaType))
        return (part, String(decoding: part.content, as: UTF8.self))
    }

    @Test("a location beside the session description, named by Geolocation")
    func carriesLocation() throws {
        let bed = Self.bed(EmergencyTrunk(carriesLocation: true))
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("911", offer: offer)
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.requestURI.text == "sip:+13135550911@203.0.113.10")
        #expect(outgoing.headers.first(.priority) == "emergency")
        #expect(outgoing.headers.first("MIME-Version") == "1.0")
        #expect(outgoing.headers.first(.geolocationRouting) == "yes")
        #expect(outgoing.headers.contains("geolocation-sip", in: .supported))
        #expect(outgoing.contentType?.matches(MediaType("multipart", "mixed")) == true)
        let body = try #require(MessageBody.multipart(in: outgoing))
        #expect(body.parts.map(\.contentType.text) == ["application/sdp", "application/pidf+xml"])
        let (part, xml) = try location(in: outgoing)
        let id = try #require(part.contentID)
        #expect(id.hasPrefix("<") && id.hasSuffix("@branch.example>"))
        #expect(
            outgoing.headers.values(.geolocation) == ["<cid:\(id.dropFirst().dropLast())>;loc-src=branch.example"])
        #expect(part.disposition == "by-reference;handling=optional")
        let order = [
            "<ca:country>US<", "<ca:A1>MI<", "<ca:A3>Industrial City<", "<ca:RD>Manufacturing<", "<ca:STS>Dr<",
            "<ca:HNO>123<", "<ca:FLR>1<", "<ca:PC>48001<", "<ca:BLD>A &amp; B<", "<ca:ROOM>210<",
            "<gbp:retransmission-allowed>true<", "<gbp:retention-expiry>2026-11-19T11:06:40.000Z<",
            "<gp:method>Manual<", "<dm:deviceID>urn:uuid:", "<dm:timestamp>2026-11-18T11:06:40.000Z<",
        ]
        var rest = xml[...]
        for text in order {
            let found = try #require(rest.firstRange(of: text), "\(text) in \(xml)")
            rest = rest[found.upperBound...]
        }
        #expect(!xml.contains("192.0.2.") && !xml.contains("2001"))
        // The record says what was sent.
        try carrier.respond(outgoing, 200, body: sdp("203.0.113.10", 6_000))
        try phone.ack(invite, try phone.take(200))
        let record = try #require(bed.emergencyRecords.values.first)
        #expect(record.location?.pidf == xml)
        #expect(
            record.location?.text
                == "123 Manufacturing Dr, building A & B, floor 1, room 210, Industrial City, MI 48001")
        #expect(record.callbackNumber == "+13135550101")
    }

    @Test("nothing more than before where the trunk wants no location")
    func withoutLocation() throws {
        let bed = Self.bed(EmergencyTrunk(sendsPriority: false))
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("911", offer: offer)
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.contentType?.matches(.sdp) == true)
        for name in [SIPHeaderName.geolocation, .geolocationRouting, .priority, .resourcePriority] {
            #expect(!outgoing.headers.contains(name), "\(name)")
        }
    }

    @Test("a service, its priority and the way to it on an i3 trunk", arguments: [nil, "urn:service:sos.fire"])
    func service(_ uri: String?) throws {
        let bed = Self.bed(EmergencyTrunk(usesServiceURN: true, resourcePriority: "esnet.1"))
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("911", offer: offer, requestURI: uri)
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.requestURI.text == uri ?? "urn:service:sos")
        #expect(outgoing.to?.uri.text == uri ?? "urn:service:sos")
        #expect(outgoing.headers.values(.route) == ["<sip:203.0.113.10:5060;lr>"])
        #expect(outgoing.headers.values(.resourcePriority) == ["esnet.1"])
    }

    @Test("a test call's own service, without priority")
    func testService() throws {
        let bed = Self.bed(EmergencyTrunk(carriesLocation: true, usesServiceURN: true, resourcePriority: "esnet.1"))
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("933", offer: offer)
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.requestURI.text == "urn:service:test.sos")
        #expect(!outgoing.headers.contains(.resourcePriority) && !outgoing.headers.contains(.priority))
        _ = try location(in: outgoing)
    }

    @Test("what the phone said of its place first, without a source it may not name")
    func phoneLocation() throws {
        let bed = Self.bed(EmergencyTrunk(carriesLocation: true))
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let body = [
            "--x", "Content-Type: application/sdp", "", offer + "--x", "Content-Type: application/pidf+xml",
            "Content-ID: <mine@192.0.2.11>", "", "<presence/>", "--x--", "",
        ].joined(separator: "\r\n")
        try phone.invite(
            "911", offer: body, contentType: "multipart/mixed;boundary=x",
            headers: [
                "MIME-Version: 1.0", "Geolocation: <cid:mine@192.0.2.11>;loc-src=phone.example",
                "Geolocation-Routing: no", "Resource-Priority: esnet.0, ets.1",
            ])
        let outgoing = try carrier.take(.invite)
        let parts = try #require(MessageBody.multipart(in: outgoing)).parts
        #expect(parts.map(\.contentType.text) == ["application/sdp", "application/pidf+xml", "application/pidf+xml"])
        #expect(parts[1].contentID == "<mine@192.0.2.11>" && parts[1].content == Array("<presence/>".utf8))
        let values = outgoing.headers.values(.geolocation)
        #expect(values.first == "<cid:mine@192.0.2.11>" && values.count == 2)
        #expect(values.last?.hasSuffix(";loc-src=branch.example") == true)
        #expect(outgoing.headers.values(.geolocationRouting) == ["no"], "a wish of the phone's is not ours to change")
        #expect(outgoing.headers.values(.resourcePriority) == ["ets.1"])
    }

    @Test("the location alone, from a phone that offers nothing yet")
    func withoutOffer() throws {
        let bed = Self.bed(EmergencyTrunk(carriesLocation: true))
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("911")
        let outgoing = try carrier.take(.invite)
        #expect(MessageBody.multipart(in: outgoing)?.parts.count == 1)
        #expect(MessageBody.sessionDescription(in: outgoing) == nil)
    }

    @Test("each trunk as it wants it, also after a challenge")
    func perTrunk() throws {
        let bed = Self.bed(EmergencyTrunk(carriesLocation: true)) {
            $0.trunks["carrier-a"]?.authentication = .init(username: "box", password: "secret-box")
            $0.trunks["carrier-b"]?.emergency = EmergencyTrunk(usesServiceURN: true)
        }
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        try phone.invite("911", offer: offer)
        let challenged = try first.take(.invite)
        try first.respond(
            challenged, 407, headers: ["Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"n\", algorithm=MD5"])
        let repeated = try first.take(.invite)
        #expect(repeated.headers.contains(.proxyAuthorization))
        #expect(repeated.body == challenged.body)
        #expect(repeated.headers.values(.geolocation) == challenged.headers.values(.geolocation))
        try first.respond(repeated, 503)
        let other = try second.take(.invite)
        #expect(other.requestURI.text == "urn:service:sos")
        #expect(other.contentType?.matches(.sdp) == true)
    }

    @Test("the session description alone once it has refused the rest", arguments: [415, 400, 488])
    func plainAfterRefusal(_ code: Int) throws {
        let bed = Self.bed(EmergencyTrunk(carriesLocation: true))
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("911", offer: offer)
        try carrier.respond(try carrier.take(.invite), code)
        let plain = try carrier.take(.invite)
        #expect(plain.contentType?.matches(.sdp) == true)
        #expect(!plain.headers.contains(.geolocation) && !plain.headers.contains("MIME-Version"))
        #expect(MessageBody.sessionDescription(in: plain) == plain.body)
        // Refused again, it is not asked a third time, but the other one is.
        let other = bed.carrier("203.0.113.20")
        #expect(!other.has(.invite))
        try carrier.respond(plain, code)
        #expect(!carrier.has(.invite) && other.has(.invite))
    }

    @Test("a small datagram when it never answered a large request")
    func plainAfterSilence() throws {
        let bed = Self.bed(EmergencyTrunk(carriesLocation: true)) {
            $0.trunks["carrier-b"] = nil
            $0.trunks["carrier-a"]?.transport = .automatic
        }
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("911", offer: offer)
        #expect(try carrier.take(.invite).topVia?.transport == .tcp)
        bed.advance(by: .seconds(4))
        let plain = try carrier.take(.invite)
        #expect(plain.topVia?.transport == .udp)
        #expect(plain.contentType?.matches(.sdp) == true)
        try carrier.respond(plain, 200, body: sdp("203.0.113.10", 6_000))
        _ = try phone.take(200)
    }

    @Test("the location again with a new offer")
    func reoffer() throws {
        let bed = Self.bed(EmergencyTrunk(carriesLocation: true, resourcePriority: "esnet.1"))
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("911", offer: offer)
        try carrier.respond(try carrier.take(.invite), 200, body: sdp("203.0.113.10", 6_000))
        let answer = try phone.take(200)
        try phone.ack(invite, answer)
        _ = try carrier.take(.ack)
        var dialog = phone.dialog(invite, answer)
        try phone.request(
            "INVITE", &dialog, body: sdp("192.0.2.11", 4_000, version: 2), headers: ["Contact: \(phone.contact)"])
        let again = try carrier.take(.invite)
        #expect(again.toTag != nil && !again.headers.contains(.route))
        #expect(again.headers.values(.resourcePriority) == ["esnet.1"])
        _ = try location(in: again)
    }

    @Test("no station's claim to esnet, in ordinary calls either")
    func claimedPriority() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("95550123", offer: offer, headers: ["Resource-Priority: ESNET.4"])
        #expect(!(try carrier.take(.invite)).headers.contains(.resourcePriority))
    }
}
