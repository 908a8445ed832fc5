import Primitives
import SIPEngine
import SignallingFormats
import Testing

private func response(_ code: Int) -> SIPResponse { SIPResponse(statusCode: code, reasonPhrase: "r") }

@Suite("Client INVITE transaction (RFC 3261 §17.1.1, RFC 6026)")
struct InviteClientTransactionTests {
    private func start(isReliable: Bool = false) -> InviteClientTransaction {
        var transaction = InviteClientTransaction(isReliable: isReliable, at: .zero)
        #expect(drain { transaction.nextOutput() } == [.transmitRequest])
        return transaction
    }

    @Test("retransmits with timer A doubling over UDP, and times out with timer B")
    func retransmits() {
        var transaction = start()
        var times: [Int64] = []
        while let deadline = transaction.nextDeadline, deadline < milliseconds(32_000) {
            transaction.advance(to: deadline)
            #expect(drain { transaction.nextOutput() } == [.transmitRequest])
            times.append(deadline.nanoseconds / 1_000_000)
        }
        #expect(times == [500, 1_500, 3_500, 7_500, 15_500, 31_500])
        #expect(transaction.nextDeadline == milliseconds(32_000))
        transaction.advance(to: milliseconds(32_000))
        #expect(drain { transaction.nextOutput() } == [.timedOut, .terminated])
        #expect(transaction.isTerminated && transaction.nextDeadline == nil)
    }

    @Test("never retransmits over TCP")
    func reliable() {
        var transaction = start(isReliable: true)
        #expect(transaction.nextDeadline == milliseconds(32_000))
        transaction.handle(.rejection(response(486)), at: milliseconds(100))
        #expect(
            drain { transaction.nextOutput() } == [
                .deliver(response(486)), .transmitACK(for: response(486)), .terminated,
            ])
    }

    @Test("a provisional response stops A and B")
    func provisional() {
        var transaction = start()
        transaction.handle(.provisional(response(180)), at: milliseconds(100))
        #expect(drain { transaction.nextOutput() } == [.deliver(response(180))])
        #expect(transaction.nextDeadline == nil)
    }

    @Test("2xx: accepted until timer M; repeated and forked 2xx go up, other responses do not")
    func accepted() {
        var transaction = start()
        transaction.handle(.success(response(200)), at: milliseconds(100))
        transaction.handle(.success(response(202)), at: milliseconds(200))
        transaction.handle(.rejection(response(486)), at: milliseconds(300))
        transaction.handle(.provisional(response(180)), at: milliseconds(300))
        #expect(drain { transaction.nextOutput() } == [.deliver(response(200)), .deliver(response(202))])
        #expect(transaction.nextDeadline == milliseconds(32_100))
        transaction.advance(to: milliseconds(32_100))
        #expect(drain { transaction.nextOutput() } == [.terminated])
    }

    @Test("3xx to 6xx: ACK for each copy, delivered once, until timer D")
    func completed() {
        var transaction = start()
        transaction.handle(.rejection(response(503)), at: milliseconds(100))
        #expect(drain { transaction.nextOutput() } == [.deliver(response(503)), .transmitACK(for: response(503))])
        transaction.handle(.rejection(response(503)), at: milliseconds(600))
        #expect(drain { transaction.nextOutput() } == [.transmitACK(for: response(503))])
        transaction.handle(.success(response(200)), at: milliseconds(700))
        #expect(drain { transaction.nextOutput() } == [])
        #expect(transaction.nextDeadline == milliseconds(32_100))
        transaction.advance(to: milliseconds(32_100))
        #expect(drain { transaction.nextOutput() } == [.terminated])
    }

    @Test("CANCEL waits for a provisional response; then the peer has 64·T1")
    func cancels() {
        var transaction = start()
        transaction.handle(.cancel, at: milliseconds(10))
        #expect(drain { transaction.nextOutput() } == [])
        transaction.handle(.provisional(response(100)), at: milliseconds(600))
        #expect(drain { transaction.nextOutput() } == [.deliver(response(100)), .transmitCANCEL])
        transaction.handle(.cancel, at: milliseconds(700))
        #expect(drain { transaction.nextOutput() } == [], "one CANCEL only")
        #expect(transaction.nextDeadline == milliseconds(32_600))
        transaction.advance(to: milliseconds(32_600))
        #expect(drain { transaction.nextOutput() } == [.timedOut, .terminated])
    }

    @Test("CANCEL after the final response does nothing")
    func cancelLate() {
        var transaction = start()
        transaction.handle(.success(response(200)), at: milliseconds(10))
        transaction.handle(.cancel, at: milliseconds(20))
        #expect(drain { transaction.nextOutput() } == [.deliver(response(200))])
    }

    @Test("a transport failure ends it while calling, not while it rings")
    func transport() {
        var calling = start()
        calling.handle(.transportFailed(reason: "refused"), at: milliseconds(1))
        #expect(drain { calling.nextOutput() } == [.transportFailed(reason: "refused"), .terminated])
        var ringing = start()
        ringing.handle(.provisional(response(180)), at: milliseconds(1))
        ringing.handle(.transportFailed(reason: "refused"), at: milliseconds(2))
        #expect(drain { ringing.nextOutput() } == [.deliver(response(180))])
    }
}

