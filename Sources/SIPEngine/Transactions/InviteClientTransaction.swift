import Primitives
import SignallingFormats

/// Client INVITE transaction: RFC 3261 §17.1.1, Figure 5, with the accepted state of RFC 6026 §7.2 and the
/// CANCEL rules of RFC 3261 §9.1.
package struct InviteClientTransaction: Sendable {
    package enum Input: Sendable {
        case provisional(SIPResponse), success(SIPResponse), rejection(SIPResponse)
        case cancel, transportFailed(reason: String)
    }
    package enum Output: Equatable, Sendable {
        case transmitRequest, transmitACK(for: SIPResponse), transmitCANCEL
        case deliver(SIPResponse), timedOut, transportFailed(reason: String), terminated
    }
    private enum State: Sendable {
        /// No response yet; a CANCEL waits for the first one.
        case calling(isCancelled: Bool)
        case proceeding(isCancelled: Bool)
        case accepted, completed, terminated
    }
    /// After a CANCEL, timer B runs again: the peer has 64·T1 to send its final response.
    private enum Timer: Int, Sendable { case a, b, d, m }

    private var state = State.calling(isCancelled: false)
    private var timers = TransactionTimers<Timer>()
    private var outputs = Queue<Output>()
    private var interval = SpecificationConstants.t1
    private let isReliable: Bool

    package init(isReliable: Bool, at now: MonotonicTime) {
        self.isReliable = isReliable
        outputs.append(.transmitRequest)
        if !isReliable { timers.start(.a, at: now + interval) }
        timers.start(.b, at: now + SpecificationConstants.transactionLifetime)
    }

    package var nextDeadline: MonotonicTime? { timers.earliest }
    package var isTerminated: Bool { if case .terminated = state { true } else { false } }
    /// Neither answered nor cancelled: a transport failure may still be mended by another transport.
    package var isUnanswered: Bool { if case .calling(isCancelled: false) = state { true } else { false } }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    package mutating func handle(_ input: Input, at now: MonotonicTime) {
        switch (state, input) {
        case (.calling(let isCancelled), .provisional(let response)):
            timers.stop(.a, .b)
            outputs.append(.deliver(response))
            if isCancelled { sendCANCEL(at: now) }
            state = .proceeding(isCancelled: isCancelled)
        case (.calling(isCancelled: _), .cancel):
            state = .calling(isCancelled: true)
        case (.calling, .transportFailed(let reason)):
            timers.stopAll()
            outputs.append(.transportFailed(reason: reason))
            outputs.append(.terminated)
            state = .terminated

        case (.proceeding, .provisional(let response)):
            outputs.append(.deliver(response))
        case (.proceeding(isCancelled: false), .cancel):
            sendCANCEL(at: now)
            state = .proceeding(isCancelled: true)
        case (.proceeding(isCancelled: true), .cancel), (.proceeding, .transportFailed):
            break  // nothing of ours is under way; the final response may come by another connection

        case (.calling, .success(let response)), (.proceeding, .success(let response)):
            timers.stopAll()
            timers.start(.m, at: now + SpecificationConstants.transactionLifetime)
            outputs.append(.deliver(response))
            state = .accepted
        case (.calling, .rejection(let response)), (.proceeding, .rejection(let response)):
            timers.stopAll()
            outputs.append(.deliver(response))
            outputs.append(.transmitACK(for: response))
            if isReliable {
                outputs.append(.terminated)
                state = .terminated
            } else {
                timers.start(.d, at: now + SpecificationConstants.transactionLifetime)
                state = .completed
            }

        case (.accepted, .success(let response)):  // RFC 6026: repeated and forked 2xx go up too
            outputs.append(.deliver(response))
        case (.accepted, .provisional), (.accepted, .rejection), (.accepted, .cancel), (.accepted, .transportFailed):
            break

        case (.completed, .rejection(let response)):
            outputs.append(.transmitACK(for: response))
        case (.completed, .transportFailed(let reason)):
            timers.stopAll()
            outputs.append(.transportFailed(reason: reason))
            outputs.append(.terminated)
            state = .terminated
        case (.completed, .provisional), (.completed, .success), (.completed, .cancel):
            break

        case (.terminated, _):
            break
        }
    }

    package mutating func advance(to now: MonotonicTime) {
        while let timer = timers.popDue(now) {
            switch (state, timer) {
            case (.calling, .a):
                interval += interval
                timers.start(.a, at: now + interval)
                outputs.append(.transmitRequest)
            case (.calling, .b), (.proceeding, .b):
                timers.stopAll()
                outputs.append(.timedOut)
                outputs.append(.terminated)
                state = .terminated
            case (.completed, .d), (.accepted, .m):
                timers.stopAll()
                outputs.append(.terminated)
                state = .terminated
            case (.calling, .d), (.calling, .m), (.proceeding, .a), (.proceeding, .d), (.proceeding, .m),
                (.accepted, .a), (.accepted, .b), (.accepted, .d), (.completed, .a), (.completed, .b),
                (.completed, .m), (.terminated, _):
                break  // stopped on the way into these states
            }
        }
    }

    private mutating func sendCANCEL(at now: MonotonicTime) {
        timers.start(.b, at: now + SpecificationConstants.transactionLifetime)
        outputs.append(.transmitCANCEL)
    }
}
