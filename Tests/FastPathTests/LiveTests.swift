import CFastPath
import CNamespaces
import FastPath
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

/// Real sockets in three namespaces: every datagram arrives once, whole, with a checksum the receiver accepts.
@Suite("Relay in namespaces", .serialized, .enabled(if: isRoot, "namespaces need root"))
struct LiveTests {
    enum Path: String, Sendable, CaseIterable {
        case xdp, tcx, clsact, ring
        static let programs: [Path] = [.xdp, .tcx, .clsact]
    }
    enum SenderChecksum: String, Sendable, CaseIterable {
        /// Left to the device, and no device on the way finishes it, as between containers.
        case unfinished
        /// Left to the device, and the device it leaves the box by finishes it, as a real card does.
        case finishedByBox
        case finished
        case none
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let path: Path
        let family: IPAddress.Family
        let checksum: SenderChecksum
        /// The carrier's side has the other family.
        var isTranslated = false
        var testDescription: String {
            "\(path), \(family)\(isTranslated ? ", translated" : ""), checksum \(checksum)"
        }
    }

    static let cases: [Case] = Path.allCases.flatMap { path in
        IPAddress.Family.allCases.flatMap { family in
            SenderChecksum.allCases.filter { family == .v4 || $0 != .none }.map {
                Case(path: path, family: family, checksum: $0)
            }
                + [SenderChecksum.unfinished, .finishedByBox, .finished].map {
                    Case(path: path, family: family, checksum: $0, isTranslated: true)
                }
        }
    }

    static func start(_ path: Path, _ topology: Topology) throws -> FastPath {
        if path == .xdp { try topology.letPeersTakeFrames() }
        let (wanted, expected): (FastPathInterface.Mode, FastPathAttachment.Mode) =
            switch path {
            case .xdp: (.xdp, .xdp)
            case .tcx, .clsact: (.tc, .tc)
            case .ring: (.ring, .ring)
            }
        let fastPath = try topology.fastPath(wanted, ingress: path == .clsact ? .filter : .linkOrFilter)
        #expect(fastPath.attachments.map(\.mode) == [expected, expected])
        return fastPath
    }

    /// Sizes odd and even, from the smallest packet to the largest.
    static func packet(_ index: Int, type: UInt8, family: IPAddress.Family, _ path: Path) -> [UInt8] {
        // Of IPv6, rings take what nobody sends in fragments.
        let largest = family == .v4 ? 1472 : path == .ring ? 1232 : 1452
        let speech = [0, 1, 2, 3, 20, 33, 160, 161, 240, 959, largest - 13, largest - 12][index % 12]
        return Frame.rtp(type: type, marker: index % 7 == 0, sequence: UInt16(index), speech: speech)
    }

