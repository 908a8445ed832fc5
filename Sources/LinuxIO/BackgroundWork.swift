import Glibc
import Synchronization

/// Work that may wait for a disk, on a thread of its own that lives no longer than the work; one piece at a time.
///
/// The loop never waits for it: the end comes as an event. Idle, it costs one pipe and no memory.
package final class BackgroundWork {
    private enum Limits {
        static let stackBytes = 512 << 10
    }

    /// What the thread runs.
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// The result on its way from the thread to the loop.
    private final class Box<Result: Sendable>: Sendable {
        let result = Mutex<Result?>(nil)
    }

    private let loop: EventLoop
    private let done: OwnedDescriptor
    private let doneWriter: OwnedDescriptor
    private var token: EventLoop.Token?
    private var running: (thread: pthread_t, finished: () -> Void)?

    package init(loop: EventLoop) throws(SystemCallError) {
        var ends: [CInt] = [-1, -1]
        _ = try check(pipe(&ends), "pipe")
        done = OwnedDescriptor(owning: ends[0])
        doneWriter = OwnedDescriptor(owning: ends[1])
        self.loop = loop
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        token = try loop.register(ends[0], .readable) { [unowned self] _ in collect() }
    }

    deinit {
        if let token { loop.unregister(token) }
        if let running { pthread_join(running.thread, nil) }
    }

    package var isBusy: Bool { running != nil }

    /// Starts a thread for the work; false when one runs already or none is to be had.
    ///
    /// - Parameter finished: Called on the loop; the next piece of work may start in it.
    package func start<Result: Sendable>(
        _ work: @escaping @Sendable () -> Result, finished: @escaping (Result) -> Void
    ) -> Bool {
        guard running == nil else { return false }
        let box = Box<Result>()
        let descriptor = doneWriter.rawValue  // open until the thread has been joined
        let body = Body {
            let value = work()
            box.result.withLock { $0 = value }
            var byte: UInt8 = 1
            _ = write(descriptor, &byte, 1)  // never more than one byte in the pipe: cannot fail for want of room
        }
        var attributes = pthread_attr_t()
        guard pthread_attr_init(&attributes) == 0 else { return false }
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, Limits.stackBytes)
        var thread = pthread_t()
        let reference = Unmanaged.passRetained(body)  // the thread's own, released at its end
        let code = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, reference.toOpaque())
        guard code == 0 else {
            reference.release()
            return false
        }
        running = (
            thread,
            {
                if let value = box.result.withLock({ $0 }) { finished(value) }
            }
        )
        return true
    }

    /// Waits for the work under way, if any, and hands its result over: at the end of the process.
    package func wait() { if running != nil { collect() } }

    private func collect() {
        guard let (thread, finished) = running else { return }
        var byte: UInt8 = 0
        while read(done.rawValue, &byte, 1) < 0, errno == EINTR {}
        pthread_join(thread, nil)
        running = nil
        finished()
    }
}
