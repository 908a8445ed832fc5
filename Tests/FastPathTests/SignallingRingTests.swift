import CFastPath
import CNamespaces
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

extension Frame {
    /// A SIP message of this length to the LAN side of the box.
    static func message(_ family: IPAddress.Family, byteCount: Int = 400, port: UInt16 = 5060) -> Frame {
        let ends = Topology.Ends(family)
        var payload = Array("OPTIONS sip:box SIP/2.0\r\n".utf8)
        payload += [UInt8](repeating: UInt8(ascii: "x"), count: max(0, byteCount - payload.count))
        return Frame(
            destinationMAC: Topology.lan0, sourceMAC: Topology.lan, source: ends.phone,
            destination: .init(ends.boxLAN.address, port), payload: Array(payload.prefix(byteCount)))
    }

    /// The same packet in two fragments; the first carries this much behind the IP header, a multiple of eight.
    func fragments(at byteCount: Int, dontFragment: Bool = false) -> [[UInt8]] {
        let whole = bytes
        let isV4 = source.address.family == .v4
        let headerEnd = isV4 ? 34 : 54
        return [headerEnd..<headerEnd + byteCount, headerEnd + byteCount..<whole.count].map { range in
            var header = Array(whole[..<headerEnd])
            let more = range.upperBound < whole.count
            let offset = UInt16(range.lowerBound - headerEnd)
            let part = Array(whole[range])
            func big(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }
            if isV4 {
                header.replaceSubrange(16..<18, with: big(UInt16(20 + part.count)))
                header.replaceSubrange(
                    20..<22, with: big((dontFragment ? 0x4000 : 0) | (more ? 0x2000 : 0) | offset / 8))
                header.replaceSubrange(24..<26, with: [0, 0])
                header.replaceSubrange(24..<26, with: big(~Frame.sum(Array(header[14...]))))
                return header + part
            }
            header.replaceSubrange(18..<20, with: big(UInt16(8 + part.count)))
            header[20] = 44
            return header + [17, 0] + big(offset | (more ? 1 : 0)) + [0, 0, 0, 7] + part
        }
    }
}

@Suite("A frame of the signalling ring")
struct SignallingRingReadingTests {
    struct Fixture: Sendable, CustomTestStringConvertible {
        var name: String
        var families: [IPAddress.Family] = [.v4, .v6]
        var status: packet_ring_status?
        var input: @Sendable (inout Frame) -> Void = { _ in }
        var bytes: @Sendable (Frame) -> [UInt8] = { $0.bytes }
        /// nil: the whole payload.
        var expected: SignallingRing.Reading?
        var testDescription: String { name }
    }

    static func mangled(_ change: @escaping @Sendable (inout [UInt8]) -> Void) -> @Sendable (Frame) -> [UInt8] {
        { frame in
            var bytes = frame.bytes
            change(&bytes)
            return bytes
        }
    }

