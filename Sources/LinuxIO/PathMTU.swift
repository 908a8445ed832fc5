import CLinux
import Glibc
import Primitives

/// The largest IP packet the kernel believes fits on the way to a peer.
package enum PathMTU {
    /// Ethernet's, when the kernel knows no route or will not say.
    package static let assumed = 1_500

    /// Asks the kernel; sends nothing. `source`: our address, where routing depends on it.
    package static func to(_ peer: TransportAddress, from source: IPAddress? = nil) -> Int {
        guard let descriptor = try? openSocket(peer.address, .datagram) else { return assumed }
        let socket = descriptor.rawValue
        if let source, source.family == peer.address.family {
            _ = SocketAddress(TransportAddress(source, 0)).withSockaddr { bind(socket, $0, $1) }
        }
        guard SocketAddress(peer).withSockaddr({ connect(socket, $0, $1) }) == 0 else { return assumed }
        var mtu: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        let result =
            peer.address.family == .v4
            ? getsockopt(socket, CInt(IPPROTO_IP), IP_MTU, &mtu, &size)
            : getsockopt(socket, CInt(IPPROTO_IPV6), IPV6_MTU, &mtu, &size)
        return result == 0 && mtu > 0 ? Int(mtu) : assumed
    }
}
