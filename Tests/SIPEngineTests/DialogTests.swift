import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("Dialogs (RFC 3261 §12)")
struct DialogTests {
    private func response(
        _ code: Int, toTag: String? = "t1", contact: String? = "<sip:2001@192.0.2.77:5070>", routes: [String] = [],
        number: Int = 1
    ) throws -> SIPResponse {
        var response = SIPResponse(to: Sample.request(.invite, number: UInt32(number)), code, toTag: toTag)
        for route in routes { response.headers.append(.recordRoute, route) }
        if let contact { response.headers.append(.contact, contact) }
        return response
    }

    @Test("as caller: tags, target and the reversed route set")
    func caller() throws {
        let response = try response(180, routes: ["<sip:p1.example;lr>", "<sip:p2.example;lr>"])
        var dialog = try #require(Dialog(uacRequest: Sample.request(.invite), response: response))
        #expect(dialog.id == DialogID(callID: "c1", localTag: "f1", remoteTag: "t1"))
        #expect(!dialog.isConfirmed)
        #expect(dialog.routeSet.map(\.uri.text) == ["sip:p2.example;lr", "sip:p1.example;lr"])
        let bye = dialog.makeRequest(.bye)
        #expect(bye.requestURI.text == "sip:2001@192.0.2.77:5070")
        #expect(bye.routes.map(\.uri.text) == ["sip:p2.example;lr", "sip:p1.example;lr"])
        #expect(bye.cseq == CSeq(number: 2, method: .bye))
        #expect(bye.from?.tag == "f1" && bye.to?.tag == "t1" && !bye.headers.contains(.contact))
        #expect(dialog.nextHopURI.text == "sip:p2.example;lr")
        #expect(dialog.makeRequest(.invite).cseq?.number == 3)
        #expect(dialog.makeRequest(.update).headers.first(.contact) == "<sip:box@192.0.2.1>")
    }

    @Test("forms none from 100, from a provisional response without To tag, or from a rejection")
    func none() throws {
        let request = Sample.request(.invite)
        #expect(try Dialog(uacRequest: request, response: response(100)) == nil)
        #expect(try Dialog(uacRequest: request, response: response(180, toTag: nil)) == nil)
        #expect(try Dialog(uacRequest: request, response: response(486)) == nil)
        #expect(try Dialog(uacRequest: request, response: response(200, toTag: nil))?.remoteTag == "")
    }

    @Test("a 2xx confirms: route set and target are taken from it (§13.2.2.4)")
    func confirms() throws {
        let early = try response(183, routes: ["<sip:p1.example;lr>"])
        var dialog = try #require(Dialog(uacRequest: Sample.request(.invite), response: early))
        dialog.update(from: try response(200, contact: "<sip:new@192.0.2.78>"))
        #expect(dialog.isConfirmed && dialog.routeSet.isEmpty && dialog.remoteTarget.text == "sip:new@192.0.2.78")
        dialog.update(from: try response(200, contact: "<sip:re@192.0.2.79>", routes: ["<sip:evil.example;lr>"]))
        #expect(dialog.routeSet.isEmpty, "constant once confirmed")
        #expect(dialog.remoteTarget.text == "sip:re@192.0.2.79")
        dialog.update(from: try response(200, toTag: "other", contact: "<sip:x@192.0.2.80>"))
        #expect(dialog.remoteTarget.text == "sip:re@192.0.2.79", "another dialog's response")
    }

    @Test("as callee: route set in order, requests counted from our own number")
    func callee() throws {
        let invite = try Sample.incoming(
            "INVITE", number: 7, extra: ["Record-Route: <sip:p1.example;lr>, <sip:p2.example;lr>"])
        let contact = try #require(NameAddress("<sip:2002@192.0.2.1>"))
        var dialog = try #require(Dialog(uasRequest: invite, localTag: "loc", localContact: contact))
        #expect(dialog.id == DialogID(callID: "c1", localTag: "loc", remoteTag: "f1"))
        #expect(dialog.routeSet.map(\.uri.text) == ["sip:p1.example;lr", "sip:p2.example;lr"])
        let bye = dialog.makeRequest(.bye)
        #expect(bye.from?.tag == "loc" && bye.to?.tag == "f1" && bye.requestURI.text == "sip:2001@192.0.2.77")
        #expect(dialog.remoteSequenceNumber == 7)
    }

    @Test("a strict router of RFC 2543 stands in the Request-URI, the target last (§12.2.1.1)")
    func strictRouter() throws {
        let response = try response(200, routes: ["<sip:p1.example;lr>", "<sip:old.example;method=BYE?x=y>"])
        var dialog = try #require(Dialog(uacRequest: Sample.request(.invite), response: response))
        let bye = dialog.makeRequest(.bye)
        #expect(bye.requestURI.text == "sip:old.example")
        #expect(bye.routes.map(\.uri.text) == ["sip:p1.example;lr", "sip:2001@192.0.2.77:5070"])
    }

