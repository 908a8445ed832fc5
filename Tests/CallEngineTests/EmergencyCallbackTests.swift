import CallEngine
import EmergencyCalling
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("Help calls back")
struct EmergencyCallbackTests {
    static let elin = "+13135550190"
    private let psap = sdp("203.0.113.10", 6_000)

    private func bed(_ change: (inout CallEngineSettings) -> Void = { _ in }) -> Testbed {
        Testbed {
            $0.emergency.sites = [
                "plant": EmergencySite(
                    name: "plant", networks: [IPRange("192.0.2.0/24")!], elins: [Self.elin], contacts: ["2002", "2003"])
            ]
            change(&$0)
        }
    }

    /// 911, answered, and over: the caller hung up.
    private func helpCall(_ bed: Testbed, _ phone: ScriptedPeer, _ carrier: ScriptedPeer) throws {
        let invite = try phone.invite("911", offer: sdp(phone.address, 4_000))
        let outgoing = try carrier.take(.invite)
        #expect(outgoing.from?.uri.text.contains(Self.elin) == true)
        try carrier.respond(outgoing, 200, body: psap)
        let answer = try phone.take(200)
        try phone.ack(invite, answer)
        var dialog = phone.dialog(invite, answer)
        try phone.request("BYE", &dialog)
        try carrier.respond(try carrier.take(.bye), 200)
        phone.inbox = []
        carrier.inbox = []
    }

    @Test("the station that dialled rings, and the call is served like one for help")
    func rings() throws {
        let bed = bed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let other = try bed.phone("2002", "192.0.2.12")
        let carrier = bed.carrier()
        try helpCall(bed, phone, carrier)
        #expect(bed.keptLeases.map(\.elin) == [Self.elin])
        bed.advance(by: .seconds(1700))
        let invite = try carrier.invite("3135550190", offer: psap)
        let incoming = try phone.take(.invite)
        try phone.respond(incoming, 200, body: sdp(phone.address, 4_000))
        let answer = try carrier.take(200)
        try carrier.ack(invite, answer)
        #expect(bed.flows.values.contains { $0.isEmergency })
        #expect(!other.has(.invite))
        #expect(bed.events.contains { if case .emergencyCallback = $0 { true } else { false } })
        var dialog = carrier.dialog(invite, answer)
        try carrier.request("BYE", &dialog)
        try phone.respond(try phone.take(.bye), 200)
        bed.expectNothingLeft()
    }

    @Test("after the window the number is nobody's")
    func windowOver() throws {
        let bed = bed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try helpCall(bed, phone, carrier)
        bed.advance(by: .seconds(1802))
        try carrier.invite(Self.elin, offer: psap)
        _ = try carrier.take(404)
    }

    @Test("a phone that never registered rings where it called from, in its absence the contacts")
    func unregistered() throws {
        let bed = bed()
        let stranger = ScriptedPeer(
            bed, user: "9999", domain: Testbed.domain, path: bed.path(Testbed.lan, "192.0.2.77", 5070))
        let contact = try bed.phone("2002", "192.0.2.12")
        let carrier = bed.carrier()
        try helpCall(bed, stranger, carrier)
        try carrier.invite(Self.elin, offer: psap)
        let incoming = try stranger.take(.invite)
        #expect(incoming.requestURI.text == "sip:9999@192.0.2.77:5070")
        #expect(!contact.has(.invite))
        try stranger.respond(incoming, 404)
        _ = try contact.take(.invite)
    }

    @Test("who does not answer goes on ringing while the contacts ring too, in order")
    func widens() throws {
        let bed = bed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (try bed.phone("2002", "192.0.2.12"), try bed.phone("2003", "192.0.2.13"))
        let carrier = bed.carrier()
        try helpCall(bed, phone, carrier)
        let invite = try carrier.invite(Self.elin, offer: psap)
        let ringing = try phone.take(.invite)
        try phone.respond(ringing, 180)
        bed.advance(by: .seconds(19))
        #expect(!first.has(.invite))
        bed.advance(by: .seconds(2))
        try first.respond(try first.take(.invite), 603)
        #expect(!second.has(.invite))
        bed.advance(by: .seconds(20))
        let last = try second.take(.invite)
        #expect(!phone.has(.cancel))
        try second.respond(last, 200, body: sdp(second.address, 4_000))
        try carrier.ack(invite, try carrier.take(200))
        let cancel = try phone.take(.cancel)
        try phone.respond(cancel, 200)
        try phone.respond(ringing, 487)
        #expect(bed.engine.calls(at: bed.now).map(\.phase) == [.answered])
    }

    @Test("a busy station hands on to the contacts at once", arguments: [486, 480, 603])
    func busy(_ code: Int) throws {
        let bed = bed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let contact = try bed.phone("2002", "192.0.2.12")
        let carrier = bed.carrier()
        try helpCall(bed, phone, carrier)
        try carrier.invite(Self.elin, offer: psap)
        try phone.respond(try phone.take(.invite), code)
        _ = try contact.take(.invite)
    }

