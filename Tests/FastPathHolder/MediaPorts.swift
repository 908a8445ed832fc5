import CFastPath
import FastPath
import Glibc
import MediaFormats
import Primitives

/// A bound socket behind each flow, as the daemon has it; nobody reads what they hear.
final class MediaPorts: FastPathSockets {
    private var descriptors: [TransportAddress: CInt] = [:]

    init(of flows: [MediaFlow]) {
        var limit = rlimit(rlim_cur: rlim_t(flows.count + 256), rlim_max: rlim_t(flows.count + 256))
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        for flow in flows { descriptors[flow.local] = Self.bound(to: flow.local) }
    }

    private static func bound(to local: TransportAddress) -> CInt {
        let isV4 = local.address.family == .v4
        let descriptor = socket(isV4 ? AF_INET : AF_INET6, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        let family = UInt16(isV4 ? AF_INET : AF_INET6)
        // sockaddr_in and sockaddr_in6: family, port, then the address or flow label and address.
        var raw = [UInt8(family & 0xFF), UInt8(family >> 8), UInt8(local.port >> 8), UInt8(local.port & 0xFF)]
        raw += isV4 ? local.address.bytes : [0, 0, 0, 0] + local.address.bytes
        raw += [UInt8](repeating: 0, count: isV4 ? 8 : 4)
        let result = raw.withUnsafeBytes { bytes in  // borrowed for the call only
            bytes.baseAddress.map {
                bind(descriptor, $0.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
            }
        }
        guard result == 0 else { fail("bind \(local): \(String(cString: strerror(errno)))") }
        return descriptor
    }

    func setFilter(_ filter: PacketFilter?, of local: TransportAddress) -> Bool {
        guard let descriptor = descriptors[local] else { return true }
        guard let filter else {
            var unused: CInt = 0
            return setsockopt(
                descriptor, SOL_SOCKET, SO_DETACH_FILTER, &unused, socklen_t(MemoryLayout<CInt>.size)) == 0
        }
        var instructions = filter.instructions.map {
            sock_filter(code: $0.code, jt: $0.jumpTrue, jf: $0.jumpFalse, k: $0.operand)
        }
        return instructions.withUnsafeMutableBufferPointer { buffer in  // the call copies it
            var program = sock_fprog(len: UInt16(buffer.count), filter: buffer.baseAddress)
            return setsockopt(
                descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, socklen_t(MemoryLayout<sock_fprog>.size)) == 0
        }
    }

    func watch(_ descriptor: CInt?) {}
}
