import CLinux
import Glibc
import Primitives

/// What the kernel says of one network interface, at the moment of asking.
package struct NetworkInterface: Equatable, Sendable {
    package let name: String
    package let index: UInt32
    package let mtu: Int
    /// Six bytes; nil where there is no Ethernet.
    package let hardwareAddress: [UInt8]?
    /// `virtio_net`, `veth`…; nil when the kernel names none.
    package let driver: String?
    /// Switched on by the administrator.
    package let isUp: Bool
    /// The link has a carrier.
    package let isRunning: Bool
    package let isLoopback: Bool
    package let addresses: [IPAddress]

    /// Asks the kernel; throws ENODEV when there is no such interface.
    package init(named name: String) throws(SystemCallError) {
        var answer = clinux_interface()
        let result = clinux_query_interface(name, &answer)
        guard result == 0 else {
            throw SystemCallError(call: "interface", code: Errno(rawValue: -result), context: name)
        }
        self.name = name
        index = answer.index
        mtu = Int(answer.mtu)
        hardwareAddress =
            answer.has_hardware_address ? withUnsafeBytes(of: answer.hardware_address) { Array($0) } : nil
        let driver = withUnsafeBytes(of: answer.driver) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        self.driver = driver.isEmpty ? nil : driver
        isUp = answer.flags & UInt32(IFF_UP) != 0
        isRunning = answer.flags & UInt32(IFF_RUNNING) != 0
        isLoopback = answer.flags & UInt32(IFF_LOOPBACK) != 0
        addresses = try Self.allAddresses().filter { $0.interface == name }.map(\.address)
    }

    /// Whether a configured address is really there.
    package func has(_ address: IPAddress) -> Bool { addresses.contains(address) }

    /// Every address of every interface.
    package static func allAddresses() throws(SystemCallError) -> [(interface: String, address: IPAddress)] {
        var first: UnsafeMutablePointer<ifaddrs>?
        _ = try check(getifaddrs(&first), "getifaddrs")
        defer { freeifaddrs(first) }
        var all: [(String, IPAddress)] = []
        var next = first
        // The list lives until freeifaddrs above.
        while let entry = next {
            next = entry.pointee.ifa_next
            guard let address = entry.pointee.ifa_addr else { continue }
            var storage = sockaddr_storage()
            let byteCount: Int
            switch CInt(address.pointee.sa_family) {
            case AF_INET: byteCount = MemoryLayout<sockaddr_in>.size
            case AF_INET6: byteCount = MemoryLayout<sockaddr_in6>.size
            default: continue
            }
            withUnsafeMutableBytes(of: &storage) {
                $0.copyMemory(from: UnsafeRawBufferPointer(start: address, count: byteCount))
            }
            guard let value = TransportAddress(storage) else { continue }
            all.append((String(cString: entry.pointee.ifa_name), value.address))
        }
        return all
    }
}