    static let fixtures: [Fixture] = [
        Fixture(name: "whole"),
        Fixture(name: "odd length", input: { $0.payload.append(7) }),
        Fixture(name: "one byte", input: { $0.payload = [1] }),
        Fixture(name: "empty", input: { $0.payload = [] }),
        Fixture(name: "three bytes", input: { $0.payload = [1, 2, 3] }),
        Fixture(name: "the longest", input: { $0 = .message($0.source.address.family, byteCount: 1452) }),
        Fixture(name: "padded frame", input: { $0.padding = [9, 9, 9, 9, 9] }),
        Fixture(
            name: "more in the packet than in the datagram", input: { $0.udpByteCountError = -3 }, expected: .damaged),
        Fixture(name: "without checksum", families: [.v4], input: { $0.checksum = .zero }),
        Fixture(name: "without checksum", families: [.v6], input: { $0.checksum = .zero }, expected: .damaged),
        Fixture(
            name: "checksum unfinished, sent by this machine", status: PACKET_RING_CHECKSUM_UNFINISHED,
            input: { $0.checksum = .unfinished }),
        Fixture(
            name: "checksum unfinished, nobody knows why", input: { $0.checksum = .unfinished }, expected: .damaged),
        Fixture(name: "damaged", input: { $0.checksum = .damaged(by: 1) }, expected: .damaged),
        Fixture(
            name: "damaged, but the device found it right", status: PACKET_RING_CHECKSUM_VALID,
            input: { $0.checksum = .damaged(by: 1) }),
        Fixture(name: "UDP length beyond the packet", input: { $0.udpByteCountError = 1 }, expected: .damaged),
        Fixture(name: "cut off", bytes: mangled { $0.removeLast() }, expected: .damaged),
        Fixture(name: "cut off in the header", bytes: mangled { $0.removeLast($0.count - 40) }, expected: .damaged),
        Fixture(name: "nothing", bytes: mangled { $0 = [] }, expected: .damaged),
        Fixture(name: "IPv4 header sum", families: [.v4], bytes: mangled { $0[22] ^= 1 }, expected: .damaged),
        Fixture(name: "first fragment", bytes: { $0.fragments(at: 64)[0] }, expected: .refused(.fragmented)),
        Fixture(name: "joined", status: PACKET_RING_JOINED, expected: .refused(.joined)),
        Fixture(
            name: "too long", input: { $0 = .message($0.source.address.family, byteCount: 2000) }, expected: .others),
        Fixture(
            name: "from loopback",
            input: { $0.source.address = $0.source.address.family == .v4 ? .v4(0x7F000001) : .v6(0, 1) },
            expected: .damaged),
        Fixture(
            name: "from nobody", input: { $0.source.address = $0.source.address.family == .v4 ? .v4(0) : .v6(0, 0) },
            expected: .damaged),
        Fixture(
            name: "from a group",
            input: { $0.source.address = $0.source.address.family == .v4 ? .v4(0xE0000001) : .v6(0xFF02 << 48, 1) },
            expected: .damaged),
        Fixture(
            name: "from everybody", families: [.v4], input: { $0.source.address = .v4(0xFFFF_FFFF) }, expected: .damaged
        ),
        Fixture(name: "from ourselves", input: { $0.source.address = $0.destination.address }, expected: .damaged),
    ]

    @Test("is a datagram only if it is whole", arguments: fixtures)
    func reads(_ fixture: Fixture) {
        for family in fixture.families {
            var frame = Frame.message(family)
            fixture.input(&frame)
            let bytes = fixture.bytes(frame)
            let filter = SignallingFilter(endpoint: frame.destination, interfaceIndex: 2, mtu: 1500)
            let reading = bytes.withUnsafeBytes {
                SignallingRing.read($0, status: fixture.status?.rawValue ?? 0, filter)
            }
            let start = family == .v4 ? 42 : 62
            let expected =
                fixture.expected
                ?? .datagram(payload: start..<start + frame.payload.count, source: frame.source)
            #expect(reading == expected, "\(family)")
        }
    }

    @Test("no mutation of it crashes or reaches beyond it", arguments: IPAddress.Family.allCases)
    func mutations(_ family: IPAddress.Family) {
        var random = SystemRandomNumberGenerator()
        let filter = SignallingFilter(
            endpoint: Frame.message(family).destination, interfaceIndex: 2, mtu: 1500)
        for round in 0..<20_000 {
            var bytes = Frame.message(family, byteCount: round % 200).bytes
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<min(bytes.count, 70), using: &random)] = .random(in: 0...255, using: &random)
            }
            bytes.removeLast(Int.random(in: 0...bytes.count, using: &random) / (round % 4 == 0 ? 1 : 200))
            let status = UInt32.random(in: 0..<64, using: &random)
            let reading = bytes.withUnsafeBytes { SignallingRing.read($0, status: status, filter) }
            if case .datagram(let payload, _) = reading { #expect(payload.upperBound <= bytes.count) }
        }
    }
}

@Suite("Ring and socket share an endpoint", .serialized, .enabled(if: isRoot, "namespaces need root"))
struct SignallingRingLiveTests {
    /// The box: a socket behind its filter, a ring beside it. The phone: a sender of frames.
    final class Bench {
        let topology: Topology
        let socket: UDPSocket
        let ring: SignallingRing
        private let output: CInt

        init(_ family: IPAddress.Family) throws {
            let topology = try Topology()
            let endpoint = Frame.message(family).destination
            socket = try topology.box.run { try UDPSocket(endpoint) }
            ring = try topology.box.run { try SignallingRing(interface: "lan0", endpoint: endpoint, mtu: 1500) }
            output = try topology.phone.run {
                try SetupError.check(packet_transmit_open(if_nametoindex("lan"), false, false), "packet_transmit_open")
            }
            self.topology = topology
            try socket.attach(ring.filter.socket)
        }

