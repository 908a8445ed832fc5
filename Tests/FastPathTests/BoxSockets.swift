import FastPath
import Glibc
import Primitives

/// The sockets behind the flows, as the daemon has them: they hear what no engine takes, be it by the stack or by a ring.
final class BoxSockets: FastPathSockets {
    private let sockets: [TransportAddress: UDPSocket]
    private let fastPath: FastPath
    private var passedDescriptor: CInt = -1
    private var passed: [(local: TransportAddress, source: TransportAddress, bytes: [UInt8])] = []

    /// Binds them in the box, before a flow is applied.
    init(_ addresses: [TransportAddress], in topology: Topology, for fastPath: FastPath) throws {
        self.fastPath = fastPath
        sockets = try topology.box.run {
            Dictionary(uniqueKeysWithValues: try addresses.map { ($0, try UDPSocket($0)) })
        }
        fastPath.sockets = self
    }

    func setFilter(_ filter: PacketFilter?, of local: TransportAddress) -> Bool {
        guard let socket = sockets[local] else { return true }
        return (try? socket.attach(filter)) != nil
    }

    func watch(_ descriptor: CInt?) { passedDescriptor = descriptor ?? -1 }

    /// nil after a second without any, or at once if `waiting` is false.
    func receive(at local: TransportAddress, waiting: Bool = true) -> (bytes: [UInt8], source: TransportAddress)? {
        guard let socket = sockets[local] else { return nil }
        for isLast in [false, true] {
            fastPath.takePassed { passed.append(($0, $1, $2)) }
            if let index = passed.firstIndex(where: { $0.local == local }) {
                let taken = passed.remove(at: index)
                return (taken.bytes, taken.source)
            }
            if let heard = socket.receive(waiting: false) { return heard }
            guard waiting, !isLast else { return nil }
            var descriptors = [socket.descriptor, passedDescriptor].map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            poll(&descriptors, nfds_t(descriptors.count), 1000)
        }
        return nil
    }

    func send(_ bytes: [UInt8], from local: TransportAddress, to destination: TransportAddress) throws {
        try sockets[local]?.send(bytes, to: destination)
    }
}
