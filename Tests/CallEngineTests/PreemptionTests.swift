import CallEngine
import EmergencyCalling
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("911 where everything is taken")
struct PreemptionTests {
    private let psap = sdp("203.0.113.10", 6_000)

    /// An ordinary call, answered.
    private func talk(_ phone: ScriptedPeer, _ carrier: ScriptedPeer, _ number: String) throws
        -> ScriptedPeer.DialogState
    {
        let invite = try phone.invite(number, offer: sdp(phone.address, 4_000))
        try carrier.respond(try carrier.take(.invite), 200, body: psap)
        let answer = try phone.take(200)
        try phone.ack(invite, answer)
        _ = try carrier.take(.ack)
        phone.inbox = []
        return phone.dialog(invite, answer)
    }

    private func preempted(_ bed: Testbed) -> [CallEvent] {
        bed.events.filter { if case .callPreempted = $0 { true } else { false } }
    }

    @Test("the youngest ordinary call gives its media ports away", arguments: [Testbed.lan, Testbed.wan])
    func mediaPorts(_ realm: RealmID) throws {
        let bed = Testbed {
            // Room for two calls.
            let first = $0.realms[realm]!.mediaPorts.lowerBound
            $0.realms[realm]?.mediaPorts = first...(first + 3)
        }
        let phones = try (1...3).map { try bed.phone("200\($0)", "192.0.2.1\($0)") }
        let carrier = bed.carrier()
        _ = try talk(phones[0], carrier, "95550121")
        bed.advance(by: .seconds(1))
        _ = try talk(phones[1], carrier, "95550122")
        bed.counters = Dictionary(uniqueKeysWithValues: bed.flows.keys.map { ($0, MediaFlowCounters(packets: 777)) })
        let invite = try phones[2].invite("911", offer: sdp(phones[2].address, 4_000))
        let outgoing = try carrier.take(.invite)
        bed.counters = [:]
        let bye = try phones[1].take(.bye)
        #expect(bye.headers.first(.reason) == "preemption;cause=5;text=\"Network Preemption\"")
        try phones[1].respond(bye, 200)
        try carrier.respond(try carrier.take(.bye), 200)
        #expect(!phones[0].has(.bye))
        #expect(preempted(bed).count == 1)
        try carrier.respond(outgoing, 200, body: psap)
        let answer = try phones[2].take(200)
        try phones[2].ack(invite, answer)
        var dialog = phones[2].dialog(invite, answer)
        try phones[2].request("BYE", &dialog)
        try carrier.respond(try carrier.take(.bye), 200)
        bed.advance(by: .seconds(2))
        let record = try #require(bed.emergencyRecords.values.first)
        #expect(record.preemptedCall == "2")
        // Nothing of the flow that was at this port counts for the call for help.
        #expect(record.packetsFromCaller + record.packetsFromCallee == 0)
        #expect(bed.summaries.first?.ending == .preempted)
    }

    @Test("a call that ended just now leaves its ports, and nobody else must go")
    func restingPorts() throws {
        let bed = Testbed { $0.realms[Testbed.lan]?.mediaPorts = 20_000...20_001 }
        let (first, second) = (try bed.phone("2001", "192.0.2.11"), try bed.phone("2002", "192.0.2.12"))
        let carrier = bed.carrier()
        var dialog = try talk(first, carrier, "95550121")
        try first.request("BYE", &dialog)
        try carrier.respond(try carrier.take(.bye), 200)
        try second.invite("95550122", offer: sdp(second.address, 4_000))
        _ = try second.take(503)
        try second.invite("911", offer: sdp(second.address, 4_000))
        _ = try carrier.take(.invite)
        #expect(preempted(bed).isEmpty)
    }

    @Test("a trunk whose channels are taken loses its youngest ordinary call before the INVITE goes there")
    func trunkChannels() throws {
        let bed = Testbed {
            $0.trunks["carrier-a"]?.callsMax = 2
            $0.trunks["carrier-b"] = nil
        }
        let phones = try (1...3).map { try bed.phone("200\($0)", "192.0.2.1\($0)") }
        let carrier = bed.carrier()
        _ = try talk(phones[0], carrier, "95550121")
        // The second one still rings.
        let ringing = try phones[1].invite("95550122", offer: sdp(phones[1].address, 4_000))
        let second = try carrier.take(.invite)
        try carrier.respond(second, 180)
        _ = try phones[1].take(180)
        carrier.inbox = []
        try phones[2].invite("911", offer: sdp(phones[2].address, 4_000))
        let order = carrier.inbox.compactMap {
            if case .request(let request) = $0 { request.method.rawValue } else { nil }
        }
        #expect(order == ["CANCEL", "INVITE"])
        #expect(try phones[1].take(503).callID == ringing.callID)
        #expect(!phones[0].has(.bye))
    }

    @Test("a trunk with a channel left loses none, and a call for help is nobody's victim")
    func spared() throws {
        let bed = Testbed {
            $0.trunks["carrier-a"]?.callsMax = 1
            $0.trunks["carrier-b"] = nil
        }
        let phones = try (1...3).map { try bed.phone("200\($0)", "192.0.2.1\($0)") }
        let carrier = bed.carrier()
        for phone in phones {
            try phone.invite("911", offer: sdp(phone.address, 4_000))
            _ = try carrier.take(.invite)
        }
        #expect(preempted(bed).isEmpty)
        #expect(bed.engine.calls(at: bed.now).count == 3)
    }

    @Test("a test of the path makes nobody go, and goes itself for a call for help")
    func tests() throws {
        let bed = Testbed {
            $0.trunks["carrier-a"]?.callsMax = 1
            $0.trunks["carrier-b"] = nil
        }
        let (first, second) = (try bed.phone("2001", "192.0.2.11"), try bed.phone("2002", "192.0.2.12"))
        let carrier = bed.carrier()
        try first.invite("933", offer: sdp(first.address, 4_000))
        _ = try carrier.take(.invite)
        try second.invite("911", offer: sdp(second.address, 4_000))
        _ = try carrier.take(.invite)
        _ = try first.take(503)
        #expect(preempted(bed).count == 1)
    }
}
