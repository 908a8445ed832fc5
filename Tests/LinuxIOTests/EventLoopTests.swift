import Glibc
import Primitives
import Testing

@testable import LinuxIO

@Suite("Event loop")
struct EventLoopTests {
    /// Both ends of a pipe, closed with the object.
    final class Pipe {
        let reader: OwnedDescriptor
        let writer: OwnedDescriptor

        init() throws {
            var ends: [CInt] = [-1, -1]
            _ = try check(pipe(&ends), "pipe")
            reader = OwnedDescriptor(owning: ends[0])
            writer = OwnedDescriptor(owning: ends[1])
        }

        func fill() { #expect(write(writer.rawValue, "x", 1) == 1) }
    }

    @Test("a handler that unregisters another descriptor of the same batch silences it")
    func unregistersOther() throws {
        let loop = try EventLoop()
        let pipes = (try Pipe(), try Pipe())
        var ran: [Int] = []
        var tokens: [EventLoop.Token] = []
        tokens.append(
            try loop.register(pipes.0.reader.rawValue, .readable) { _ in
                ran.append(0)
                tokens.forEach(loop.unregister)
            })
        tokens.append(
            try loop.register(pipes.1.reader.rawValue, .readable) { _ in
                ran.append(1)
                tokens.forEach(loop.unregister)
            })
        pipes.0.fill()
        pipes.1.fill()
        try loop.runOnce(deadline: Clock.monotonic + .seconds(1))
        try loop.settle()
        #expect(ran.count == 1)
        #expect(loop.registrationCount == 0)
    }

    @Test("a descriptor registered into a freed slot does not get the events of the one before")
    func generations() throws {
        let loop = try EventLoop()
        let pipes = (try Pipe(), try Pipe(), try Pipe())
        var ran: [String] = []
        var second: EventLoop.Token?
        var replaced: EventLoop.Token?
        let third = pipes.2.reader.rawValue
        func replace(_ name: String, _ victim: EventLoop.Token?) {
            ran.append(name)
            guard replaced == nil, let victim else { return }
            loop.unregister(victim)
            replaced = try? loop.register(third, .readable) { _ in ran.append("wrong") }
        }
        var first: EventLoop.Token?
        first = try loop.register(pipes.0.reader.rawValue, .readable) { _ in replace("first", second) }
        second = try loop.register(pipes.1.reader.rawValue, .readable) { _ in replace("second", first) }
        pipes.0.fill()
        pipes.1.fill()
        try loop.runOnce(deadline: Clock.monotonic + .seconds(1))
        #expect(ran.count == 1)
        #expect(replaced != nil)
        // The old token names nothing any more, though its slot is in use.
        let old = try #require(ran == ["first"] ? second : first)
        loop.unregister(old)
        #expect(loop.registrationCount == 2)
    }

    @Test("a handler may unregister itself and register again")
    func reregisters() throws {
        let loop = try EventLoop()
        let pipe = try Pipe()
        let reader = pipe.reader.rawValue
        var count = 0
        var token: EventLoop.Token?
        func handle(_: EventLoop.Readiness) {
            count += 1
            if let token { loop.unregister(token) }
            token = count < 3 ? try? loop.register(reader, .readable, handler: handle) : nil
        }
        token = try loop.register(reader, .readable, handler: handle)
        pipe.fill()
        #expect(try loop.run { count == 3 })
        try loop.settle()
        #expect(count == 3)
        #expect(loop.registrationCount == 0)
    }

    @Test("hears only what it is interested in")
    func interest() throws {
        let loop = try EventLoop()
        let pipe = try Pipe()
        var heard: [EventLoop.Readiness] = []
        let token = try loop.register(pipe.writer.rawValue, []) { heard.append($0) }
        try loop.settle()
        #expect(heard.isEmpty)
        try loop.modify(token, .writable)
        try loop.runOnce(deadline: Clock.monotonic + .seconds(1))
        #expect(heard == [.writable])
        try loop.modify(token, [])
        try loop.settle()
        #expect(heard == [.writable])
    }

