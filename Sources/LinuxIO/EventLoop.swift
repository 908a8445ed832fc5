import CLinux
import Glibc
import Primitives

/// One thread's wait for everything: descriptors, timers and postponed work (epoll, level-triggered).
///
/// Handlers run one after another on the thread that runs the loop. They may register, change and unregister
/// anything, also descriptors whose events wait in the same batch: those events are then dropped.
package final class EventLoop {
    /// What a handler wants to hear of; hang-up and error are always told.
    package struct Interest: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let readable = Interest(rawValue: EPOLLIN.rawValue)
        package static let writable = Interest(rawValue: EPOLLOUT.rawValue)
    }

    /// What a descriptor is ready for.
    package struct Readiness: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let readable = Readiness(rawValue: EPOLLIN.rawValue)
        package static let writable = Readiness(rawValue: EPOLLOUT.rawValue)
        package static let error = Readiness(rawValue: EPOLLERR.rawValue)
        package static let hangUp = Readiness(rawValue: EPOLLHUP.rawValue)
    }

    /// Names one registration; never reused, so that a late use of it does nothing.
    package struct Token: Hashable, Sendable {
        fileprivate let slot: UInt32
        fileprivate let generation: UInt32
    }

    /// Names one timer; never reused.
    package struct TimerToken: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    private struct Slot {
        var generation: UInt32
        var descriptor: CInt
        var interest: Interest
        var handler: ((Readiness) -> Void)?
    }

    private enum Limits {
        static let eventsPerWait = 64  // more stay in the kernel until the next round
    }

    private let epoll: OwnedDescriptor
    private var slots: [Slot] = []
    private var freeSlots: [UInt32] = []
    private var events = [clinux_event](repeating: clinux_event(), count: Limits.eventsPerWait)
    private var timers = TimerTable<TimerToken>()
    private var timerActions: [TimerToken: () -> Void] = [:]
    private var nextTimer: UInt64 = 0
    private var postponed: [() -> Void] = []
    private var isStopped = false

    /// Where sockets of this loop receive; used only while a handler runs.
    let receiveBuffer = ReceiveBuffer()

    package init() throws(SystemCallError) {
        epoll = OwnedDescriptor(owning: try check(epoll_create1(CInt(EPOLL_CLOEXEC)), "epoll_create1"))
    }

    /// How many descriptors are registered.
    package var registrationCount: Int { slots.count - freeSlots.count }

    // MARK: Descriptors

    /// Watches a descriptor that the caller owns; unregister before closing it.
    package func register(
        _ descriptor: CInt, _ interest: Interest, handler: @escaping (Readiness) -> Void
    ) throws(SystemCallError) -> Token {
        let index: UInt32
        if let free = freeSlots.popLast() {
            index = free
        } else {
            index = UInt32(slots.count)
            slots.append(Slot(generation: 0, descriptor: -1, interest: [], handler: nil))
        }
        let token = Token(slot: index, generation: slots[Int(index)].generation)
        let result = clinux_epoll_control(
            epoll.rawValue, EPOLL_CTL_ADD, descriptor, interest.rawValue, Self.data(token))
        guard result == 0 else {
            freeSlots.append(index)
            throw SystemCallError(call: "epoll_ctl", code: Errno(rawValue: -result), context: "add \(descriptor)")
        }
        slots[Int(index)].descriptor = descriptor
        slots[Int(index)].interest = interest
        slots[Int(index)].handler = handler
        return token
    }

    /// Changes what a registration waits for; does nothing when it is gone or nothing changes.
    package func modify(_ token: Token, _ interest: Interest) throws(SystemCallError) {
        guard let index = index(of: token), slots[index].interest != interest else { return }
        let descriptor = slots[index].descriptor
        let result = clinux_epoll_control(
            epoll.rawValue, EPOLL_CTL_MOD, descriptor, interest.rawValue, Self.data(token))
        guard result == 0 else {
            throw SystemCallError(call: "epoll_ctl", code: Errno(rawValue: -result), context: "modify \(descriptor)")
        }
        slots[index].interest = interest
    }

    /// Forgets a registration, from inside a handler too; does nothing when it is gone.
    package func unregister(_ token: Token) {
        guard let index = index(of: token) else { return }
        // Fails only when the descriptor was closed first, and then the kernel has forgotten it already.
        _ = clinux_epoll_control(epoll.rawValue, EPOLL_CTL_DEL, slots[index].descriptor, 0, 0)
        slots[index].generation &+= 1
        slots[index].descriptor = -1
        slots[index].handler = nil
        freeSlots.append(token.slot)
    }

    private func index(of token: Token) -> Int? {
        let index = Int(token.slot)
        guard index < slots.count, slots[index].generation == token.generation, slots[index].handler != nil else {
            return nil
        }
        return index
    }

    private static func data(_ token: Token) -> UInt64 { UInt64(token.generation) << 32 | UInt64(token.slot) }

    // MARK: Timers and postponed work

    /// Runs an action once when the time has come. Engines have their own timers; these are for adapters and tests.
    @discardableResult
    package func schedule(at deadline: MonotonicTime, _ action: @escaping () -> Void) -> TimerToken {
        nextTimer += 1
        let token = TimerToken(number: nextTimer)
        timers.start(token, at: deadline)
        timerActions[token] = action
        return token
    }

    /// Stops a timer; does nothing when it has run.
    package func cancel(_ token: TimerToken) {
        timers.stop(token)
        timerActions[token] = nil
    }

    /// Runs an action soon, outside of the handler that asks for it.
    package func postpone(_ action: @escaping () -> Void) { postponed.append(action) }

    // MARK: Running

    /// Waits for one batch of events, at most until `deadline` (nil: for ever), and handles it.
    ///
    /// Returns how many events, timers and postponed actions ran; 0 says that the deadline passed or a signal came.
    @discardableResult
    package func runOnce(deadline: MonotonicTime?) throws(SystemCallError) -> Int {
        var timeout: Int64 = -1
        if !postponed.isEmpty {
            timeout = 0
        } else if let earliest = [deadline, timers.earliest].compactMap({ $0 }).min() {
            timeout = max(0, (earliest - Clock.monotonic).wholeNanoseconds)
        }
        let count = clinux_epoll_wait(epoll.rawValue, &events, CInt(Limits.eventsPerWait), timeout)
        if count < 0 {
            let code = Errno(rawValue: -count)
            guard code == .interrupted else { throw SystemCallError(call: "epoll_wait", code: code) }
        }
        var handled = 0
        for position in 0..<max(0, Int(count)) {
            let event = events[position]
            let token = Token(
                slot: UInt32(truncatingIfNeeded: event.data), generation: UInt32(truncatingIfNeeded: event.data >> 32))
            guard let index = index(of: token), let handler = slots[index].handler else { continue }
            handler(Readiness(rawValue: event.events))
            handled += 1
        }
        handled += runPostponed()
        if !timers.isEmpty {
            let now = Clock.monotonic
            while let token = timers.popDue(now) {
                timerActions.removeValue(forKey: token)?()
                handled += 1
            }
        }
        return handled
    }

    /// Only what was postponed before: an action that postpones itself does not keep the loop from waiting sockets.
    private func runPostponed() -> Int {
        guard !postponed.isEmpty else { return 0 }
        let actions = postponed
        postponed = []
        for action in actions { action() }
        return actions.count
    }

    /// Runs until `stop()` or until the deadline.
    package func run(until deadline: MonotonicTime) throws(SystemCallError) {
        isStopped = false
        while !isStopped, Clock.monotonic < deadline { try runOnce(deadline: deadline) }
    }

    /// Runs engines until `stop()`: waits no longer than their next deadline, then tells them the time.
    package func run(
        nextDeadline: () -> MonotonicTime?, advance: (MonotonicTime) -> Void
    ) throws(SystemCallError) {
        isStopped = false
        while !isStopped {
            try runOnce(deadline: nextDeadline())
            advance(Clock.monotonic)
        }
    }

    /// Ends `run` after the present batch.
    package func stop() { isStopped = true }
}
