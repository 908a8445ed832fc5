import LinuxIO
import OutreachJobs
import Primitives

/// `cresset-courier` as long as there is something to send: started with the first job, ended when none has come for a
/// while. Nothing here waits, and every job gets one result, whatever becomes of the process.
final class CourierProcess {
    private enum Limits {
        static let jobsMax = 128  // one more fails at once
        static let idle = Duration.seconds(30)
        /// How often a job may have been in a courier that died, before it is given up.
        static let startsMax = 3
    }

    private struct Pending {
        let line: [UInt8]
        var starts = 0
        let completion: (CourierResult) -> Void
    }

    private let path: String
    private let loop: EventLoop
    private let log: StandardErrorLog
    private var process: HelperProcess?
    /// Its input has been closed; new jobs wait for the next one.
    private var isLeaving = false
    private var pending: [UInt64: Pending] = [:]
    private var lastID: UInt64 = 0
    private var idleTimer: EventLoop.TimerToken?

    init(path: String, loop: EventLoop, log: StandardErrorLog) {
        self.path = path
        self.loop = loop
        self.log = log
    }

    /// `completion` comes once, after this has returned.
    func send(
        _ work: CourierJob.Work, authorities: String?, timeout: Duration,
        completion: @escaping (CourierResult) -> Void
    ) {
        lastID += 1
        let id = lastID
        guard pending.count < Limits.jobsMax else {
            let result = CourierResult(id: id, isDelivered: false, text: "too many notices wait to be sent")
            return loop.postpone { completion(result) }
        }
        let job = CourierJob(id: id, work: work, authorities: authorities, timeout: timeout)
        pending[id] = Pending(line: Array(job.json.text.utf8), completion: completion)
        if let idleTimer { loop.cancel(idleTimer) }
        idleTimer = nil
        if let process, !isLeaving {
            give(id, to: process)
        } else if process == nil {
            start()
        }
    }

    private func give(_ id: UInt64, to process: HelperProcess) {
        guard let job = pending[id] else { return }
        pending[id]?.starts += 1
        process.send(job.line)
    }

    private func start() {
        do throws(SystemCallError) {
            let started = try HelperProcess(
                path: path, loop: loop, onLine: { [unowned self] line in take(line) },
                onEnd: { [unowned self] reason in ended(reason) })
            process = started
            isLeaving = false
            for id in pending.keys.sorted() { give(id, to: started) }
        } catch {
            log.write(.error, "notices: no e-mail and no webhook can be sent: \(error)")
            for id in pending.keys.sorted() {
                let result = CourierResult(id: id, isDelivered: false, text: "\(error)")
                loop.postpone { [weak self] in self?.finish(result) }
            }
        }
    }

    private func take(_ line: [UInt8]) {
        guard let json = try? JSONValue(parsing: line.span), let result = CourierResult(json: json) else {
            return log.write(.error, "notices: the courier wrote a line that is no result")
        }
        finish(result)
        guard pending.isEmpty, idleTimer == nil else { return }
        idleTimer = loop.schedule(at: Clock.monotonic + Limits.idle) { [unowned self] in
            idleTimer = nil
            isLeaving = true
            process?.finish()
        }
    }

    private func finish(_ result: CourierResult) {
        pending.removeValue(forKey: result.id)?.completion(result)
    }

    /// What it had not answered for goes to the next one.
    private func ended(_ reason: String) {
        // Let go of outside of its own call.
        let old = process
        loop.postpone { _ = old }
        process = nil
        if !isLeaving || !pending.isEmpty { log.write(.warning, "notices: the courier ended, \(reason)") }
        isLeaving = false
        for (id, job) in pending.sorted(by: { $0.key < $1.key }) where job.starts >= Limits.startsMax {
            finish(CourierResult(id: id, isDelivered: false, text: "the courier ended (\(reason))"))
        }
        if !pending.isEmpty, process == nil { start() }
    }
}
