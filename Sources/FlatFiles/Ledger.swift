import LinuxIO
import Primitives

/// Keeps records in `LedgerFiles` without ever making the loop wait for a disk.
///
/// `append` only queues. A thread that lives as long as there is something to do writes what waits, all at once, and
/// waits for the disk. When the disk is full it gives up the reserve; what even then cannot be written stays in memory,
/// bounded, and is tried again.
package final class Ledger {
    package struct Options: Sendable {
        package var directory: String
        package var name: String
        /// The member of a record that names it.
        package var key = "id"
        package var reserveBytes = 1 << 20
        /// Beyond it, of each key only the latest entry is kept.
        package var pendingMax = 256
        /// Then the oldest go, and are counted.
        package var pendingHardMax = 2_048
        package var retryInterval = Duration.seconds(2)
        /// How often the reserve is tried to be had again.
        package var reserveInterval = Duration.seconds(30)

        package init(directory: String, name: String) {
            self.directory = directory
            self.name = name
        }
    }

    /// What an operator must know; all is well when `alarms` is empty.
    package struct Health: Equatable, Sendable {
        package var pending = 0
        /// Entries nobody will ever read.
        package var lost = 0
        package var written = 0
        /// Why the last try failed; nil when it did not.
        package var error: SystemCallError?
        package var hasReserve = true
        /// From the start of a write to the word of the disk, the longest so far.
        package var slowestWrite = Duration.zero

        package var alarms: [String] {
            var alarms: [String] = []
            if let error { alarms.append("records cannot be written, \(pending) wait in memory: \(error)") }
            if lost > 0 { alarms.append("\(lost) record lines are lost") }
            if !hasReserve { alarms.append("the disk is full: the space kept free for records is in use") }
            return alarms
        }
    }

    /// What the start found of the last run.
    package struct Opening: Sendable {
        /// Records of recent months as they stood last, with the time they were written.
        package var records: [(record: JSONValue, written: String)] = []
        package var tornBytes = 0
        package var sequence: Int64 = 0
    }

    private struct Outcome: Sendable {
        var chain: LedgerFiles.Chain?
        var opening: Opening?
        var writtenCount = 0
        var tornBytes = 0
        var hasReserve = true
        var error: SystemCallError?
        var duration = Duration.zero
    }

    package private(set) var health = Health()
    /// Something an operator should read changed: alarms, a torn line.
    package var changed: () -> Void = {}
    /// Called once, when the files have been read; entries wait for it.
    package var opened: (Opening) -> Void = { _ in }

    private let options: Options
    private let files: LedgerFiles
    private let reserve: SpaceReserve
    private let loop: EventLoop
    private let work: BackgroundWork
    private var chain: LedgerFiles.Chain?
    private var pending: [LedgerFiles.Entry] = []
    private var underway = 0
    private var retry: EventLoop.TimerToken?

    package init(_ options: Options, loop: EventLoop) throws(SystemCallError) {
        self.options = options
        self.loop = loop
        files = LedgerFiles(directory: options.directory, name: options.name)
        reserve = SpaceReserve(path: "\(options.directory)/\(options.name).reserve", byteCount: options.reserveBytes)
        work = try BackgroundWork(loop: loop)
    }

    /// Reads what the last run left, in the background.
    package func open() { startWork() }

    /// Queues an entry; it is written as soon as nothing else is being written.
    package func append(_ entry: LedgerFiles.Entry) {
        pending.append(entry)
        if pending.count - underway > options.pendingMax { thinOut() }
        health.pending = pending.count
        // While the disk refuses, the timer tries.
        if health.error == nil { startWork() }
    }

    /// Writes what waits and waits for it, at the end of the process.
    package func flush() {
        startWork()
        while work.isBusy { work.wait() }  // each end starts what waits, until nothing does or the disk refuses
    }

    /// Of what does not run yet, each key keeps its latest; then the oldest go.
    private func thinOut() {
        var seen: Set<String> = []
        let waiting = pending[underway...].reversed().filter { seen.insert($0.key).inserted }.reversed()
        pending.replaceSubrange(underway..., with: waiting)
        let excess = pending.count - underway - options.pendingHardMax
        guard excess > 0 else { return }
        pending.removeSubrange(underway..<(underway + excess))
        health.lost += excess
        if health.lost == excess { changed() }
    }

    private func startWork() {
        guard !work.isBusy, !pending.isEmpty || chain == nil || !health.hasReserve else { return }
        let (batch, chain, files, reserve, options) = (pending, chain, files, reserve, options)
        underway = batch.count
        let isStarted = work.start({ Self.perform(batch, chain, files, reserve, options) }) { [unowned self] outcome in
            finish(outcome)
        }
        if !isStarted {
            underway = 0
            tryAgain(after: options.retryInterval)
        }
    }

    private func finish(_ outcome: Outcome) {
        let alarms = health.alarms
        chain = outcome.chain ?? chain
        pending.removeFirst(outcome.writtenCount)
        underway = 0
        health.pending = pending.count
        health.written += outcome.writtenCount
        health.error = outcome.error
        health.hasReserve = outcome.hasReserve
        health.slowestWrite = max(health.slowestWrite, outcome.duration)
        if let opening = outcome.opening { opened(opening) }
        if health.alarms != alarms { changed() }
        if health.error != nil {
            tryAgain(after: options.retryInterval)
        } else if !pending.isEmpty {
            startWork()
        } else if !health.hasReserve {
            tryAgain(after: options.reserveInterval)
        }
    }

    private func tryAgain(after interval: Duration) {
        if let retry { loop.cancel(retry) }  // the reserve's may be far off
        retry = loop.schedule(at: Clock.monotonic + interval) { [weak self] in
            self?.retry = nil
            self?.startWork()
        }
    }

    // MARK: On the other thread

    private static func perform(
        _ batch: [LedgerFiles.Entry], _ chain: LedgerFiles.Chain?, _ files: LedgerFiles, _ reserve: SpaceReserve,
        _ options: Options
    ) -> Outcome {
        let start = Clock.monotonic
        var outcome = Outcome()
        do throws(SystemCallError) {
            var position: LedgerFiles.Chain
            if let chain {
                position = chain
            } else {
                let opening = try open(files, options)
                position = try files.chain()
                outcome.chain = position
                outcome.opening = opening
                outcome.opening?.sequence = position.sequence
            }
            outcome.hasReserve = (try? reserve.hold()) ?? false
            let before = position.sequence
            defer {
                outcome.chain = position
                outcome.writtenCount = Int(position.sequence - before)
            }
            do throws(SystemCallError) {
                outcome.tornBytes += try files.append(batch, to: &position)
            } catch {
                guard error.code == .noSpace || error.code == .quotaExceeded, reserve.release() else { throw error }
                outcome.hasReserve = false
                let rest = Array(batch.dropFirst(Int(position.sequence - before)))
                outcome.tornBytes += try files.append(rest, to: &position)
            }
        } catch {
            outcome.error = error
        }
        outcome.duration = Clock.monotonic - start
        return outcome
    }

    private static func open(_ files: LedgerFiles, _ options: Options) throws(SystemCallError) -> Opening {
        try Files.createDirectory(options.directory, mode: 0o700)
        var opening = Opening()
        let months = try files.months()
        for month in months { opening.tornBytes += try files.file(month: month).repair() }
        opening.records = try files.records(ofMonths: months.suffix(3), key: options.key)
        return opening
    }
}
