import CLinux
import Glibc
import Primitives

/// A transport address in the form the socket calls take.
struct SocketAddress {
    private var storage: sockaddr_storage
    private let byteCount: socklen_t

    /// `scope`: the interface of a link-local IPv6 address, 0 for none.
    init(_ address: TransportAddress, scope: UInt32 = 0) {
        storage = sockaddr_storage()
        switch address.address {
        case .v4(let word):
            byteCount = socklen_t(MemoryLayout<sockaddr_in>.size)
            var form = sockaddr_in()
            form.sin_family = sa_family_t(AF_INET)
            form.sin_port = address.port.bigEndian
            form.sin_addr.s_addr = word.bigEndian
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: form, as: sockaddr_in.self) }
        case .v6(let high, let low):
            byteCount = socklen_t(MemoryLayout<sockaddr_in6>.size)
            var form = sockaddr_in6()
            form.sin6_family = sa_family_t(AF_INET6)
            form.sin6_port = address.port.bigEndian
            form.sin6_scope_id = high >> 54 == 0xFE80 >> 6 ? scope : 0
            withUnsafeMutableBytes(of: &form.sin6_addr) { bytes in
                bytes.storeBytes(of: high.bigEndian, toByteOffset: 0, as: UInt64.self)
                bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: form, as: sockaddr_in6.self) }
        }
    }

    /// The pointer is valid only inside `body`.
    func withSockaddr<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, byteCount) }
        }
    }

    /// Calls `body` with room for any address and returns what it wrote; nil for other families.
    static func filled(_ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> CInt)
        -> (result: CInt, address: TransportAddress?)
    {
        var storage = sockaddr_storage()
        var byteCount = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, &byteCount) }
        }
        return (result, result < 0 ? nil : TransportAddress(storage))
    }

    /// The address a socket is bound to; nil when it has none.
    static func local(of socket: CInt) -> TransportAddress? {
        filled { getsockname(socket, $0, $1) }.address
    }

    /// The address a socket is connected to; nil when it is not.
    static func remote(of socket: CInt) -> TransportAddress? {
        filled { getpeername(socket, $0, $1) }.address
    }
}

extension TransportAddress {
    /// nil for families other than IPv4 and IPv6.
    init?(_ storage: sockaddr_storage) {
        var storage = storage
        switch CInt(storage.ss_family) {
        case AF_INET:
            let form = withUnsafeBytes(of: &storage) { $0.loadUnaligned(as: sockaddr_in.self) }
            self.init(.v4(UInt32(bigEndian: form.sin_addr.s_addr)), UInt16(bigEndian: form.sin_port))
        case AF_INET6:
            var form = withUnsafeBytes(of: &storage) { $0.loadUnaligned(as: sockaddr_in6.self) }
            let (high, low) = withUnsafeBytes(of: &form.sin6_addr) { bytes in
                (
                    UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                )
            }
            self.init(.v6(high, low), UInt16(bigEndian: form.sin6_port))
        default: return nil
        }
    }
}

enum SocketKind {
    case stream, datagram

    var number: CInt {
        switch self {
        case .stream: CInt(SOCK_STREAM.rawValue)
        case .datagram: CInt(SOCK_DGRAM.rawValue)
        }
    }
}

/// For every send: a peer that has gone gives EPIPE, not a signal that ends us.
let noSignal = CInt(MSG_NOSIGNAL)

/// Opens an internet socket that neither blocks nor is inherited.
func openSocket(_ address: IPAddress, _ kind: SocketKind) throws(SystemCallError) -> OwnedDescriptor {
    let family = address.family == .v4 ? AF_INET : AF_INET6
    let flags = CInt(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    return OwnedDescriptor(owning: try check(socket(family, kind.number | flags, 0), "socket"))
}

func setOption(_ socket: CInt, _ level: CInt, _ name: CInt, _ value: CInt, _ text: String) throws(SystemCallError) {
    var value = value
    let size = socklen_t(MemoryLayout<CInt>.size)
    _ = try check(setsockopt(socket, level, name, &value, size), "setsockopt", text)
}

/// In the upper six bits of the IPv4 TOS or IPv6 traffic class byte; nil leaves the system's default.
func setTrafficClassOption(
    _ socket: CInt, _ family: IPAddress.Family, _ dscp: DSCP?
) throws(SystemCallError) {
    guard let dscp else { return }
    switch family {
    case .v4: try setOption(socket, CInt(IPPROTO_IP), IP_TOS, CInt(dscp.rawValue) << 2, "IP_TOS")
    case .v6: try setOption(socket, CInt(IPPROTO_IPV6), IPV6_TCLASS, CInt(dscp.rawValue) << 2, "IPV6_TCLASS")
    }
}

func bindToDevice(_ socket: CInt, _ interface: String) throws(SystemCallError) {
    let result = interface.withCString {
        setsockopt(socket, SOL_SOCKET, SO_BINDTODEVICE, $0, socklen_t(strlen($0) + 1))
    }
    _ = try check(result, "setsockopt", "SO_BINDTODEVICE \(interface)")
}

/// The pending error of a socket, which reading it clears; nil when there is none.
func pendingError(of socket: CInt) -> Errno? {
    var code: CInt = 0
    var size = socklen_t(MemoryLayout<CInt>.size)
    guard getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &size) == 0 else { return .last }
    return code == 0 ? nil : Errno(rawValue: code)
}
