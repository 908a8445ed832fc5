import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("Transaction layer as server (RFC 3261 §17.2, §18.2, §8.2.2.2, §9.2)")
struct TransactionLayerServerTests {
    struct Routing: Sendable {
        let name: String
        let via: String
        let parameters: String
        let source: String
        let destination: String
        let expected: String
    }

    static let routings: [Routing] = [
        .init(
            name: "sent-by is the source", via: "192.0.2.77:5060", parameters: "", source: "192.0.2.77:5060",
            destination: "192.0.2.77:5060", expected: "SIP/2.0/UDP 192.0.2.77:5060;branch=z9hG4bKa1"),
        .init(
            name: "no port means 5060", via: "192.0.2.77", parameters: "", source: "192.0.2.77:1024",
            destination: "192.0.2.77:5060", expected: "SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKa1"),
        .init(
            name: "another source address: received, port of the sent-by", via: "10.0.0.5:5070", parameters: "",
            source: "192.0.2.77:1024", destination: "192.0.2.77:5070",
            expected: "SIP/2.0/UDP 10.0.0.5:5070;branch=z9hG4bKa1;received=192.0.2.77"),
        .init(
            name: "a name: received", via: "phone.example", parameters: "", source: "192.0.2.77:5060",
            destination: "192.0.2.77:5060", expected: "SIP/2.0/UDP phone.example;branch=z9hG4bKa1;received=192.0.2.77"),
        .init(
            name: "rport: the source port too", via: "10.0.0.5:5070", parameters: ";rport", source: "192.0.2.77:1024",
            destination: "192.0.2.77:1024",
            expected: "SIP/2.0/UDP 10.0.0.5:5070;branch=z9hG4bKa1;rport=1024;received=192.0.2.77"),
        .init(
            name: "rport with a sent-by that is right", via: "192.0.2.77:5060", parameters: ";rport",
            source: "192.0.2.77:5060", destination: "192.0.2.77:5060",
            expected: "SIP/2.0/UDP 192.0.2.77:5060;branch=z9hG4bKa1;rport=5060;received=192.0.2.77"),
        .init(
            name: "maddr is ignored", via: "192.0.2.77:5060", parameters: ";maddr=198.51.100.9",
            source: "192.0.2.77:5060", destination: "192.0.2.77:5060",
            expected: "SIP/2.0/UDP 192.0.2.77:5060;branch=z9hG4bKa1;maddr=198.51.100.9"),
    ]

    @Test("routes responses by Via", arguments: routings)
    func routes(_ sample: Routing) throws {
        var layer = Sample.layer()
        let source = try #require(TransportAddress(sample.source))
        let path = TransportPath(realm: Sample.realm, transport: .udp, remote: source)
        let request = try Sample.incoming("OPTIONS", via: sample.via, viaParameters: sample.parameters)
        let outputs = layer.receive(request, from: path, at: .zero)
        guard case .request(let received, let id, from: path)? = outputs.first else {
            Issue.record("no request")
            return
        }
        #expect(received.topVia?.text == sample.expected)
        layer.respond(SIPResponse(to: received, 200, toTag: "x"), to: id, at: .zero)
        let answers = layer.drained()
        #expect(answers.paths.map(\.remote.description) == [sample.destination])
        guard case .response(let response)? = try answers.sent().first else {
            Issue.record("no response")
            return
        }
        #expect(response.topVia?.text == sample.expected)
    }

    @Test("a retransmission gets the same bytes and goes up once")
    func retransmission() throws {
        var layer = Sample.layer()
        let request = try Sample.incoming("OPTIONS")
        let id = try #require(layer.receive(request, at: .zero).serverTransaction)
        #expect(layer.receive(request, at: milliseconds(100)) == [])
        layer.respond(SIPResponse(to: request, 200, toTag: "x"), to: id, at: milliseconds(200))
        let first = layer.drained()
        #expect(layer.receive(request, at: milliseconds(500)) == first)
        #expect(layer.counters.retransmissionsReceived == 2)
    }

