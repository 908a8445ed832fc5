import EmergencyCalling
import LinuxIO
import Primitives

/// Writes leases down, off the call's path: in a later turn of the loop, by a thread of its own, for a disk may take
/// seconds and the loop carries the next call. The latest state only, again until it works.
final class CallbackLeaseKeeper {
    private enum Limits {
        static let retryInterval = Duration.seconds(5)
    }

    private let file: CallbackLeaseFile
    private let loop: EventLoop
    private let work: BackgroundWork
    private let log: StandardErrorLog
    private var pending: [CallbackLease]?
    private var isScheduled = false
    private var isFlushing = false
    /// What somebody must look at; nil: all is well.
    private(set) var alarm: String?

    init(stateDirectory: String, loop: EventLoop, log: StandardErrorLog) throws(SystemCallError) {
        file = CallbackLeaseFile(directory: stateDirectory)
        work = try BackgroundWork(loop: loop)
        self.loop = loop
        self.log = log
    }

    func read(window: Duration) -> [CallbackLease] {
        do throws(SystemCallError) {
            let leases = try file.read(window: window, at: Clock.monotonic, wall: Clock.wall)
            if !leases.isEmpty {
                log.write(.notice, "\(leases.count) caller(s) for help of the last run may still be called back")
            }
            return leases
        } catch {
            log.write(.error, "callback leases of the last run are lost, help cannot call back: \(error)")
            return []
        }
    }

    func keep(_ leases: [CallbackLease]) {
        pending = leases
        schedule(at: Clock.monotonic)
    }

    /// At the end of the process.
    func flush() {
        isFlushing = true
        work.wait()
        guard let leases = pending else { return }
        pending = nil
        finished(leases, Self.write(leases, to: file))
    }

    private func schedule(at time: MonotonicTime) {
        guard !isScheduled else { return }
        isScheduled = true
        loop.schedule(at: time) { [weak self] in
            self?.isScheduled = false
            self?.write()
        }
    }

    private static func write(_ leases: [CallbackLease], to file: CallbackLeaseFile) -> SystemCallError? {
        do throws(SystemCallError) {
            try file.write(CallbackLeaseFile.bytes(leases, at: Clock.monotonic, wall: Clock.wall))
            return nil
        } catch {
            return error
        }
    }

    /// What is written now is followed by what came meanwhile.
    private func write() {
        guard let leases = pending, !work.isBusy else { return }
        pending = nil
        let file = file
        let isStarted = work.start({ Self.write(leases, to: file) }) { [weak self] in self?.finished(leases, $0) }
        if !isStarted { finished(leases, Self.write(leases, to: file)) }
    }

    private func finished(_ leases: [CallbackLease], _ error: SystemCallError?) {
        guard let error else {
            if alarm != nil { log.write(.notice, "callback leases can be written down again") }
            alarm = nil
            if pending != nil, !isFlushing { write() }
            return
        }
        if alarm == nil {
            log.write(.error, "callback leases cannot be written down, a restart would lose them: \(error)")
        }
        alarm = "callback leases cannot be written down: \(error)"
        pending = pending ?? leases
        if !isFlushing { schedule(at: Clock.monotonic + Limits.retryInterval) }
    }
}
