import LinuxIO
import Primitives

/// The bound socket behind each media port: it gets what the kernel's flow table does not relay.
///
/// A bound port also keeps the kernel from answering with ICMP, so a scanner learns nothing.
final class MediaSockets {
    /// Expedited forwarding (RFC 4594 §4.1), in the upper six bits of the TOS octet.
    private static let typeOfService: UInt8 = 46 << 2

    /// local, source, payload
    var onDatagram: (TransportAddress, TransportAddress, [UInt8]) -> Void = { _, _, _ in }
    private(set) var packetsForwarded: UInt64 = 0
    private(set) var sendFailures: UInt64 = 0

    private let loop: EventLoop
    private var sockets: [TransportAddress: UDPSocket] = [:]

    init(loop: EventLoop) { self.loop = loop }

    var count: Int { sockets.count }

    func bind(_ address: TransportAddress) throws(SystemCallError) {
        guard sockets[address] == nil else { return }
        var options = UDPSocket.Options()
        options.typeOfService = Self.typeOfService
        options.queuedDatagramsMax = 16
        let socket = try UDPSocket(binding: address, options: options, loop: loop)
        socket.onDatagram = { [unowned self] bytes, source in
            var copy: [UInt8] = []
            copy.reserveCapacity(bytes.count)
            for index in bytes.indices { copy.append(bytes[index]) }
            onDatagram(address, source, copy)
        }
        sockets[address] = socket
    }

    func release(_ address: TransportAddress) {
        sockets.removeValue(forKey: address)?.close()
    }

    /// Sends from one of our ports; what cannot be sent is counted, as media is worth nothing later.
    func forward(_ bytes: [UInt8], from local: TransportAddress, to destination: TransportAddress) {
        guard let socket = sockets[local] else { return }
        switch socket.send(bytes.span, to: destination) {
        case .sent, .queued: packetsForwarded += 1
        case .failed: sendFailures += 1
        }
    }
}
