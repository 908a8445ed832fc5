import Glibc
import Primitives
import Testing

@testable import LinuxIO

@Suite("TCP", .serialized)
struct TCPTests {
    static let addresses = [TransportAddress(v4Loopback, 0), TransportAddress(v6Loopback, 0)]

    /// A connection seen from both ends, and what each end heard.
    final class Pair {
        let loop: EventLoop
        let listener: TCPListener
        let client: TCPConnection
        var server: TCPConnection?
        var clientBytes: [UInt8] = []
        var serverBytes: [UInt8] = []
        var clientEvents: [TCPConnection.Event] = []
        var serverEvents: [TCPConnection.Event] = []

        init(
            _ address: TransportAddress = TCPTests.addresses[0], client options: TCPConnection.Options = .init(),
            server: TCPListener.Options = .init()
        ) throws {
            loop = try EventLoop()
            listener = try TCPListener(binding: address, options: server, loop: loop)
            client = try TCPConnection(connecting: listener.localAddress, options: options, loop: loop)
            listener.onConnection = { [unowned self] connection in
                self.server = connection
                connection.onData = { [unowned self] in serverBytes += array($0) }
                connection.onEvent = { [unowned self] in serverEvents.append($0) }
            }
            client.onData = { [unowned self] in clientBytes += array($0) }
            client.onEvent = { [unowned self] in clientEvents.append($0) }
            #expect(try loop.run { self.server != nil && self.clientEvents == [.connected] })
        }
    }

    @Test("opens, carries bytes both ways and knows both addresses", arguments: addresses)
    func exchange(address: TransportAddress) throws {
        let pair = try Pair(address)
        #expect(pair.client.send(bytes("REGISTER").span) == true)
        #expect(try #require(pair.server).send(bytes("200").span) == true)
        #expect(try pair.loop.run { pair.serverBytes == bytes("REGISTER") && pair.clientBytes == bytes("200") })
        #expect(pair.client.localAddress == pair.server?.remoteAddress)
        #expect(pair.client.remoteAddress == pair.server?.localAddress)
        #expect(pair.client.localAddress.port != 0)
    }

    @Test("bytes given while connecting go first")
    func earlyBytes() throws {
        let loop = try EventLoop()
        let listener = try TCPListener(binding: Self.addresses[0], loop: loop)
        var kept: [TCPConnection] = []
        var received: [UInt8] = []
        listener.onConnection = { connection in
            connection.onData = { received += array($0) }
            kept.append(connection)
        }
        let client = try TCPConnection(
            connecting: listener.localAddress, from: TransportAddress(v4Loopback, 0), loop: loop)
        #expect(client.send([1, 2].span) == true)
        #expect(client.send([3].span) == true)
        #expect(try loop.run { received.count == 3 })
        #expect(received == [1, 2, 3])
    }

    @Test("a stream arrives whole whatever the segmentation", arguments: [1, 7, 1_460, 100_000])
    func segmentation(segment: Int) throws {
        let pair = try Pair()
        let total = segment == 1 ? 2_000 : 600_000
        let sent = (0..<total).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        var offset = 0
        while offset < total {
            let end = min(total, offset + segment)
            let isTaken = pair.client.send(sent.span.extracting(offset..<end))
            #expect(isTaken)
            offset = end
            if offset % 5 == 0 { try pair.loop.runOnce(deadline: Clock.monotonic) }
        }
        #expect(try pair.loop.run { pair.serverBytes.count == total })
        #expect(pair.serverBytes == sent)
        #expect(pair.client.queuedByteCount == 0)
    }

    @Test("half close: what is queued arrives, then the end, and the other way stays open")
    func halfClose() throws {
        var options = TCPConnection.Options()
        options.queuedBytesMax = 20 << 20
        let pair = try Pair(client: options)
        let sent = [UInt8](repeating: 7, count: 8 << 20)
        #expect(pair.client.send(sent.span) == true)
        #expect(pair.client.queuedByteCount > 0)
        pair.client.finish()
        #expect(!pair.client.send([1].span) == true)
        #expect(try pair.loop.run { pair.serverEvents == [.peerFinished] })
        #expect(pair.serverBytes.count == sent.count)
        let server = try #require(pair.server)
        #expect(server.send([1].span) == true)
        #expect(try pair.loop.run { pair.clientBytes == [1] })
        server.finish()
        #expect(try pair.loop.run { pair.client.isClosed && server.isClosed })
        #expect(pair.clientEvents == [.connected, .peerFinished, .closed(.finished)])
        #expect(pair.serverEvents == [.peerFinished, .closed(.finished)])
        #expect(pair.listener.connectionCount == 0)
        #expect(pair.loop.registrationCount == 1)
    }