        deinit { close(output) }

        func send(_ frames: [[UInt8]]) {
            for frame in frames {
                let sent = frame.withUnsafeBufferPointer { buffer in
                    var piece = packet_ring_piece(bytes: buffer.baseAddress, byte_count: buffer.count)
                    return packet_transmit(output, &piece, 1)
                }
                #expect(sent == 1)
            }
        }

        /// What either has got by now: frames cross a veth before `send` returns.
        func taken() -> (ring: [[UInt8]], socket: [[UInt8]], outcome: SignallingRing.Outcome) {
            var (fromRing, fromSocket): ([[UInt8]], [[UInt8]]) = ([], [])
            let outcome = ring.receive(limit: 100) { bytes, source in
                #expect(source == Frame.message(ring.filter.endpoint.address.family).source)
                fromRing.append(bytes.indices.map { bytes[$0] })
            }
            while let datagram = socket.receive(waiting: false) { fromSocket.append(datagram.bytes) }
            return (fromRing, fromSocket, outcome)
        }
    }

    enum Taker: Sendable { case ring, socket, nobody, refused(SignallingRing.Refusal) }

    struct Fixture: Sendable, CustomTestStringConvertible {
        var name: String
        var families: [IPAddress.Family] = [.v4, .v6]
        var input: @Sendable (inout Frame) -> Void = { _ in }
        var frames: @Sendable (Frame) -> [[UInt8]] = { [$0.bytes] }
        var taker: Taker
        var testDescription: String { name }
    }

    static let fixtures: [Fixture] = [
        Fixture(name: "short", taker: .ring),
        Fixture(name: "empty", input: { $0.payload = [] }, taker: .ring),
        Fixture(
            name: "as long as the MTU allows",
            input: {
                $0 = .message($0.source.address.family, byteCount: $0.source.address.family == .v4 ? 1472 : 1452)
            },
            taker: .ring),
        Fixture(
            name: "one byte longer, in fragments",
            input: {
                $0 = .message($0.source.address.family, byteCount: $0.source.address.family == .v4 ? 1473 : 1453)
            },
            frames: { $0.fragments(at: 1440) }, taker: .socket),
        Fixture(
            name: "long, in short fragments", input: { $0 = .message($0.source.address.family, byteCount: 1900) },
            frames: { $0.fragments(at: 1000) }, taker: .socket),
        Fixture(name: "short, in fragments", frames: { $0.fragments(at: 104) }, taker: .refused(.fragmented)),
        Fixture(
            name: "short, in fragments that must not be", families: [.v4],
            frames: { $0.fragments(at: 104, dontFragment: true) }, taker: .refused(.fragmented)),
        Fixture(name: "options", families: [.v4], input: { $0.options = [1, 1, 1, 0] }, taker: .socket),
        Fixture(
            name: "extension header", families: [.v6], input: { $0.extensionHeader = [17, 0, 1, 4, 0, 0, 0, 0] },
            taker: .socket),
        Fixture(
            name: "a fragment that is all", families: [.v6],
            frames: { [atomic($0)] }, taker: .socket),
        Fixture(name: "priority without VLAN", input: { $0.tags = [0x6000] }, taker: .ring),
        Fixture(name: "a VLAN nobody has", input: { $0.tags = [0x0007] }, taker: .nobody),
        Fixture(name: "without checksum", families: [.v4], input: { $0.checksum = .zero }, taker: .ring),
        Fixture(name: "damaged", input: { $0.checksum = .damaged(by: 3) }, taker: .nobody),
        Fixture(
            name: "for another host on the link", input: { $0.destinationMAC = MAC("02:00:00:00:09:09") },
            taker: .nobody),
        Fixture(
            name: "to every host on the link", input: { $0.destinationMAC = MAC("ff:ff:ff:ff:ff:ff") }, taker: .socket),
        Fixture(name: "longer in its header than it is", input: { $0.udpByteCountError = 40 }, taker: .nobody),
        Fixture(name: "to another port", input: { $0.destination.port = 5080 }, taker: .nobody),
        Fixture(
            name: "from ourselves", families: [.v4], input: { $0.source.address = $0.destination.address },
            taker: .nobody),
    ]

