import CallEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("reliable provisional responses, UPDATE and late offers")
struct ReliableProvisionalTests {
    struct Policy: Sendable {
        let phone: CallEngineSettings.ReliableProvisional
        let phoneHeader: String
        /// What the phone gets for its INVITE; nil: the call goes on.
        var refusal: Int?
        /// Whether its 183 is reliable.
        var isReliable = false
    }

    @Test(
        "are each leg's own: the caller's",
        arguments: [
            Policy(phone: .off, phoneHeader: "Supported: 100rel"), Policy(phone: .off, phoneHeader: "X: y"),
            Policy(phone: .off, phoneHeader: "Require: 100rel", refusal: 420),
            Policy(phone: .supported, phoneHeader: "X: y"),
            Policy(phone: .supported, phoneHeader: "Supported: 100rel", isReliable: true),
            Policy(phone: .supported, phoneHeader: "Require: 100rel", isReliable: true),
            Policy(phone: .required, phoneHeader: "X: y", refusal: 421),
            Policy(phone: .required, phoneHeader: "Supported: 100rel", isReliable: true),
        ])
    func callerPolicy(_ policy: Policy) throws {
        for isReliableBehind in [false, true] {
            let bed = Testbed { $0.stations["2001"]?.reliableProvisional = policy.phone }
            if let refusal = policy.refusal {
                let phone = try bed.phone("2001", "192.0.2.11")
                let invite = try phone.invite(
                    "95550123", offer: sdp("192.0.2.11", 4_000), headers: [policy.phoneHeader])
                let response = try phone.take(refusal)
                #expect((response.headers.values(.unsupported) + response.require).contains("100rel"))
                try phone.ack(invite, response)
                bed.expectNothingLeft()
                continue
            }
            let call = try RingingCall(bed, headers: [policy.phoneHeader])
            if isReliableBehind {
                try call.reliably(183, number: 1, body: sdp("203.0.113.10", 6_000))
                try call.carrier.respond(try call.carrier.take(.prack), 200)
            } else {
                try call.carrier.respond(call.outgoing, 183, body: sdp("203.0.113.10", 6_000))
                #expect(!call.carrier.has(.prack))
            }
            let progress = try call.phone.take(183)
            #expect(progress.require.contains("100rel") == policy.isReliable)
            #expect(progress.headers.contains(.rseq) == policy.isReliable)
            var dialog = call.phone.dialog(call.invite, progress)
            if policy.isReliable {
                try call.prack(progress, &dialog)
                #expect(try call.phone.take(200).cseq?.method == .prack)
            }
            try call.carrier.respond(call.outgoing, 200, body: sdp("203.0.113.10", 6_000))
            let answer = try call.phone.take(200)
            #expect((answer.sdp == nil) == policy.isReliable)
            try call.finish(answer, dialog: dialog)
        }
    }

    @Test(
        "are each leg's own: the callee's",
        arguments: [
            (CallEngineSettings.ReliableProvisional.off, false, false), (.supported, true, false),
            (.required, false, true),
        ])
    func calleePolicy(
        _ policy: CallEngineSettings.ReliableProvisional, isSupported: Bool, isRequired: Bool
    ) throws {
        let bed = Testbed { $0.trunks["carrier-a"]?.reliableProvisional = policy }
        let call = try RingingCall(bed)
        #expect(call.outgoing.supported.contains("100rel") == isSupported)
        #expect(call.outgoing.require.contains("100rel") == isRequired)
    }

    @Test("without a PRACK are repeated, and after 64·T1 the caller is refused")
    func prackMissing() throws {
        let call = try RingingCall(headers: ["Supported: 100rel"])
        try call.carrier.respond(call.outgoing, 183, body: sdp("203.0.113.10", 6_000))
        call.bed.advance(by: .seconds(4))
        let count = call.phone.inbox.count
        #expect(count == 4)  // at 0, 0.5, 1.5 and 3.5 s
        call.bed.advance(by: .seconds(30))
        try call.phone.ack(call.invite, try call.phone.take(504))
        try call.carrier.respond(try call.carrier.take(.cancel), 200)
        try call.carrier.respond(call.outgoing, 487)
        call.bed.expectNothingLeft()
    }

    @Test("an unknown PRACK is answered 481, and the right one still counts")
    func wrongPRACK() throws {
        let call = try RingingCall(headers: ["Supported: 100rel"])
        try call.carrier.respond(call.outgoing, 183, body: sdp("203.0.113.10", 6_000))
        let progress = try call.phone.take(183)
        var dialog = call.phone.dialog(call.invite, progress)
        try call.phone.request("PRACK", &dialog, headers: ["RAck: 1 1 INVITE"])
        _ = try call.phone.take(481)
        try call.prack(progress, &dialog)
        _ = try call.phone.take(200)
    }

