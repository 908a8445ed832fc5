import FastPath
import LinuxIO
import Primitives
import SIPEngine
import SignallingFormats

/// The SIP sockets of every realm: bytes in become parsed messages, bytes out find their socket or connection.
///
/// UDP is parsed in place from the receive buffer. TCP connections are kept by number and by remote address, so that
/// responses go back where the request came from and requests reuse what is open (RFC 3261 §18, RFC 5923 aside).
final class SignallingTransports {
    private enum Limits {
        static let connectionCountMax = 2_048  // beyond it a new connection is closed at once
        static let connectionsPerSourceMax = 64  // a NAT full of phones fits, a flood does not
        /// Two SYNs; then UDP still has time where the answer to 911 is awaited (3 s).
        static let connectTimeout = Duration.seconds(2)
        static let receiveBufferBytes = 4 << 20  // a burst of registrations after a power cut
    }

    private struct Realm {
        var endpoint: TransportAddress
        var udp: UDPSocket?
        var listener: TCPListener?
    }

    private struct Connection {
        var socket: TCPConnection
        var path: TransportPath
        var framer = SIPStreamFramer()
    }

    private struct Remote: Hashable {
        var realm: RealmID
        var address: TransportAddress
    }

    /// Whether anything from here is looked at.
    var admits: (IPAddress, RealmID) -> Bool = { _, _ in true }
    /// Whether phones are there, whose calls for help are read in spite of that.
    var hearsEmergencies: (RealmID) -> Bool = { _ in false }
    var onMessage: (SIPMessage, TransportPath) -> Void = { _, _ in }
    var onMalformed: (SIPRequest?, TransportPath) -> Void = { _, _ in }
    var onFailure: (TransportPath, String) -> Void = { _, _ in }
    var onClosed: (TransportPath) -> Void = { _ in }
    /// A realm's ring had to be given up, and why; its socket goes on.
    var onRingRefused: (RealmID, String) -> Void = { _, _ in }

    /// What messages leave with; a change holds for the sockets that are open and for connections yet to come.
    var trafficClass = DSCP.classSelector3 {
        // IP_TOS of an open socket takes any value.
        didSet { for realm in realms.values { try? realm.udp?.setTrafficClass(trafficClass) } }
    }

    private let loop: EventLoop
    private var realms: [RealmID: Realm] = [:]
    private var connections: [ConnectionID: Connection] = [:]
    private var connectionOf: [Remote: ConnectionID] = [:]
    private var lastConnection: UInt64 = 0
    private var receptions: [RealmID: RingReception] = [:]

    private var emergencyReserve = EmergencyReserve()
    private var received: UInt64 = 0
    private var sent: UInt64 = 0
    private var malformed: UInt64 = 0
    private var keepalives: UInt64 = 0
    private var unsent: UInt64 = 0

    init(loop: EventLoop) { self.loop = loop }

    /// Names and values for `cresset status`.
    var counters: [(String, UInt64)] {
        var counters = [
            ("sip-messages-received", received), ("sip-messages-sent", sent), ("sip-messages-malformed", malformed),
            ("sip-keepalives", keepalives), ("sip-messages-unsent", unsent),
            ("tcp-connections", UInt64(connections.count)), ("tcp-connections-refused", refusedConnections),
        ]
        if !receptions.isEmpty {
            let rings = receptions.values.map(\.counters)
            counters += [
                ("sip-ring-datagrams", rings.reduce(0) { $0 + $1.datagrams }),
                ("sip-ring-damaged", rings.reduce(0) { $0 + $1.damaged }),
                ("sip-ring-lost", rings.reduce(0) { $0 + $1.lost }),
            ]
        }
        return counters
    }

    private var refusedConnections: UInt64 {
        realms.values.compactMap(\.listener?.counters).reduce(0) {
            $0 + $1.refusedTotal + $1.refusedSource + $1.refusedDescriptors
        }
    }

    // MARK: Opening

