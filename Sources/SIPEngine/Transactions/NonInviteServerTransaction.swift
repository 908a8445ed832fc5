import Primitives

/// Server transaction of any other request: RFC 3261 §17.2.2, Figure 8.
///
/// The responses are kept by the layer as bytes: `transmit` means the last one given.
package struct NonInviteServerTransaction: Sendable {
    package enum Input: Sendable { case retransmission, provisional, final, transportFailed }
    package enum Output: Equatable, Sendable { case transmit, terminated }
    private enum State: Sendable { case trying, proceeding, completed, terminated }
    /// J; and F, the peer's: after it no answer is of use (RFC 4320 §4.2), so the entry goes.
    private enum Timer: Int, Sendable { case f, j }

    private var state = State.trying
    private var timers = TransactionTimers<Timer>()
    private var outputs = Queue<Output>()
    private let isReliable: Bool

    package init(isReliable: Bool, at now: MonotonicTime) {
        self.isReliable = isReliable
        timers.start(.f, at: now + SpecificationConstants.transactionLifetime)
    }

    package var nextDeadline: MonotonicTime? { timers.earliest }
    package var isTerminated: Bool { state == .terminated }
    /// Whether the final response was given.
    package var isCompleted: Bool { state == .completed }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    package mutating func handle(_ input: Input, at now: MonotonicTime) {
        switch (state, input) {
        case (.trying, .retransmission):
            break
        case (.trying, .provisional), (.proceeding, .provisional):
            outputs.append(.transmit)
            state = .proceeding
        case (.proceeding, .retransmission), (.completed, .retransmission):
            outputs.append(.transmit)
        case (.trying, .final), (.proceeding, .final):
            timers.stopAll()
            outputs.append(.transmit)
            if isReliable {
                outputs.append(.terminated)
                state = .terminated
            } else {
                timers.start(.j, at: now + SpecificationConstants.transactionLifetime)
                state = .completed
            }
        case (.completed, .provisional), (.completed, .final):
            break  // one final response only
        case (.trying, .transportFailed), (.proceeding, .transportFailed), (.completed, .transportFailed):
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
            case (.trying, .f), (.proceeding, .f), (.completed, .j):
                timers.stopAll()
                outputs.append(.terminated)
                state = .terminated
            case (.trying, .j), (.proceeding, .j), (.completed, .f), (.terminated, _):
                break  // stopped on the way into these states
            }
        }
    }
}
