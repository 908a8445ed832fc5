import Glibc
import Primitives
import Testing

@testable import LinuxIO

/// A directory of its own, removed with the object.
final class TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/cresset-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemCallError(call: "mkdtemp", code: .last) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { remove(path) }

    private func remove(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        if status.st_mode & S_IFMT == S_IFDIR {
            for name in (try? Files.list(path)) ?? [] { remove(path + "/" + name) }
            rmdir(path)
        } else {
            unlink(path)
        }
    }
}

@Suite("Control server")
struct ControlServerTests {
    /// A bare client that writes and reads bytes without the server's help.
    final class RawClient {
        let descriptor: OwnedDescriptor
        var received: [UInt8] = []
        var isEnded = false

        init(_ path: String) throws {
            descriptor = try openUnixSocket(.stream)
            let number = descriptor.rawValue
            let result = try withUnixAddress(path) { connect(number, $0, $1) }
            _ = try check(result, "connect", path)
        }

        func send(_ text: String) -> Int {
            let bytes = Array(text.utf8)
            return Glibc.send(descriptor.rawValue, bytes, bytes.count, noSignal)
        }

        func poll() {
            var chunk = [UInt8](repeating: 0, count: 65_536)
            while !isEnded {
                let count = recv(descriptor.rawValue, &chunk, chunk.count, 0)
                if count < 0 {
                    if errno != EAGAIN { isEnded = true }
                    return
                }
                if count == 0 { isEnded = true } else { received += chunk[..<count] }
            }
        }

        var lines: [String] { String(decoding: received, as: UTF8.self).split(separator: "\n").map(String.init) }
    }

    /// Runs the loop in short turns, since the raw clients are not on it.
    static func run(_ loop: EventLoop, _ clients: [RawClient], until condition: () -> Bool) throws -> Bool {
        try loop.run(for: .seconds(5)) {
            clients.forEach { $0.poll() }
            if condition() { return true }
            loop.schedule(at: Clock.monotonic + .milliseconds(1)) {}
            return false
        }
    }