@Suite("Client non-INVITE transaction (RFC 3261 §17.1.2)")
struct NonInviteClientTransactionTests {
    @Test("retransmits with timer E up to T2, and times out with timer F")
    func retransmits() {
        var transaction = NonInviteClientTransaction(isReliable: false, at: .zero)
        _ = drain { transaction.nextOutput() }
        var times: [Int64] = []
        while let deadline = transaction.nextDeadline, deadline < milliseconds(32_000) {
            transaction.advance(to: deadline)
            #expect(drain { transaction.nextOutput() } == [.transmitRequest])
            times.append(deadline.nanoseconds / 1_000_000)
        }
        #expect(times == [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500])
        transaction.advance(to: milliseconds(32_000))
        #expect(drain { transaction.nextOutput() } == [.timedOut, .terminated])
    }

    @Test("proceeding retransmits every T2")
    func proceeding() {
        var transaction = NonInviteClientTransaction(isReliable: false, at: .zero)
        transaction.handle(.provisional(response(100)), at: milliseconds(100))
        transaction.advance(to: milliseconds(500))
        #expect(transaction.nextDeadline == milliseconds(4_500))
    }

    @Test("the final response goes up once; timer K over UDP, nothing over TCP", arguments: [false, true])
    func completes(isReliable: Bool) {
        var transaction = NonInviteClientTransaction(isReliable: isReliable, at: .zero)
        _ = drain { transaction.nextOutput() }
        #expect(transaction.nextDeadline == milliseconds(isReliable ? 32_000 : 500))
        transaction.handle(.final(response(200)), at: milliseconds(100))
        transaction.handle(.final(response(200)), at: milliseconds(200))
        let outputs = drain { transaction.nextOutput() }
        #expect(outputs == (isReliable ? [.deliver(response(200)), .terminated] : [.deliver(response(200))]))
        if !isReliable {
            #expect(transaction.nextDeadline == milliseconds(5_100))
            transaction.advance(to: milliseconds(5_100))
            #expect(drain { transaction.nextOutput() } == [.terminated])
        }
    }
}

@Suite("Server INVITE transaction (RFC 3261 §17.2.1, RFC 6026)")
struct InviteServerTransactionTests {
    @Test("sends 100 after 200 ms of silence, once")
    func trying() {
        var transaction = InviteServerTransaction(isReliable: false, at: .zero)
        #expect(transaction.nextDeadline == milliseconds(200))
        transaction.advance(to: milliseconds(200))
        #expect(drain { transaction.nextOutput() } == [.transmitTrying])
        transaction.handle(.retransmission, at: milliseconds(500))
        #expect(drain { transaction.nextOutput() } == [.transmit])
        #expect(transaction.nextDeadline == nil)
    }