    @Test("method, branch, sent-by and realm tell transactions apart")
    func matching() throws {
        var layer = Sample.layer()
        #expect(try layer.receive(Sample.incoming("OPTIONS"), at: .zero).serverTransaction != nil)
        #expect(try layer.receive(Sample.incoming("INFO", toTag: "t"), at: .zero).serverTransaction != nil)
        let other = try Sample.incoming("OPTIONS", number: 2, via: "192.0.2.77:5062")
        #expect(layer.receive(other, at: .zero).serverTransaction != nil)
        let elsewhere = TransportPath(realm: RealmID("wan"), transport: .udp, remote: Sample.phoneAddress)
        #expect(try layer.receive(Sample.incoming("OPTIONS"), from: elsewhere, at: .zero).serverTransaction != nil)
        #expect(layer.serverTransactionCount == 4)
    }

    @Test("a peer of RFC 2543 without the cookie is matched too, its ACK and its CANCEL as well")
    func oldPeer() throws {
        var layer = Sample.layer()
        let invite = try Sample.incoming("INVITE", branch: "1")
        let id = try #require(layer.receive(invite, at: .zero).serverTransaction)
        #expect(try layer.receive(invite, at: milliseconds(100)).summary() == ["100"])
        let cancelled = try layer.receive(Sample.incoming("CANCEL", branch: "1"), at: milliseconds(150))
        #expect(cancelled.contains(.cancelled(id)))
        layer.respond(SIPResponse(to: invite, 487, toTag: "x"), to: id, at: milliseconds(200))
        _ = layer.drained()
        _ = try layer.receive(Sample.incoming("ACK", branch: "1", toTag: "x"), at: milliseconds(300))
        #expect(layer.counters.strayACKs == 0)
        let rest = layer.run(until: milliseconds(100_000))
        #expect(rest.map(\.output) == [.ended(id)])
        #expect(rest.map(\.at) == [5_300], "timer I")
        #expect(layer.isEmpty)
    }

    @Test("INVITE: 100 after 200 ms, 486 until ACK")
    func rejects() throws {
        var layer = Sample.layer()
        let invite = try Sample.incoming("INVITE")
        let id = try #require(layer.receive(invite, at: .zero).serverTransaction)
        let first = layer.run(until: milliseconds(1_000))
        #expect(first.map(\.at) == [200])
        #expect(try first.map(\.output).summary() == ["100"])
        layer.respond(SIPResponse(to: invite, 486, toTag: "x"), to: id, at: milliseconds(1_000))
        #expect(try layer.drained().summary() == ["486"])
        #expect(layer.run(until: milliseconds(4_600)).map(\.at) == [1_500, 2_500, 4_500])
        _ = try layer.receive(Sample.incoming("ACK", toTag: "x"), at: milliseconds(4_700))
        #expect(layer.run(until: milliseconds(99_000)).map(\.output) == [.ended(id)])
        #expect(layer.isEmpty)
    }

    @Test("a 2xx is repeated until its ACK, over TCP too, and ACK comes up once", arguments: [false, true])
    func accepts(overTCP: Bool) throws {
        var layer = Sample.layer()
        let path = overTCP ? Sample.phoneTCP : Sample.phone
        let invite = try Sample.incoming("INVITE", transport: overTCP ? "TCP" : "UDP")
        let id = try #require(layer.receive(invite, from: path, at: .zero).serverTransaction)
        layer.respond(SIPResponse(to: invite, 200, toTag: "x"), to: id, at: .zero)
        #expect(try layer.drained().summary() == ["200"])
        #expect(layer.run(until: milliseconds(12_000)).map(\.at) == [500, 1_500, 3_500, 7_500, 11_500])
        let ack = try Sample.incoming("ACK", branch: "z9hG4bKother", toTag: "x", transport: overTCP ? "TCP" : "UDP")
        #expect(layer.receive(ack, from: path, at: milliseconds(12_000)) == [.acknowledged(id, ack)])
        #expect(layer.receive(ack, from: path, at: milliseconds(12_100)) == [])
        #expect(layer.run(until: milliseconds(99_000)).map(\.output) == [.ended(id)])
        #expect(layer.isEmpty)
    }

