import CLinux
import Glibc
import Primitives

/// A program run beside the loop: it gets its input at once, its output comes piece by piece, its end once.
///
/// Beyond its time or its output it is killed. It ends with this object.
package final class ChildProcess {
    package struct Limits: Sendable {
        package var time: Duration
        package var outputByteCount: Int

        package init(time: Duration, outputByteCount: Int) {
            self.time = time
            self.outputByteCount = outputByteCount
        }
    }

    package enum End: Equatable, Sendable {
        case exited(status: CInt)
        case signalled(CInt)
        case timedOut
        case outputTooLong
    }

    /// What a pipe takes at once; more input is E2BIG.
    package static let inputByteCountMax = 65_536

    private let loop: EventLoop
    private let process: CInt
    private let outputByteCountMax: Int
    private let onOutput: ([UInt8]) -> Void
    private let onEnd: (End) -> Void
    private var output: OwnedDescriptor?
    private var outputToken: EventLoop.Token?
    private var handle: OwnedDescriptor?
    private var handleToken: EventLoop.Token?
    private var timer: EventLoop.TimerToken?
    private var byteCount = 0
    private var killed: End?
    private var isOver = false

    /// Runs the program at `path`, which sees no environment and no descriptor of ours but its input and output.
    package init(
        _ path: String, arguments: [String], input: [UInt8], limits: Limits, loop: EventLoop,
        onOutput: @escaping ([UInt8]) -> Void, onEnd: @escaping (End) -> Void
    ) throws(SystemCallError) {
        guard input.count <= Self.inputByteCountMax else {
            throw SystemCallError(call: "write", code: Errno(rawValue: E2BIG), context: path)
        }
        let toChild = try Self.pipe()
        let fromChild = try Self.pipe()
        _ = try check(fcntl(fromChild.reader.rawValue, F_SETFL, O_NONBLOCK), "fcntl")
        // The child may not read at all: what fits the pipe is written before it runs.
        let written = input.withUnsafeBytes { write(toChild.writer.rawValue, $0.baseAddress, $0.count) }
        guard written == input.count else { throw SystemCallError(call: "write", code: .last, context: path) }
        let process = Self.spawn(path, arguments, toChild.reader.rawValue, fromChild.writer.rawValue)
        guard process > 0 else {
            throw SystemCallError(call: "posix_spawn", code: Errno(rawValue: -process), context: path)
        }
        self.process = process
        self.loop = loop
        outputByteCountMax = limits.outputByteCount
        self.onOutput = onOutput
        self.onEnd = onEnd
        let number = clinux_pidfd_open(process)
        guard number >= 0 else {
            throw SystemCallError(call: "pidfd_open", code: Errno(rawValue: -number), context: path)
        }
        let reader = fromChild.reader
        let outputNumber = reader.rawValue
        handle = OwnedDescriptor(owning: number)
        output = consume reader
        outputToken = try loop.register(outputNumber, .readable) { [unowned self] _ in read() }
        handleToken = try loop.register(number, .readable) { [unowned self] _ in collect() }
        timer = loop.schedule(at: Clock.monotonic + limits.time) { [weak self] in self?.stop(.timedOut) }
    }

    deinit {
        letGo()
        if !isOver { Self.kill(process) }
    }

    private func letGo() {
        if let outputToken { loop.unregister(outputToken) }
        if let handleToken { loop.unregister(handleToken) }
        if let timer { loop.cancel(timer) }
        outputToken = nil
        handleToken = nil
        output = nil
        handle = nil
    }

    /// Kills it; `onEnd` follows.
    private func stop(_ reason: End) {
        guard !isOver, killed == nil else { return }
        killed = reason
        _ = Glibc.kill(process, SIGKILL)
    }

    /// A pipe full at once; then the other descriptors have their turn.
    private func read(chunkCountMax: Int = 4) {
        var chunk = [UInt8](repeating: 0, count: 16_384)
        var chunkCount = 0
        while chunkCount < chunkCountMax, let number = output?.rawValue {
            let count = Glibc.read(number, &chunk, chunk.count)
            guard count > 0 else {
                if count == 0 || Errno.last != .again && Errno.last != .interrupted { closeOutput() }
                return
            }
            byteCount += count
            chunkCount += 1
            guard byteCount <= outputByteCountMax else {
                closeOutput()
                return stop(.outputTooLong)
            }
            if killed == nil { onOutput(Array(chunk[..<count])) }
        }
    }

    private func closeOutput() {
        if let outputToken { loop.unregister(outputToken) }
        outputToken = nil
        output = nil
    }

    private func collect() {
        var status: CInt = 0
        var signal: CInt = 0
        let result = clinux_collect(process, &status, &signal)
        guard result != 0 else { return }
        read(chunkCountMax: .max)  // what it wrote last
        isOver = true
        letGo()
        // A negative result: somebody else collected it, and how it ended is unknown.
        onEnd(killed ?? (result < 0 ? .signalled(0) : signal != 0 ? .signalled(signal) : .exited(status: status)))
    }

    // MARK: Starting

    private struct Pipe: ~Copyable {
        let reader: OwnedDescriptor
        let writer: OwnedDescriptor
    }

    private static func pipe() throws(SystemCallError) -> Pipe {
        var ends: [CInt] = [-1, -1]
        let result = clinux_pipe(&ends)
        guard result == 0 else { throw SystemCallError(call: "pipe2", code: Errno(rawValue: -result)) }
        return Pipe(reader: OwnedDescriptor(owning: ends[0]), writer: OwnedDescriptor(owning: ends[1]))
    }

    private static func spawn(_ path: String, _ arguments: [String], _ input: CInt, _ output: CInt) -> CInt {
        // The copies live until the call returns; the child has its own by then.
        var pointers = ([path] + arguments).map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        pointers.append(nil)
        return clinux_spawn(path, pointers, input, output)
    }

    private static func kill(_ process: CInt) {
        _ = Glibc.kill(process, SIGKILL)
        var status: CInt = 0
        while waitpid(process, &status, 0) < 0, Errno.last == .interrupted {}
    }
}