    @Test("relays both ways, unharmed", arguments: cases)
    func bothWays(_ sample: Case) throws {
        let topology = try Topology()
        let fastPath = try Self.start(sample.path, topology)
        let ends = Topology.Ends(
            sample.family, far: sample.isTranslated ? (sample.family == .v4 ? .v6 : .v4) : sample.family)
        let sizes: IPAddress.Family = sample.isTranslated ? .v6 : sample.family  // what fits both ways
        let behind = try BoxSockets([ends.boxLAN, ends.boxWAN], in: topology, for: fastPath)
        var outward = ends.outward
        outward.payloadTypes = [.init(from: 96, to: 101)]
        #expect(try topology.apply(outward, to: fastPath) == .applied)
        #expect(try topology.apply(ends.inward, to: fastPath) == .applied)

        let offloadOfSenders = [.unfinished, .finishedByBox].contains(sample.checksum)
        let offloadOfBox = sample.checksum != .finishedByBox
        for (namespace, name, offload) in [
            (topology.phone, "lan", offloadOfSenders), (topology.carrier, "wan", offloadOfSenders),
            (topology.box, "lan0", offloadOfBox), (topology.box, "wan0", offloadOfBox),
        ] {
            _ = try SetupError.check(
                try namespace.run { namespace_set_checksum_offload(name, offload) }, "checksum offload")
        }
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        if sample.checksum == .none { [phone, carrier].forEach { $0.omitChecksum() } }

        let count = 240
        var byteCount = (outward: 0, inward: 0)
        for index in 0..<count {
            let (there, back) = (
                Self.packet(index, type: index % 2 == 0 ? 96 : 8, family: sizes, sample.path),
                Self.packet(index + 5, type: 96, family: sizes, sample.path)
            )
            try phone.send(there, to: ends.boxLAN)
            try carrier.send(back, to: ends.boxWAN)
            byteCount.outward += there.count
            byteCount.inward += back.count

            var mapped = there
            if index % 2 == 0 { mapped[1] = mapped[1] & 0x80 | 101 }
            let received = try #require(carrier.receive(), "outward packet \(index) was lost")
            #expect(received.bytes == mapped)
            #expect(received.source == ends.boxWAN)
            let answered = try #require(phone.receive(), "inward packet \(index) was lost")
            #expect(answered.bytes == back)
            #expect(answered.source == ends.boxLAN)
        }
        for address in [ends.boxLAN, ends.boxWAN] { #expect(behind.receive(at: address, waiting: false) == nil) }
        for namespace in [topology.phone, topology.box, topology.carrier] {
            var faults = try namespace.run { networkFaults() }
            if sample.path == .ring, namespace === topology.box {
                // What a socket's filter refuses the stack counts so.
                ["Udp:InErrors", "Udp6InErrors"].forEach { faults[$0] = nil }
            }
            #expect(faults == [:])
        }
        let counters = try #require(fastPath.remove(ends.boxLAN))
        #expect(counters.packets == UInt64(count))
        #expect(counters.bytes == UInt64(byteCount.outward))
        #expect(fastPath.counters(for: ends.boxLAN) == nil)
        #expect(fastPath.counters(for: ends.boxWAN)?.packets == UInt64(count))
        #expect(fastPath.counters(for: ends.boxWAN)?.bytes == UInt64(byteCount.inward))
        #expect(fastPath.totals().interfaces["lan0"]?.relayed == UInt64(count))
        #expect(fastPath.totals().sum.relayed == UInt64(2 * count))
    }

    @Test("leaves what is not its own to the bound socket", arguments: Path.allCases)
    func passes(_ path: Path) throws {
        let topology = try Topology()
        let fastPath = try Self.start(path, topology)
        let ends = Topology.Ends(.v4)
        let stranger = TransportAddress(ends.phone.address, 4444)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let other = try topology.phone.run { try UDPSocket(stranger) }
        let box = try BoxSockets([ends.boxLAN, ends.boxWAN], in: topology, for: fastPath)
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }

        try phone.send(Frame.rtp(sequence: 1), to: ends.boxLAN)
        #expect(box.receive(at: ends.boxLAN)?.bytes == Frame.rtp(sequence: 1), "no flow")
        // What administrators of hosts that are no routers do; it must not stop the relay.
        try topology.box.run {
            for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                let descriptor = open("/proc/sys/net/\(path)", O_WRONLY)
                #expect(write(descriptor, "1", 1) == 1 && write(descriptor, "0", 1) == 1)
                close(descriptor)
            }
        }

        var flow = ends.outward
        flow.wrongSource = .pass
        #expect(try topology.apply(flow, to: fastPath) == .applied)
        try other.send(Frame.rtp(sequence: 2), to: ends.boxLAN)
        let learned = try #require(box.receive(at: ends.boxLAN))
        #expect(learned.source == stranger)

        flow.wrongSource = .drop
        #expect(try topology.apply(flow, to: fastPath) == .applied)
        try other.send(Frame.rtp(sequence: 3), to: ends.boxLAN)
        try phone.send([0x40], to: ends.boxLAN)
        try phone.send(Frame.rtp(sequence: 4), to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == Frame.rtp(sequence: 4))
        #expect(box.receive(at: ends.boxLAN, waiting: false) == nil)

        // The way out is unknown: the socket behind gets the packet as it was sent.
        try topology.box.ip("neigh del 198.51.100.10 dev wan0")
        usleep(300_000)  // what the program remembers of a next hop it forgets after a quarter of a second
        try phone.send(Frame.rtp(sequence: 5), to: ends.boxLAN)
        #expect(box.receive(at: ends.boxLAN)?.bytes == Frame.rtp(sequence: 5))
        // The socket path answers; the kernel resolves the neighbour, and the next packet is relayed again.
        try box.send(Frame.rtp(sequence: 5), from: ends.boxWAN, to: ends.carrier)
        #expect(carrier.receive()?.bytes == Frame.rtp(sequence: 5))
        try phone.send(Frame.rtp(sequence: 6), to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == Frame.rtp(sequence: 6))

        let counters = try #require(fastPath.counters(for: ends.boxLAN))
        #expect(counters.packets == 2)
        #expect(counters.wrongSource == 2)
        #expect(counters.malformed == 1)
        #expect(fastPath.totals().interfaces["lan0"]?.passedNoNeighbour == 1)

