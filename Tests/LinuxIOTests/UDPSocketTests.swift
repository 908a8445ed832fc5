import Glibc
import Primitives
import Testing

@testable import LinuxIO

@Suite("UDP socket")
struct UDPSocketTests {
    static let addresses = [TransportAddress(v4Loopback, 0), TransportAddress(v6Loopback, 0)]

    /// A port on which nobody listens: bound once, then closed.
    static func closedPort(_ address: TransportAddress, _ loop: EventLoop) throws -> TransportAddress {
        let socket = try UDPSocket(binding: address, loop: loop)
        defer { socket.close() }
        return socket.localAddress
    }

    @Test(
        "carries datagrams of any size up to the largest UDP has",
        arguments: addresses, [0, 1, 1_400, 9_000, 60_000, 65_507])
    func sizes(address: TransportAddress, byteCount: Int) throws {
        let loop = try EventLoop()
        let sender = try UDPSocket(binding: address, loop: loop)
        let receiver = try UDPSocket(binding: address, loop: loop)
        let sent = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        var received: ([UInt8], TransportAddress)?
        receiver.onDatagram = { received = (array($0), $1) }
        #expect(sender.send(sent.span, to: receiver.localAddress) == .sent)
        #expect(try loop.run { received != nil })
        #expect(received?.0 == sent)
        #expect(received?.1 == sender.localAddress)
    }

    @Test("refuses a datagram larger than UDP's length field", arguments: addresses)
    func tooLong(address: TransportAddress) throws {
        let loop = try EventLoop()
        let socket = try UDPSocket(binding: address, loop: loop)
        var events: [UDPSocket.Event] = []
        socket.onEvent = { events.append($0) }
        let bytes = [UInt8](repeating: 0, count: 66_000)
        #expect(socket.send(bytes.span, to: socket.localAddress) == .failed(.messageTooLong))
        try loop.settle()
        #expect(events.isEmpty)
    }

    @Test("keeps the order of a burst larger than a batch")
    func burst() throws {
        let loop = try EventLoop()
        let sender = try UDPSocket(binding: Self.addresses[0], loop: loop)
        let receiver = try UDPSocket(binding: Self.addresses[0], loop: loop)
        var received: [UInt8] = []
        receiver.onDatagram = { bytes, _ in received.append(bytes[0]) }
        for number in 0..<100 { #expect(sender.send([UInt8(number)].span, to: receiver.localAddress) == .sent) }
        #expect(try loop.run { received.count == 100 })
        #expect(received == Array(0..<100))
    }

    @Test("tells of the ICMP error of a closed port, and still sends to others", arguments: addresses)
    func unreachable(address: TransportAddress) throws {
        let loop = try EventLoop()
        let dead = try Self.closedPort(address, loop)
        let socket = try UDPSocket(binding: address, loop: loop)
        let peer = try UDPSocket(binding: address, loop: loop)
        var events: [UDPSocket.Event] = []
        var received = 0
        socket.onEvent = { events.append($0) }
        peer.onDatagram = { _, _ in received += 1 }
        for _ in 0..<3 {
            #expect(socket.send([1].span, to: dead) == .sent)
            #expect(socket.send([2].span, to: peer.localAddress) == .sent)
        }
        #expect(try loop.run { events.count == 3 && received == 3 })
        #expect(events == [UDPSocket.Event](repeating: .peerUnreachable(dead, .connectionRefused), count: 3))
        let turns = Clock.monotonic + .milliseconds(20)
        var idle = 0
        while Clock.monotonic < turns { if try loop.runOnce(deadline: turns) > 0 { idle += 1 } }
        #expect(idle == 0, "an ICMP error must not keep the loop awake")
    }

    @Test("queues while the kernel is full, in order, and refuses when its own queue is full")
    func queueing() throws {
        let loop = try EventLoop()
        var options = UDPSocket.Options()
        options.queuedDatagramsMax = 3
        let sender = try UDPSocket(binding: Self.addresses[0], options: options, loop: loop)
        let receiver = try UDPSocket(binding: Self.addresses[0], loop: loop)
        var received: [UInt8] = []
        receiver.onDatagram = { bytes, _ in received.append(bytes[0]) }
        sender.sendFaults = [.again, .again, .again]
        let results = (1...4).map { sender.send([UInt8($0)].span, to: receiver.localAddress) }
        #expect(results == [.queued, .queued, .queued, .failed(.noBufferSpace)])
        #expect(sender.queuedDatagramCount == 3)
        #expect(try loop.run { received.count == 3 })
        #expect(received == [1, 2, 3])
        #expect(sender.queuedDatagramCount == 0)
        #expect(sender.send([5].span, to: receiver.localAddress) == .sent)
        #expect(try loop.run { received == [1, 2, 3, 5] })
    }

    @Test("a queued datagram that fails later is reported")
    func queuedFailure() throws {
        let loop = try EventLoop()
        let socket = try UDPSocket(binding: Self.addresses[0], loop: loop)
        var events: [UDPSocket.Event] = []
        socket.onEvent = { events.append($0) }
        socket.sendFaults = [.again, .networkUnreachable]
        let peer = TransportAddress(v4Loopback, 9)
        #expect(socket.send([1].span, to: peer) == .queued)
        #expect(try loop.run { !events.isEmpty })
        #expect(events == [.sendFailed(peer, .networkUnreachable)])
    }

    @Test("a handler may close its socket in the middle of a batch")
    func closesInHandler() throws {
        let loop = try EventLoop()
        let sender = try UDPSocket(binding: Self.addresses[0], loop: loop)
        let receiver = try UDPSocket(binding: Self.addresses[0], loop: loop)
        var count = 0
        receiver.onDatagram = { [unowned receiver] _, _ in
            count += 1
            receiver.close()
        }
        for _ in 0..<5 { _ = sender.send([1].span, to: receiver.localAddress) }
        #expect(try loop.run { count > 0 })
        try loop.settle()
        #expect(count == 1)
        #expect(receiver.isClosed)
        #expect(receiver.send([1].span, to: sender.localAddress) == .failed(.badDescriptor))
        #expect(loop.registrationCount == 1)
    }

    @Test("dropping the last reference closes the socket")
    func dropped() throws {
        let loop = try EventLoop()
        var socket: UDPSocket? = try UDPSocket(binding: Self.addresses[0], loop: loop)
        let address = try #require(socket?.localAddress)
        socket = nil
        #expect(loop.registrationCount == 0)
        let second = try UDPSocket(binding: address, loop: loop)
        #expect(second.localAddress == address)
    }

    @Test("says which address could not be bound, and why")
    func bindErrors() throws {
        let loop = try EventLoop()
        let first = try UDPSocket(binding: Self.addresses[0], loop: loop)
        #expect(
            throws: SystemCallError(call: "bind", code: .addressInUse, context: first.localAddress.description)
        ) { try UDPSocket(binding: first.localAddress, loop: loop) }
        let foreign = TransportAddress(.v4(0xC000_0201), 5060)
        #expect(throws: SystemCallError(call: "bind", code: .addressNotAvailable, context: "192.0.2.1:5060")) {
            try UDPSocket(binding: foreign, loop: loop)
        }
        var options = UDPSocket.Options()
        options.interface = "no-such-if0"
        #expect(
            throws: SystemCallError(call: "setsockopt", code: .noSuchDevice, context: "SO_BINDTODEVICE no-such-if0")
        ) { try UDPSocket(binding: Self.addresses[0], options: options, loop: loop) }
        #expect(loop.registrationCount == 1)
    }
}