    @Test("no ACK within 64·T1: said before the transaction ends")
    func acknowledgementMissing() throws {
        var layer = Sample.layer()
        let invite = try Sample.incoming("INVITE")
        let id = try #require(layer.receive(invite, at: .zero).serverTransaction)
        layer.respond(SIPResponse(to: invite, 200, toTag: "x"), to: id, at: .zero)
        _ = layer.drained()
        let outputs = layer.run(until: milliseconds(99_000))
        #expect(outputs.suffix(2).map(\.output) == [.acknowledgementMissing(id), .ended(id)])
        #expect(outputs.last?.at == 32_000)
        #expect(layer.isEmpty)
    }

    @Test("ACK for another To tag, number or realm is stray")
    func strayACK() throws {
        var layer = Sample.layer()
        let invite = try Sample.incoming("INVITE")
        let id = try #require(layer.receive(invite, at: .zero).serverTransaction)
        layer.respond(SIPResponse(to: invite, 200, toTag: "x"), to: id, at: .zero)
        _ = layer.drained()
        #expect(try layer.receive(Sample.incoming("ACK", branch: "z9hG4bKb", toTag: "y"), at: .zero) == [])
        #expect(try layer.receive(Sample.incoming("ACK", branch: "z9hG4bKb", number: 2, toTag: "x"), at: .zero) == [])
        let elsewhere = TransportPath(realm: RealmID("wan"), transport: .udp, remote: Sample.phoneAddress)
        #expect(
            try layer.receive(
                Sample.incoming("ACK", branch: "z9hG4bKb", toTag: "x"), from: elsewhere, at: .zero) == [])
        #expect(layer.counters.strayACKs == 3)
    }

    @Test("CANCEL: 200, told once, then the user answers 487")
    func cancels() throws {
        var layer = Sample.layer()
        let invite = try Sample.incoming("INVITE")
        let id = try #require(layer.receive(invite, at: .zero).serverTransaction)
        layer.respond(SIPResponse(to: invite, 180, toTag: "x"), to: id, at: .zero)
        _ = layer.drained()
        let cancel = try Sample.incoming("CANCEL")
        let outputs = layer.receive(cancel, at: milliseconds(100))
        #expect(outputs.last == .cancelled(id))
        guard case .response(let ok)? = try outputs.sent().first else {
            Issue.record("no response")
            return
        }
        #expect(ok.statusCode == 200 && ok.cseq?.method == .cancel && ok.to?.tag == "x")
        #expect(try layer.receive(cancel, at: milliseconds(600)).summary() == ["200"])
        layer.respond(SIPResponse(to: invite, 487, toTag: "x"), to: id, at: milliseconds(700))
        #expect(try layer.drained().summary() == ["487"])
        _ = try layer.receive(Sample.incoming("ACK", toTag: "x"), at: milliseconds(800))
        #expect(layer.run(until: milliseconds(99_000)).map(\.output) == [.ended(id)])
        #expect(layer.isEmpty)
    }

    @Test("CANCEL that crosses our 200: 200, and the call stays answered")
    func cancelCrosses() throws {
        var layer = Sample.layer()
        let invite = try Sample.incoming("INVITE")
        let id = try #require(layer.receive(invite, at: .zero).serverTransaction)
        layer.respond(SIPResponse(to: invite, 200, toTag: "x"), to: id, at: .zero)
        _ = layer.drained()
        let outputs = try layer.receive(Sample.incoming("CANCEL"), at: milliseconds(10))
        #expect(try outputs.summary() == ["200"] && !outputs.contains(.cancelled(id)))
        layer.respond(SIPResponse(to: invite, 487, toTag: "x"), to: id, at: milliseconds(20))
        #expect(layer.drained() == [], "one final response only")
        #expect(layer.counters.lateResponses == 1)
    }

    @Test("CANCEL without its INVITE, or from another address: 481")
    func strayCANCEL() throws {
        var layer = Sample.layer()
        #expect(try layer.receive(Sample.incoming("CANCEL"), at: .zero).summary() == ["481"])
        _ = try layer.receive(Sample.incoming("INVITE"), at: .zero)
        let attacker = TransportPath(
            realm: Sample.realm, transport: .udp, remote: TransportAddress(.v4(0xC633_6401), 5060))
        let outputs = try layer.receive(Sample.incoming("CANCEL"), from: attacker, at: .zero)
        #expect(try outputs.summary() == ["481"])
        #expect(outputs.count == 1)
        #expect(layer.counters.strayCANCELs == 2)
    }

    @Test("the same request on another way: 482; with a To tag, or after 401, it is a new one")
    func merged() throws {
        var layer = Sample.layer()
        let first = try Sample.incoming("INVITE")
        let id = try #require(layer.receive(first, at: .zero).serverTransaction)
        let second = try Sample.incoming("INVITE", branch: "z9hG4bKa2")
        #expect(try layer.receive(second, at: .zero).summary() == ["482"])
        #expect(layer.counters.mergedRequests == 1)
        let inDialog = try Sample.incoming("INVITE", branch: "z9hG4bKa3", toTag: "t")
        #expect(layer.receive(inDialog, at: .zero).serverTransaction != nil)
        layer.respond(SIPResponse(to: first, 401, toTag: "x"), to: id, at: .zero)
        _ = layer.drained()
        #expect(layer.receive(second, at: .zero).serverTransaction != nil)
    }

    @Test("beyond the limit: 503 with Retry-After, but not for emergencies nor inside dialogs")
    func capacity() throws {
        var layer = Sample.layer(countMax: 2)
        for number in 1...2 {
            _ = try layer.receive(Sample.incoming("OPTIONS", branch: "z9hG4bK\(number)", number: number), at: .zero)
        }
        let refused = try layer.receive(Sample.incoming("INVITE", number: 3), at: .zero)
        guard case .response(let response)? = try refused.sent().first else {
            Issue.record("no response")
            return
        }
        #expect(response.statusCode == 503 && response.headers.first(.retryAfter) == "5")
        #expect(layer.serverTransactionCount == 2)
        for (number, uri) in ["urn:service:sos", "sip:911@branch.example", "URN:service:sos.fire"].enumerated() {
            let call = try Sample.incoming(
                "INVITE", branch: "z9hG4bKe\(number)", number: 10 + number, callID: "e\(number)", uri: uri)
            #expect(layer.receive(call, at: .zero).serverTransaction != nil, "\(uri)")
        }
        let hangup = try Sample.incoming("BYE", branch: "z9hG4bKb", number: 20, toTag: "t")
        #expect(layer.receive(hangup, at: .zero).serverTransaction == nil, "beyond twice the limit")
        var roomy = Sample.layer(countMax: 2)
        for number in 1...2 {
            _ = try roomy.receive(Sample.incoming("OPTIONS", branch: "z9hG4bK\(number)", number: number), at: .zero)
        }
        #expect(roomy.receive(hangup, at: .zero).serverTransaction != nil)
    }

    @Test("a request with large headers counts for many")
    func weight() throws {
        var layer = Sample.layer(countMax: 4)
        for (number, byteCount) in [20_000, 100, 20_000].enumerated() {
            var request = try Sample.incoming(
                "OPTIONS", branch: "z9hG4bK\(number)", number: number, callID: "c\(number)")
            request.headers.append("X-Large", String(repeating: "x", count: byteCount))
            #expect((layer.receive(request, at: .zero).serverTransaction != nil) == (number < 2), "\(number)")
        }
        #expect(layer.counters.refusedForCapacity == 1)
    }

    @Test("malformed: 400 for a salvaged request, silence otherwise, a counter always")
    func malformed() throws {
        var layer = Sample.layer()
        layer.handle(.malformed(try Sample.incoming("INVITE"), from: Sample.phone), at: .zero)
        #expect(try layer.drained().summary() == ["400"])
        layer.handle(.malformed(nil, from: Sample.phone), at: .zero)
        layer.handle(.malformed(try Sample.incoming("ACK"), from: Sample.phone), at: .zero)
        #expect(layer.drained() == [])
        #expect(layer.counters.malformed == 3 && layer.isEmpty)
    }

    @Test("a lost connection: the answer goes to the sent-by over a new one")
    func reconnects() throws {
        var layer = Sample.layer()
        let request = try Sample.incoming("INVITE", transport: "TCP")
        let id = try #require(layer.receive(request, from: Sample.phoneTCP, at: .zero).serverTransaction)
        layer.handle(.transportFailed(Sample.phoneTCP, reason: "reset"), at: milliseconds(10))
        #expect(layer.drained() == [])
        layer.respond(SIPResponse(to: request, 486, toTag: "x"), to: id, at: milliseconds(20))
        let path = TransportPath(realm: Sample.realm, transport: .tcp, remote: Sample.phoneAddress)
        #expect(layer.drained().paths == [path])
        layer.handle(.transportFailed(path, reason: "refused"), at: milliseconds(30))
        #expect(layer.drained() == [.ended(id)])
        #expect(layer.isEmpty)
    }
}

