import CLinux
import Glibc

/// A program of ours that runs beside us: lines to its standard input, lines from its standard output; nothing waits.
///
/// A child that is let go of is killed and reaped; when we end without that, it finds the end of its input.
package final class HelperProcess {
    private enum Limits {
        static let lineByteCount = 1 << 20  // a child that writes a longer line is ended
        static let readsPerWakeUp = 4
    }

    private let loop: EventLoop
    private let process: pid_t
    /// Standard input and output of the child are the other end.
    private let socket: OwnedDescriptor
    private var token: EventLoop.Token?
    private var unsent: [UInt8] = []
    private var received: [UInt8] = []
    private var isFinishing = false
    private var onLine: (([UInt8]) -> Void)?
    private var onEnd: ((String) -> Void)?

    /// Starts the program at `path`, with our user and our standard error, and no other descriptor.
    ///
    /// - Parameters:
    ///   - onLine: A line it wrote, without the line feed.
    ///   - onEnd: It has ended, how in words; once, and not for a child that is let go of.
    package init(
        path: String, loop: EventLoop, onLine: @escaping ([UInt8]) -> Void, onEnd: @escaping (String) -> Void
    ) throws(SystemCallError) {
        var ends: [CInt] = [-1, -1]
        let kind = SocketKind.stream.number | CInt(SOCK_CLOEXEC.rawValue)
        _ = try check(socketpair(AF_UNIX, kind, 0, &ends), "socketpair")
        let ours = OwnedDescriptor(owning: ends[0])
        let theirs = OwnedDescriptor(owning: ends[1])
        process = try Self.start(path, with: theirs.rawValue)
        let number = ours.rawValue
        socket = ours
        self.loop = loop
        self.onLine = onLine
        self.onEnd = onEnd
        do throws(SystemCallError) {
            token = try loop.register(number, .readable) { [unowned self] readiness in handle(readiness) }
        } catch {
            kill(process, SIGKILL)
            waitpid(process, nil, 0)
            onEndTaken()
            throw error
        }
    }

    deinit {
        guard onEnd != nil else { return }
        if let token { loop.unregister(token) }
        kill(process, SIGKILL)
        waitpid(process, nil, 0)  // it is dead: no wait worth the name
    }

    private func onEndTaken() { (onLine, onEnd) = (nil, nil) }

    private static func start(_ path: String, with descriptor: CInt) throws(SystemCallError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, descriptor, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, descriptor, STDOUT_FILENO)
        // What we block and ignore is ours, not the child's.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var changed = none
        for signal in [SIGPIPE, SIGHUP, SIGINT, SIGTERM] { sigaddset(&changed, signal) }
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &changed)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var process: pid_t = 0
        let result = path.withCString { path in
            // Both vectors end with nil, and live until the call returns.
            var arguments: [UnsafeMutablePointer<CChar>?] = [UnsafeMutablePointer(mutating: path), nil]
            var environment: [UnsafeMutablePointer<CChar>?] = [nil]
            return posix_spawn(&process, path, &actions, &attributes, &arguments, &environment)
        }
        guard result == 0 else { throw SystemCallError(call: "start", code: Errno(rawValue: result), context: path) }
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), id_t(process), 0)  // not before calls, as we are
        return process
    }

    /// Bytes that the child has not taken yet.
    package var unsentByteCount: Int { unsent.count }

    /// Puts a line behind those it has not taken yet; does nothing after `finish`.
    package func send(_ line: [UInt8]) {
        guard !isFinishing, onEnd != nil else { return }
        unsent += line
        unsent.append(0x0A)
        write()
    }

    /// The end of its input, once it has taken all lines; it ends then, and `onEnd` is called.
    package func finish() {
        isFinishing = true
        write()
    }

    private func handle(_ readiness: EventLoop.Readiness) {
        if readiness.contains(.writable) { write() }
        if !readiness.isDisjoint(with: [.readable, .hangUp, .error]) { read() }
    }

    private func write() {
        while !unsent.isEmpty {
            let count = unsent.withUnsafeBytes {
                Glibc.send(socket.rawValue, $0.baseAddress, $0.count, CInt(MSG_DONTWAIT) | noSignal)
            }
            if count < 0 {
                let code = Errno.last
                if code == .interrupted { continue }
                if code != .again { unsent = [] }  // it is gone; reading finds that out
                break
            }
            unsent.removeFirst(count)
        }
        if unsent.isEmpty, isFinishing { shutdown(socket.rawValue, CInt(SHUT_WR)) }
        guard let token else { return }
        do throws(SystemCallError) {
            try loop.modify(token, unsent.isEmpty ? .readable : [.readable, .writable])
        } catch {
            end("cannot be written to: \(error)")
        }
    }

    private func read() {
        var chunk = [UInt8](repeating: 0, count: 16_384)
        for _ in 0..<Limits.readsPerWakeUp {
            let count = recv(socket.rawValue, &chunk, chunk.count, CInt(MSG_DONTWAIT))
            if count < 0 {
                let code = Errno.last
                if code == .again || code == .interrupted { return }
                return end(nil)
            }
            guard count > 0 else { return end(nil) }
            received += chunk[..<count]
            while let lineEnd = received.firstIndex(of: 0x0A) {
                let line = Array(received[..<lineEnd])
                received.removeSubrange(...lineEnd)
                onLine?(line)
            }
            guard received.count <= Limits.lineByteCount else { return end("wrote a line too long") }
            if onEnd == nil { return }
        }
    }

    /// Whatever it still does, it is over: a child without its input and output is of no use.
    private func end(_ reason: String?) {
        guard let onEnd else { return }
        onEndTaken()
        if let token { loop.unregister(token) }
        token = nil
        var status: CInt = 0
        if waitpid(process, &status, WNOHANG) != process {
            kill(process, SIGKILL)
            waitpid(process, &status, 0)
        }
        onEnd(reason ?? Self.text(ofStatus: status))
    }

    /// The C library's macros, which Swift does not import.
    private static func text(ofStatus status: CInt) -> String {
        let signal = status & 0x7F
        return signal == 0 ? "exit status \(status >> 8 & 0xFF)" : "signal \(signal)"
    }
}
