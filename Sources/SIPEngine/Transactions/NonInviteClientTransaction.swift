import Primitives
import SignallingFormats

/// Client transaction of any other request: RFC 3261 §17.1.2, Figure 6.
package struct NonInviteClientTransaction: Sendable {
    package enum Input: Sendable {
        case provisional(SIPResponse), final(SIPResponse), transportFailed(reason: String)
    }
    package enum Output: Equatable, Sendable {
        case transmitRequest, deliver(SIPResponse), timedOut, transportFailed(reason: String), terminated
    }
    private enum State: Sendable { case trying, proceeding, completed, terminated }
    private enum Timer: Int, Sendable { case e, f, k }

    private var state = State.trying
    private var timers = TransactionTimers<Timer>()
    private var outputs = Queue<Output>()
    private var interval = SpecificationConstants.t1
    private let isReliable: Bool

    package init(isReliable: Bool, at now: MonotonicTime) {
        self.isReliable = isReliable
        outputs.append(.transmitRequest)
        if !isReliable { timers.start(.e, at: now + interval) }
        timers.start(.f, at: now + SpecificationConstants.transactionLifetime)
    }

    package var nextDeadline: MonotonicTime? { timers.earliest }
    package var isTerminated: Bool { state == .terminated }
    package var isUnanswered: Bool { state == .trying }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    package mutating func handle(_ input: Input, at now: MonotonicTime) {
        switch (state, input) {
        case (.trying, .provisional(let response)), (.proceeding, .provisional(let response)):
            outputs.append(.deliver(response))
            state = .proceeding
        case (.trying, .final(let response)), (.proceeding, .final(let response)):
            timers.stopAll()
            outputs.append(.deliver(response))
            if isReliable {
                outputs.append(.terminated)
                state = .terminated
            } else {
                timers.start(.k, at: now + SpecificationConstants.t4)
                state = .completed
            }
        case (.trying, .transportFailed(let reason)), (.proceeding, .transportFailed(let reason)):
            timers.stopAll()
            outputs.append(.transportFailed(reason: reason))
            outputs.append(.terminated)
            state = .terminated
        case (.completed, .provisional), (.completed, .final), (.completed, .transportFailed), (.terminated, _):
            break
        }
    }

    package mutating func advance(to now: MonotonicTime) {
        while let timer = timers.popDue(now) {
            switch (state, timer) {
            case (.trying, .e):
                interval = min(interval + interval, SpecificationConstants.t2)
                timers.start(.e, at: now + interval)
                outputs.append(.transmitRequest)
            case (.proceeding, .e):
                interval = SpecificationConstants.t2
                timers.start(.e, at: now + interval)
                outputs.append(.transmitRequest)
            case (.trying, .f), (.proceeding, .f):
                timers.stopAll()
                outputs.append(.timedOut)
                outputs.append(.terminated)
                state = .terminated
            case (.completed, .k):
                outputs.append(.terminated)
                state = .terminated
            case (.trying, .k), (.proceeding, .k), (.completed, .e), (.completed, .f), (.terminated, _):
                break  // stopped on the way into these states
            }
        }
    }
}