    static func atomic(_ frame: Frame) -> [UInt8] {
        var bytes = frame.fragments(at: 400)[0]
        bytes[57] &= 0xFE
        bytes.replaceSubrange(18..<20, with: [UInt8((8 + 8 + 400) >> 8), UInt8((8 + 8 + 400) & 0xFF)])
        return bytes + frame.bytes[454...]
    }

    @Test("each datagram has one taker", arguments: fixtures)
    func division(_ fixture: Fixture) throws {
        for family in fixture.families {
            let bench = try Bench(family)
            var frame = Frame.message(family)
            fixture.input(&frame)
            bench.send(fixture.frames(frame))
            let taken = bench.taken()
            switch fixture.taker {
            case .ring: #expect(taken.ring == [frame.payload] && taken.socket == [], "\(family)")
            case .socket: #expect(taken.ring == [] && taken.socket == [frame.payload], "\(family)")
            case .nobody: #expect(taken.ring == [] && taken.socket == [], "\(family)")
            case .refused(let refusal):
                #expect(taken.outcome == .refused(refusal), "\(family)")
                #expect(taken.ring == [] && taken.socket == [], "\(family)")
                // Why it has to be: without the filter the socket gets the repetition.
                try bench.socket.attach(nil)
                bench.send(fixture.frames(frame))
                #expect(bench.taken().socket == [frame.payload], "\(family)")
            }
            let answers = try bench.topology.phone.run { networkFaults() }
            let expectsAnswer = frame.destination.port != 5060
            #expect((answers["Icmp:InDestUnreachs"] ?? answers["Icmp6InDestUnreachs"] ?? 0) == (expectsAnswer ? 1 : 0))
        }
    }

    @Test("real sockets send it anything from nothing to 60 kB", arguments: IPAddress.Family.allCases)
    func senders(_ family: IPAddress.Family) throws {
        let bench = try Bench(family)
        let phone = try bench.topology.phone.run { try UDPSocket(Frame.message(family).source) }
        let destination = bench.ring.filter.endpoint
        for byteCount in [0, 1, 400, 1451, 1452, 1453, 1472, 1473, 1500, 2000] {
            let payload = Frame.message(family, byteCount: byteCount).payload
            try phone.send(payload, to: destination)
            let taken = bench.taken()
            let isLong = byteCount > (family == .v4 ? 1472 : 1452)
            #expect(taken.ring == (isLong ? [] : [payload]), "\(byteCount)")
            #expect(taken.socket == (isLong ? [payload] : []), "\(byteCount)")
        }
        try phone.send(Frame.message(family, byteCount: 60_000).payload, to: destination)
        let taken = bench.taken()
        #expect(taken.ring == [] && taken.socket.map(\.count) == [2048])  // the test's socket cuts it there
        #expect(bench.ring.counters.lost == 0)
        #expect(bench.ring.counters.damaged == 0)
    }

    @Test("datagrams joined by offload are noticed, be they short or long together", arguments: [250, 4000])
    func joined(byteCount: Int) throws {
        let bench = try Bench(.v4)
        let phone = try bench.topology.phone.run { try UDPSocket(Frame.message(.v4).source) }
        phone.segment(byteCount: 100)
        try phone.send(Frame.message(.v4, byteCount: byteCount).payload, to: bench.ring.filter.endpoint)
        #expect(bench.taken().outcome == .refused(.joined))
    }

    @Test("what arrives by another interface is the socket's")
    func otherInterface() throws {
        let bench = try Bench(.v4)
        let carrier = try bench.topology.carrier.run { try UDPSocket(Topology.Ends(.v4).carrier) }
        try bench.topology.carrier.ip("route add 192.0.2.0/24 via 198.51.100.1")
        try carrier.send([1, 2, 3], to: bench.ring.filter.endpoint)
        let taken = bench.taken()
        #expect(taken.ring == [] && taken.socket == [[1, 2, 3]])
    }

    @Test("a ring without one address, or on no interface, is refused")
    func refusals() throws {
        let topology = try Topology()
        try topology.box.run {
            #expect(throws: FastPathError.self) {
                _ = try SignallingRing(interface: "lan0", endpoint: TransportAddress(.v4(0), 5060), mtu: 1500)
            }
            let error = #expect(throws: FastPathError.self) {
                _ = try SignallingRing(interface: "lan7", endpoint: TransportAddress(.v4(1), 5060), mtu: 1500)
            }
            #expect(error?.call == "if_nametoindex")
        }
    }
}