    @Test("a 2xx waits for the PRACK of the description it would otherwise overtake")
    func answerWaits() throws {
        let call = try RingingCall(headers: ["Supported: 100rel"])
        try call.carrier.respond(call.outgoing, 183, body: sdp("203.0.113.10", 6_000))
        let progress = try call.phone.take(183)
        try call.carrier.respond(call.outgoing, 200, body: sdp("203.0.113.10", 6_000))
        #expect(!call.phone.has(200))
        var dialog = call.phone.dialog(call.invite, progress)
        try call.prack(progress, &dialog)
        #expect(try call.phone.take(200).cseq?.method == .prack)
        let answer = try call.phone.take(200)
        #expect(answer.cseq?.method == .invite)
        try call.finish(answer, dialog: dialog)
    }

    @Test("a caller that cancels while its answer waits for a PRACK leaves nothing behind")
    func cancelWhileAnswerWaits() throws {
        let call = try RingingCall(headers: ["Supported: 100rel"])
        try call.carrier.respond(call.outgoing, 183, body: sdp("203.0.113.10", 6_000))
        try call.carrier.respond(call.outgoing, 200, body: sdp("203.0.113.10", 6_000))
        try call.phone.cancel(call.invite)
        try call.phone.ack(call.invite, try call.phone.take(487))
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        call.bed.expectNothingLeft()
    }

