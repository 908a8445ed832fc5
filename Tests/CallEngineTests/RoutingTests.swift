import CallEngine
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("routing")
struct RoutingTests {
    struct Dialled: Sendable, CustomTestStringConvertible {
        let number: String
        /// nil: 404.
        let sent: String?
        var trunk = "203.0.113.10"
        var testDescription: String { number }
    }

    private static func bed() -> Testbed {
        Testbed {
            $0.routes = [
                .matching("9NXXXXXX", strip: 1, prepend: "+1313", trunks: ["carrier-a"]),
                .matching("91ZXXNXXXXXX", strip: 1, prepend: "+", trunks: ["carrier-b"]),
                .matching("9011.", strip: 4, prepend: "+", trunks: ["carrier-b"]),
                .matching("[3-5]XX", trunks: ["carrier-a"]),
                .matching("*7!", strip: 2, prepend: "0", trunks: ["carrier-a"]),
                .matching("+49.", trunks: ["carrier-a"]),
                .matching("666", trunks: ["carrier-x"]),
            ]
        }
    }

    @Test(
        "takes the first pattern that matches, strips and prepends",
        arguments: [
            Dialled(number: "92345678", sent: "+13132345678"),
            Dialled(number: "9-234-5678", sent: "+13132345678"),
            Dialled(number: "92345678;phone-context=branch.example", sent: "+13132345678"),
            Dialled(number: "91234567", sent: nil),
            Dialled(number: "912125550123", sent: "+12125550123", trunk: "203.0.113.20"),
            Dialled(number: "901144201", sent: "+44201", trunk: "203.0.113.20"),
            Dialled(number: "9011", sent: nil), Dialled(number: "312", sent: "312"),
            Dialled(number: "612", sent: nil), Dialled(number: "*7", sent: "0"), Dialled(number: "*712", sent: "012"),
            Dialled(number: "+4930123", sent: "+4930123"), Dialled(number: "4930123", sent: nil),
            Dialled(number: "+49", sent: nil), Dialled(number: "", sent: nil), Dialled(number: "alice", sent: nil),
            Dialled(number: "666", sent: nil),
            Dialled(number: String(repeating: "9", count: 65), sent: nil),
            Dialled(number: "9011" + String(repeating: "4", count: 200), sent: nil),
        ])
    func patterns(_ dialled: Dialled) throws {
        let bed = Self.bed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carriers = [bed.carrier(), bed.carrier("203.0.113.20")]
        let uri = dialled.number.isEmpty ? "sip:\(Testbed.domain)" : "sip:\(dialled.number)@\(Testbed.domain)"
        let invite = try phone.invite("1", offer: sdp("192.0.2.11", 4_000), requestURI: uri)
        guard let sent = dialled.sent else {
            try phone.ack(invite, try phone.take(404))
            #expect(carriers.allSatisfy { $0.inbox.isEmpty })
            return bed.expectNothingLeft()
        }
        let carrier = try #require(carriers.first { $0.has(.invite) })
        #expect(carrier.address == dialled.trunk)
        #expect(try carrier.take(.invite).requestURI.sip?.user == sent)
    }

    @Test(
        "a called number is found however it is written",
        arguments: [
            "+13135550101", "13135550101", "+1-313-555-0101", "+1(313)555.0101",
            "+13135550101;npdi;rn=+13135550000",
        ])
    func called(_ number: String) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try carrier.invite(
            "x", offer: sdp("203.0.113.10", 6_000), requestURI: "sip:\(number)@\(Testbed.boxWAN);user=phone")
        _ = try phone.take(.invite)
        try carrier.invite("x", offer: sdp("203.0.113.10", 6_000), requestURI: "tel:\(number)")
        _ = try phone.take(.invite)
    }

    @Test(
        "a trunk reaches numbers only: no extension, no other host, no other trunk",
        arguments: [
            "sip:2001@203.0.113.2", "sip:95550123@203.0.113.2", "sip:+13135550101@198.51.100.9", "sip:203.0.113.2",
            "sip:+13135559999@203.0.113.2",
        ])
    func trunkMayNot(_ uri: String) throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        let invite = try first.invite("x", offer: sdp("203.0.113.10", 6_000), requestURI: uri)
        try first.ack(invite, try first.take(404))
        #expect(phone.inbox.isEmpty)
        #expect(second.inbox.isEmpty)
        bed.expectNothingLeft()
    }

    @Test("no room for more media: an ordinary call gets 503 with Retry-After, an emergency call passes")
    func mediaTable() throws {
        let bed = Testbed { $0.calls.mediaFlowCountMax = 7 }
        var call = try OutboundCall(bed)
        let second = try bed.phone("2002", "192.0.2.12")
        let invite = try second.invite("95550124", offer: sdp("192.0.2.12", 4_000))
        let refusal = try second.take(503)
        #expect(refusal.headers.contains(.retryAfter))
        try second.ack(invite, refusal)
        try second.invite("911", offer: sdp("192.0.2.12", 4_000))
        try call.carrier.respond(try call.carrier.take(.invite), 486)
        try call.phone.request("BYE", &call.caller)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        let third = try bed.phone("2003", "192.0.2.13")
        try third.invite("95550125", offer: sdp("192.0.2.13", 4_000))
        _ = try call.carrier.take(.invite)
    }

    @Test("one call more than allowed gets 503 with Retry-After; a call that is over makes room")
    func maximum() throws {
        let bed = Testbed { $0.calls.maximum = 2 }
        var call = try OutboundCall(bed)
        let second = try bed.phone("2002", "192.0.2.12")
        let ringing = try second.invite("85550123", offer: sdp("192.0.2.12", 4_000))
        let outgoing = try call.carrier.take(.invite)
        let third = try bed.phone("2003", "192.0.2.13")
        for _ in 0..<3 {
            let invite = try third.invite("85550124", offer: sdp("192.0.2.13", 4_000))
            let refusal = try third.take(503)
            #expect(refusal.headers.contains(.retryAfter))
            try third.ack(invite, refusal)
        }
        let inbound = try call.carrier.invite("+13135550101", offer: sdp("203.0.113.10", 6_000))
        try call.carrier.ack(inbound, try call.carrier.take(503))
        #expect(bed.counter("capacity-refusals") == 4)
        try call.phone.request("BYE", &call.caller)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        let last = try third.invite("85550124", offer: sdp("192.0.2.13", 4_000))
        let other = try call.carrier.take(.invite)
        for (peer, invite, sent) in [(second, ringing, outgoing), (third, last, other)] {
            try peer.cancel(invite)
            // The CANCEL goes out with the first provisional response.
            try call.carrier.respond(sent, 180)
            try call.carrier.respond(try call.carrier.take(.cancel), 200)
            try call.carrier.respond(sent, 487)
            try peer.ack(invite, try peer.take(487))
        }
        bed.expectNothingLeft()
    }

    @Test("ports that run out refuse the call with 503 and leave nothing bound")
    func ports() throws {
        let bed = Testbed { $0.realms[Testbed.wan]?.mediaPorts = 30_000...30_001 }
        let call = try OutboundCall(bed)
        let second = try bed.phone("2002", "192.0.2.12")
        let before = bed.boundPorts
        let invite = try second.invite("95550123", offer: sdp("192.0.2.12", 4_000))
        let refusal = try second.take(503)
        #expect(refusal.headers.contains(.retryAfter))
        try second.ack(invite, refusal)
        #expect(bed.boundPorts == before)
        #expect(bed.events.contains(.mediaPortsExhausted(Testbed.wan)))
        #expect(call.carrier.inbox.isEmpty)
    }
}