    @Test("answers several clients in turn, and knows who they are")
    func answers() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/deep/er/control.sock"
        let loop = try EventLoop()
        var peers: [ControlServer.Peer] = []
        let server = try ControlServer(path: path, loop: loop) { request in
            peers.append(request.peer)
            return ["echo": request.value]
        }
        #expect(try Files.mode(of: path) == 0o660)
        let clients = [try RawClient(path), try RawClient(path)]
        #expect(clients[0].send("{\"a\":1}\n\r\n  \n[2]\n\"hal") > 0)
        #expect(clients[1].send("null\n") > 0)
        #expect(try Self.run(loop, clients) { clients[0].lines.count == 2 && clients[1].lines.count == 1 })
        #expect(clients[0].send("f\"\n") > 0)
        #expect(try Self.run(loop, clients) { clients[0].lines.count == 3 })
        #expect(clients[0].lines == ["{\"echo\":{\"a\":1}}", "{\"echo\":[2]}", "{\"echo\":\"half\"}"])
        #expect(clients[1].lines == ["{\"echo\":null}"])
        #expect(peers.allSatisfy { $0 == .init(process: getpid(), user: getuid(), group: getgid()) })
        #expect(server.clientCount == 2)
        server.close()
        #expect(try Self.run(loop, clients) { clients.allSatisfy(\.isEnded) })
        #expect(access(path, F_OK) != 0)
        #expect(loop.registrationCount == 0)
    }

    @Test("malformed requests are answered with an error and the client goes on")
    func malformed() throws {
        let directory = try TemporaryDirectory()
        let loop = try EventLoop()
        let server = try ControlServer(path: directory.path + "/s", loop: loop) { _ in "fine" }
        let client = try RawClient(directory.path + "/s")
        let bad = ["{", "}", "\u{1}", "{\"a\":}", "[1,]", "nul", "1 2", String(repeating: "[", count: 500)]
        #expect(client.send(bad.joined(separator: "\n") + "\n\"good\"\n") > 0)
        #expect(try Self.run(loop, [client]) { client.lines.count == bad.count + 1 })
        #expect(client.lines.dropLast().allSatisfy { $0.hasPrefix("{\"error\":\"the request is not JSON") })
        #expect(client.lines.last == "\"fine\"")
        #expect(server.clientCount == 1)
    }

    @Test("a request of the largest size is answered, one byte more ends the client", arguments: [true, false])
    func longest(withNewline: Bool) throws {
        let directory = try TemporaryDirectory()
        let loop = try EventLoop()
        var options = ControlServer.Options()
        options.requestBytesMax = 1_000
        let server = try ControlServer(path: directory.path + "/s", options: options, loop: loop) { _ in true }
        let client = try RawClient(directory.path + "/s")
        let longest = "\"" + String(repeating: "x", count: 998) + "\""
        #expect(client.send(longest + "\n") == 1_001)
        #expect(try Self.run(loop, [client]) { client.lines == ["true"] })
        #expect(client.send(longest + "x" + (withNewline ? "\n" : "")) > 0)
        #expect(try Self.run(loop, [client]) { client.isEnded })
        #expect(client.lines == ["true", "{\"error\":\"a request is at most 1000 bytes long\"}"])
        #expect(server.clientCount == 0)
    }

    @Test("a client that reads nothing is closed, the others are served")
    func slow() throws {
        let directory = try TemporaryDirectory()
        let loop = try EventLoop()
        var options = ControlServer.Options()
        options.answerBytesMax = 100_000
        let answer = JSONValue.string(String(repeating: "x", count: 40_000))
        let server = try ControlServer(path: directory.path + "/s", options: options, loop: loop) { _ in answer }
        let slow = try RawClient(directory.path + "/s")
        let quick = try RawClient(directory.path + "/s")
        for _ in 0..<100 { _ = slow.send("1\n") }
        #expect(try Self.run(loop, [quick]) { server.clientCount == 1 })
        #expect(quick.send("1\n") == 2)
        #expect(try Self.run(loop, [quick]) { quick.received.count == 40_003 })
    }

    @Test("refuses clients beyond the limit with a sentence")
    func tooMany() throws {
        let directory = try TemporaryDirectory()
        let loop = try EventLoop()
        var options = ControlServer.Options()
        options.clientsMax = 2
        let server = try ControlServer(path: directory.path + "/s", options: options, loop: loop) { _ in true }
        let clients = try (0..<3).map { _ in try RawClient(directory.path + "/s") }
        #expect(try Self.run(loop, clients) { clients[2].isEnded })
        #expect(clients[2].lines == ["{\"error\":\"too many clients\"}"])
        #expect(server.clientCount == 2)
    }

    @Test("an answer promised for later reaches a client that has finished sending")
    func promised() throws {
        let directory = try TemporaryDirectory()
        let loop = try EventLoop()
        var waiting: [ControlServer.ClientID] = []
        let server = try ControlServer(path: directory.path + "/s", loop: loop) { request in
            waiting.append(request.client)
            return nil
        }
        let client = try RawClient(directory.path + "/s")
        #expect(client.send("1\n2\n") > 0)
        shutdown(client.descriptor.rawValue, CInt(SHUT_WR))
        #expect(try Self.run(loop, [client]) { waiting.count == 2 })
        try loop.settle()
        #expect(!client.isEnded)
        server.answer("first", to: waiting[0])
        server.answer("second", to: waiting[1])
        server.answer("third", to: waiting[1])
        #expect(try Self.run(loop, [client]) { client.isEnded })
        #expect(client.lines == ["\"first\"", "\"second\""])
    }

    @Test("takes the place of a dead server, not that of a live one or of a file")
    func stale() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/s"
        let loop = try EventLoop()
        do {
            let dead = try openUnixSocket(.stream)
            let number = dead.rawValue
            let result = try withUnixAddress(path) { bind(number, $0, $1) }
            #expect(result == 0)
        }
        #expect(access(path, F_OK) == 0)
        let server = try ControlServer(path: path, loop: loop) { _ in true }
        #expect(throws: SystemCallError(call: "bind", code: .addressInUse, context: path)) {
            try ControlServer(path: path, loop: loop) { _ in true }
        }
        #expect(access(path, F_OK) == 0)
        let file = directory.path + "/file"
        try Files.writeAtomically([1], to: file)
        #expect(throws: SystemCallError(call: "bind", code: .addressInUse, context: "\(file) (not a socket)")) {
            try ControlServer(path: file, loop: loop) { _ in true }
        }
        #expect(try Files.read(file) == [1])
        let long = directory.path + "/" + String(repeating: "x", count: 120)
        #expect(throws: SystemCallError(call: "socket path", code: .nameTooLong, context: long)) {
            try ControlServer(path: long, loop: loop) { _ in true }
        }
        server.close()
    }

    @Test("the client side: asks a server of another thread")
    func clientAsks() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/s"
        // The server runs in a thread of its own until it has answered.
        final class Argument: Sendable {
            let path: String
            init(_ path: String) { self.path = path }
        }
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(Argument(path)).toOpaque()
        let status = pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer else { return nil }
                let path = Unmanaged<Argument>.fromOpaque(pointer).takeRetainedValue().path
                guard let loop = try? EventLoop() else { return nil }
                var isAnswered = false
                let server = try? ControlServer(path: path, loop: loop) { request in
                    isAnswered = true
                    return [
                        "ok": true,
                        "result": ["got": request.value, "long": .string(String(repeating: "y", count: 300_000))],
                    ]
                }
                _ = try? loop.run { isAnswered && server?.clientCount == 0 }
                server?.close()
                return nil
            }, argument)
        #expect(status == 0)
        let deadline = Clock.monotonic + .seconds(5)
        while access(path, F_OK) != 0, Clock.monotonic < deadline { usleep(1_000) }
        usleep(2_000)  // between bind and listen
        let answer = try ControlClient(path: path).result(of: "status")
        #expect(answer["got"] == ["command": "status"])
        #expect(answer["long"]?.stringValue?.count == 300_000)
        pthread_join(thread, nil)
    }
}
