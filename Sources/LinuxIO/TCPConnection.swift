import CLinux
import Glibc
import Primitives

/// One TCP connection, opened by us or accepted by a `TCPListener`.
///
/// The owner keeps a reference: dropping the last one closes the connection. How long a connection may take to open,
/// or stay idle, is the owner's decision.
package final class TCPConnection {
    package struct Options: Sendable {
        /// Beyond it the connection is closed: the peer does not read.
        package var queuedBytesMax = 1 << 20
        /// First keepalive probe after this much silence; nil sends none.
        package var keepaliveIdle: Duration? = .seconds(60)
        /// What segments leave with.
        package var trafficClass: DSCP?
        /// Connects only through this interface.
        package var interface: String?
        package init() {}
    }

    package enum CloseReason: Equatable, Sendable {
        /// The peer closed its side, and ours was finished.
        case finished
        /// ECONNREFUSED, ECONNRESET, ETIMEDOUT…
        case failed(Errno)
        /// More than `queuedBytesMax` waited for the peer.
        case outputQueueFull
    }

    package enum Event: Equatable, Sendable {
        case connected
        /// The peer sends no more; we still may.
        case peerFinished
        /// The last event; not told when the owner itself closes or resets.
        case closed(CloseReason)
    }

    private enum State { case connecting, open, closed }

    private enum Limits {
        static let readsPerWakeUp = 4  // of 64 kB each; then the other descriptors have their turn
        static let keepaliveIntervalSeconds: CInt = 15
        static let keepaliveProbes: CInt = 4  // a dead peer is noticed a minute after the first probe
    }

    package let remoteAddress: TransportAddress
    /// The unspecified address until a connection is open.
    package private(set) var localAddress: TransportAddress
    package var onData: (Span<UInt8>) -> Void = { _ in }
    package var onEvent: (Event) -> Void = { _ in }
    /// Runs once when the descriptor is gone, whoever closed it.
    var onRelease: () -> Void = {}

    private let loop: EventLoop
    private var descriptor: OwnedDescriptor?
    private let socket: CInt
    private let options: Options
    private var token: EventLoop.Token?
    private var state: State
    private var output: [UInt8] = []
    private var outputOffset = 0
    private var isFinishing = false
    private var isOutputShut = false
    private var hasPeerFinished = false
    private var isReadingPaused = false

    /// Starts to open a connection; `.connected` or `.closed` follows.
    package init(
        connecting remote: TransportAddress, from local: TransportAddress? = nil, options: Options = Options(),
        loop: EventLoop
    ) throws(SystemCallError) {
        let descriptor = try openSocket(remote.address, .stream)
        let socket = descriptor.rawValue
        try Self.configure(socket, remote, options)
        if let interface = options.interface { try bindToDevice(socket, interface) }
        let scope = options.interface.map { if_nametoindex($0) } ?? 0
        if let local {
            try setOption(socket, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR")
            if local.port == 0, remote.address.family == .v4 {
                // The port is chosen by connect, by the whole four-tuple.
                try setOption(socket, CInt(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT")
            }
            let result = SocketAddress(local, scope: scope).withSockaddr { bind(socket, $0, $1) }
            _ = try check(result, "bind", local.description)
        }
        let result = SocketAddress(remote, scope: scope).withSockaddr { connect(socket, $0, $1) }
        if result < 0, errno != EINPROGRESS, errno != EINTR { _ = try check(result, "connect", remote.description) }
        remoteAddress = remote
        localAddress = SocketAddress.local(of: socket) ?? TransportAddress(.v4(0), 0)
        self.loop = loop
        self.socket = socket
        self.options = options
        self.descriptor = consume descriptor
        state = .connecting
        token = try loop.register(socket, .writable) { [weak self] in self?.handle($0) }
    }

    /// Takes over an accepted connection.
    init(
        accepted descriptor: consuming OwnedDescriptor, from remote: TransportAddress, options: Options,
        loop: EventLoop
    ) throws(SystemCallError) {
        let socket = descriptor.rawValue
        try Self.configure(socket, remote, options)
        remoteAddress = remote
        localAddress = SocketAddress.local(of: socket) ?? TransportAddress(.v4(0), 0)
        self.loop = loop
        self.socket = socket
        self.options = options
        self.descriptor = consume descriptor
        state = .open
        token = try loop.register(socket, .readable) { [weak self] in self?.handle($0) }
    }

    deinit {
        if let token { loop.unregister(token) }
        onRelease()
    }

    package var isOpen: Bool { state == .open }
    package var isClosed: Bool { state == .closed }
    /// What waits here because the kernel's buffer is full.
    package var queuedByteCount: Int { output.count - outputOffset }

    private static func configure(
        _ socket: CInt, _ remote: TransportAddress, _ options: Options
    ) throws(SystemCallError) {
        let tcp = CInt(IPPROTO_TCP)
        try setOption(socket, tcp, TCP_NODELAY, 1, "TCP_NODELAY")
        if let idle = options.keepaliveIdle {
            try setOption(socket, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE")
            try setOption(socket, tcp, TCP_KEEPIDLE, CInt(clamping: max(1, idle.wholeSeconds)), "TCP_KEEPIDLE")
            try setOption(socket, tcp, TCP_KEEPINTVL, Limits.keepaliveIntervalSeconds, "TCP_KEEPINTVL")
            try setOption(socket, tcp, TCP_KEEPCNT, Limits.keepaliveProbes, "TCP_KEEPCNT")
        }
        try setTrafficClassOption(socket, remote.address.family, options.trafficClass)
    }

    // MARK: Sending

    /// Sends bytes or keeps them until the peer takes them; those given while connecting go first.
    ///
    /// false when the connection is closed, finished, or closes now because too much waits; `.closed` then follows.
    @discardableResult
    package func send(_ bytes: Span<UInt8>) -> Bool {
        guard state != .closed, !isFinishing else { return false }
        var sent = 0
        if state == .open, queuedByteCount == 0 {
            guard let count = transmit(bytes) else { return false }
            sent = count
        }
        guard queuedByteCount + bytes.count - sent <= options.queuedBytesMax else {
            closeSoon(.outputQueueFull)
            return false
        }
        guard sent < bytes.count else { return true }
        for index in sent..<bytes.count { output.append(bytes[index]) }
        updateInterest()
        return true
    }

    /// Sends what is queued, then tells the peer that no more comes; receiving goes on.
    package func finish() {
        guard state != .closed, !isFinishing else { return }
        isFinishing = true
        shutOutputWhenDrained()
    }

    /// How many bytes the kernel took; nil when the connection failed, and closes soon.
    private func transmit(_ bytes: Span<UInt8>) -> Int? {
        guard bytes.count > 0 else { return 0 }
        while true {
            // The span's memory is the caller's and outlives the call.
            let count = bytes.withUnsafeBufferPointer {
                Glibc.send(socket, $0.baseAddress, $0.count, noSignal)
            }
            if count >= 0 { return count }
            switch Errno.last {
            case .interrupted: continue
            case .again: return 0
            case let code:
                closeSoon(.failed(code))
                return nil
            }
        }
    }

    private func flush() {
        guard queuedByteCount > 0 else { return }
        guard let count = transmit(output.span.extracting(outputOffset..<output.count)) else { return }
        outputOffset += count
        if outputOffset == output.count {
            output.removeAll(keepingCapacity: output.capacity <= 16_384)
            outputOffset = 0
        } else if outputOffset >= 65_536, outputOffset * 2 > output.count {
            output.removeFirst(outputOffset)
            outputOffset = 0
        }
    }

    private func shutOutputWhenDrained() {
        guard isFinishing, !isOutputShut, state == .open, queuedByteCount == 0 else { return }
        isOutputShut = true
        shutdown(socket, CInt(SHUT_WR))
        if hasPeerFinished { closeSoon(.finished) }
    }

    // MARK: Receiving

    /// Stops reading, so that the peer must wait; the kernel's buffer still fills.
    package func pauseReading() {
        isReadingPaused = true
        updateInterest()
    }

    package func resumeReading() {
        isReadingPaused = false
        updateInterest()
    }

    private func handle(_ readiness: EventLoop.Readiness) {
        if state == .connecting {
            if let code = pendingError(of: socket) { return closeNow(.failed(code)) }
            guard readiness.contains(.writable) else { return }
            state = .open
            localAddress = SocketAddress.local(of: socket) ?? localAddress
            flush()
            shutOutputWhenDrained()
            updateInterest()
            return onEvent(.connected)
        }
        if readiness.contains(.readable), !hasPeerFinished, !isReadingPaused { receive() }
        guard state == .open else { return }
        if readiness.contains(.error), let code = pendingError(of: socket) { return closeNow(.failed(code)) }
        if readiness.contains(.hangUp) {
            // Both directions are over. What came before may still wait behind a paused reader.
            if hasPeerFinished || isReadingPaused { return closeNow(.finished) }
        }
        if readiness.contains(.writable) { flush() }
        guard state == .open else { return }
        shutOutputWhenDrained()
        updateInterest()
    }

    private func receive() {
        for _ in 0..<Limits.readsPerWakeUp {
            let count = loop.receiveBuffer.read(
                { buffer in
                    let count = recv(socket, buffer.baseAddress, buffer.count, 0)
                    return count < 0 ? Int(-errno) : count
                }, onData)
            guard state == .open else { return }
            if count == 0 { return peerFinished() }
            if count < 0 {
                let code = Errno(rawValue: CInt(-count))
                if code != .again, code != .interrupted { closeNow(.failed(code)) }
                return
            }
            guard !isReadingPaused, count == ReceiveBuffer.slotByteCount else { return }
        }
    }

    private func peerFinished() {
        hasPeerFinished = true
        updateInterest()
        onEvent(.peerFinished)
        if state == .open, isOutputShut { closeNow(.finished) }
    }

    private func updateInterest() {
        guard let token, state == .open else { return }
        var interest: EventLoop.Interest = []
        if !hasPeerFinished, !isReadingPaused { interest.insert(.readable) }
        if queuedByteCount > 0 { interest.insert(.writable) }
        // Cannot fail for a descriptor that is registered, short of a lack of kernel memory.
        do { try loop.modify(token, interest) } catch { closeSoon(.failed(error.code)) }
    }

    // MARK: Closing

    /// Closes at once; what is queued here is dropped, what the kernel has is still delivered.
    package func close() { release() }

    /// Closes at once with a RST; nothing more is delivered.
    package func reset() {
        guard state != .closed else { return }
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        release()
    }

    /// Closes now and tells it: only from the loop.
    private func closeNow(_ reason: CloseReason) {
        guard state != .closed else { return }
        let tell = onEvent
        release()
        tell(.closed(reason))
    }

    /// Closes now and tells it from the loop: the caller is inside `send`.
    private func closeSoon(_ reason: CloseReason) {
        guard state != .closed else { return }
        let tell = onEvent
        release()
        loop.postpone { tell(.closed(reason)) }
    }

    private func release() {
        guard state != .closed else { return }
        state = .closed
        if let token { loop.unregister(token) }
        token = nil
        descriptor = nil
        output = []
        outputOffset = 0
        let released = onRelease
        onRelease = {}
        onEvent = { _ in }
        onData = { _ in }
        released()
    }
}