    @Test("the ACK has the INVITE's number and credentials, and does not count")
    func acknowledges() throws {
        var invite = Sample.request(.invite)
        invite.headers.append(.proxyAuthorization, "Digest username=\"a\"")
        let dialog = try #require(Dialog(uacRequest: invite, response: response(200)))
        let ack = dialog.makeACK(for: 1, credentialsOf: invite)
        #expect(ack.cseq == CSeq(number: 1, method: .ack))
        #expect(ack.headers.first(.proxyAuthorization) == "Digest username=\"a\"")
        #expect(dialog.localSequenceNumber == 1)
    }

    @Test("requests come in order, gaps allowed; what belongs to another dialog is unknown")
    func receives() throws {
        let invite = try Sample.incoming("INVITE", number: 7)
        let contact = try #require(NameAddress("<sip:2002@192.0.2.1>"))
        var dialog = try #require(Dialog(uasRequest: invite, localTag: "loc", localContact: contact))
        #expect(try dialog.receive(Sample.incoming("INFO", number: 6, toTag: "loc")) == .outOfOrder)
        #expect(try dialog.receive(Sample.incoming("INFO", number: 7, toTag: "loc")) == .outOfOrder)
        #expect(try dialog.receive(Sample.incoming("INFO", number: 12, toTag: "loc")) == .accepted)
        #expect(try dialog.receive(Sample.incoming("BYE", number: 9, toTag: "loc")) == .outOfOrder)
        #expect(try dialog.receive(Sample.incoming("ACK", number: 7, toTag: "loc")) == .accepted)
        #expect(try dialog.receive(Sample.incoming("BYE", number: 20, toTag: "other")) == .unknown)
        #expect(try dialog.receive(Sample.incoming("BYE", number: 20)) == .unknown)
        #expect(dialog.remoteSequenceNumber == 12)
    }

    @Test("reliable provisional responses are acknowledged in order, duplicates dropped (RFC 3262 §4)")
    func reliable() throws {
        func reliable(_ rseq: String, code: Int = 183, number: Int = 1) throws -> SIPResponse {
            var response = try response(code, number: number)
            response.headers.append(.require, "100rel")
            response.headers.append(.rseq, rseq)
            return response
        }
        var dialog = try #require(Dialog(uacRequest: Sample.request(.invite), response: response(183)))
        #expect(try dialog.receiveProvisional(response(180)) == .unreliable)
        #expect(try dialog.receiveProvisional(reliable("100")) == .acknowledge)
        #expect(try dialog.makePRACK(for: reliable("100"))?.headers.first(.rack) == "100 1 INVITE")
        #expect(try dialog.receiveProvisional(reliable("100")) == .duplicate)
        #expect(try dialog.receiveProvisional(reliable("102")) == .outOfOrder)
        #expect(try dialog.receiveProvisional(reliable("101")) == .acknowledge)
        #expect(try dialog.receiveProvisional(reliable("5", number: 3)) == .acknowledge, "a later INVITE starts anew")
        for bad in ["0", "-1", "x", "2147483648", "99999999999"] {
            #expect(try dialog.receiveProvisional(reliable(bad)) == .unreliable, "\(bad)")
        }
        #expect(try dialog.makePRACK(for: response(180)) == nil)
        #expect(dialog.localSequenceNumber == 2)
    }
}

@Suite("Session timer (RFC 4028)")
struct SessionTimerTests {
    struct Evaluated: Sendable {
        let name: String
        let fields: [String]
        let answer: String
        let requiresTimer: Bool
        let refresher: SessionTimer.Refresher
    }

    static let evaluated: [Evaluated] = [
        .init(
            name: "no timer, no wish", fields: [], answer: "1800;refresher=uas", requiresTimer: false, refresher: .local
        ),
        .init(
            name: "timer, no wish", fields: ["Supported: timer"], answer: "1800;refresher=uac", requiresTimer: true,
            refresher: .remote),
        .init(
            name: "refresher uac", fields: ["Supported: timer", "Session-Expires: 600;refresher=uac"],
            answer: "600;refresher=uac", requiresTimer: true, refresher: .remote),
        .init(
            name: "refresher uas", fields: ["Supported: timer", "Session-Expires: 600;refresher=UAS"],
            answer: "600;refresher=uas", requiresTimer: false, refresher: .local),
        .init(
            name: "compact, longer than ours", fields: ["k: timer", "x: 7200"], answer: "1800;refresher=uac",
            requiresTimer: true, refresher: .remote),
        .init(
            name: "never below the peer's Min-SE",
            fields: ["Supported: timer", "Session-Expires: 7200", "Min-SE: 3600"],
            answer: "3600;refresher=uac", requiresTimer: true, refresher: .remote),
        .init(
            name: "too small, but the peer cannot understand 422", fields: ["Session-Expires: 60"],
            answer: "90;refresher=uas", requiresTimer: false, refresher: .local),
    ]

