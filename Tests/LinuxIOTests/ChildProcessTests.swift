import Glibc
import LinuxIO
import Primitives
import Testing

@Suite("Programs run beside the loop")
struct ChildProcessTests {
    /// Output and end of a program, which must come within some seconds.
    static func run(
        _ path: String, _ arguments: [String] = [], input: String = "", time: Duration = .seconds(5),
        outputByteCount: Int = 1 << 20
    ) throws -> (output: [UInt8], end: ChildProcess.End?, descriptors: Int) {
        let loop = try EventLoop()
        let before = loop.registrationCount
        var output: [UInt8] = []
        var end: ChildProcess.End?
        let process = try ChildProcess(
            path, arguments: arguments, input: Array(input.utf8),
            limits: .init(time: time, outputByteCount: outputByteCount), loop: loop,
            onOutput: { output += $0 },
            onEnd: {
                end = $0
                loop.stop()
            })
        try loop.run(until: Clock.monotonic + .seconds(10))
        return withExtendedLifetime(process) { (output, end, loop.registrationCount - before) }
    }

    @Test("input goes in, output comes out, the status is told")
    func plain() throws {
        let text = String(repeating: "one two three\n", count: 4_000)
        let (output, end, descriptors) = try Self.run("/bin/cat", input: text)
        #expect(String(decoding: output, as: UTF8.self) == text)
        #expect(end == .exited(status: 0))
        #expect(descriptors == 0)
        #expect(try Self.run("/bin/sh", ["-c", "exit 7"]).end == .exited(status: 7))
        #expect(try Self.run("/bin/sh", ["-c", "kill -TERM $$"]).end == .signalled(SIGTERM))
    }

    @Test("it has nothing of ours: no environment, no signal mask, no other descriptor, no standard error")
    func isolation() throws {
        let loop = try EventLoop()
        let source = try SignalSource([.hangUp], loop: loop) { _ in }
        defer { withExtendedLifetime(source) {} }
        SignalSource.ignoreBrokenPipes()
        let script = "env; ls -l /proc/self/fd; grep -E 'SigBlk|SigIgn|CapAmb' /proc/self/status; echo lost >&2"
        let output = String(decoding: try Self.run("/bin/sh", ["-c", script]).output, as: UTF8.self)
        let lines = output.split(separator: "\n").filter { !$0.hasPrefix("PWD=") && !$0.hasPrefix("_=") }
        #expect(lines.first == "LC_ALL=C.UTF-8")
        // What this test was started with may be open, too; nothing that was made here.
        for ours in ["eventpoll", "signalfd", "pidfd"] { #expect(!output.contains(ours)) }
        // The C library keeps signals 32 and 33 for itself.
        let masks = lines.suffix(3).map {
            UInt64($0.split(separator: "\t").last ?? "", radix: 16).map { $0 & 0x7FFF_FFFF }
        }
        #expect(masks == [0, 0, 0], "\(output)")
        #expect(!output.contains("lost"))
    }

    @Test("who takes too long, or says too much, is killed")
    func limits() throws {
        let start = Clock.monotonic
        #expect(try Self.run("/bin/sleep", ["60"], time: .milliseconds(100)).end == .timedOut)
        #expect(Clock.monotonic - start < .seconds(5))
        let (output, end, _) = try Self.run("/bin/cat", ["/dev/zero"], outputByteCount: 100_000)
        #expect(end == .outputTooLong)
        #expect(output.count <= 100_000)
    }

    @Test("what cannot be started throws; more input than a pipe takes too")
    func refusals() throws {
        #expect(throws: SystemCallError(call: "posix_spawn", code: .noSuchFile, context: "/no/such/program")) {
            _ = try Self.run("/no/such/program")
        }
        #expect(throws: SystemCallError.self) {
            _ = try Self.run("/bin/cat", input: String(repeating: "x", count: 65_537))
        }
    }
}