    @Test("PRACK with a new offer crosses as UPDATE and is answered by its 2xx")
    func prackWithOffer() throws {
        let call = try RingingCall(headers: ["Supported: 100rel"])
        try call.reliably(183, number: 1, body: sdp("203.0.113.10", 6_000), headers: ["Allow: INVITE, UPDATE, PRACK"])
        try call.carrier.respond(try call.carrier.take(.prack), 200)
        let progress = try call.phone.take(183)
        var dialog = call.phone.dialog(call.invite, progress)
        try call.prack(progress, &dialog, body: sdp("192.0.2.11", 4_000, formats: "0", version: 2, telephoneEvent: nil))
        let update = try call.carrier.take(.update)
        #expect(update.sdp?.media.first?.formats == ["0"])
        try call.carrier.respond(
            update, 200, body: sdp("203.0.113.10", 6_010, formats: "0", version: 2, telephoneEvent: nil))
        let accepted = try call.phone.take(200)
        #expect(accepted.cseq?.method == .prack)
        #expect(accepted.sdp?.media.first?.formats == ["0"])
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_010))
        try call.carrier.respond(call.outgoing, 200)
        try call.finish(try call.phone.take(200), dialog: dialog)
    }

    // MARK: UPDATE

    @Test("UPDATE with an offer crosses an early dialog in both directions")
    func earlyUpdate() throws {
        let call = try RingingCall(headers: ["Supported: 100rel", "Allow: INVITE, UPDATE, PRACK"])
        try call.reliably(183, number: 1, body: sdp("203.0.113.10", 6_000), headers: ["Allow: INVITE, UPDATE, PRACK"])
        try call.carrier.respond(try call.carrier.take(.prack), 200)
        let progress = try call.phone.take(183)
        var callee = call.carrier.dialog(answering: call.outgoing)
        // The caller's own offer is still open there: no second one before its PRACK (RFC 3311 §5.1).
        try call.carrier.request("UPDATE", &callee, body: sdp("203.0.113.10", 6_020, version: 2))
        _ = try call.carrier.take(491)
        var caller = call.phone.dialog(call.invite, progress)
        try call.prack(progress, &caller)
        _ = try call.phone.take(200)

        try call.phone.request("UPDATE", &caller, body: sdp("192.0.2.11", 4_010, version: 2))
        let outward = try call.carrier.take(.update)
        try call.carrier.respond(outward, 200, body: sdp("203.0.113.10", 6_000, version: 2))
        let accepted = try call.phone.take(200)
        #expect(accepted.sdp?.rtpAddress(ofMedia: 0) == progress.sdp?.rtpAddress(ofMedia: 0))
        #expect(call.bed.destination(fromCaller: false) == Testbed.address("192.0.2.11", 4_010))

        try call.carrier.request("UPDATE", &callee, body: sdp("203.0.113.10", 6_030, version: 3))
        let inward = try call.phone.take(.update)
        #expect(inward.from?.tag == progress.to?.tag)
        try call.phone.respond(inward, 200, body: sdp("192.0.2.11", 4_010, version: 3))
        _ = try call.carrier.take(200)
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_030))
        try call.carrier.respond(call.outgoing, 200)
        try call.finish(try call.phone.take(200), dialog: caller)
    }

    @Test(
        "UPDATE with an offer crosses a confirmed dialog, as re-INVITE to a peer that does not know it",
        arguments: [true, false])
    func confirmedUpdate(_ knowsUpdate: Bool) throws {
        var call = try OutboundCall(answerHeaders: knowsUpdate ? ["Allow: INVITE, UPDATE"] : ["Allow: INVITE, BYE"])
        try call.phone.request("UPDATE", &call.caller, body: sdp("192.0.2.11", 4_010, version: 2))
        let outward = try call.carrier.take(knowsUpdate ? .update : .invite)
        try call.carrier.respond(outward, 200, body: sdp("203.0.113.10", 6_000, version: 2))
        let accepted = try call.phone.take(200)
        #expect(accepted.cseq?.method == .update)
        #expect(accepted.sdp != nil)
        #expect(call.carrier.has(.ack) == !knowsUpdate)
        #expect(call.bed.destination(fromCaller: false) == Testbed.address("192.0.2.11", 4_010))
        try call.hangUp()
    }

    @Test("UPDATE without description is a refresh and stays on its leg")
    func plainUpdate() throws {
        var call = try OutboundCall()
        try call.phone.request("UPDATE", &call.caller)
        #expect(try call.phone.take(200).body.isEmpty)
        #expect(call.carrier.inbox.isEmpty)
        try call.hangUp()
    }

    // MARK: Late offers

    @Test("an INVITE without offer brings the callee's offer in the 2xx and the answer in the ACK")
    func lateOffer() throws {
        let call = try RingingCall(offer: nil)
        #expect(call.outgoing.body.isEmpty)
        #expect(!call.outgoing.supported.contains("100rel"))
        try call.carrier.respond(call.outgoing, 180)
        _ = try call.phone.take(180)
        try call.carrier.respond(call.outgoing, 200, body: sdp("203.0.113.10", 6_000))
        #expect(!call.carrier.has(.ack))
        let answer = try call.phone.take(200)
        let offered = try #require(answer.sdp?.rtpAddress(ofMedia: 0))
        #expect(offered.address == IPAddress(Testbed.boxLAN))
        // Repeated while we wait: no ACK yet.
        try call.carrier.respond(call.outgoing, 200, body: sdp("203.0.113.10", 6_000))
        #expect(!call.carrier.has(.ack))
        try call.phone.ack(call.invite, answer, body: sdp("192.0.2.11", 4_000, formats: "0 101"))
        let ack = try call.carrier.take(.ack)
        #expect(ack.sdp?.media.first?.formats == ["0", "101"])
        #expect(ack.sdp?.rtpAddress(ofMedia: 0)?.address == IPAddress(Testbed.boxWAN))
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_000))
        #expect(call.bed.destination(fromCaller: false) == Testbed.address("192.0.2.11", 4_000))
        var dialog = call.phone.dialog(call.invite, answer)
        try call.phone.request("BYE", &dialog)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        call.bed.expectNothingLeft()
    }

    @Test("a late offer whose ACK has no answer ends the call on both sides")
    func lateOfferWithoutAnswer() throws {
        let call = try RingingCall(offer: nil)
        try call.carrier.respond(call.outgoing, 200, body: sdp("203.0.113.10", 6_000))
        try call.phone.ack(call.invite, try call.phone.take(200))
        _ = try call.carrier.take(.ack)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        try call.phone.respond(try call.phone.take(.bye), 200)
        call.bed.expectNothingLeft()
    }

    @Test("a late offer in a reliable 183 is answered in the PRACK, on each leg")
    func lateOfferReliably() throws {
        let call = try RingingCall(headers: ["Supported: 100rel"], offer: nil)
        #expect(call.outgoing.supported.contains("100rel"))
        try call.reliably(183, number: 5, body: sdp("203.0.113.10", 6_000))
        #expect(!call.carrier.has(.prack))
        let progress = try call.phone.take(183)
        #expect(progress.sdp?.rtpAddress(ofMedia: 0)?.address == IPAddress(Testbed.boxLAN))
        #expect(progress.require.contains("100rel"))
        var dialog = call.phone.dialog(call.invite, progress)
        try call.prack(progress, &dialog, body: sdp("192.0.2.11", 4_000))
        let prack = try call.carrier.take(.prack)
        #expect(prack.headers.first(.rack) == "5 1 INVITE")
        #expect(prack.sdp?.rtpAddress(ofMedia: 0)?.address == IPAddress(Testbed.boxWAN))
        try call.carrier.respond(prack, 200)
        #expect(try call.phone.take(200).cseq?.method == .prack)
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_000))
        try call.carrier.respond(call.outgoing, 200)
        let answer = try call.phone.take(200)
        #expect(answer.body.isEmpty)
        _ = try call.carrier.take(.ack)
        try call.finish(answer, dialog: dialog)
    }

    @Test("a 2xx that overtakes the answer to its own offer is refused: RFC 3262 §3 forbids it")
    func lateOfferOvertaken() throws {
        let call = try RingingCall(headers: ["Supported: 100rel"], offer: nil)
        try call.reliably(183, number: 5, body: sdp("203.0.113.10", 6_000))
        try call.carrier.respond(call.outgoing, 200)
        _ = try call.carrier.take(.ack)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        try call.phone.ack(call.invite, try call.phone.take(502))
        call.bed.expectNothingLeft()
    }
}

extension OutboundCall {
    /// BYE by the phone; nothing may be left.
    mutating func hangUp() throws {
        try phone.request("BYE", &caller)
        try carrier.respond(try carrier.take(.bye), 200)
        bed.expectNothingLeft()
    }
}
