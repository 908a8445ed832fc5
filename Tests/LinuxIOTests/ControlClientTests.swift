import Glibc
import LinuxIO
import Primitives
import Testing

@Suite("Control client")
struct ControlClientTests {
    @Test("sends one line and takes the result")
    func result() throws {
        let server = try SocketServer()
        let exchange = server.answer(["{\"ok\":true,\"result\":{\"name\":\"detroit-7\"}}\n"])
        let result = try ControlClient(path: server.path).result(of: "status")
        #expect(result["name"]?.stringValue == "detroit-7")
        #expect(exchange.request() == "{\"command\":\"status\"}")
    }

    @Test("takes an answer in pieces, a large one, and nothing after the line")
    func pieces() throws {
        let server = try SocketServer()
        let long = String(repeating: "x", count: 1 << 20)
        let exchange = server.answer(
            ["{\"ok\":tr", "ue,\"result\":\"", long, "\"}", "\n{\"ok\":false}\n"], pauseMilliseconds: 5)
        #expect(try ControlClient(path: server.path).result(of: "calls").stringValue?.utf8.count == 1 << 20)
        _ = exchange.request()
    }

    @Test(
        "tells failures apart",
        arguments: [
            (["{\"ok\":false,\"error\":\"unknown command\"}\n"], .refused("unknown command")),
            (["{\"ok\":false}\n"], .refused("cressetd refused, without a reason")),
            (["{\"ok\":true"], .incomplete), ([], .incomplete), (["hello\n"], .notJSON), (["{}\n"], .notJSON),
            (["\n"], .notJSON), (["{\"ok\":1}\n"], .notJSON),
        ] as [([String], ControlError)])
    func failures(_ pieces: [String], _ error: ControlError) throws {
        let server = try SocketServer()
        let exchange = server.answer(pieces)
        #expect(throws: error) { try ControlClient(path: server.path).result(of: "status") }
        _ = exchange.request()
    }

    @Test("gives up in time when nobody answers, however slowly bytes arrive")
    func timeout() throws {
        let server = try SocketServer()
        let exchange = server.answer([String](repeating: " ", count: 8), pauseMilliseconds: 50)
        let clock = ContinuousClock()
        let elapsed = clock.measure {
            #expect(throws: ControlError.timedOut(path: server.path)) {
                try ControlClient(path: server.path, timeout: .milliseconds(150)).result(of: "status")
            }
        }
        #expect(elapsed >= .milliseconds(150))
        #expect(elapsed < .seconds(5))
        _ = exchange.request()
    }

    @Test("says what to do when the daemon does not run, and exits with 69")
    func notRunning() throws {
        let error = try #require(throws: ControlError.self) {
            try ControlClient(path: "/tmp/cresset-nobody/control.sock").result(of: "status")
        }
        #expect(error.exitCode == 69)
        #expect(
            error.description
                == "cressetd is not running: nothing listens on /tmp/cresset-nobody/control.sock; start it "
                + "(systemctl start cressetd), or name its socket with --control PATH")
    }

    @Test("a socket left by a killed daemon counts as not running")
    func stale() throws {
        let path: String
        do {
            let server = try SocketServer()
            path = server.path + ".stale"
            try #require(link(server.path, path) == 0)
        }
        defer { unlink(path) }
        #expect(throws: ControlError.notRunning(path: path)) { try ControlClient(path: path).result(of: "status") }
    }

    @Test("refuses a path that does not fit", arguments: [0, 108, 4_096])
    func tooLong(_ count: Int) {
        let path = String(repeating: "x", count: count)
        #expect(throws: ControlError.pathTooLong(path: path)) { try ControlClient(path: path).result(of: "status") }
    }
}
