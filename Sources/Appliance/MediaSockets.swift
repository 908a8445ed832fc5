import FastPath
import LinuxIO
import Primitives

/// The bound socket behind each media port: it gets what the kernel's flow table does not relay.
///
/// A bound port also keeps the kernel from answering with ICMP, so a scanner learns nothing.
final class MediaSockets {
    /// local, source, payload
    var onDatagram: (TransportAddress, TransportAddress, [UInt8]) -> Void = { _, _, _ in }
    private(set) var packetsForwarded: UInt64 = 0
    private(set) var sendFailures: UInt64 = 0
    private(set) var markingFailures: UInt64 = 0
    /// Sockets that refused their filter, whose flows the rings therefore do not have.
    private(set) var filterFailures: UInt64 = 0
    /// `FastPath.takePassed`.
    var takePassed: (_ body: (TransportAddress, TransportAddress, [UInt8]) -> Void) -> Void = { _ in }
    private var passedToken: EventLoop.Token?

    private let loop: EventLoop
    private struct Entry {
        var socket: UDPSocket
        var trafficClass = DSCP.expeditedForwarding
    }
    private var sockets: [TransportAddress: Entry] = [:]

    init(loop: EventLoop) { self.loop = loop }

    var count: Int { sockets.count }

    func bind(_ address: TransportAddress) throws(SystemCallError) {
        guard sockets[address] == nil else { return }
        var options = UDPSocket.Options()
        options.trafficClass = .expeditedForwarding
        options.queuedDatagramsMax = 16
        let socket = try UDPSocket(binding: address, options: options, loop: loop)
        socket.onDatagram = { [unowned self] bytes, source in
            var copy: [UInt8] = []
            copy.reserveCapacity(bytes.count)
            for index in bytes.indices { copy.append(bytes[index]) }
            onDatagram(address, source, copy)
        }
        sockets[address] = Entry(socket: socket)
    }

    func release(_ address: TransportAddress) {
        sockets.removeValue(forKey: address)?.socket.close()
    }

    /// What datagrams sent from this port are marked with. With `preserve` it is expedited forwarding: what a datagram
    /// arrived with is not known here.
    func setTrafficClass(_ policy: TrafficClassPolicy, of address: TransportAddress) {
        let dscp: DSCP =
            switch policy {
            case .preserve: .expeditedForwarding
            case .set(let dscp): dscp
            }
        guard let entry = sockets[address], entry.trafficClass != dscp else { return }
        do throws(SystemCallError) {
            try entry.socket.setTrafficClass(dscp)
            sockets[address]?.trafficClass = dscp
        } catch {
            markingFailures += 1
        }
    }

    /// Lets in only what the filter accepts; nil: everything. True also when nothing is bound there.
    func setFilter(_ filter: PacketFilter?, of address: TransportAddress) -> Bool {
        guard let socket = sockets[address]?.socket else { return true }
        do throws(SystemCallError) {
            try socket.setFilter(filter)
            return true
        } catch {
            filterFailures += 1
            return false
        }
    }

    /// What a ring took but leaves to the socket arrives here as if the socket had heard it.
    func watch(_ descriptor: CInt?) {
        if let token = passedToken { loop.unregister(token) }
        passedToken = descriptor.flatMap { descriptor in
            try? loop.register(descriptor, .readable) { [unowned self] _ in takePassed(onDatagram) }
        }
    }

    /// Sends from one of our ports; what cannot be sent is counted, as media is worth nothing later.
    func forward(_ bytes: [UInt8], from local: TransportAddress, to destination: TransportAddress) {
        guard let socket = sockets[local]?.socket else { return }
        switch socket.send(bytes.span, to: destination) {
        case .sent, .queued: packetsForwarded += 1
        case .failed: sendFailures += 1
        }
    }
}

extension MediaSockets: FastPathSockets {}
