import CFastPath
import FastPath
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

/// Interfaces that are not the plain Ethernet of the other tests: without a link layer, as PPPoE's, and with a small MTU.
@Suite("Interfaces of other kinds", .serialized, .enabled(if: isRoot, "namespaces need root"))
struct InterfaceTests {
    @Test("relays by rings to and from a device without Ethernet headers, and says why")
    func withoutLinkLayer() throws {
        let topology = try Topology()
        let ends = Topology.Ends(.v4)
        try topology.box.ip("link del wan0")
        let tunnel = try topology.box.run { try Tunnel("tun0") }
        try topology.box.ip("addr add 198.51.100.1 peer 198.51.100.10/32 dev tun0")
        try topology.box.ip("link set tun0 mtu 1492 up")
        let fastPath = try topology.box.run { try FastPath(interfaces: [.init(name: "lan0"), .init(name: "tun0")]) }
        let attachments = Dictionary(uniqueKeysWithValues: fastPath.attachments.map { ($0.interface, $0) })
        #expect(attachments["tun0"]?.mode == .ring)
        #expect(attachments["tun0"]?.reason == "AF_PACKET ring: not an Ethernet interface")
        #expect(attachments["lan0"]?.mode == .tc)
        #expect(attachments["lan0"]?.reason.contains("tun0 has a ring, which takes no frames from XDP") == true)

        let box = try BoxSockets([ends.boxLAN, ends.boxWAN], in: topology, for: fastPath)
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        #expect(try topology.apply(ends.inward, to: fastPath) == .applied)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        for sequence in 1...20 as ClosedRange<UInt16> {
            let payload = Frame.rtp(sequence: sequence, speech: Int(sequence) * 70)
            try tunnel.send(Self.packet(from: ends.carrier, to: ends.boxWAN, payload))
            let heard = try #require(phone.receive(), "inward packet \(sequence) was lost")
            #expect(heard.bytes == payload)
            #expect(heard.source == ends.boxLAN)

            try phone.send(payload, to: ends.boxLAN)
            let packet = try #require(tunnel.receive(), "outward packet \(sequence) was lost")
            #expect(Array(packet.dropFirst(28)) == payload)
            #expect(Array(packet[12..<20]) == ends.boxWAN.address.bytes + ends.carrier.address.bytes)
        }
        for address in [ends.boxLAN, ends.boxWAN] { #expect(box.receive(at: address, waiting: false) == nil) }
        for local in [ends.boxLAN, ends.boxWAN] { #expect(fastPath.engines(of: local) == .ring) }
        #expect(fastPath.counters(for: ends.boxLAN)?.packets == 20)
        #expect(fastPath.counters(for: ends.boxWAN)?.packets == 20)
    }

    @Test(
        "hands what the next link cannot carry whole to the socket, and relays the rest",
        arguments: LiveTests.Path.allCases)
    func smallMTU(_ path: LiveTests.Path) throws {
        let topology = try Topology()
        let fastPath = try LiveTests.start(path, topology)
        let ends = Topology.Ends(.v4)
        let box = try BoxSockets([ends.boxLAN], in: topology, for: fastPath)
        try topology.box.ip("link set wan0 mtu 600")
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        for (sequence, size) in [160, 560, 561, 160, 1400, 560].enumerated() {
            let packet = Frame.rtp(sequence: UInt16(sequence), speech: size)  // and 40 bytes of headers
            try phone.send(packet, to: ends.boxLAN)
            if size <= 560 {
                #expect(carrier.receive()?.bytes == packet)
            } else {
                #expect(box.receive(at: ends.boxLAN)?.bytes == packet)
            }
        }
        #expect(box.receive(at: ends.boxLAN, waiting: false) == nil)
        #expect(fastPath.counters(for: ends.boxLAN)?.packets == 4)
        #expect(fastPath.totals().sum.passedTooLarge == 2)
    }

    /// From the IP header on.
    private static func packet(from source: TransportAddress, to local: TransportAddress, _ payload: [UInt8]) -> [UInt8]
    {
        let frame = Frame(
            destinationMAC: Topology.lan0, sourceMAC: Topology.lan, source: source, destination: local, payload: payload
        )
        return Array(frame.bytes.dropFirst(14))
    }
}

/// The far end of a TUN device: whole IP packets, no link layer.
private final class Tunnel {
    private let descriptor: CInt

    /// In the namespace of the calling thread.
    init(_ name: String) throws {
        descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)
        let (setInterface, flags) = (0x4004_54ca as UInt, 0x1001 as UInt16)  // TUNSETIFF; IFF_TUN | IFF_NO_PI
        var request = Array(name.utf8) + [UInt8](repeating: 0, count: 40 - name.utf8.count)
        withUnsafeBytes(of: flags) { request.replaceSubrange(16..<18, with: $0) }  // copied while it is borrowed
        guard descriptor >= 0, ioctl(descriptor, setInterface, &request) == 0 else {
            throw SetupError("/dev/net/tun: \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(descriptor) }

    func send(_ packet: [UInt8]) throws {
        guard write(descriptor, packet, packet.count) == packet.count else { throw SetupError("write to TUN") }
    }

    /// The next packet of UDP over IPv4; nil after a second without any.
    func receive() -> [UInt8]? {
        var packet = [UInt8](repeating: 0, count: 2048)
        while true {
            var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&ready, 1, 1000) == 1 else { return nil }
            let count = read(descriptor, &packet, packet.count)
            if count > 28, packet[0] == 0x45, packet[9] == 17 { return Array(packet.prefix(count)) }
        }
    }
}
