import CallEngine
import MediaEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("new offers in an answered call")
struct ReofferTests {
    struct Hold: Sendable {
        let name: String
        let address: String?
        let direction: String?
        /// What the other side is offered, and answers.
        let relayed: SDPDirection
        let answer: String
    }

    static let holds: [Hold] = [
        Hold(name: "sendonly", address: nil, direction: "sendonly", relayed: .sendonly, answer: "recvonly"),
        Hold(name: "inactive", address: nil, direction: "inactive", relayed: .inactive, answer: "inactive"),
        Hold(name: "c=0.0.0.0", address: "0.0.0.0", direction: nil, relayed: .sendonly, answer: "recvonly"),
        Hold(
            name: "c=0.0.0.0, inactive", address: "0.0.0.0", direction: "inactive", relayed: .inactive,
            answer: "inactive"),
    ]

    @Test("hold and resume by the caller reach the callee; ports stay", arguments: holds)
    func holdByCaller(_ hold: Hold) throws {
        var call = try OutboundCall()
        let ours = call.answer.sdp?.rtpAddress(ofMedia: 0)
        let theirs = call.calleeInvite.sdp?.rtpAddress(ofMedia: 0)
        let held = try call.phone.request(
            "INVITE", &call.caller,
            body: sdp(hold.address ?? "192.0.2.11", 4_000, version: 2, direction: hold.direction))
        let reinvite = try call.carrier.take(.invite)
        #expect(reinvite.callID == call.calleeInvite.callID)
        #expect(reinvite.sdp?.direction(ofMedia: 0) == hold.relayed)
        #expect(reinvite.sdp?.rtpAddress(ofMedia: 0) == theirs)
        try call.carrier.respond(
            reinvite, 200, body: sdp("203.0.113.10", 6_000, version: 2, direction: hold.answer))
        _ = try call.carrier.take(.ack)
        let answer = try call.phone.take(200)
        #expect(answer.sdp?.rtpAddress(ofMedia: 0) == ours)
        #expect(answer.sdp?.direction(ofMedia: 0).sends == false)
        try call.phone.ack(held, answer)
        #expect(call.bed.events.contains { if case .callHeld(_, .caller) = $0 { true } else { false } })
        #expect(call.bed.destination(fromCaller: false) == nil || hold.address == nil)
        // Held calls are silent, and live.
        call.bed.advance(by: .seconds(90))
        #expect(call.bed.engine.status(at: call.bed.now).activeCalls == 1)

        let resumed = try call.phone.request(
            "INVITE", &call.caller, body: sdp("192.0.2.11", 4_000, version: 3))
        let again = try call.carrier.take(.invite)
        #expect(again.sdp?.direction(ofMedia: 0) == .sendrecv)
        #expect(again.sdp?.rtpAddress(ofMedia: 0) == theirs)
        try call.carrier.respond(again, 200, body: sdp("203.0.113.10", 6_000, version: 3))
        try call.phone.ack(resumed, try call.phone.take(200))
        _ = try call.carrier.take(.ack)
        #expect(call.bed.events.contains { if case .callResumed(_, .caller) = $0 { true } else { false } })
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_000))
        #expect(call.bed.destination(fromCaller: false) == Testbed.address("192.0.2.11", 4_000))
        try call.hangUp()
    }

    @Test("hold and resume by the callee reach the caller; ports stay", arguments: holds)
    func holdByCallee(_ hold: Hold) throws {
        var call = try OutboundCall()
        let ours = call.answer.sdp?.rtpAddress(ofMedia: 0)
        let theirs = call.calleeInvite.sdp?.rtpAddress(ofMedia: 0)
        let held = try call.carrier.request(
            "INVITE", &call.callee,
            body: sdp(hold.address ?? "203.0.113.10", 6_000, version: 2, direction: hold.direction))
        let reinvite = try call.phone.take(.invite)
        #expect(reinvite.sdp?.direction(ofMedia: 0) == hold.relayed)
        #expect(reinvite.sdp?.rtpAddress(ofMedia: 0) == ours)
        try call.phone.respond(
            reinvite, 200, body: sdp("192.0.2.11", 4_000, version: 2, direction: hold.answer))
        let answer = try call.carrier.take(200)
        #expect(answer.sdp?.rtpAddress(ofMedia: 0) == theirs)
        try call.carrier.ack(held, answer)
        _ = try call.phone.take(.ack)
        #expect(call.bed.events.contains { if case .callHeld(_, .callee) = $0 { true } else { false } })
        let resumed = try call.carrier.request(
            "INVITE", &call.callee, body: sdp("203.0.113.10", 6_000, version: 3))
        let again = try call.phone.take(.invite)
        #expect(again.sdp?.direction(ofMedia: 0) == .sendrecv)
        try call.phone.respond(again, 200, body: sdp("192.0.2.11", 4_000, version: 3))
        let accepted = try call.carrier.take(200)
        #expect(accepted.sdp?.rtpAddress(ofMedia: 0) == theirs)
        try call.carrier.ack(resumed, accepted)
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_000))
        try call.hangUp()
    }

    @Test("one that the other side refuses leaves the call as it was", arguments: [488, 500, 603, 606])
    func refused(_ code: Int) throws {
        for side in CallSide.allCases {
            var call = try OutboundCall()
            let flows = call.bed.flows
            if side == .caller {
                let request = try call.phone.request(
                    "INVITE", &call.caller, body: sdp("192.0.2.11", 4_002, version: 2, direction: "sendonly"))
                try call.carrier.respond(try call.carrier.take(.invite), code)
                _ = try call.carrier.take(.ack)
                try call.phone.ack(request, try call.phone.take(code))
            } else {
                let request = try call.carrier.request(
                    "INVITE", &call.callee, body: sdp("203.0.113.10", 6_002, version: 2, direction: "sendonly"))
                try call.phone.respond(try call.phone.take(.invite), code)
                _ = try call.phone.take(.ack)
                try call.carrier.ack(request, try call.carrier.take(code))
            }
            #expect(call.bed.flows == flows)
            #expect(!call.bed.events.contains { if case .callHeld = $0 { true } else { false } })
            // The next one works.
            let request = try call.phone.request(
                "INVITE", &call.caller, body: sdp("192.0.2.11", 4_004, version: 3))
            try call.carrier.respond(
                try call.carrier.take(.invite), 200, body: sdp("203.0.113.10", 6_000, version: 2))
            try call.phone.ack(request, try call.phone.take(200))
            #expect(call.bed.destination(fromCaller: false) == Testbed.address("192.0.2.11", 4_004))
            try call.hangUp()
        }
    }

    @Test("one without description fetches the other side's offer; the ACK brings the answer")
    func lateReoffer() throws {
        var call = try OutboundCall()
        let request = try call.phone.request("INVITE", &call.caller)
        let reinvite = try call.carrier.take(.invite)
        #expect(reinvite.body.isEmpty)
        try call.carrier.respond(reinvite, 200, body: sdp("203.0.113.10", 6_040, version: 2))
        #expect(!call.carrier.has(.ack))
        let offered = try call.phone.take(200)
        #expect(offered.sdp?.rtpAddress(ofMedia: 0) == call.answer.sdp?.rtpAddress(ofMedia: 0))
        try call.phone.ack(request, offered, body: sdp("192.0.2.11", 4_040, version: 2))
        #expect(try call.carrier.take(.ack).sdp != nil)
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_040))
        #expect(call.bed.destination(fromCaller: false) == Testbed.address("192.0.2.11", 4_040))
        try call.hangUp()
    }

    @Test("one that says nothing new is answered at once")
    func unchanged() throws {
        var call = try OutboundCall()
        let request = try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_000))
        let answer = try call.phone.take(200)
        #expect(answer.sdp?.rtpAddress(ofMedia: 0) == call.answer.sdp?.rtpAddress(ofMedia: 0))
        #expect(call.carrier.inbox.isEmpty)
        try call.phone.ack(request, answer)
        try call.hangUp()
    }

    @Test("one with nothing usable is refused with 488 and the call goes on")
    func useless() throws {
        var call = try OutboundCall()
        let request = try call.phone.request(
            "INVITE", &call.caller, body: sdp("192.0.2.11", 4_000).replacing("RTP/AVP", with: "RTP/SAVP"))
        try call.phone.ack(request, try call.phone.take(488))
        #expect(call.carrier.inbox.isEmpty)
        try call.hangUp()
    }

    // MARK: Collisions

    @Test("two that cross are both answered 491 (RFC 3261 §14.2)")
    func glare() throws {
        var call = try OutboundCall()
        let ours = try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_002, version: 2))
        let theirs = try call.carrier.request("INVITE", &call.callee, body: sdp("203.0.113.10", 6_002, version: 2))
        let incoming = try call.carrier.take(.invite)
        try call.carrier.ack(theirs, try call.carrier.take(491))
        #expect(!call.phone.has(.invite))
        try call.carrier.respond(incoming, 491)
        _ = try call.carrier.take(.ack)
        try call.phone.ack(ours, try call.phone.take(491))
        #expect(call.bed.counter("glare") == 1)
        // Whoever tries again first has it.
        let again = try call.carrier.request("INVITE", &call.callee, body: sdp("203.0.113.10", 6_002, version: 2))
        try call.phone.respond(try call.phone.take(.invite), 200, body: sdp("192.0.2.11", 4_000, version: 2))
        try call.carrier.ack(again, try call.carrier.take(200))
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_002))
        try call.hangUp()
    }

    @Test("the callee's during the caller's, other way round, is also 491")
    func glareFromCallee() throws {
        var call = try OutboundCall()
        let theirs = try call.carrier.request("INVITE", &call.callee, body: sdp("203.0.113.10", 6_002, version: 2))
        let incoming = try call.phone.take(.invite)
        let ours = try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_002, version: 2))
        try call.phone.ack(ours, try call.phone.take(491))
        try call.phone.respond(incoming, 200, body: sdp("192.0.2.11", 4_000, version: 2))
        try call.carrier.ack(theirs, try call.carrier.take(200))
        _ = try call.phone.take(.ack)
        try call.hangUp()
    }

    @Test("a second one of the same side before the first is finished is answered 500 with Retry-After")
    func impatience() throws {
        var call = try OutboundCall()
        try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_002, version: 2))
        let second = try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_004, version: 3))
        let refusal = try call.phone.take(500)
        #expect(refusal.headers.contains(.retryAfter))
        try call.phone.ack(second, refusal)
        #expect(call.bed.engine.status(at: call.bed.now).activeCalls == 1)
    }

    @Test("a callee's before the caller's ACK is 491, a caller's is 500")
    func beforeACK() throws {
        let call = try RingingCall()
        try call.carrier.respond(call.outgoing, 200, body: sdp("203.0.113.10", 6_000))
        let answer = try call.phone.take(200)
        var callee = call.carrier.dialog(answering: call.outgoing)
        let early = try call.carrier.request("INVITE", &callee, body: sdp("203.0.113.10", 6_002, version: 2))
        try call.carrier.ack(early, try call.carrier.take(491))
        try call.finish(answer)
    }

    // MARK: The end comes in between

    @Test("BYE of either side during one ends it: its sender gets 487", arguments: CallSide.allCases)
    func byeDuring(_ side: CallSide) throws {
        for answers in [true, false] {
            var call = try OutboundCall()
            let request = try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_002, version: 2))
            let incoming = try call.carrier.take(.invite)
            try call.carrier.respond(incoming, 100)
            if side == .caller {
                try call.phone.request("BYE", &call.caller)
                try call.carrier.respond(try call.carrier.take(.bye), 200)
            } else {
                try call.carrier.request("BYE", &call.callee)
                try call.phone.respond(try call.phone.take(.bye), 200)
            }
            try call.phone.ack(request, try call.phone.take(487))
            try call.carrier.respond(try call.carrier.take(.cancel), 200)
            if answers {
                try call.carrier.respond(incoming, 200, body: sdp("203.0.113.10", 6_000, version: 2))
                _ = try call.carrier.take(.ack)
            }
            #expect(call.bed.summaries.map(\.ending) == [.hungUp(side)])
            call.bed.expectNothingLeft()
        }
    }

    @Test("CANCEL of one is passed on, and so is what comes of it")
    func cancelled() throws {
        var call = try OutboundCall()
        let request = try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_002, version: 2))
        let incoming = try call.carrier.take(.invite)
        try call.carrier.respond(incoming, 100)
        try call.phone.cancel(request)
        #expect(try call.phone.take(200).cseq?.method == .cancel)
        try call.carrier.respond(try call.carrier.take(.cancel), 200)
        try call.carrier.respond(incoming, 487)
        _ = try call.carrier.take(.ack)
        try call.phone.ack(request, try call.phone.take(487))
        try call.hangUp()
    }

    @Test("one that gets 100 and no more is cancelled, and the next one works", arguments: [true, false])
    func unanswered(_ answersCANCEL: Bool) throws {
        for side in CallSide.allCases {
            var call = try OutboundCall(Testbed { $0.media.inactivityTimeout = .seconds(3_600) })
            let (sender, other) = side == .caller ? (call.phone, call.carrier) : (call.carrier, call.phone)
            let address = side == .caller ? "192.0.2.11" : "203.0.113.10"
            var dialog = side == .caller ? call.caller : call.callee
            let request = try sender.request("INVITE", &dialog, body: sdp(address, 4_002, version: 2))
            let incoming = try other.take(.invite)
            try other.respond(incoming, 100)
            call.bed.advance(by: .seconds(24))
            #expect(!other.has(.cancel))
            call.bed.advance(by: .seconds(2))
            let cancel = try other.take(.cancel)
            if answersCANCEL {
                try other.respond(cancel, 200)
                try other.respond(incoming, 487)
                _ = try other.take(.ack)
            } else {
                #expect(!sender.has(504))
                call.bed.advance(by: .seconds(33))
                other.inbox = []
            }
            try sender.ack(request, try sender.take(504))
            #expect(call.bed.engine.status(at: call.bed.now).activeCalls == 1)
            // Of either side.
            let again = try sender.request("INVITE", &dialog, body: sdp(address, 4_004, version: 3))
            let answerer = side == .caller ? "203.0.113.10" : "192.0.2.11"
            try other.respond(try other.take(.invite), 200, body: sdp(answerer, 6_000, version: 2))
            try sender.ack(again, try sender.take(200))
            _ = try other.take(.ack)
            #expect(call.bed.destination(fromCaller: side == .callee) == Testbed.address(address, 4_004))
            if side == .caller { call.caller = dialog } else { call.callee = dialog }
            try call.hangUp()
        }
    }

    @Test("a 2xx that crosses our CANCEL of one counts")
    func answeredLate() throws {
        var call = try OutboundCall()
        let request = try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_002, version: 2))
        let incoming = try call.carrier.take(.invite)
        try call.carrier.respond(incoming, 100)
        call.bed.advance(by: .seconds(26))
        try call.carrier.respond(try call.carrier.take(.cancel), 200)
        try call.carrier.respond(incoming, 200, body: sdp("203.0.113.10", 6_002, version: 2))
        try call.phone.ack(request, try call.phone.take(200))
        _ = try call.carrier.take(.ack)
        #expect(call.bed.destination() == Testbed.address("203.0.113.10", 6_002))
        try call.hangUp()
    }

    @Test("one the sender cancels and nobody answers leaves the call as it was")
    func cancelUnanswered() throws {
        var call = try OutboundCall(Testbed { $0.media.inactivityTimeout = .seconds(3_600) })
        let request = try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_002, version: 2))
        try call.carrier.respond(try call.carrier.take(.invite), 100)
        try call.phone.cancel(request)
        _ = try call.phone.take(200)
        call.bed.advance(by: .seconds(33))
        try call.phone.ack(request, try call.phone.take(487))
        call.carrier.inbox = []
        try call.hangUp()
    }

    @Test("one without the sender's ACK ends the call; without ours the 2xx is answered again")
    func acknowledgements() throws {
        var call = try OutboundCall()
        try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_002, version: 2))
        let incoming = try call.carrier.take(.invite)
        for _ in 0..<3 {
            try call.carrier.respond(incoming, 200, body: sdp("203.0.113.10", 6_000, version: 2))
            #expect(try call.carrier.take(.ack).cseq?.number == incoming.cseq?.number)
        }
        call.bed.advance(by: .seconds(33))
        try call.phone.respond(try call.phone.take(.bye), 200)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        #expect(call.bed.summaries.map(\.ending) == [.acknowledgementMissing])
        call.bed.expectNothingLeft()
    }

    @Test("one the other side knows no dialog for ends the call", arguments: [481, 408])
    func dialogLost(_ code: Int) throws {
        var call = try OutboundCall()
        let request = try call.phone.request("INVITE", &call.caller, body: sdp("192.0.2.11", 4_002, version: 2))
        try call.carrier.respond(try call.carrier.take(.invite), code)
        try call.phone.ack(request, try call.phone.take(code))
        try call.phone.respond(try call.phone.take(.bye), 200)
        try call.carrier.respond(try call.carrier.take(.bye), 200)
        #expect(call.bed.summaries.map(\.ending) == [.dialogLost(.callee)])
        call.bed.expectNothingLeft()
    }
}
