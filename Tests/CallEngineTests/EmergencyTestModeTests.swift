import CallEngine
import EmergencyCalling
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("Test mode")
struct EmergencyTestModeTests {
    private let offer = sdp("192.0.2.11", 4_000)

    private func bed(_ change: (inout CallEngineSettings) -> Void = { _ in }) -> Testbed {
        let bed = Testbed(change)
        bed.engine.setTestModeSigns(["the environment variable TEST_MODE"])
        return bed
    }

    @Test(
        "A box in test mode never sends a 911 INVITE",
        arguments: ["911", "9911", "9-911", "*911", "1911", "12911", "112", "+911", "70911"])
    func neverSends(_ dialled: String) throws {
        // Also not by a route that makes 911 of another number.
        let bed = bed { $0.routes = [.matching("70911", strip: 2, trunks: ["carrier-a", "carrier-b"])] }
        let phone = try bed.phone("2001", "192.0.2.11")
        let (first, second) = (bed.carrier(), bed.carrier("203.0.113.20"))
        try phone.invite(dialled, offer: offer)
        #expect(try phone.take(503).reasonPhrase == "Test mode: 911 blocked")
        bed.advance(by: .seconds(60))
        #expect(!first.has(.invite) && !second.has(.invite))
    }

    @Test("nor for a service URN, nor for a phone that never registered")
    func strangers() throws {
        let bed = bed()
        let phone = ScriptedPeer(bed, user: "9", domain: Testbed.domain, path: bed.path(Testbed.lan, "192.0.2.77"))
        let carrier = bed.carrier()
        try phone.invite("911", offer: offer, requestURI: "urn:service:sos.fire")
        #expect(try phone.take(503).headers.first(.warning)?.contains("911 blocked") == true)
        #expect(!carrier.has(.invite))
    }

    @Test("is said in an event and a record, and leases nothing")
    func record() throws {
        let bed = bed { $0.emergency.sites["plant"] = .init(name: "plant", elins: ["+13135550190"]) }
        let phone = try bed.phone("2001", "192.0.2.11")
        try phone.invite("911", offer: offer)
        let record = try #require(bed.emergencyRecords.values.first)
        #expect(record.blockedBy == "the environment variable TEST_MODE")
        #expect(record.number == .emergency && record.attempts.isEmpty && record.end != nil)
        #expect(bed.events.contains { if case .emergencyBlocked = $0 { true } else { false } })
        #expect(bed.engine.callbackLeases.isEmpty)
        bed.expectNothingLeft()
    }

    @Test("933 and ordinary calls are placed")
    func others() throws {
        let bed = bed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        try phone.invite("933", offer: offer)
        #expect(try carrier.take(.invite).requestURI.text.hasPrefix("sip:933@"))
        try phone.invite("95550123", offer: offer)
        _ = try carrier.take(.invite)
    }

    @Test("armed by hand it ends by itself")
    func armed() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        bed.engine.armTestMode(.init(by: "root", until: bed.now + .seconds(600)))
        try phone.invite("911", offer: offer)
        _ = try phone.take(503)
        bed.advance(by: .seconds(601))
        try phone.invite("911", offer: offer)
        _ = try carrier.take(.invite)
    }

    @Test("does not touch a call for help that began before")
    func running() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite("911", offer: offer)
        try carrier.respond(try carrier.take(.invite), 200, body: sdp("203.0.113.10", 6_000))
        try phone.ack(invite, try phone.take(200))
        bed.engine.armTestMode(.init(by: "root", until: bed.now + .seconds(600)))
        bed.advance(by: .seconds(30))
        #expect(bed.engine.calls(at: bed.now).map(\.phase) == [.answered])
    }
}