    @Test("a retransmitted INVITE gets 100 when there is nothing yet")
    func retransmission() {
        var transaction = InviteServerTransaction(isReliable: false, at: .zero)
        transaction.handle(.retransmission, at: milliseconds(50))
        #expect(drain { transaction.nextOutput() } == [.transmitTrying])
    }

    @Test("3xx to 6xx: timer G up to T2, H without ACK")
    func completed() {
        var transaction = InviteServerTransaction(isReliable: false, at: .zero)
        transaction.handle(.rejection, at: .zero)
        #expect(drain { transaction.nextOutput() } == [.transmit])
        var times: [Int64] = []
        while let deadline = transaction.nextDeadline, deadline < milliseconds(32_000) {
            transaction.advance(to: deadline)
            #expect(drain { transaction.nextOutput() } == [.transmit])
            times.append(deadline.nanoseconds / 1_000_000)
        }
        #expect(times == [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500])
        transaction.advance(to: milliseconds(32_000))
        #expect(drain { transaction.nextOutput() } == [.terminated])
    }

    @Test("ACK: confirmed until timer I over UDP, gone at once over TCP", arguments: [false, true])
    func confirmed(isReliable: Bool) {
        var transaction = InviteServerTransaction(isReliable: isReliable, at: .zero)
        transaction.handle(.rejection, at: .zero)
        _ = drain { transaction.nextOutput() }
        #expect(transaction.nextDeadline == milliseconds(isReliable ? 32_000 : 500))
        transaction.handle(.acknowledgement, at: milliseconds(100))
        if isReliable {
            #expect(drain { transaction.nextOutput() } == [.terminated])
        } else {
            #expect(transaction.nextDeadline == milliseconds(5_100))
            transaction.handle(.retransmission, at: milliseconds(200))
            #expect(drain { transaction.nextOutput() } == [])
            transaction.advance(to: milliseconds(5_100))
            #expect(drain { transaction.nextOutput() } == [.terminated])
        }
    }

    @Test("2xx: accepted until timer L, retransmitted INVITEs absorbed")
    func accepted() {
        var transaction = InviteServerTransaction(isReliable: false, at: .zero)
        transaction.handle(.success, at: .zero)
        transaction.handle(.retransmission, at: milliseconds(500))
        transaction.handle(.rejection, at: milliseconds(500))
        #expect(drain { transaction.nextOutput() } == [.transmit])
        #expect(transaction.nextDeadline == milliseconds(32_000))
        transaction.advance(to: milliseconds(32_000))
        #expect(drain { transaction.nextOutput() } == [.terminated])
    }
}

@Suite("Server non-INVITE transaction (RFC 3261 §17.2.2, RFC 4320)")
struct NonInviteServerTransactionTests {
    @Test("answers retransmissions with the last response; timer J over UDP")
    func completes() {
        var transaction = NonInviteServerTransaction(isReliable: false, at: .zero)
        transaction.handle(.retransmission, at: .zero)
        #expect(drain { transaction.nextOutput() } == [], "silent while trying")
        transaction.handle(.final, at: milliseconds(100))
        transaction.handle(.retransmission, at: milliseconds(500))
        transaction.handle(.final, at: milliseconds(600))
        #expect(drain { transaction.nextOutput() } == [.transmit, .transmit])
        #expect(transaction.nextDeadline == milliseconds(32_100))
        transaction.advance(to: milliseconds(32_100))
        #expect(drain { transaction.nextOutput() } == [.terminated])
    }

    @Test("is gone at once over TCP, and after 64·T1 when never answered")
    func ends() {
        var reliable = NonInviteServerTransaction(isReliable: true, at: .zero)
        reliable.handle(.final, at: .zero)
        #expect(drain { reliable.nextOutput() } == [.transmit, .terminated])
        var silent = NonInviteServerTransaction(isReliable: false, at: .zero)
        #expect(silent.nextDeadline == milliseconds(32_000))
        silent.advance(to: milliseconds(32_000))
        #expect(drain { silent.nextOutput() } == [.terminated])
    }
}