    @Test("registering what is no descriptor, or twice the same, fails and leaks no slot")
    func refuses() throws {
        let loop = try EventLoop()
        let pipe = try Pipe()
        #expect(throws: SystemCallError(call: "epoll_ctl", code: .badDescriptor, context: "add 99999")) {
            try loop.register(99_999, .readable) { _ in }
        }
        let token = try loop.register(pipe.reader.rawValue, .readable) { _ in }
        #expect(throws: SystemCallError.self) { try loop.register(pipe.reader.rawValue, .readable) { _ in } }
        #expect(loop.registrationCount == 1)
        loop.unregister(token)
        loop.unregister(token)
        try loop.modify(token, .writable)
        #expect(loop.registrationCount == 0)
    }

    @Test("a deadline is kept: not early, and not a millisecond tick late", arguments: [0, 50_000, 300_000, 2_500_000])
    func deadline(nanoseconds: Int64) throws {
        let loop = try EventLoop()
        // Other processes may delay us, so the best of several counts.
        var best = Duration.seconds(9)
        for _ in 0..<20 {
            let deadline = Clock.monotonic + .nanoseconds(nanoseconds)
            #expect(try loop.runOnce(deadline: deadline) == 0)
            let late = Clock.monotonic - deadline
            #expect(late >= .zero)
            best = min(best, late)
        }
        #expect(best < .microseconds(600))
    }

    @Test("timers run in the order of their deadlines, cancelled ones never")
    func timers() throws {
        let loop = try EventLoop()
        let now = Clock.monotonic
        var ran: [Int] = []
        loop.schedule(at: now + .milliseconds(4)) { ran.append(2) }
        let cancelled = loop.schedule(at: now + .milliseconds(3)) { ran.append(9) }
        loop.schedule(at: now + .milliseconds(2)) {
            ran.append(1)
            loop.cancel(cancelled)
        }
        #expect(try loop.run { ran.count == 2 })
        try loop.settle()
        #expect(ran == [1, 2])
    }

    @Test("postponed work runs after the handler, without waiting")
    func postponed() throws {
        let loop = try EventLoop()
        var ran: [Int] = []
        loop.postpone {
            ran.append(1)
            loop.postpone { ran.append(2) }
        }
        try loop.runOnce(deadline: nil)
        #expect(ran == [1])
        try loop.runOnce(deadline: nil)
        #expect(ran == [1, 2])
    }

    @Test("stop ends run, and run can start again")
    func stops() throws {
        let loop = try EventLoop()
        var turns = 0
        for expected in 1...2 {
            loop.schedule(at: Clock.monotonic + .milliseconds(1)) { loop.stop() }
            try loop.run(nextDeadline: { nil }, advance: { _ in turns += 1 })
            #expect(turns == expected)
        }
        let start = Clock.monotonic
        try loop.run(until: start + .milliseconds(5))
        #expect(Clock.monotonic >= start + .milliseconds(5))
    }

    @Test("more events than one wait returns are all handled")
    func manyEvents() throws {
        let loop = try EventLoop()
        var sockets: [UDPSocket] = []
        var heard = Set<UInt16>()
        for _ in 0..<150 {
            let socket = try UDPSocket(binding: TransportAddress(v4Loopback, 0), loop: loop)
            let port = socket.localAddress.port
            socket.onDatagram = { _, _ in heard.insert(port) }
            sockets.append(socket)
        }
        for socket in sockets { #expect(sockets[0].send([1].span, to: socket.localAddress) == .sent) }
        #expect(try loop.run { heard.count == 150 })
    }
}

@Suite("System call errors and clocks")
struct SystemCallErrorTests {
    @Test("say the call, the object and the reason")
    func description() {
        #expect(
            SystemCallError(call: "bind", code: .addressInUse, context: "192.0.2.1:5060").description
                == "bind 192.0.2.1:5060: Address already in use")
        #expect(SystemCallError(call: "socket", code: .tooManyOpenFiles).description == "socket: Too many open files")
    }

    @Test("the monotonic clock runs and the wall clock is of this century")
    func clocks() {
        let first = Clock.monotonic
        let second = Clock.monotonic
        #expect(second >= first && second - first < .seconds(5))
        #expect((2026..<2100).contains(Clock.wall.civil.year))
    }
}
