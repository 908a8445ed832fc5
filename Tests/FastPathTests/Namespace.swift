import CNamespaces
import Glibc

/// What a test could not set up; its text says which call.
struct SetupError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }

    static func check<Result: SignedInteger>(_ result: Result, _ call: String) throws -> Result {
        guard result >= 0 else { throw SetupError("\(call): \(String(cString: strerror(CInt(-result))))") }
        return result
    }
}

/// A network namespace without a name: it ends with this object, even if the test crashes.
final class Namespace {
    let descriptor: CInt

    init() throws { descriptor = try SetupError.check(namespace_create(), "namespace_create") }

    deinit { close(descriptor) }

    /// Runs `body`, which must not suspend, with the calling thread inside.
    func run<Result>(_ body: () throws -> Result) throws -> Result {
        let home = try SetupError.check(namespace_enter(descriptor), "namespace_enter")
        defer {
            guard namespace_enter(home) >= 0 else { fatalError("a thread is lost in a namespace") }
            close(home)
        }
        return try body()
    }

    /// For `ip link … netns`.
    var path: String { "/proc/\(getpid())/fd/\(descriptor)" }

    func ip(_ command: String) throws {
        let arguments =
            ["/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "ip"]
            + command.split(separator: " ").map(String.init)
        let process = try run { try ChildProcess(arguments) }
        let (status, output) = process.wait()
        guard status == 0 else { throw SetupError("ip \(command): \(output)") }
    }
}

/// A child started from the calling thread, hence in its namespace; killed with this object.
final class ChildProcess {
    private let pid: pid_t
    private let input: CInt
    private let output: CInt
    private var ended = false

    init(_ arguments: [String]) throws {
        var toChild: [CInt] = [0, 0]
        var fromChild: [CInt] = [0, 0]
        guard pipe(&toChild) == 0, pipe(&fromChild) == 0 else { throw SetupError("pipe") }
        for descriptor in [toChild[1], fromChild[0]] { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, toChild[0], 0)
        posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1)
        posix_spawn_file_actions_adddup2(&actions, fromChild[1], 2)
        for descriptor in [toChild[0], fromChild[1]] where descriptor > 2 {
            posix_spawn_file_actions_addclose(&actions, descriptor)
        }
        let copies = arguments.map { strdup($0) }
        defer { copies.forEach { free($0) } }
        var pid: pid_t = 0
        let result = posix_spawn(&pid, arguments[0], &actions, nil, copies + [nil], environ)
        close(toChild[0])
        close(fromChild[1])
        self.pid = pid
        input = toChild[1]
        output = fromChild[0]
        guard result == 0 else {
            ended = true
            throw SetupError("\(arguments[0]): \(String(cString: strerror(result)))")
        }
    }

    deinit {
        if !ended { kill() }
        close(input)
        close(output)
    }

    /// SIGKILL, then waits for the end.
    func kill() {
        guard !ended else { return }
        Glibc.kill(pid, SIGKILL)
        var status: CInt = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        ended = true
    }

    /// Everything it still prints, and its exit status.
    func wait() -> (status: CInt, output: String) {
        var text = ""
        while let line = readLine() { text += line + "\n" }
        var status: CInt = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        ended = true
        return (status, text)
    }

    /// nil at the end.
    func readLine() -> String? {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while read(output, &byte, 1) == 1 {
            if byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
            line.append(byte)
        }
        return line.isEmpty ? nil : String(decoding: line, as: UTF8.self)
    }
}