    func open(_ realm: RealmID, at endpoint: TransportAddress, udp: Bool, tcp: Bool) throws(SystemCallError) {
        var entry = Realm(endpoint: endpoint)
        if udp {
            var options = UDPSocket.Options()
            options.trafficClass = trafficClass
            options.receiveBufferBytes = Limits.receiveBufferBytes
            let socket = try UDPSocket(binding: endpoint, options: options, loop: loop)
            socket.onDatagram = { [unowned self] bytes, source in receiveDatagram(bytes, from: source, in: realm) }
            socket.onEvent = { [unowned self] event in
                switch event {
                case .peerUnreachable(let peer, let code), .sendFailed(let peer, let code):
                    onFailure(path(realm, .udp, peer), "\(code)")
                }
            }
            entry.udp = socket
        }
        if tcp {
            var options = TCPListener.Options()
            options.connectionsMax = Limits.connectionCountMax
            options.connectionsPerSourceMax = Limits.connectionsPerSourceMax
            options.connection = connectionOptions
            let listener = try TCPListener(binding: endpoint, options: options, loop: loop)
            listener.onConnection = { [unowned self] socket in
                guard admits(socket.remoteAddress.address, realm) else { return socket.close() }
                adopt(socket, in: realm)
            }
            entry.listener = listener
        }
        realms[realm] = entry
    }

    /// Reads a realm's SIP over UDP from a ring on this interface; nil: from its socket alone again. On failure the
    /// socket goes on. False if the realm has no socket.
    func useRing(on interface: String?, in realm: RealmID) throws(RingReception.Failure) -> Bool {
        receptions.removeValue(forKey: realm)?.close()
        guard let socket = realms[realm]?.udp else { return false }
        guard let interface else { return true }
        receptions[realm] = try RingReception(
            interface: interface, beside: socket, loop: loop, onDatagram: socket.onDatagram,
            onRefusal: { [unowned self] reason in onRingRefused(realm, reason) })
        return true
    }

    private func path(
        _ realm: RealmID, _ transport: SIPTransport, _ remote: TransportAddress, _ connection: ConnectionID? = nil
    ) -> TransportPath {
        TransportPath(realm: realm, transport: transport, remote: remote, connection: connection)
    }

    // MARK: UDP

    private func receiveDatagram(_ bytes: Span<UInt8>, from source: TransportAddress, in realm: RealmID) {
        guard
            admits(source.address, realm)
                || hearsEmergencies(realm) && emergencyReserve.admits(bytes, at: Clock.monotonic)
        else { return }
        guard !isKeepalive(bytes) else {
            keepalives += 1
            return
        }
        if bytes[0] & 0xC0 == 0, let answer = STUNKeepalive.answer(to: bytes, from: source) {
            keepalives += 1
            _ = realms[realm]?.udp?.send(answer.span, to: source)
            return
        }
        parse(bytes, path(realm, .udp, source))
    }

    /// Phones keep a NAT binding open with line ends or zeros, which nobody answers over UDP.
    private func isKeepalive(_ bytes: Span<UInt8>) -> Bool {
        guard bytes.count <= 8 else { return false }
        for index in bytes.indices where ![0x0D, 0x0A, 0x20, 0x00].contains(bytes[index]) { return false }
        return true
    }

    private func parse(_ bytes: Span<UInt8>, _ path: TransportPath) {
        received += 1
        do throws(SIPParseError) {
            onMessage(try SIPMessage(parsing: bytes), path)
        } catch {
            malformed += 1
            onMalformed(SIPRequest.salvage(bytes), path)
        }
    }

    // MARK: TCP

    private var connectionOptions: TCPConnection.Options {
        var options = TCPConnection.Options()
        options.trafficClass = trafficClass
        return options
    }

    private func adopt(_ socket: TCPConnection, in realm: RealmID) {
        lastConnection += 1
        let id = ConnectionID(rawValue: lastConnection)
        connections[id] = Connection(socket: socket, path: path(realm, .tcp, socket.remoteAddress, id))
        connectionOf[Remote(realm: realm, address: socket.remoteAddress)] = id
        socket.onData = { [unowned self] bytes in receiveStream(bytes, on: id) }
        socket.onEvent = { [unowned self] event in
            switch event {
            case .connected, .peerFinished: break  // a peer that only stopped sending still hears our responses
            case .closed(let reason): closed(id, reason.text)
            }
        }
    }

