import CLinux
import Glibc

/// Opens a Unix socket that neither blocks nor is inherited; nothing is bound yet.
func openUnixSocket(_ kind: SocketKind) throws(SystemCallError) -> OwnedDescriptor {
    let flags = CInt(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    return OwnedDescriptor(owning: try check(socket(AF_UNIX, kind.number | flags, 0), "socket"))
}

/// Calls `body` with the address of a path; a leading `@` names an abstract socket. Throws when the path is too long.
func withUnixAddress<Result>(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) throws(SystemCallError) -> Result {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var name = Array(path.utf8)
    let isAbstract = name.first == UInt8(ascii: "@")
    if isAbstract { name[0] = 0 }
    let capacity = MemoryLayout.size(ofValue: address.sun_path)
    guard name.count < capacity, !name.isEmpty else {
        throw SystemCallError(call: "socket path", code: .nameTooLong, context: path)
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
    let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
    let byteCount = socklen_t(offset + name.count + (isAbstract ? 0 : 1))
    return withUnsafePointer(to: address) { pointer in
        // The pointer ends with this call.
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, byteCount) }
    }
}
