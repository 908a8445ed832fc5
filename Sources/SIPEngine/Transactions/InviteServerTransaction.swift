import Primitives

/// Server INVITE transaction: RFC 3261 §17.2.1, Figure 7, with the accepted state of RFC 6026 §7.1.
///
/// The responses are kept by the layer as bytes: `transmit` means the last one given.
package struct InviteServerTransaction: Sendable {
    package enum Input: Sendable {
        case retransmission, acknowledgement
        /// What the user answers.
        case provisional, success, rejection
        case transportFailed
    }
    package enum Output: Equatable, Sendable {
        /// Send 100: the user was silent for 200 ms.
        case transmitTrying
        /// Send the last response once more, or for the first time.
        case transmit
        case terminated
    }
    private enum State: Sendable { case proceeding(isAnswered: Bool), accepted, completed, confirmed, terminated }
    /// G, H, I; and L, which also stands for the 200 ms before 100 since that state never runs L.
    private enum Timer: Int, Sendable { case g, h, i, l }

    private var state = State.proceeding(isAnswered: false)
    private var timers = TransactionTimers<Timer>()
    private var outputs = Queue<Output>()
    private var interval = SpecificationConstants.t1
    private let isReliable: Bool

    package init(isReliable: Bool, at now: MonotonicTime) {
        self.isReliable = isReliable
        timers.start(.l, at: now + SpecificationConstants.tryingDelay)
    }

    package var nextDeadline: MonotonicTime? { timers.earliest }
    package var isTerminated: Bool { if case .terminated = state { true } else { false } }
    /// Whether the user may still answer.
    package var isProceeding: Bool { if case .proceeding = state { true } else { false } }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    package mutating func handle(_ input: Input, at now: MonotonicTime) {
        switch (state, input) {
        case (.proceeding(isAnswered: false), .retransmission):
            timers.stop(.l)
            outputs.append(.transmitTrying)
            state = .proceeding(isAnswered: true)
        case (.proceeding(isAnswered: true), .retransmission):
            outputs.append(.transmit)
        case (.proceeding, .provisional):
            timers.stop(.l)
            outputs.append(.transmit)
            state = .proceeding(isAnswered: true)
        case (.proceeding, .success):
            timers.start(.l, at: now + SpecificationConstants.transactionLifetime)
            outputs.append(.transmit)
            state = .accepted
        case (.proceeding, .rejection):
            timers.stopAll()
            if !isReliable { timers.start(.g, at: now + interval) }
            timers.start(.h, at: now + SpecificationConstants.transactionLifetime)
            outputs.append(.transmit)
            state = .completed
        case (.proceeding, .acknowledgement):
            break  // acknowledges nothing we sent

        case (.accepted, .success):
            outputs.append(.transmit)
        case (.accepted, .retransmission), (.accepted, .acknowledgement), (.accepted, .provisional),
            (.accepted, .rejection):
            break  // RFC 6026: absorbed; the 2xx is repeated on its own schedule

        case (.completed, .retransmission):
            outputs.append(.transmit)
        case (.completed, .acknowledgement):
            timers.stopAll()
            if isReliable {
                outputs.append(.terminated)
                state = .terminated
            } else {
                timers.start(.i, at: now + SpecificationConstants.t4)
                state = .confirmed
            }
        case (.completed, .provisional), (.completed, .success), (.completed, .rejection):
            break  // one final response only

        case (.confirmed, .retransmission), (.confirmed, .acknowledgement), (.confirmed, .provisional),
            (.confirmed, .success), (.confirmed, .rejection), (.confirmed, .transportFailed):
            break

        case (.proceeding, .transportFailed), (.accepted, .transportFailed):
            break  // the peer may repeat its request, or a 2xx may go out over a new connection
        case (.completed, .transportFailed):
            timers.stopAll()
            outputs.append(.terminated)
            state = .terminated

        case (.terminated, _):
            break
        }
    }

    package mutating func advance(to now: MonotonicTime) {
        while let timer = timers.popDue(now) {
            switch (state, timer) {
            case (.proceeding, .l):
                outputs.append(.transmitTrying)
                state = .proceeding(isAnswered: true)
            case (.completed, .g):
                interval = min(interval + interval, SpecificationConstants.t2)
                timers.start(.g, at: now + interval)
                outputs.append(.transmit)
            case (.completed, .h), (.confirmed, .i), (.accepted, .l):
                timers.stopAll()
                outputs.append(.terminated)
                state = .terminated
            case (.proceeding, .g), (.proceeding, .h), (.proceeding, .i), (.accepted, .g), (.accepted, .h),
                (.accepted, .i), (.completed, .i), (.completed, .l), (.confirmed, .g), (.confirmed, .h),
                (.confirmed, .l), (.terminated, _):
                break  // stopped on the way into these states
            }
        }
    }
}
