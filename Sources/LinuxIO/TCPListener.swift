import CLinux
import Glibc
import Primitives

/// Accepts TCP connections, no more than the limits allow, in all and from one source.
package final class TCPListener {
    package struct Options: Sendable {
        /// Connections beyond it are reset at once.
        package var connectionsMax = 1_024
        /// The same for one IPv4 address or one IPv6 /64.
        package var connectionsPerSourceMax = 32
        package var backlog = 256
        package var connection = TCPConnection.Options()
        package init() {}
    }

    /// How many connections were refused, and why.
    package struct Counters: Equatable, Sendable {
        package var accepted: UInt64 = 0
        package var refusedTotal: UInt64 = 0
        package var refusedSource: UInt64 = 0
        /// No descriptor was left (EMFILE, ENFILE).
        package var refusedDescriptors: UInt64 = 0
    }

    private enum Limits {
        static let acceptsPerWakeUp = 32
        static let pause = Duration.milliseconds(100)  // when nothing can be accepted, not even to refuse it
    }

    package let localAddress: TransportAddress
    package private(set) var counters = Counters()
    /// Takes each new connection; one that it does not keep closes.
    package var onConnection: (TCPConnection) -> Void = { _ in }

    private let loop: EventLoop
    private let options: Options
    private var descriptor: OwnedDescriptor?
    private let socket: CInt
    private var token: EventLoop.Token?
    private var timer: EventLoop.TimerToken?
    /// Given up to accept, and refuse, one connection when the process has no other descriptor left.
    private var reserve: OwnedDescriptor?
    private let census = Census()

    /// Counts live connections; shared with them, so that it outlives the listener.
    private final class Census {
        var total = 0
        var bySource: [IPPrefix: Int] = [:]

        func leave(_ source: IPPrefix?) {
            total -= 1
            guard let source, let count = bySource[source] else { return }
            bySource[source] = count > 1 ? count - 1 : nil
        }
    }

    package init(
        binding address: TransportAddress, options: Options = Options(), loop: EventLoop
    ) throws(SystemCallError) {
        let descriptor = try openSocket(address.address, .stream)
        let socket = descriptor.rawValue
        try setOption(socket, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR")
        if address.address.family == .v6 {
            try setOption(socket, CInt(IPPROTO_IPV6), IPV6_V6ONLY, 1, "IPV6_V6ONLY")
        }
        let interface = options.connection.interface
        if let interface { try bindToDevice(socket, interface) }
        let scope = interface.map { if_nametoindex($0) } ?? 0
        let result = SocketAddress(address, scope: scope).withSockaddr { bind(socket, $0, $1) }
        _ = try check(result, "bind", address.description)
        _ = try check(listen(socket, CInt(clamping: options.backlog)), "listen", address.description)
        localAddress = SocketAddress.local(of: socket) ?? address
        self.loop = loop
        self.options = options
        self.socket = socket
        self.descriptor = consume descriptor
        reserve = Self.openReserve()
        token = try loop.register(socket, .readable) { [weak self] _ in self?.acceptAll() }
    }

    deinit {
        if let timer { loop.cancel(timer) }
        if let token { loop.unregister(token) }
    }

    /// Stops listening; connections already accepted live on.
    package func close() {
        if let timer { loop.cancel(timer) }
        if let token { loop.unregister(token) }
        timer = nil
        token = nil
        descriptor = nil
        reserve = nil
    }

    /// How many accepted connections are open.
    package var connectionCount: Int { census.total }

    private static func openReserve() -> OwnedDescriptor? {
        let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
        return descriptor < 0 ? nil : OwnedDescriptor(owning: descriptor)
    }

    private func acceptAll() {
        for _ in 0..<Limits.acceptsPerWakeUp {
            guard token != nil else { return }
            var remote = sockaddr_storage()
            let result = clinux_accept(socket, &remote)
            if result >= 0 {
                admit(OwnedDescriptor(owning: result), TransportAddress(remote))
                continue
            }
            switch Errno(rawValue: -result) {
            case .again: return
            case .tooManyOpenFiles, .tooManyOpenFilesInSystem:
                guard refuseWithReserve() else { return pause() }
            case .outOfMemory, .noBufferSpace: return pause()
            default: continue  // errors of a connection that died in the queue (accept(2)): the next one may live
            }
        }
    }

    private func admit(_ connection: consuming OwnedDescriptor, _ remote: TransportAddress?) {
        guard let remote else { return }
        let source = IPPrefix(address: remote.address, bitLength: remote.address.family == .v4 ? 32 : 64)
        let fromSource = source.flatMap { census.bySource[$0] } ?? 0
        guard census.total < options.connectionsMax else {
            counters.refusedTotal += 1
            return Self.reset(connection)
        }
        guard fromSource < options.connectionsPerSourceMax else {
            counters.refusedSource += 1
            return Self.reset(connection)
        }
        do throws(SystemCallError) {
            let connection = try TCPConnection(
                accepted: connection, from: remote, options: options.connection, loop: loop)
            census.total += 1
            if let source { census.bySource[source] = fromSource + 1 }
            connection.onRelease = { [census] in census.leave(source) }
            counters.accepted += 1
            onConnection(connection)
        } catch {
            counters.refusedDescriptors += 1  // the connection died meanwhile, or the kernel has no memory to watch it
        }
    }

    /// Accepts one connection in place of the reserve and resets it: its peer learns at once, and we do not spin.
    private func refuseWithReserve() -> Bool {
        guard reserve != nil else {
            reserve = Self.openReserve()
            return reserve != nil
        }
        reserve = nil
        var remote = sockaddr_storage()
        let connection = clinux_accept(socket, &remote)
        if connection >= 0 {
            counters.refusedDescriptors += 1
            Self.reset(OwnedDescriptor(owning: connection))
        }
        reserve = Self.openReserve()
        return connection >= 0
    }

    private static func reset(_ connection: consuming OwnedDescriptor) {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(connection.rawValue, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }

    private func pause() {
        guard let token, timer == nil else { return }
        try? loop.modify(token, [])
        timer = loop.schedule(at: Clock.monotonic + Limits.pause) { [weak self] in
            guard let self, let token = self.token else { return }
            self.timer = nil
            try? self.loop.modify(token, .readable)
        }
    }
}
