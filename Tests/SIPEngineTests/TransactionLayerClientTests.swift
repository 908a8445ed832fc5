import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("Transaction layer as client (RFC 3261 §17.1, §18.1, §9.1)")
struct TransactionLayerClientTests {
    @Test("adds Via with branch and rport, Max-Forwards when missing, and keeps the bytes for retransmission")
    func sends() throws {
        var layer = Sample.layer()
        _ = layer.send(Sample.request(.options), to: Sample.udp, at: .zero)
        let first = layer.drained()
        guard case .request(let request)? = try first.sent().first else { throw TestError("no request") }
        let via = try #require(request.topVia)
        #expect(via.host.text == "192.0.2.1" && via.port == 5060 && via.hasRport && via.rport == nil)
        #expect(via.branch?.hasPrefix("z9hG4bK") == true)
        #expect(request.maxForwards == 70)
        let again = layer.run(until: milliseconds(500))
        #expect(again.map(\.output) == first)
        #expect(layer.counters.retransmissionsSent == 1)
    }

    @Test("repeats so many requests at a time as it is told, and says that others are due")
    func isBounded() throws {
        var layer = Sample.layer()
        for _ in 0..<10 { _ = layer.send(Sample.request(.options), to: Sample.udp, at: .zero) }
        _ = layer.drained()
        let due = MonotonicTime.zero + .milliseconds(500)
        for expected: UInt64 in [4, 8, 10] {
            #expect(layer.nextDeadline.map { $0 <= due } == true)
            layer.advance(to: due, timerCountMax: 4)
            #expect(layer.counters.retransmissionsSent == expected)
        }
        #expect(layer.nextDeadline.map { $0 > due } == true)
    }