    @Test("answers as Table 2 says", arguments: evaluated)
    func evaluates(_ sample: Evaluated) throws {
        var timer = SessionTimer()
        let request = try Sample.incoming("INVITE", extra: sample.fields)
        #expect(timer.evaluate(request) == .accept)
        var response = SIPResponse(to: request, 200, toTag: "x")
        timer.apply(to: &response, at: .zero)
        #expect(response.headers.first(.sessionExpires) == sample.answer)
        #expect(response.require.contains("timer") == sample.requiresTimer)
        #expect(timer.agreed?.refresher == sample.refresher)
    }

    @Test("an interval below our Min-SE gets 422")
    func tooSmall() throws {
        var timer = SessionTimer(minSE: .seconds(120))
        let request = try Sample.incoming("INVITE", extra: ["Supported: timer", "Session-Expires: 100"])
        #expect(timer.evaluate(request) == .tooSmall(minSE: 120))
    }

    @Test("the refresher refreshes at half the interval, and gives up before its end")
    func refreshes() throws {
        var timer = SessionTimer()
        var invite = Sample.request(.invite)
        timer.prepare(&invite)
        #expect(invite.supported == ["timer"] && invite.headers.first(.sessionExpires) == "1800")
        var ok = SIPResponse(to: invite, 200, toTag: "x")
        ok.headers.append(.sessionExpires, "600;refresher=uac")
        timer.accepted(by: ok, at: .zero)
        #expect(timer.nextDeadline == milliseconds(300_000))
        timer.advance(to: milliseconds(300_000))
        #expect(drain { timer.nextOutput() } == [.refresh])
        var update = Sample.request(.update)
        timer.prepare(&update)
        #expect(update.headers.first(.sessionExpires) == "1800;refresher=uac")
        #expect(timer.nextDeadline == milliseconds(568_000), "32 s before the end")
        timer.advance(to: milliseconds(568_000))
        #expect(drain { timer.nextOutput() } == [.expired])
        #expect(timer.nextDeadline == nil)
    }

    @Test("the other side only waits; a refresh starts the time anew")
    func waits() throws {
        var timer = SessionTimer()
        var ok = SIPResponse(to: Sample.request(.invite), 200, toTag: "x")
        ok.headers.append(.sessionExpires, "90;refresher=uas")
        timer.accepted(by: ok, at: .zero)
        #expect(timer.nextDeadline == milliseconds(60_000), "a third of 90 s is less than 32 s")
        let refresh = try Sample.incoming(
            "UPDATE", toTag: "x", extra: ["Supported: timer", "Session-Expires: 90;refresher=uac"])
        #expect(timer.evaluate(refresh) == .accept)
        var answer = SIPResponse(to: refresh, 200, toTag: nil)
        timer.apply(to: &answer, at: milliseconds(45_000))
        #expect(timer.agreed?.refresher == .remote)
        #expect(timer.nextDeadline == milliseconds(105_000))
    }

    @Test("a 2xx without Session-Expires means no timer; without refresher we refresh", arguments: ["", "x", "0"])
    func noTimer(value: String) {
        var timer = SessionTimer()
        var ok = SIPResponse(to: Sample.request(.invite), 200, toTag: "x")
        if !value.isEmpty { ok.headers.append(.sessionExpires, value) }
        timer.accepted(by: ok, at: .zero)
        #expect(timer.agreed == nil && timer.nextDeadline == nil)
        ok.headers.set(.sessionExpires, "600")
        timer.accepted(by: ok, at: .zero)
        #expect(timer.agreed?.refresher == .local)
    }

    @Test("422 raises the interval once; one that asks nothing more, or nonsense, gives up")
    func raises() {
        var timer = SessionTimer(sessionExpires: .seconds(100))
        var refusal = SIPResponse(to: Sample.request(.invite), 422, toTag: "x")
        #expect(timer.raise(for: refusal) == false)
        refusal.headers.set(.minSE, "300")
        #expect(timer.raise(for: refusal) == true)
        var again = Sample.request(.invite)
        timer.prepare(&again)
        #expect(again.headers.first(.sessionExpires) == "300" && again.headers.first(.minSE) == "300")
        #expect(timer.raise(for: refusal) == false)
        refusal.headers.set(.minSE, "99999999")
        #expect(timer.raise(for: refusal) == false)
    }
}
