import CLinux
import Glibc
import Primitives

/// A bound UDP socket for IPv4 or IPv6.
///
/// Datagrams up to 64 kB come in; those larger than the path's MTU go out in fragments (RFC 3261 §18.1.1). What the
/// kernel cannot take at once waits in a bounded queue.
package final class UDPSocket {
    package struct Options: Sendable {
        /// nil keeps the system's default.
        package var receiveBufferBytes: Int?
        package var sendBufferBytes: Int?
        /// What datagrams leave with.
        package var trafficClass: DSCP?
        /// Sends and receives only through this interface; needs CAP_NET_RAW when already bound otherwise.
        package var interface: String?
        /// Beyond it `send` fails with ENOBUFS.
        package var queuedDatagramsMax = 256
        /// Where groups are reached from this socket.
        package var multicast: Multicast?
        package init() {}

        package struct Multicast: Sendable {
            package var interface: String
            package var timeToLive: UInt8

            package init(interface: String, timeToLive: UInt8) {
                self.interface = interface
                self.timeToLive = timeToLive
            }
        }
    }

    /// What became of a datagram.
    package enum SendResult: Equatable, Sendable {
        case sent
        /// Waits for room in the kernel; a later failure comes as `Event.sendFailed`.
        case queued
        /// EMSGSIZE, ENETUNREACH, EPERM of a firewall…; ENOBUFS when the queue is full.
        case failed(Errno)
    }

    package enum Event: Equatable, Sendable {
        /// An ICMP error came back for an earlier datagram to this peer (RFC 3261 §18.4).
        case peerUnreachable(TransportAddress, Errno)
        /// A queued datagram could not be sent after all.
        case sendFailed(TransportAddress, Errno)
    }

    private enum Limits {
        static let batchesPerWakeUp = 4  // then the other descriptors have their turn
        static let pendingErrorRetries = 8  // each retry consumes one ICMP error of an earlier datagram
        static let errorsPerWakeUp = 64
    }

    /// With the port the kernel chose, when 0 was asked for.
    package let localAddress: TransportAddress
    package var onDatagram: (Span<UInt8>, TransportAddress) -> Void = { _, _ in }
    package var onEvent: (Event) -> Void = { _ in }
    /// Errors that the next sends meet instead of the kernel; for tests.
    package var sendFaults: [Errno] = []

    private let loop: EventLoop
    private var descriptor: OwnedDescriptor?
    private let socket: CInt
    private let scope: UInt32
    private let queuedDatagramsMax: Int
    private var token: EventLoop.Token?
    private var queue = Queue<(bytes: [UInt8], destination: TransportAddress)>()
    /// The datagram that was taken from the queue and met a full kernel again.
    private var stalled: (bytes: [UInt8], destination: TransportAddress)?

    package init(
        binding address: TransportAddress, options: Options = Options(), loop: EventLoop
    ) throws(SystemCallError) {
        let descriptor = try openSocket(address.address, .datagram)
        let socket = descriptor.rawValue
        try Self.configure(socket, address, options)
        let scope = options.interface.map { if_nametoindex($0) } ?? 0
        let result = SocketAddress(address, scope: scope).withSockaddr { bind(socket, $0, $1) }
        _ = try check(result, "bind", address.description)
        localAddress = address.port == 0 ? SocketAddress.local(of: socket) ?? address : address
        self.loop = loop
        self.socket = socket
        self.scope = scope
        self.descriptor = consume descriptor
        queuedDatagramsMax = options.queuedDatagramsMax
        token = try loop.register(socket, .readable) { [weak self] readiness in self?.handle(readiness) }
    }

    deinit { if let token { loop.unregister(token) } }

    /// Closes the socket at once; what is queued is dropped.
    package func close() {
        if let token { loop.unregister(token) }
        token = nil
        descriptor = nil
        queue = Queue()
        stalled = nil
    }

    /// What datagrams leave with from now on.
    package func setTrafficClass(_ dscp: DSCP) throws(SystemCallError) {
        guard !isClosed else { return }
        try setTrafficClassOption(socket, localAddress.address.family, dscp)
    }

    package var isClosed: Bool { token == nil }
    package var queuedDatagramCount: Int { queue.count + (stalled == nil ? 0 : 1) }

    private static func configure(
        _ socket: CInt, _ address: TransportAddress, _ options: Options
    ) throws(SystemCallError) {
        try setTrafficClassOption(socket, address.address.family, options.trafficClass)
        if address.address.family == .v4 {
            let level = CInt(IPPROTO_IP)
            try setOption(socket, level, IP_RECVERR, 1, "IP_RECVERR")
            try setOption(socket, level, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, "IP_MTU_DISCOVER")
        } else {
            let level = CInt(IPPROTO_IPV6)
            try setOption(socket, level, IPV6_V6ONLY, 1, "IPV6_V6ONLY")
            try setOption(socket, level, IPV6_RECVERR, 1, "IPV6_RECVERR")
            try setOption(socket, level, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT, "IPV6_MTU_DISCOVER")
        }
        if let bytes = options.receiveBufferBytes {
            try setOption(socket, SOL_SOCKET, SO_RCVBUF, CInt(clamping: bytes), "SO_RCVBUF")
        }
        if let bytes = options.sendBufferBytes {
            try setOption(socket, SOL_SOCKET, SO_SNDBUF, CInt(clamping: bytes), "SO_SNDBUF")
        }
        if let interface = options.interface { try bindToDevice(socket, interface) }
        if let multicast = options.multicast { try configure(socket, address.address, multicast) }
    }

    private static func configure(
        _ socket: CInt, _ address: IPAddress, _ multicast: Options.Multicast
    ) throws(SystemCallError) {
        switch address.family {
        case .v4:
            let level = CInt(IPPROTO_IP)
            try setOption(socket, level, IP_MULTICAST_TTL, CInt(multicast.timeToLive), "IP_MULTICAST_TTL")
            var request = ip_mreqn()
            request.imr_ifindex = CInt(bitPattern: if_nametoindex(multicast.interface))
            let size = socklen_t(MemoryLayout<ip_mreqn>.size)
            _ = try check(
                setsockopt(socket, level, IP_MULTICAST_IF, &request, size), "IP_MULTICAST_IF", multicast.interface)
        case .v6:
            let level = CInt(IPPROTO_IPV6)
            try setOption(socket, level, IPV6_MULTICAST_HOPS, CInt(multicast.timeToLive), "IPV6_MULTICAST_HOPS")
            let index = CInt(bitPattern: if_nametoindex(multicast.interface))
            try setOption(socket, level, IPV6_MULTICAST_IF, index, "IPV6_MULTICAST_IF")
        }
    }

    /// Lets in only what the filter accepts, which sees a datagram from its UDP header; nil lets in all again. What it
    /// refuses ends without an answer to its sender and counts among the namespace's `Udp: InErrors`.
    package func setFilter(_ filter: PacketFilter?) throws(SystemCallError) {
        let result: CInt
        if let filter {
            let instructions = filter.instructions.map {
                clinux_filter_instruction(
                    code: $0.code, jump_true: $0.jumpTrue, jump_false: $0.jumpFalse, operand: $0.operand)
            }
            result = clinux_attach_filter(socket, instructions, UInt16(clamping: instructions.count))
        } else {
            result = clinux_detach_filter(socket)
        }
        guard result == 0 else {
            throw SystemCallError(
                call: filter == nil ? "SO_DETACH_FILTER" : "SO_ATTACH_FILTER", code: Errno(rawValue: -result),
                context: localAddress.description)
        }
    }

    // MARK: Sending

    /// Sends one datagram, or queues it behind those that wait.
    package func send(_ bytes: Span<UInt8>, to destination: TransportAddress) -> SendResult {
        guard !isClosed else { return .failed(.badDescriptor) }
        if queuedDatagramCount == 0 {
            switch transmit(bytes, to: destination) {
            case nil: return .sent
            case .again?, .noBufferSpace?: break  // ENOBUFS: the interface's queue is full, for a moment
            case let code?: return .failed(code)
            }
        }
        guard queuedDatagramCount < queuedDatagramsMax else { return .failed(.noBufferSpace) }
        var copy: [UInt8] = []
        copy.reserveCapacity(bytes.count)
        for index in bytes.indices { copy.append(bytes[index]) }
        queue.append((copy, destination))
        updateInterest()
        return .queued
    }

    /// nil when the kernel took the datagram.
    private func transmit(_ bytes: Span<UInt8>, to destination: TransportAddress) -> Errno? {
        if !sendFaults.isEmpty { return sendFaults.removeFirst() }
        let address = SocketAddress(destination, scope: scope)
        var retries = Limits.pendingErrorRetries
        while true {
            // The span's memory is the caller's and outlives the call.
            let count = bytes.withUnsafeBufferPointer { buffer in
                address.withSockaddr {
                    sendto(socket, buffer.baseAddress, buffer.count, noSignal, $0, $1)
                }
            }
            guard count < 0 else { return nil }
            let code = Errno.last
            // With IP_RECVERR a send first reports the ICMP error of some earlier datagram, perhaps to another peer.
            guard code == .interrupted || Self.isICMPError(code), retries > 0 else { return code }
            retries -= 1
        }
    }

    private static func isICMPError(_ code: Errno) -> Bool {
        [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENOPROTOOPT, ENONET, EOPNOTSUPP, EPROTO, EACCES]
            .contains(code.rawValue)
    }

    private func flush() {
        while let next = stalled ?? queue.popFirst() {
            stalled = nil
            switch transmit(next.bytes.span, to: next.destination) {
            case nil: continue
            case .again?:
                stalled = next
                return
            case let code?:
                onEvent(.sendFailed(next.destination, code))
                if isClosed { return }
            }
        }
    }

    private func updateInterest() {
        guard let token else { return }
        // Cannot fail for a descriptor that is registered, short of a lack of kernel memory; then the next send retries.
        try? loop.modify(token, queuedDatagramCount == 0 ? .readable : [.readable, .writable])
    }

    // MARK: Receiving

    private func handle(_ readiness: EventLoop.Readiness) {
        if readiness.contains(.error) { drainErrors() }
        if !isClosed, readiness.contains(.readable) { receive() }
        if !isClosed, readiness.contains(.writable) {
            flush()
            updateInterest()
        }
    }

    private func receive() {
        for _ in 0..<Limits.batchesPerWakeUp {
            let count = loop.receiveBuffer.receiveBatch(from: socket) { bytes, datagram in
                if !datagram.truncated, let source = TransportAddress(datagram.source) { onDatagram(bytes, source) }
                return !isClosed
            }
            // A negative count is EAGAIN, or an ICMP error that the error queue tells in full.
            guard !isClosed, count == ReceiveBuffer.slotCount else { return }
        }
    }

    private func drainErrors() {
        for _ in 0..<Limits.errorsPerWakeUp {
            var error = clinux_socket_error()
            guard clinux_receive_error(socket, &error) == 0 else { break }
            let isICMP = error.origin == UInt8(SO_EE_ORIGIN_ICMP) || error.origin == UInt8(SO_EE_ORIGIN_ICMP6)
            let code = Errno(rawValue: CInt(truncatingIfNeeded: error.code))
            guard isICMP, code != .messageTooLong, let peer = TransportAddress(error.destination) else { continue }
            onEvent(.peerUnreachable(peer, code))
            if isClosed { return }
        }
        _ = pendingError(of: socket)  // else a datagram's error without queue entry would wake us for ever
    }
}
