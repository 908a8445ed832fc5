import Glibc
import Primitives
import Testing

@testable import LinuxIO

@Suite("Signals")
struct SignalSourceTests {
    @Test("arrive as events on the loop, each kind")
    func signals() throws {
        let loop = try EventLoop()
        var heard: [SignalSource.Signal] = []
        var before = sigset_t()
        pthread_sigmask(SIG_BLOCK, nil, &before)
        let source = try SignalSource([.terminate, .interrupt, .hangUp], loop: loop) { heard.append($0) }
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        // To this thread only, which has blocked them: the test process itself is not hit.
        for signal in SignalSource.Signal.allCases { pthread_kill(pthread_self(), signal.number) }
        #expect(try loop.run { heard.count == 3 })
        #expect(Set(heard) == Set(SignalSource.Signal.allCases))
        _ = source
    }

    @Test("SIGPIPE does not end the process")
    func brokenPipe() async {
        await #expect(processExitsWith: .exitCode(7)) {
            SignalSource.ignoreBrokenPipes()
            var ends: [CInt] = [-1, -1]
            guard pipe(&ends) == 0 else { exit(1) }
            close(ends[0])
            exit(write(ends[1], "x", 1) < 0 && errno == EPIPE ? 7 : 2)
        }
    }
}

@Suite("systemd notification")
struct ServiceNotificationTests {
    /// Plays systemd: receives what a notification sends.
    final class Receiver {
        let descriptor: OwnedDescriptor
        let path: String

        init(_ path: String) throws {
            self.path = path
            descriptor = try openUnixSocket(.datagram)
            let number = descriptor.rawValue
            let result = try withUnixAddress(path) { bind(number, $0, $1) }
            _ = try check(result, "bind", path)
        }

        func next() -> String? {
            var bytes = [UInt8](repeating: 0, count: 4_096)
            let count = recv(descriptor.rawValue, &bytes, bytes.count, 0)
            return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
        }
    }

    @Test("says each state in systemd's words", arguments: [true, false])
    func states(isAbstract: Bool) throws {
        let directory = try TemporaryDirectory()
        let receiver = try Receiver((isAbstract ? "@" : "") + directory.path + "/notify")
        let environment = ["NOTIFY_SOCKET": receiver.path, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "\(getpid())"]
        let notification = ServiceNotification(environment: { environment[$0] })
        #expect(notification.isEnabled)
        #expect(notification.watchdogInterval == .seconds(30))
        #expect(notification.notify(.ready, .status("3 calls\nup")))
        #expect(receiver.next() == "READY=1\nSTATUS=3 calls up")
        #expect(notification.notify(.watchdog))
        #expect(receiver.next() == "WATCHDOG=1")
        #expect(notification.notify(.stopping))
        #expect(receiver.next() == "STOPPING=1")
        #expect(notification.notify(.reloading))
        let reloading = try #require(receiver.next())
        #expect(reloading.hasPrefix("RELOADING=1\nMONOTONIC_USEC="))
    }

    @Test("is silent outside of systemd, and says when nobody took it")
    func outside() {
        let none = ServiceNotification(environment: { _ in nil })
        #expect(!none.isEnabled && !none.notify(.ready) && none.watchdogInterval == nil)
        let gone = ServiceNotification(environment: { ["NOTIFY_SOCKET": "/nonexistent/notify"][$0] })
        #expect(!gone.notify(.ready))
        let other = ServiceNotification(environment: { ["WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"][$0] })
        #expect(other.watchdogInterval == nil)
        let wrong = ServiceNotification(environment: { ["WATCHDOG_USEC": "-5"][$0] })
        #expect(wrong.watchdogInterval == nil)
    }
}

@Suite("Standard error log")
struct StandardErrorLogTests {
    static let time = WallClockTime(secondsSinceEpoch: 1_795_230_000)

    static func read(_ descriptor: CInt) -> String {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while poll(&entry, 1, 0) == 1 {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            guard count > 0 else { break }
            all += chunk[..<count]
        }
        return String(decoding: all, as: UTF8.self)
    }