        fastPath.remove(ends.boxLAN)
        try phone.send(Frame.rtp(sequence: 7), to: ends.boxLAN)
        #expect(box.receive(at: ends.boxLAN)?.bytes == Frame.rtp(sequence: 7), "the flow is gone")
    }

    @Test("follows a replaced flow at once and a changed neighbour soon", arguments: Path.allCases)
    func follows(_ path: Path) throws {
        let topology = try Topology()
        let fastPath = try Self.start(path, topology)
        let ends = Topology.Ends(.v6)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        try phone.send(Frame.rtp(sequence: 1), to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == Frame.rtp(sequence: 1))

        // Back to where it came from: another interface, another MAC address, other checksums.
        var hairpin = ends.outward
        hairpin.rewrittenSource = .init(ends.boxLAN.address, 20002)
        hairpin.rewrittenDestination = .init(ends.phone.address, 4002)
        let otherPhone = try topology.phone.run { try UDPSocket(hairpin.rewrittenDestination) }
        #expect(try topology.apply(hairpin, to: fastPath) == .applied)
        try phone.send(Frame.rtp(sequence: 2), to: ends.boxLAN)
        let received = try #require(otherPhone.receive())
        #expect(received.bytes == Frame.rtp(sequence: 2))
        #expect(received.source == hairpin.rewrittenSource)

        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        try phone.send(Frame.rtp(sequence: 3), to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == Frame.rtp(sequence: 3))
        try topology.box.ip("neigh change 2001:db8:2::a lladdr 02:00:00:00:02:99 dev wan0")
        usleep(300_000)
        try phone.send(Frame.rtp(sequence: 4), to: ends.boxLAN)
        #expect(carrier.receive() == nil, "sent to the address that is no longer the neighbour's")
        #expect(fastPath.counters(for: ends.boxLAN)?.packets == 4)
    }

    struct Tagged: Sendable, CustomTestStringConvertible {
        let path: Path
        let family: IPAddress.Family
        let tagIn: UInt16?
        let tagOut: UInt16?
        var testDescription: String {
            "\(path), \(family), \(tagIn.map(String.init) ?? "-") → \(tagOut.map(String.init) ?? "-")"
        }
    }

    static let tagged: [Tagged] = {
        let tags: [(UInt16?, UInt16?)] = [(nil, 20), (10, nil), (10, 20), (0xA00A, 0xA014)]
        var cases: [Tagged] = []
        for path in Path.programs {
            for family in IPAddress.Family.allCases {
                cases += tags.map { Tagged(path: path, family: family, tagIn: $0.0, tagOut: $0.1) }
            }
        }
        return cases
    }()

    /// The kernel of the test machine may lack VLAN devices; frames on the wire are the same with or without.
    @Test("takes tags off and puts tags on", arguments: tagged)
    func tags(_ sample: Tagged) throws {
        let topology = try Topology()
        let fastPath = try Self.start(sample.path, topology)
        let ends = Topology.Ends(sample.family)
        let (lan0, wan0) = (try topology.index("lan0"), try topology.index("wan0"))
        try #require(fastPath.program).setInterfaces([
            relay_interface(index: lan0, transmit_index: lan0, vlan: 0, zero: 0),
            relay_interface(index: wan0, transmit_index: wan0, vlan: (sample.tagOut ?? 0) & 0xFFF, zero: 0),
        ])
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)

        let sender = try SetupError.check(try topology.phone.run { namespace_packet_socket("lan") }, "packet socket")
        let receiver = try SetupError.check(
            try topology.carrier.run { namespace_packet_socket("wan") }, "packet socket")
        defer {
            close(sender)
            close(receiver)
        }
        var patience = timeval(tv_sec: 1, tv_usec: 0)
        setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var frame = Frame(
            destinationMAC: Topology.lan0, sourceMAC: Topology.lan, tags: sample.tagIn.map { [$0] } ?? [],
            source: ends.phone, destination: ends.boxLAN, payload: Frame.rtp())
        let bytes = frame.bytes
        #expect(send(sender, bytes, bytes.count, 0) == bytes.count)

        (frame.source, frame.destination) = (ends.boxWAN, ends.carrier)
        (frame.sourceMAC, frame.destinationMAC, frame.hops, frame.tags) = (Topology.wan0, Topology.wan, 63, [])
        var received: [UInt8] = []
        var tag: CInt = -1
        repeat {  // IPv6 hosts chatter
            received = [UInt8](repeating: 0, count: 2048)
            let count = namespace_receive_frame(receiver, &received, UInt32(received.count), &tag)
            try #require(count >= 0, "no frame")
            received.removeLast(received.count - count)
        } while received[0..<6] != Topology.wan.bytes[...]
        #expect(received == frame.bytes)
        #expect(tag == sample.tagOut.map { CInt($0) } ?? -1)
    }
}