    @Test("delivers by branch and method; what is not ours is dropped and counted")
    func matches() throws {
        var layer = Sample.layer()
        let id = layer.send(Sample.request(.options), to: Sample.udp, at: .zero)
        let bytes = try #require(layer.drained().firstBytes)
        let right = try Sample.response(to: bytes, 200)
        var wrongBranch = right
        wrongBranch.headers.replaceFirstValue(.via, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0123456789abcdef")
        var foreign = right
        foreign.headers.replaceFirstValue(.via, "SIP/2.0/UDP 192.0.2.1:5060;branch=abc")
        var twoVias = right
        twoVias.headers.append(.via, "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK1")
        var wrongMethod = right
        wrongMethod.headers.set(.cseq, "1 BYE")
        for stray in [wrongBranch, foreign, twoVias, wrongMethod] {
            #expect(layer.receive(stray, at: milliseconds(10)) == [])
        }
        let elsewhere = TransportPath(realm: RealmID("wan"), transport: .udp, remote: Sample.phoneAddress)
        #expect(layer.receive(right, from: elsewhere, at: milliseconds(10)) == [])
        #expect(layer.counters.strayResponses == 5)
        #expect(layer.receive(right, at: milliseconds(20)) == [.response(right, id, from: Sample.phone)])
        #expect(layer.run(until: milliseconds(99_000)).map(\.output) == [.endedClient(id)])
        #expect(layer.isEmpty)
    }

    @Test("ACK for a rejection: same branch, To of the response, Route of the INVITE")
    func acknowledges() throws {
        var layer = Sample.layer()
        var invite = Sample.request(.invite)
        invite.headers.append(.route, "<sip:proxy.example;lr>")
        let id = layer.send(invite, to: Sample.udp, at: .zero)
        let bytes = try #require(layer.drained().firstBytes)
        let busy = try Sample.response(to: bytes, 486, toTag: "far")
        let outputs = layer.receive(busy, at: milliseconds(100))
        #expect(outputs.first == .response(busy, id, from: Sample.phone))
        guard case .request(let ack)? = try outputs.sent().first else { throw TestError("no ACK") }
        #expect(ack.method == .ack && ack.cseq == CSeq(number: 1, method: .ack) && ack.to?.tag == "far")
        #expect(ack.topVia?.branch == busy.topVia?.branch && ack.vias.count == 1)
        #expect(ack.routes.map(\.uri.text) == ["sip:proxy.example;lr"])
        #expect(try layer.receive(busy, at: milliseconds(600)).summary() == ["ACK"])
    }

    @Test("CANCEL after a provisional response has the INVITE's branch, Via, To and Route, and its answers stay inside")
    func cancels() throws {
        var layer = Sample.layer()
        let id = layer.send(Sample.request(.invite), to: Sample.udp, at: .zero)
        let bytes = try #require(layer.drained().firstBytes)
        layer.cancel(id, reason: "SIP;cause=200;text=\"Call completed elsewhere\"", at: milliseconds(5))
        #expect(layer.drained() == [], "waits for a provisional response")
        let outputs = layer.receive(try Sample.response(to: bytes, 100), at: milliseconds(50))
        guard case .request(let cancel)? = try outputs.sent().first else { throw TestError("no CANCEL") }
        #expect(cancel.method == .cancel && cancel.to?.tag == nil)
        #expect(cancel.headers.first(.reason)?.hasPrefix("SIP;cause=200") == true)
        guard case .request(let invite) = try parse(bytes) else { throw TestError("no INVITE") }
        #expect(cancel.topVia == invite.topVia && cancel.cseq?.number == 1)
        let cancelBytes = try #require(outputs.firstBytes)
        #expect(layer.receive(try Sample.response(to: cancelBytes, 200), at: milliseconds(90)) == [])
        let gone = try layer.receive(Sample.response(to: bytes, 487), at: milliseconds(100))
        #expect(try gone.summary() == ["ACK"])
        #expect(layer.run(until: milliseconds(99_000)).map(\.output) == [.endedClient(id)])
        #expect(layer.isEmpty)
    }

    @Test("a 200 that crosses the CANCEL is delivered, for ACK and BYE")
    func cancelCrosses() throws {
        var layer = Sample.layer()
        let id = layer.send(Sample.request(.invite), to: Sample.udp, at: .zero)
        let bytes = try #require(layer.drained().firstBytes)
        _ = layer.receive(try Sample.response(to: bytes, 180), at: milliseconds(50))
        layer.cancel(id, at: milliseconds(60))
        #expect(try layer.drained().summary() == ["CANCEL"])
        let ok = try Sample.response(to: bytes, 200)
        #expect(layer.receive(ok, at: milliseconds(70)) == [.response(ok, id, from: Sample.phone)])
        #expect(layer.receive(ok, at: milliseconds(570)) == [.response(ok, id, from: Sample.phone)], "repeated 2xx")
        layer.sendACK(Sample.request(.ack), to: Sample.udp, at: milliseconds(570))
        #expect(try layer.drained().summary() == ["ACK"])
    }

    @Test("a cancelled INVITE without final response ends after 64·T1")
    func cancelTimesOut() throws {
        var layer = Sample.layer()
        let id = layer.send(Sample.request(.invite), to: Sample.tcp, at: .zero)
        let bytes = try #require(layer.drained().firstBytes)
        _ = layer.receive(try Sample.response(to: bytes, 180), at: milliseconds(50))
        layer.cancel(id, at: milliseconds(60))
        _ = layer.drained()
        let outputs = layer.run(until: milliseconds(99_000))
        #expect(outputs.map(\.output) == [.timedOut(id), .endedClient(id)])
        #expect(outputs.first?.at == 32_060)
        #expect(layer.isEmpty)
    }

    struct Size: Sendable {
        let body: Int
        let mtu: Int?
        let transport: SIPTransport
    }

    @Test(
        "an automatic next hop gets UDP, and TCP for what is too large (§18.1.1)",
        arguments: [
            Size(body: 10, mtu: nil, transport: .udp), Size(body: 1_300, mtu: nil, transport: .tcp),
            Size(body: 1_300, mtu: 9_000, transport: .udp), Size(body: 10, mtu: 400, transport: .tcp),
        ])
    func chooses(_ sample: Size) throws {
        var layer = Sample.layer()
        let hop = NextHop(realm: Sample.realm, remote: Sample.phoneAddress, policy: .automatic, pathMTU: sample.mtu)
        _ = layer.send(Sample.request(.invite, body: sample.body), to: hop, at: .zero)
        let outputs = layer.drained()
        #expect(outputs.paths.map(\.transport) == [sample.transport])
        guard case .request(let request)? = try outputs.sent().first else { throw TestError("no request") }
        #expect(request.topVia?.transport == sample.transport)
    }

    @Test("1300 bytes go over UDP, one more over TCP", arguments: [(0, SIPTransport.udp), (1, SIPTransport.tcp)])
    func limit(extra: Int, transport: SIPTransport) throws {
        var layer = Sample.layer()
        _ = layer.send(Sample.request(.invite, body: 1_000), to: Sample.automatic, at: .zero)
        let overhead = try #require(layer.drained().firstBytes).count - 1_000
        _ = layer.send(Sample.request(.invite, body: 1_300 - overhead + extra), to: Sample.automatic, at: .zero)
        let outputs = layer.drained()
        #expect(outputs.firstBytes?.count == 1_300 + extra)
        #expect(outputs.paths.map(\.transport) == [transport])
    }

    @Test("TCP that fails falls back to UDP with the same branch, and then tells")
    func fallsBack() throws {
        var layer = Sample.layer()
        let id = layer.send(Sample.request(.invite, body: 2_000), to: Sample.automatic, at: .zero)
        let first = layer.drained()
        layer.handle(.transportFailed(first.paths[0], reason: "refused"), at: milliseconds(5))
        let second = layer.drained()
        #expect(second.paths.map(\.transport) == [.udp])
        guard case .request(let overTCP)? = try first.sent().first,
            case .request(let overUDP)? = try second.sent().first
        else { throw TestError("no request") }
        #expect(overTCP.topVia?.branch == overUDP.topVia?.branch && overUDP.topVia?.transport == .udp)
        #expect(layer.counters.fallbacksToUDP == 1)
        #expect(layer.run(until: milliseconds(600)).map(\.at) == [505], "UDP retransmits")
        layer.handle(.transportFailed(second.paths[0], reason: "unreachable"), at: milliseconds(600))
        #expect(layer.drained() == [.transportFailed(id, reason: "unreachable"), .endedClient(id)])
        #expect(layer.isEmpty)
    }

    @Test("a lost connection is opened anew once; another connection's end concerns nobody")
    func reconnects() throws {
        var layer = Sample.layer()
        let id = layer.send(Sample.request(.options), to: NextHop(Sample.phoneTCP), at: .zero)
        #expect(layer.drained().paths == [Sample.phoneTCP])
        var other = Sample.phoneTCP
        other.connection = ConnectionID(rawValue: 8)
        layer.handle(.transportFailed(other, reason: "reset"), at: .zero)
        #expect(layer.drained() == [])
        layer.handle(.transportFailed(Sample.phoneTCP, reason: "reset"), at: .zero)
        var anew = Sample.phoneTCP
        anew.connection = nil
        #expect(layer.drained().paths == [anew])
        #expect(layer.counters.reconnections == 1)
        layer.handle(.transportFailed(anew, reason: "refused"), at: .zero)
        #expect(layer.drained() == [.transportFailed(id, reason: "refused"), .endedClient(id)])
        #expect(layer.isEmpty)
    }

    @Test("a cancelled INVITE is not tried again over another transport")
    func cancelledNotRetried() throws {
        var layer = Sample.layer()
        let id = layer.send(Sample.request(.invite, body: 2_000), to: Sample.automatic, at: .zero)
        let path = layer.drained().paths[0]
        layer.cancel(id, at: .zero)
        layer.handle(.transportFailed(path, reason: "refused"), at: .zero)
        #expect(layer.drained() == [.transportFailed(id, reason: "refused"), .endedClient(id)])
    }

    @Test("an unknown realm fails at once")
    func unknownRealm() {
        var layer = Sample.layer()
        let hop = NextHop(realm: RealmID("nowhere"), remote: Sample.phoneAddress, policy: .udp)
        let id = layer.send(Sample.request(.options), to: hop, at: .zero)
        let outputs = layer.drained()
        #expect(outputs.count == 2 && outputs.last == .endedClient(id))
        #expect(layer.isEmpty)
    }
}
