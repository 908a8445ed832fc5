import Primitives
import SignallingFormats

/// Repeats a 2xx to INVITE until its ACK, over any transport, since a later hop may be UDP (RFC 3261 §13.3.1.4).
struct SuccessRetransmission: Sendable {
    enum Output: Equatable, Sendable { case transmit, acknowledgementMissing }
    private enum Timer: Int, Sendable { case retransmit, limit }

    private var timers = TransactionTimers<Timer>()
    private var interval = SpecificationConstants.t1

    init(at now: MonotonicTime) {
        timers.start(.retransmit, at: now + interval)
        timers.start(.limit, at: now + SpecificationConstants.transactionLifetime)
    }

    var nextDeadline: MonotonicTime? { timers.earliest }

    /// What is due, one thing at a time; nil when nothing is.
    mutating func popDue(_ now: MonotonicTime) -> Output? {
        switch timers.popDue(now) {
        case .retransmit?:
            interval = min(interval + interval, SpecificationConstants.t2)
            timers.start(.retransmit, at: now + interval)
            return .transmit
        case .limit?:
            timers.stopAll()
            return .acknowledgementMissing
        case nil: return nil
        }
    }
}

/// The reliable provisional responses of one INVITE: one at a time is under way, the others wait (RFC 3262 §3).
struct ReliableProvisionals: Sendable {
    enum Output: Equatable, Sendable { case transmit([UInt8]), notAcknowledged }
    private enum Timer: Int, Sendable { case retransmit, limit }
    private struct Pending: Sendable {
        let sequenceNumber: UInt32
        let bytes: [UInt8]
        let hasDescription: Bool
    }

    private var timers = TransactionTimers<Timer>()
    private var interval = SpecificationConstants.t1
    private var nextSequenceNumber: UInt32
    private var pending: Pending?
    private var waiting: [SIPResponse] = []

    /// The first RSeq is random in 1...2^31-1, here with room to count up.
    init(firstSequenceNumber: UInt32) { nextSequenceNumber = firstSequenceNumber % 0x3FFF_FFFF + 1 }

    var nextDeadline: MonotonicTime? { timers.earliest }
    var isWaitingFull: Bool { waiting.count >= Limits.reliableProvisionalQueueMax }

    /// Whether a 2xx has to wait: an offer or answer of ours is not acknowledged yet.
    var holdsSuccess: Bool { pending?.hasDescription == true || waiting.contains { !$0.body.isEmpty } }

    /// The bytes to send now; nil when another response is still under way.
    mutating func send(_ response: SIPResponse, at now: MonotonicTime) -> [UInt8]? {
        guard pending == nil else {
            waiting.append(response)
            return nil
        }
        var numbered = response
        if !numbered.headers.contains("100rel", in: .require) {
            numbered.headers.append(.require, "100rel")
        }
        numbered.headers.set(.rseq, String(nextSequenceNumber))
        let bytes = numbered.bytes
        pending = Pending(
            sequenceNumber: nextSequenceNumber, bytes: bytes, hasDescription: !response.body.isEmpty)
        nextSequenceNumber += 1
        interval = SpecificationConstants.t1
        timers.start(.retransmit, at: now + interval)
        timers.start(.limit, at: now + SpecificationConstants.transactionLifetime)
        return bytes
    }

    /// false when nothing of this number waits for a PRACK.
    mutating func acknowledge(_ sequenceNumber: UInt32) -> Bool {
        guard pending?.sequenceNumber == sequenceNumber else { return false }
        pending = nil
        timers.stopAll()
        return true
    }

    mutating func nextWaiting() -> SIPResponse? {
        pending == nil && !waiting.isEmpty ? waiting.removeFirst() : nil
    }

    /// A final response went out: nothing is repeated, but the PRACK may still come.
    mutating func finish() {
        timers.stopAll()
        waiting = []
    }

    mutating func popDue(_ now: MonotonicTime) -> Output? {
        guard let pending else { return nil }
        switch timers.popDue(now) {
        case .retransmit?:
            interval += interval
            timers.start(.retransmit, at: now + interval)
            return .transmit(pending.bytes)
        case .limit?:
            timers.stopAll()
            waiting = []
            return .notAcknowledged
        case nil: return nil
        }
    }
}