@Suite("Reliable provisional responses as server (RFC 3262 §3)")
struct ReliableProvisionalTests {
    private func start(_ layer: inout TransactionLayer) throws -> (SIPRequest, ServerTransactionID) {
        let invite = try Sample.incoming("INVITE", extra: ["Supported: 100rel"])
        return (invite, try #require(layer.receive(invite, at: .zero).serverTransaction))
    }

    private func provisional(_ invite: SIPRequest, _ code: Int = 183, hasBody: Bool = true) -> SIPResponse {
        var response = SIPResponse(to: invite, code, toTag: "x")
        if hasBody { response.setBody(Array("v=0".utf8), type: .sdp) }
        return response
    }

    private func sentRSeq(_ outputs: [TransactionLayer.Output]) throws -> Int {
        guard case .response(let response)? = try outputs.sent().first else { throw TestError("no response") }
        #expect(response.require == ["100rel"])
        return try #require(response.number(.rseq))
    }

    private func prack(_ rseq: Int, branch: String = "z9hG4bKp", number: Int = 2) throws -> SIPRequest {
        try Sample.incoming("PRACK", branch: branch, number: number, toTag: "x", extra: ["RAck: \(rseq) 1 INVITE"])
    }

    @Test("is repeated with doubling intervals until its PRACK, which is told once")
    func acknowledged() throws {
        var layer = Sample.layer()
        let (invite, id) = try start(&layer)
        layer.respondReliably(provisional(invite), to: id, at: .zero)
        let rseq = try sentRSeq(layer.drained())
        #expect(layer.run(until: milliseconds(8_000)).map(\.at) == [500, 1_500, 3_500, 7_500])
        let request = try prack(rseq)
        let outputs = layer.receive(request, at: milliseconds(8_000))
        guard case .provisionalAcknowledged(id, prack: request, let prackID)? = outputs.first else {
            Issue.record("not acknowledged: \(outputs)")
            return
        }
        layer.respond(SIPResponse(to: request, 200, toTag: nil), to: prackID, at: milliseconds(8_000))
        #expect(try layer.drained().summary() == ["200"])
        #expect(try layer.receive(request, at: milliseconds(8_100)).summary() == ["200"], "a repeated PRACK")
        #expect(
            try layer.receive(prack(rseq, branch: "z9hG4bKq", number: 3), at: milliseconds(8_200)).summary() == ["481"])
        #expect(layer.counters.strayPRACKs == 1)
    }

