import CFastPath
import CNamespaces
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

@Suite("What the box sends itself", .serialized, .enabled(if: isRoot, "namespaces need root"))
struct SendingTests {
    static let payload = Frame.rtp(type: 0, marker: true, sequence: 7, speech: 161)

    @Test(
        "leaves by a packet socket, whole, and the far kernel accepts it", arguments: LiveTests.Path.allCases,
        IPAddress.Family.allCases)
    func unicast(_ path: LiveTests.Path, _ family: IPAddress.Family) throws {
        let topology = try Topology()
        let fastPath = try LiveTests.start(path, topology)
        let ends = Topology.Ends(family)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        for trafficClass in [DSCP.expeditedForwarding, DSCP(rawValue: 0)].compactMap({ $0 }) {
            let isSent = try topology.box.run {
                fastPath.send(Self.payload, from: ends.boxLAN, to: ends.phone, trafficClass: trafficClass)
            }
            #expect(isSent)
            let heard = phone.receive()
            #expect(heard?.bytes == Self.payload)
            #expect(heard?.source == ends.boxLAN)
        }
    }

    @Test(
        "a group is reached with its Ethernet address, our class, and a time to live of one",
        arguments: IPAddress.Family.allCases)
    func multicast(_ family: IPAddress.Family) throws {
        let topology = try Topology()
        let fastPath = try LiveTests.start(.tcx, topology)
        let ends = Topology.Ends(family)
        let group = TransportAddress(family == .v4 ? .v4(0xE000_014B) : .v6(0xFF02_0000_0000_0000, 0x14B), 5004)
        var ring = packet_ring()
        var call: UnsafePointer<CChar>?
        try topology.phone.run {
            var options = packet_ring_options()
            options.interface_index = if_nametoindex("lan")
            options.slot_byte_count = 2_048
            options.slot_count = 16
            _ = try SetupError.check(packet_ring_open(&options, &ring, &call), "ring")
        }
        defer { packet_ring_close(&ring) }
        let isSent = try topology.box.run {
            fastPath.send(
                Self.payload, from: ends.boxLAN, to: group, trafficClass: .expeditedForwarding, timeToLive: 1,
                interface: "lan0")
        }
        #expect(isSent)
        var frames: [[UInt8]] = []
        var waits = pollfd(fd: ring.descriptor, events: Int16(POLLIN), revents: 0)
        var frame = packet_ring_frame()
        while !frames.contains(where: { $0.suffix(Self.payload.count) == Self.payload[...] }),
            poll(&waits, 1, 1_000) > 0
        {
            while packet_ring_next(&ring, &frame) {
                frames.append((0..<Int(frame.byte_count)).map { frame.bytes[$0] })
                packet_ring_release(&ring, frame.slot)
            }
        }
        let sent = try #require(frames.first { $0.suffix(Self.payload.count) == Self.payload[...] })
        #expect(Array(sent[0..<6]) == (family == .v4 ? [0x01, 0x00, 0x5E, 0, 1, 0x4B] : [0x33, 0x33, 0, 0, 1, 0x4B]))
        #expect(family == .v4 ? sent[14 + 8] == 1 : sent[14 + 7] == 1)
        #expect(family == .v4 ? sent[15] == 0xB8 : sent[14] == 0x6B && sent[15] == 0x80)
        #expect(
            try topology.box.run {
                !fastPath.send(Self.payload, from: ends.boxLAN, to: group, trafficClass: .expeditedForwarding)
            }, "where the group is must be said")
    }

    @Test("no known neighbour, no route, another family, no interface of ours: a socket has to")
    func refusals() throws {
        let topology = try Topology()
        let fastPath = try LiveTests.start(.tcx, topology)
        let ends = Topology.Ends(.v4)
        func sends(to destination: TransportAddress, _ fastPath: FastPath) throws -> Bool {
            try topology.box.run {
                fastPath.send(Self.payload, from: ends.boxLAN, to: destination, trafficClass: .expeditedForwarding)
            }
        }
        #expect(try !sends(to: .init(.v4(0xC000_0263), 4_000), fastPath), "192.0.2.99 has not been asked for")
        #expect(try !sends(to: .init(.v4(0x0A00_0001), 4_000), fastPath), "no route")
        #expect(try !sends(to: Topology.Ends(.v6).phone, fastPath))
        #expect(try !sends(to: ends.boxWAN, fastPath), "ourselves")
        let alone = try topology.box.run {
            try FastPath(interfaces: [.init(name: "wan0", mode: .tc)], flowCountMax: 64)
        }
        #expect(try !sends(to: ends.phone, alone), "lan0 is not ours")
        #expect(try sends(to: ends.carrier, alone))
    }

    @Test(
        "a flow goes to user space for a while and comes back, and not one packet is lost",
        arguments: LiveTests.Path.allCases)
    func switching(_ path: LiveTests.Path) throws {
        let topology = try Topology()
        let fastPath = try LiveTests.start(path, topology)
        let ends = Topology.Ends(.v4)
        let behind = try BoxSockets([ends.boxLAN, ends.boxWAN], in: topology, for: fastPath)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        var inUserSpace = ends.outward
        inUserSpace.staysInUserSpace = true
        var sent: UInt16 = 0
        var (byFastPath, bySocket) = (0, 0)
        var heard: [UInt16] = []
        func send(_ count: Int) throws {
            for _ in 0..<count {
                try phone.send(Frame.rtp(type: 0, marker: false, sequence: sent, speech: 160), to: ends.boxLAN)
                sent += 1
            }
        }
        /// Until all have arrived, or a second passed without any.
        func settle() throws {
            var misses = 0
            while heard.count < Int(sent), misses < 2 {
                while let packet = behind.receive(at: ends.boxLAN, waiting: false) {
                    bySocket += 1
                    try behind.send(packet.bytes, from: ends.boxWAN, to: ends.carrier)
                }
                guard let packet = carrier.receive() else {
                    misses += 1
                    continue
                }
                misses = 0
                heard.append(UInt16(packet.bytes[2]) << 8 | UInt16(packet.bytes[3]))
            }
        }
        for round in 0..<6 {
            try send(50)  // and while these are on their way the flow moves
            if round % 2 == 0 {
                #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
            } else {
                // As the engine has it done: what was counted is read, then the flow stays above.
                byFastPath += Int(try topology.box.run { fastPath.remove(ends.boxLAN) }?.packets ?? 0)
                #expect(try topology.apply(inUserSpace, to: fastPath) == .unsupported(.userSpace))
            }
            try send(50)
            try settle()
        }
        #expect(heard.sorted() == Array(0..<sent))
        #expect(byFastPath + bySocket == Int(sent))
        #expect(byFastPath >= 250 && bySocket >= 250, "\(byFastPath) and \(bySocket)")
    }
}