    @Test("writes lines for people, without what is less important, on one line each")
    func people() throws {
        let pipe = try EventLoopTests.Pipe()
        let log = StandardErrorLog(level: .info, descriptor: pipe.writer.rawValue, journalStream: nil)
        log.write(.info, "started", at: Self.time)
        log.write(.debug, "not written", at: Self.time)
        log.write(.error, "bad\nforged \u{1B}[31m line\r", at: Self.time)
        log.level = .debug
        log.write(.debug, "tab\tand ü", at: Self.time)
        let stamp = Self.time.rfc3339
        #expect(
            Self.read(pipe.reader.rawValue)
                == "\(stamp) info started\n\(stamp) error bad\\nforged \\x1b[31m line\\r\n\(stamp) debug tab\tand ü\n")
    }

    @Test("writes journald's priorities when standard error is the journal's stream")
    func journal() throws {
        let pipe = try EventLoopTests.Pipe()
        var status = stat()
        fstat(pipe.writer.rawValue, &status)
        let stream = "\(status.st_dev):\(status.st_ino)"
        let log = StandardErrorLog(level: .debug, descriptor: pipe.writer.rawValue, journalStream: stream)
        for level in StandardErrorLog.Level.allCases { log.write(level, level.name) }
        #expect(Self.read(pipe.reader.rawValue) == "<3>error\n<4>warning\n<5>notice\n<6>info\n<7>debug\n")
        let other = StandardErrorLog(level: .info, descriptor: pipe.writer.rawValue, journalStream: "1:2")
        other.write(.info, "x", at: Self.time)
        #expect(Self.read(pipe.reader.rawValue).hasPrefix("2026-"))
    }

    @Test("cuts a line that is too long, at a character")
    func long() throws {
        let pipe = try EventLoopTests.Pipe()
        let log = StandardErrorLog(level: .info, descriptor: pipe.writer.rawValue, journalStream: nil)
        log.write(.info, String(repeating: "ü", count: 5_000), at: Self.time)
        log.write(.info, "x" + String(repeating: "ü", count: 5_000), at: Self.time)
        let lines = Self.read(pipe.reader.rawValue).split(separator: "\n")
        #expect(lines.count == 2)
        for line in lines {
            #expect(line.utf8.count < 4_096 && line.hasSuffix("ü…"))
            #expect(!line.contains("\u{FFFD}"))
        }
    }

    @Test("never waits: what nobody reads is dropped, counted, and told later")
    func full() throws {
        let pipe = try EventLoopTests.Pipe()
        let log = StandardErrorLog(level: .info, descriptor: pipe.writer.rawValue, journalStream: nil)
        let start = Clock.monotonic
        for _ in 0..<2_000 { log.write(.info, String(repeating: "x", count: 100), at: Self.time) }
        #expect(Clock.monotonic - start < .seconds(5))
        let dropped = log.droppedLineCount
        #expect(dropped > 0 && dropped < 2_000)
        let written = Self.read(pipe.reader.rawValue).split(separator: "\n").count
        #expect(written + dropped == 2_000)
        log.write(.info, "back", at: Self.time)
        let after = Self.read(pipe.reader.rawValue)
        #expect(after.contains("warning \(dropped) log lines were dropped"))
        #expect(after.hasSuffix("info back\n"))
    }

    @Test("a stream socket that takes half a line gets the other half first")
    func socket() throws {
        var ends: [CInt] = [-1, -1]
        _ = try check(socketpair(AF_UNIX, SocketKind.stream.number, 0, &ends), "socketpair")
        let (writer, reader) = (OwnedDescriptorBox(ends[0]), OwnedDescriptorBox(ends[1]))
        let log = StandardErrorLog(level: .info, descriptor: ends[0], journalStream: nil)
        for number in 0..<3_000 { log.write(.info, "\(number) " + String(repeating: "y", count: 200), at: Self.time) }
        var text = Self.read(ends[1])
        log.write(.info, "end", at: Self.time)
        text += Self.read(ends[1])
        let lines = text.split(separator: "\n")
        #expect(log.droppedLineCount > 0)
        #expect(lines.last?.hasSuffix("info end") == true)
        let prefix = "\(Self.time.rfc3339) "
        #expect(lines.allSatisfy { $0.hasPrefix(prefix) && ($0.count > 200 || !$0.hasSuffix("y")) })
        _ = (writer, reader)
    }
}

