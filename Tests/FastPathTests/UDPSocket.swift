import CFastPath
import Glibc
import Primitives

/// A bound UDP socket that waits at most a second; stays in the namespace it was made in.
final class UDPSocket {
    let descriptor: CInt
    private let family: IPAddress.Family

    init(_ local: TransportAddress) throws {
        family = local.address.family
        descriptor = socket(
            family == .v4 ? AF_INET : AF_INET6, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        var patience = timeval(tv_sec: 1, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var byteCount: CInt = 4 << 20
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &byteCount, socklen_t(MemoryLayout<CInt>.size))
        let result = local.withSocketAddress { bind(descriptor, $0, $1) }
        guard result == 0 else { throw SetupError("bind \(local): \(String(cString: strerror(errno)))") }
    }

    deinit { close(descriptor) }

    /// From now on only datagrams of this peer belong to the socket.
    func connect(to peer: TransportAddress) throws {
        let result = peer.withSocketAddress { Glibc.connect(descriptor, $0, $1) }
        guard result == 0 else { throw SetupError("connect \(peer): \(String(cString: strerror(errno)))") }
    }

    /// Lets in what the filter accepts; nil: all.
    func attach(_ filter: PacketFilter?) throws {
        guard let filter else {
            var unused: CInt = 0
            setsockopt(descriptor, SOL_SOCKET, SO_DETACH_FILTER, &unused, socklen_t(MemoryLayout<CInt>.size))
            return
        }
        var instructions = filter.instructions.map {
            sock_filter(code: $0.code, jt: $0.jumpTrue, jf: $0.jumpFalse, k: $0.operand)
        }
        let result = instructions.withUnsafeMutableBufferPointer { buffer in  // the call copies it
            var program = sock_fprog(len: UInt16(buffer.count), filter: buffer.baseAddress)
            return setsockopt(
                descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, socklen_t(MemoryLayout<sock_fprog>.size))
        }
        guard result == 0 else { throw SetupError("SO_ATTACH_FILTER: \(String(cString: strerror(errno)))") }
    }

    /// From now on IPv4 datagrams leave without a checksum.
    func omitChecksum() {
        var one: CInt = 1
        setsockopt(descriptor, SOL_SOCKET, SO_NO_CHECK, &one, socklen_t(MemoryLayout<CInt>.size))
    }

    /// From now on larger datagrams leave as several of this size, cut by the device (UDP_SEGMENT).
    func segment(byteCount: CInt) {
        var value = byteCount
        setsockopt(descriptor, CInt(IPPROTO_UDP), 103, &value, socklen_t(MemoryLayout<CInt>.size))
    }

    func send(_ bytes: [UInt8], to destination: TransportAddress) throws {
        let result = destination.withSocketAddress { sendto(descriptor, bytes, bytes.count, 0, $0, $1) }
        guard result == bytes.count else {
            throw SetupError("sendto \(destination): \(String(cString: strerror(errno)))")
        }
    }

    /// nil after a second without any, or at once if `waiting` is false.
    func receive(waiting: Bool = true) -> (bytes: [UInt8], source: TransportAddress)? {
        var bytes = [UInt8](repeating: 0, count: 2048)
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let count = withUnsafeMutableBytes(of: &storage) { address in  // lives in this function
            recvfrom(
                descriptor, &bytes, bytes.count, waiting ? 0 : CInt(MSG_DONTWAIT),
                address.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
        }
        guard count >= 0 else { return nil }
        let raw = withUnsafeBytes(of: &storage) { Array($0) }
        let port = UInt16(raw[2]) << 8 | UInt16(raw[3])
        let host = family == .v4 ? raw[4..<8] : raw[8..<24]
        return (Array(bytes.prefix(count)), TransportAddress(IPAddress(bytes: host)!, port))
    }
}

extension TransportAddress {
    fileprivate func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        let family = UInt16(address.family == .v4 ? AF_INET : AF_INET6)
        var raw: [UInt8] = [UInt8(family & 0xFF), UInt8(family >> 8), UInt8(port >> 8), UInt8(port & 0xFF)]
        raw +=
            address.family == .v4
            ? address.bytes + [UInt8](repeating: 0, count: 8) : [0, 0, 0, 0] + address.bytes + [0, 0, 0, 0]
        return raw.withUnsafeBytes { body($0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count)) }
    }
}

/// What the network stack of the calling thread's namespace complains of: ICMP errors received, bad checksums.
func networkFaults() -> [String: Int] {
    var faults: [String: Int] = [:]
    var names: [Substring] = []
    for line in lines("/proc/thread-self/net/snmp") {
        let fields = line.split(separator: " ")
        guard ["Icmp:", "Udp:"].contains(fields.first ?? "") else { continue }
        if names.first == fields.first, Int(fields[1]) != nil {
            for (name, value) in zip(names, fields).dropFirst() { faults["\(fields[0])\(name)"] = Int(value) }
        }
        names = fields
    }
    for line in lines("/proc/thread-self/net/snmp6") {
        let fields = line.split { $0 == " " || $0 == "\t" }
        if fields.count == 2 { faults[String(fields[0])] = Int(fields[1]) }
    }
    let wanted = [
        "Icmp:InDestUnreachs", "Udp:InErrors", "Udp:InCsumErrors", "Udp:NoPorts", "Icmp6InDestUnreachs", "Udp6InErrors",
        "Udp6InCsumErrors", "Udp6NoPorts",
    ]
    return faults.filter { wanted.contains($0.key) && $0.value != 0 }
}

private func lines(_ path: String) -> [Substring] {
    guard let file = fopen(path, "r") else { return [] }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 65536)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes.prefix(count), as: UTF8.self).split(separator: "\n")
}