    @Test("no limit keeps it out")
    func limits() throws {
        let bed = bed {
            $0.calls.maximum = 1
            $0.trunks["carrier-a"]?.callsMax = 1
        }
        let phone = try bed.phone("2001", "192.0.2.11")
        let other = try bed.phone("2002", "192.0.2.12")
        let carrier = bed.carrier()
        try helpCall(bed, phone, carrier)
        try other.invite("95550123", offer: sdp(other.address, 4_000))
        _ = try carrier.take(.invite)
        try carrier.invite("+13135550101", offer: psap)
        _ = try carrier.take(503)
        try carrier.invite(Self.elin, offer: psap)
        _ = try phone.take(.invite)
        #expect(bed.engine.calls(at: bed.now).count == 2)
    }

    @Test("the mark is believed of a trusted trunk only, and taken off otherwise")
    func mark() throws {
        for isTrusted in [true, false] {
            let bed = bed {
                $0.calls.maximum = 1
                $0.emergency.sites["plant"]?.elins = []
                $0.trunks["carrier-a"]?.emergency.isPSAPTrusted = isTrusted
            }
            let phone = try bed.phone("2001", "192.0.2.11")
            let other = try bed.phone("2002", "192.0.2.12")
            let carrier = bed.carrier()
            let invite = try phone.invite("911", offer: sdp(phone.address, 4_000))
            try carrier.respond(try carrier.take(.invite), 503)
            bed.advance(by: .seconds(40))
            #expect(phone.has(503) || phone.has(504), "\(invite.callID)")
            #expect(bed.keptLeases.map(\.elin) == [nil])
            phone.inbox = []
            if isTrusted {
                try other.invite("95550123", offer: sdp(other.address, 4_000))
                _ = try carrier.take(.invite)
            }
            try carrier.invite("+13135550101", offer: psap, headers: ["Priority: psap-callback"])
            let incoming = try phone.take(.invite)
            #expect(incoming.headers.first(.priority) == (isTrusted ? "psap-callback" : nil))
        }
    }

    @Test("two callers who share a number are called back in order, the latest first")
    func shared() throws {
        let bed = bed()
        let (first, second) = (try bed.phone("2001", "192.0.2.11"), try bed.phone("2003", "192.0.2.13"))
        let carrier = bed.carrier()
        try helpCall(bed, first, carrier)
        bed.advance(by: .seconds(5))
        try helpCall(bed, second, carrier)
        #expect(bed.sharedNumbers == [Self.elin])
        try carrier.invite(Self.elin, offer: psap)
        let incoming = try second.take(.invite)
        #expect(!first.has(.invite))
        try second.respond(incoming, 486)
        _ = try first.take(.invite)
    }

    @Test("leases of an earlier life count")
    func restored() throws {
        let bed = bed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try helpCall(bed, phone, carrier)
        let later = self.bed()
        let again = try later.phone("2001", "192.0.2.11")
        later.engine.restoreLeases(bed.keptLeases, at: later.now)
        let newCarrier = later.carrier()
        try newCarrier.invite(Self.elin, offer: psap)
        _ = try again.take(.invite)
    }

    @Test("a station in a call for help has no call waiting; help itself gets through")
    func noCallWaiting() throws {
        let bed = bed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let other = try bed.phone("2002", "192.0.2.12")
        let carrier = bed.carrier()
        let invite = try phone.invite("911", offer: sdp(phone.address, 4_000))
        try carrier.respond(try carrier.take(.invite), 200, body: psap)
        try phone.ack(invite, try phone.take(200))
        try other.invite("2001", offer: sdp(other.address, 4_000))
        _ = try other.take(486)
        try carrier.invite("+13135550101", offer: psap)
        _ = try carrier.take(486)
        // The other station of a group still rings.
        try carrier.invite("+13135550100", offer: psap)
        _ = try other.take(.invite)
        #expect(!phone.has(.invite))
        try carrier.invite(Self.elin, offer: psap)
        _ = try phone.take(.invite)
    }

    @Test("the caller cannot put help on hold, help may hold", arguments: ["sendonly", "inactive"])
    func noHold(_ direction: String) throws {
        let bed = bed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("911", offer: sdp(phone.address, 4_000))
        let outgoing = try carrier.take(.invite)
        try carrier.respond(outgoing, 200, body: psap)
        let answer = try phone.take(200)
        try phone.ack(invite, answer)
        _ = try carrier.take(.ack)
        var dialog = phone.dialog(invite, answer)
        let hold = try phone.request(
            "INVITE", &dialog, body: sdp(phone.address, 4_000, version: 2, direction: direction))
        let refusal = try phone.take(488)
        #expect(refusal.reasonPhrase == "No hold on a call for help")
        try phone.ack(hold, refusal)
        #expect(!carrier.has(.invite))
        try phone.request("REFER", &dialog, headers: ["Refer-To: <sip:2002@branch.example>"])
        _ = try phone.take(603)
        var theirs = carrier.dialog(answering: outgoing)
        try carrier.request("INVITE", &theirs, body: sdp("203.0.113.10", 6_000, version: 2, direction: direction))
        _ = try phone.take(.invite)
    }
}