@Suite("Files")
struct FilesTests {
    @Test("writes atomically with the mode asked for, replaces, and leaves nothing else")
    func writes() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/state"
        try Files.writeAtomically(bytes("one"), to: path, mode: 0o600)
        #expect(try Files.mode(of: path) == 0o600)
        let long = [UInt8](repeating: 1, count: 300_000)
        try Files.writeAtomically(long, to: path, mode: 0o666)
        #expect(try Files.read(path) == long)
        #expect(try Files.mode(of: path) == 0o666)
        #expect(try Files.list(directory.path) == ["state"])
        try Files.writeAtomically([], to: path)
        #expect(try Files.read(path).isEmpty)
    }

    @Test("a write that fails leaves the old file")
    func failedWrite() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/dir"
        try Files.createDirectory(path + "/inside")
        #expect(throws: SystemCallError(call: "rename", code: Errno(rawValue: EISDIR), context: path)) {
            try Files.writeAtomically([1], to: path)
        }
        #expect(try Files.list(directory.path) == ["dir"])
        #expect(throws: SystemCallError.self) { try Files.writeAtomically([1], to: directory.path + "/no/such") }
    }

    @Test("reads up to a limit and says what is wrong otherwise")
    func reads() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/f"
        try Files.writeAtomically([1, 2, 3], to: path)
        #expect(try Files.read(path, byteCountMax: 3) == [1, 2, 3])
        #expect(throws: SystemCallError(call: "read", code: .fileTooLarge, context: path)) {
            try Files.read(path, byteCountMax: 2)
        }
        #expect(throws: SystemCallError(call: "open", code: .noSuchFile, context: path + "x")) {
            try Files.read(path + "x")
        }
        #expect(throws: SystemCallError(call: "read", code: Errno(rawValue: EISDIR), context: directory.path)) {
            try Files.read(directory.path)
        }
        #expect(throws: SystemCallError(call: "opendir", code: Errno(rawValue: ENOTDIR), context: path)) {
            try Files.list(path)
        }
    }

    @Test("makes directories above, and refuses where a file is in the way")
    func directories() throws {
        let directory = try TemporaryDirectory()
        try Files.createDirectory(directory.path + "/a/b/c")
        try Files.createDirectory(directory.path + "/a/b/c")
        #expect(try Files.list(directory.path + "/a/b") == ["c"])
        try Files.writeAtomically([], to: directory.path + "/file")
        #expect(throws: SystemCallError.self) { try Files.createDirectory(directory.path + "/file") }
        #expect(throws: SystemCallError.self) { try Files.createDirectory(directory.path + "/file/x") }
    }
}

@Suite("Interfaces and the process")
struct NetworkInterfaceTests {
    @Test("knows the loopback")
    func loopback() throws {
        let interface = try NetworkInterface(named: "lo")
        #expect(interface.index == if_nametoindex("lo"))
        #expect(interface.mtu >= 1_280)
        #expect(interface.isUp && interface.isLoopback)
        #expect(interface.hardwareAddress == nil)
        #expect(interface.has(v4Loopback))
        #expect(!interface.has(.v4(0xC000_0201)))
    }

    @Test("has no interface of that name", arguments: ["no-such-if0", "", String(repeating: "x", count: 40), "lo/../"])
    func missing(name: String) {
        #expect(throws: SystemCallError(call: "interface", code: .noSuchDevice, context: name)) {
            try NetworkInterface(named: name)
        }
    }

    @Test("every other interface of this machine can be asked")
    func others() throws {
        for name in Set(try NetworkInterface.allAddresses().map(\.interface)) {
            let interface = try NetworkInterface(named: name)
            #expect(interface.mtu > 0 && interface.index > 0)
            #expect(interface.hardwareAddress?.count ?? 6 == 6)
        }
    }

    @Test("limits are raised, and never lowered")
    func limits() throws {
        let first = try ProcessResources.raise(.openDescriptors, to: 1)
        #expect(first > 1)
        #expect(try ProcessResources.raise(.openDescriptors, to: first) == first)
        #expect(try ProcessResources.raise(.lockedMemory, to: 1) >= 1)
    }

    @Test("counts memory and descriptors")
    func counts() throws {
        let resident = try ProcessResources.residentBytes()
        #expect((1 << 20..<8 << 30).contains(resident))
        #expect(try ProcessResources.openDescriptorCount() >= 3)
    }
}
