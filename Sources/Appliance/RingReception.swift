import FastPath
import LinuxIO
import Primitives

/// The packet ring beside one SIP socket: what it takes, the socket's filter keeps out, and the other way round.
///
/// On the way in and out a datagram may arrive by both, as if repeated, but by neither never.
final class RingReception {
    /// The words for the log.
    struct Failure: Error { let text: String }

    private enum Limits {
        static let datagramsPerWakeUp = 32  // then the other descriptors have their turn; as many as UDPSocket
        static let datagramsAtClose = 2_048  // more than the ring holds: what comes meanwhile is the socket's, too
    }

    private let socket: UDPSocket
    private let loop: EventLoop
    private let onDatagram: (Span<UInt8>, TransportAddress) -> Void
    private let onRefusal: (String) -> Void
    private var ring: SignallingRing?
    private var token: EventLoop.Token?
    private var lastCounters = SignallingRing.Counters()

    /// `onRefusal`: the ring had to be given up, and has been.
    init(
        interface: String, beside socket: UDPSocket, loop: EventLoop,
        onDatagram: @escaping (Span<UInt8>, TransportAddress) -> Void, onRefusal: @escaping (String) -> Void
    ) throws(Failure) {
        self.socket = socket
        self.loop = loop
        self.onDatagram = onDatagram
        self.onRefusal = onRefusal
        let ring: SignallingRing
        do throws(FastPathError) {
            let mtu = (try? NetworkInterface(named: interface).mtu) ?? 0
            ring = try SignallingRing(interface: interface, endpoint: socket.localAddress, mtu: mtu)
        } catch {
            throw Failure(text: "\(error)")
        }
        do throws(SystemCallError) {
            token = try loop.register(ring.descriptor, .readable) { [weak self] readiness in self?.handle(readiness) }
            self.ring = ring
            // From here on the socket leaves to the ring what the ring has been taking since it was opened.
            try socket.setFilter(ring.filter.socket)
        } catch {
            if let token { loop.unregister(token) }
            token = nil
            throw Failure(text: "\(error)")
        }
    }

    /// What lies in the ring ends with it: whoever it was for may be gone, too.
    deinit {
        if let token { loop.unregister(token) }
        if ring != nil, !socket.isClosed { try? socket.setFilter(nil) }
    }

    var isOpen: Bool { ring != nil }

    /// Since it was opened, also after its end.
    var counters: SignallingRing.Counters { ring?.counters ?? lastCounters }

    /// The socket takes everything again; what lies in the ring is still handed on.
    func close() {
        guard let ring, let token else { return }
        // Fails only for a descriptor that is no socket any more.
        if !socket.isClosed { try? socket.setFilter(nil) }
        for _ in 0..<Limits.datagramsAtClose {
            if ring.receive(limit: 1, onDatagram) == .empty { break }
        }
        lastCounters = ring.counters
        loop.unregister(token)
        self.token = nil
        self.ring = nil
    }

    private func handle(_ readiness: EventLoop.Readiness) {
        guard let ring else { return }
        if readiness.contains(.error) { ring.acknowledgeError() }
        guard case .refused(let refusal) = ring.receive(limit: Limits.datagramsPerWakeUp, onDatagram) else { return }
        close()
        onRefusal(refusal.rawValue)
    }
}