    private func receiveStream(_ bytes: Span<UInt8>, on id: ConnectionID) {
        guard let path = connections[id]?.path else { return }
        connections[id]?.framer.append(bytes)
        while let event = nextEvent(on: id) {
            switch event {
            case .success(.message(let message)): parse(message.span, path)
            case .success(.ping):
                // RFC 5626 §4.4.1: a double line end is answered by a single one.
                keepalives += 1
                _ = connections[id]?.socket.send([0x0D, 0x0A].span)
            case .success(.pong): keepalives += 1
            case .failure(let failure):
                // Without a boundary nothing behind it can be understood (RFC 3261 §18.3).
                malformed += 1
                closed(id, "the stream is no longer SIP: \(failure)")
                return
            }
        }
    }

    private func nextEvent(on id: ConnectionID) -> Result<SIPStreamFramer.Event, SIPStreamFramer.Failure>? {
        do throws(SIPStreamFramer.Failure) {
            return try connections[id]?.framer.next().map { .success($0) }
        } catch {
            return .failure(error)
        }
    }

    private func closed(_ id: ConnectionID, _ reason: String) {
        guard let connection = connections.removeValue(forKey: id) else { return }
        let remote = Remote(realm: connection.path.realm, address: connection.path.remote)
        if connectionOf[remote] == id { connectionOf[remote] = nil }
        connection.socket.close()
        onFailure(connection.path, reason)
        onClosed(connection.path)
    }

    /// The engine wants no more of this connection.
    func close(_ path: TransportPath) {
        guard let id = path.connection, let connection = connections.removeValue(forKey: id) else { return }
        let remote = Remote(realm: path.realm, address: connection.path.remote)
        if connectionOf[remote] == id { connectionOf[remote] = nil }
        connection.socket.close()
    }

    // MARK: Sending

    func transmit(_ bytes: [UInt8], to path: TransportPath) {
        guard let realm = realms[path.realm] else { return fail(path, "there is no realm \(path.realm)") }
        switch path.transport {
        case .udp:
            guard let socket = realm.udp else { return fail(path, "realm \(path.realm) has no UDP") }
            switch socket.send(bytes.span, to: path.remote) {
            case .sent, .queued: sent += 1
            case .failed(let code): fail(path, "\(code)")
            }
        case .tcp: transmitOverTCP(bytes, path, realm)
        case .tls, .other: fail(path, "no such transport here")
        }
    }

    private func transmitOverTCP(_ bytes: [UInt8], _ path: TransportPath, _ realm: Realm) {
        let known = path.connection.flatMap { connections[$0] == nil ? nil : $0 }
        let id = known ?? connectionOf[Remote(realm: path.realm, address: path.remote)]
        if let id, let connection = connections[id] {
            return send(bytes, on: connection.socket, path)
        }
        do throws(SystemCallError) {
            let socket = try TCPConnection(
                connecting: path.remote, from: TransportAddress(realm.endpoint.address, 0), options: connectionOptions,
                loop: loop)
            adopt(socket, in: path.realm)
            limitConnecting(of: lastConnection)
            send(bytes, on: socket, path)
        } catch {
            fail(path, "\(error.code)")
        }
    }

    private func send(_ bytes: [UInt8], on socket: TCPConnection, _ path: TransportPath) {
        if socket.send(bytes.span) { sent += 1 } else { fail(path, "the peer does not read") }
    }

    private func limitConnecting(of number: UInt64) {
        let id = ConnectionID(rawValue: number)
        loop.schedule(at: Clock.monotonic + Limits.connectTimeout) { [weak self] in
            guard let self, let connection = connections[id], !connection.socket.isOpen else { return }
            closed(id, "no connection within \(Limits.connectTimeout.wholeSeconds) s")
        }
    }

    private func fail(_ path: TransportPath, _ reason: String) {
        unsent += 1
        onFailure(path, reason)
    }
}

extension TCPConnection.CloseReason {
    fileprivate var text: String {
        switch self {
        case .finished: "closed by the peer"
        case .failed(let code): code.description
        case .outputQueueFull: "the peer does not read"
        }
    }
}