    @Test("a peer that does not read fills the queue, and then the connection closes")
    func overflow() throws {
        var options = TCPConnection.Options()
        options.queuedBytesMax = 100_000
        let pair = try Pair(client: options)
        let server = try #require(pair.server)
        server.pauseReading()
        let chunk = [UInt8](repeating: 1, count: 50_000)
        var accepted = 0
        while accepted < 10_000, pair.client.send(chunk.span) {
            accepted += 1
            #expect(pair.client.queuedByteCount <= 100_000)
            try pair.loop.runOnce(deadline: Clock.monotonic)
        }
        #expect((1..<10_000).contains(accepted))
        #expect(pair.clientEvents == [.connected])  // told from the loop, not from inside send
        #expect(try pair.loop.run { pair.client.isClosed && pair.clientEvents.count == 2 })
        #expect(pair.clientEvents.last == .closed(.outputQueueFull))
        #expect(!pair.client.send(chunk.span) == true)
    }

    @Test("a paused reader goes on where it stopped")
    func pause() throws {
        let pair = try Pair()
        let server = try #require(pair.server)
        server.pauseReading()
        #expect(pair.client.send([1, 2, 3].span) == true)
        try pair.loop.settle()
        #expect(pair.serverBytes.isEmpty)
        server.resumeReading()
        #expect(try pair.loop.run { pair.serverBytes == [1, 2, 3] })
    }

    @Test("a reset is told as such, and only to the other side")
    func reset() throws {
        let pair = try Pair()
        pair.client.reset()
        #expect(try pair.loop.run { !pair.serverEvents.isEmpty })
        #expect(pair.serverEvents == [.closed(.failed(.connectionReset))])
        #expect(pair.clientEvents == [.connected])
    }

    @Test("nobody listens: refused", arguments: addresses)
    func refused(address: TransportAddress) throws {
        let loop = try EventLoop()
        let listener = try TCPListener(binding: address, loop: loop)
        let dead = listener.localAddress
        listener.close()
        var events: [TCPConnection.Event] = []
        let client = try TCPConnection(connecting: dead, loop: loop)
        client.onEvent = { events.append($0) }
        #expect(try loop.run { !events.isEmpty })
        #expect(events == [.closed(.failed(.connectionRefused))])
        #expect(loop.registrationCount == 0)
    }

    @Test("dropping the last reference closes; a connection nobody keeps is closed")
    func dropped() throws {
        let loop = try EventLoop()
        let listener = try TCPListener(binding: Self.addresses[0], loop: loop)
        var events: [TCPConnection.Event] = []
        let client = try TCPConnection(connecting: listener.localAddress, loop: loop)
        client.onEvent = { events.append($0) }
        #expect(try loop.run { events.count == 2 })
        #expect(events == [.connected, .peerFinished])
        #expect(listener.counters.accepted == 1)
        #expect(listener.connectionCount == 0)
    }

    @Test("a handler may close its connection in the middle of its bytes")
    func closeInHandler() throws {
        let pair = try Pair()
        let server = try #require(pair.server)
        var calls = 0
        server.onData = { [unowned server] _ in
            calls += 1
            server.close()
        }
        #expect(pair.client.send([UInt8](repeating: 0, count: 300_000).span) == true)
        #expect(try pair.loop.run { pair.client.isClosed })
        #expect(calls == 1)
        #expect(pair.serverEvents.isEmpty)
    }

    @Test("limits the connections in all and from one source, and admits again when some end")
    func limits() throws {
        for (total, perSource) in [(3, 100), (100, 3)] {
            let loop = try EventLoop()
            var options = TCPListener.Options()
            options.connectionsMax = total
            options.connectionsPerSourceMax = perSource
            let listener = try TCPListener(binding: Self.addresses[0], options: options, loop: loop)
            var kept: [TCPConnection] = []
            listener.onConnection = { kept.append($0) }
            var closed = 0
            func connect() throws -> TCPConnection {
                let client = try TCPConnection(connecting: listener.localAddress, loop: loop)
                client.onEvent = { if case .closed = $0 { closed += 1 } }
                return client
            }
            let clients = try (0..<5).map { _ in try connect() }
            #expect(try loop.run { closed == 2 && kept.count == 3 })
            #expect(listener.counters.refusedTotal == (total == 3 ? 2 : 0))
            #expect(listener.counters.refusedSource == (total == 3 ? 0 : 2))
            #expect(listener.connectionCount == 3)
            kept.removeLast().close()
            #expect(listener.connectionCount == 2)
            let late = try connect()
            #expect(try loop.run { kept.count == 3 })
            _ = (clients, late)
        }
    }

    @Test("says which address is taken")
    func taken() throws {
        let loop = try EventLoop()
        let listener = try TCPListener(binding: Self.addresses[0], loop: loop)
        let code = SystemCallError(call: "listen", code: .addressInUse, context: listener.localAddress.description)
        let bound = SystemCallError(call: "bind", code: .addressInUse, context: listener.localAddress.description)
        do throws(SystemCallError) {
            _ = try TCPListener(binding: listener.localAddress, loop: loop)
            Issue.record("two listeners on one address")
        } catch {
            #expect(error == code || error == bound)
        }
    }

    @Test("the path's MTU is that of the interface")
    func pathMTU() throws {
        let mtu = try NetworkInterface(named: "lo").mtu
        #expect(PathMTU.to(TransportAddress(v4Loopback, 5060)) == min(mtu, 65_535))  // IPv4 has no longer packet
        #expect(PathMTU.to(TransportAddress(v6Loopback, 5060), from: v6Loopback) == mtu)
    }
}