    @Test("the next one waits for the PRACK and is numbered one higher")
    func ordered() throws {
        var layer = Sample.layer()
        let (invite, id) = try start(&layer)
        layer.respondReliably(provisional(invite), to: id, at: .zero)
        let rseq = try sentRSeq(layer.drained())
        layer.respondReliably(provisional(invite, 180, hasBody: false), to: id, at: .zero)
        #expect(layer.drained() == [])
        let outputs = try layer.receive(prack(rseq), at: milliseconds(100))
        #expect(try outputs.summary() == ["180"])
        #expect(try sentRSeq(outputs) == rseq + 1)
    }

    @Test("a 2xx waits for the PRACK of an offer or answer, a rejection does not")
    func holdsSuccess() throws {
        var layer = Sample.layer()
        let (invite, id) = try start(&layer)
        layer.respondReliably(provisional(invite), to: id, at: .zero)
        let rseq = try sentRSeq(layer.drained())
        layer.respond(SIPResponse(to: invite, 200, toTag: "x"), to: id, at: milliseconds(10))
        #expect(layer.drained() == [])
        #expect(try layer.receive(prack(rseq), at: milliseconds(100)).summary() == ["200"])

        var other = Sample.layer()
        let (rejected, otherID) = try start(&other)
        other.respondReliably(provisional(rejected), to: otherID, at: .zero)
        _ = other.drained()
        other.respond(SIPResponse(to: rejected, 486, toTag: "x"), to: otherID, at: milliseconds(10))
        #expect(try other.drained().summary() == ["486"])
        #expect(try other.run(until: milliseconds(600)).map(\.output).summary() == ["486"], "no more 183")
    }

    @Test("a CANCEL while the 2xx waits comes too late")
    func cancelWhileHeld() throws {
        var layer = Sample.layer()
        let (invite, id) = try start(&layer)
        layer.respondReliably(provisional(invite), to: id, at: .zero)
        let rseq = try sentRSeq(layer.drained())
        layer.respond(SIPResponse(to: invite, 200, toTag: "x"), to: id, at: milliseconds(10))
        let outputs = try layer.receive(Sample.incoming("CANCEL"), at: milliseconds(20))
        #expect(try outputs.summary() == ["200"] && !outputs.contains(.cancelled(id)))
        #expect(try layer.receive(prack(rseq), at: milliseconds(100)).summary() == ["200"])
    }

    @Test("no PRACK within 64·T1 is told; the user then rejects")
    func notAcknowledged() throws {
        var layer = Sample.layer()
        let (invite, id) = try start(&layer)
        layer.respondReliably(provisional(invite), to: id, at: .zero)
        let outputs = layer.run(until: milliseconds(99_000))
        #expect(outputs.last?.output == .provisionalNotAcknowledged(id))
        #expect(outputs.last?.at == 32_000)
        layer.respond(SIPResponse(to: invite, 504, toTag: "x"), to: id, at: milliseconds(32_000))
        #expect(try layer.drained().summary() == ["504"])
    }

    @Test(
        "a PRACK that matches nothing gets 481", arguments: ["", "x 1 INVITE", "1 1 BYE", "1 2 INVITE", "999 1 INVITE"])
    func stray(rack: String) throws {
        var layer = Sample.layer()
        let (invite, id) = try start(&layer)
        layer.respondReliably(provisional(invite), to: id, at: .zero)
        _ = layer.drained()
        var request = try prack(1)
        request.headers.set(.rack, rack)
        #expect(try layer.receive(request, at: .zero).summary() == ["481"])
    }
}
