import CFastPath
import CNamespaces
import Glibc
import Primitives
import Testing

/// One ring and its open end.
private final class Ring {
    private(set) var ring = packet_ring()

    init(_ options: packet_ring_options, filter: [sock_filter] = []) throws {
        var options = options
        var call: UnsafePointer<CChar>?
        let result = filter.withUnsafeBufferPointer { buffer in  // outlives the call, which is all it must
            options.filter = buffer.baseAddress
            options.filter_count = UInt16(buffer.count)
            return packet_ring_open(&options, &ring, &call)
        }
        guard result == 0 else { throw SetupError("\(String(cString: call!)): \(String(cString: strerror(-result)))") }
    }

    deinit { packet_ring_close(&ring) }

    func next() -> packet_ring_frame? {
        var frame = packet_ring_frame()
        return packet_ring_next(&ring, &frame) ? frame : nil
    }

    /// Waits up to a second.
    func wait() -> packet_ring_frame? {
        var descriptor = pollfd(fd: ring.descriptor, events: Int16(POLLIN), revents: 0)
        if let frame = next() { return frame }
        return poll(&descriptor, 1, 1000) == 1 ? next() : nil
    }

    func release(_ frame: packet_ring_frame) { packet_ring_release(&ring, frame.slot) }

    func statistics() throws -> (frames: UInt64, drops: UInt64) {
        _ = try SetupError.check(packet_ring_statistics(&ring), "PACKET_STATISTICS")
        return (ring.frames, ring.drops)
    }

    func takeError() -> CInt { packet_ring_take_error(&ring) }
}

extension packet_ring_frame {
    /// Copied: the slot is the ring's.
    fileprivate var copy: [UInt8] { Array(UnsafeBufferPointer(start: bytes, count: Int(byte_count))) }

    fileprivate func has(_ status: packet_ring_status) -> Bool { self.status & status.rawValue != 0 }
}

@Suite("Packet ring", .serialized, .enabled(if: isRoot, "namespaces need root"))
struct PacketRingTests {
    private static func options(_ topology: Topology, interface: String = "lan0") throws -> packet_ring_options {
        var options = packet_ring_options()
        options.interface_index = try topology.index(interface)
        options.slot_byte_count = 2048
        options.slot_count = 32
        return options
    }

    /// IPv4, UDP, to this port.
    private static func toPort(_ port: UInt16) -> [sock_filter] {
        [
            sock_filter(code: 0x28, jt: 0, jf: 0, k: 12), sock_filter(code: 0x15, jt: 0, jf: 5, k: 0x0800),
            sock_filter(code: 0x30, jt: 0, jf: 0, k: 23), sock_filter(code: 0x15, jt: 0, jf: 3, k: 17),
            sock_filter(code: 0x28, jt: 0, jf: 0, k: 36), sock_filter(code: 0x15, jt: 0, jf: 1, k: UInt32(port)),
            sock_filter(code: 0x06, jt: 0, jf: 0, k: 0x40000), sock_filter(code: 0x06, jt: 0, jf: 0, k: 0),
        ]
    }

    private static let box = Topology.Ends(.v4).boxLAN.address
    private static let phone = Topology.Ends(.v4).phone

    /// Of packet rings; of this one's if a socket is named. Other suites have theirs meanwhile.
    private static func mappings(of socket: String = "socket:") -> Int {
        guard let file = fopen("/proc/self/maps", "r") else { return -1 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 4096)
        var count = 0
        while fgets(&line, CInt(line.count), file) != nil { count += strstr(line, socket) == nil ? 0 : 1 }
        return count
    }

    @Test("hands over whole what passes the filter, and nothing else", arguments: [false, true])
    func receives(hasVirtioHeader: Bool) throws {
        let topology = try Topology()
        var options = try Self.options(topology)
        options.headroom_byte_count = 32
        options.has_virtio_header = hasVirtioHeader
        let ring = try topology.box.run { try Ring(options, filter: Self.toPort(5060)) }
        let phone = try topology.phone.run { try UDPSocket(Self.phone) }
        for index in 0..<100 {
            let payload = Frame.rtp(sequence: UInt16(index), speech: index * 14)
            try phone.send([1, 2, 3], to: .init(Self.box, 5061))
            try phone.send(payload, to: .init(Self.box, 5060))
            let frame = try #require(ring.wait())
            let expected = Frame(
                destinationMAC: Topology.lan0, sourceMAC: Topology.lan, source: Self.phone,
                destination: .init(Self.box, 5060), payload: payload)
            #expect(frame.copy[..<12] == expected.bytes[..<12])
            #expect(Array(frame.copy[42...]) == payload)
            #expect(frame.original_byte_count == frame.byte_count)
            #expect(frame.packet_type == UInt8(PACKET_HOST))
            #expect(!frame.has(PACKET_RING_TRUNCATED) && !frame.has(PACKET_RING_VLAN) && !frame.has(PACKET_RING_JOINED))
            #expect(frame.has(PACKET_RING_CHECKSUM_UNFINISHED))  // veth leaves it to a device that never comes
            #expect(abs(Int64(frame.timestamp / 1_000_000_000) - Int64(time(nil))) < 5)
            ring.release(frame)
        }
        #expect(ring.next() == nil)
        #expect(try ring.statistics() == (100, 0))
    }

    @Test("says when a frame was cut off, and when a slot was missing")
    func losses() throws {
        let topology = try Topology()
        var options = try Self.options(topology)
        options.slot_byte_count = 512
        options.slot_count = 8
        let ring = try topology.box.run { try Ring(options, filter: Self.toPort(5060)) }
        let phone = try topology.phone.run { try UDPSocket(Self.phone) }
        let payload = Frame.rtp(speech: 600)
        for _ in 0..<20 { try phone.send(payload, to: .init(Self.box, 5060)) }
        var held: [packet_ring_frame] = []
        while let frame = ring.next() { held.append(frame) }
        #expect(held.count == 8)
        #expect(try ring.statistics() == (20, 12))
        for frame in held {
            #expect(frame.has(PACKET_RING_TRUNCATED))
            #expect(frame.original_byte_count == UInt32(42 + payload.count))
            #expect(Int(frame.byte_count) > 512 - Int(PACKET_RING_OVERHEAD) - 1)
            #expect(Array(frame.copy[42...]) == Array(payload.prefix(frame.copy.count - 42)))
        }
        // Given back in another order, all serve again.
        for frame in held.reversed() { ring.release(frame) }
        for index in 0..<8 {
            try phone.send([UInt8(index)], to: .init(Self.box, 5060))
            let frame = try #require(ring.wait())
            #expect(frame.copy[42] == UInt8(index))
            #expect(!frame.has(PACKET_RING_LOSING))
            ring.release(frame)
        }
    }

    @Test("tells several datagrams in one frame from one")
    func joined() throws {
        let topology = try Topology()
        var options = try Self.options(topology)
        options.has_virtio_header = true
        let ring = try topology.box.run { try Ring(options, filter: Self.toPort(5060)) }
        let phone = try topology.phone.run { try UDPSocket(Self.phone) }
        phone.segment(byteCount: 100)
        try phone.send([UInt8](repeating: 7, count: 250), to: .init(Self.box, 5060))
        let frame = try #require(ring.wait())
        #expect(frame.has(PACKET_RING_JOINED))
        #expect(frame.segment_byte_count == 100)
    }

    @Test("sends frames from their slots, with the tag it put before them", arguments: [false, true])
    func transmits(hasVirtioHeader: Bool) throws {
        let topology = try Topology()
        var options = try Self.options(topology)
        options.headroom_byte_count = 4
        options.has_virtio_header = hasVirtioHeader
        let ring = try topology.box.run { try Ring(options, filter: Self.toPort(5060)) }
        let output = try topology.box.run {
            try SetupError.check(
                packet_transmit_open(if_nametoindex("wan0"), !hasVirtioHeader, hasVirtioHeader), "packet_transmit_open")
        }
        defer { close(output) }
        let sink = try topology.carrier.run {
            try SetupError.check(namespace_packet_socket("wan"), "namespace_packet_socket")
        }
        defer { close(sink) }
        let phone = try topology.phone.run { try UDPSocket(Self.phone) }
        for index in 0..<20 { try phone.send([UInt8](repeating: UInt8(index), count: 200), to: .init(Self.box, 5060)) }

        var held: [packet_ring_frame] = []
        while held.count < 20 { held.append(try #require(ring.wait())) }
        let virtioByteCount = hasVirtioHeader ? MemoryLayout<virtio_net_hdr>.size : 0
        var pieces: [packet_ring_piece] = []
        for frame in held {
            // The tag goes into the headroom: the addresses, and the header before them, move up by four.
            let start = frame.bytes - virtioByteCount
            memmove(start - 4, start, virtioByteCount + 12)
            frame.bytes[8] = 0x81
            frame.bytes[9] = 0
            frame.bytes[10] = 0
            frame.bytes[11] = 7
            if hasVirtioHeader {
                // Where the checksum begins has moved too (little endian, as the machines we run on).
                let offset = MemoryLayout<virtio_net_hdr>.offset(of: \.csum_start)!
                let checksumStart = UnsafeMutableRawPointer(start - 4) + offset
                let value = checksumStart.loadUnaligned(as: UInt16.self)
                checksumStart.storeBytes(of: value + 4, as: UInt16.self)
            }
            pieces.append(.init(bytes: start - 4, byte_count: virtioByteCount + 4 + Int(frame.byte_count)))
        }
        #expect(packet_transmit(output, pieces, UInt32(pieces.count)) == 20)
        held.forEach(ring.release)
        for index in 0..<20 {
            var bytes = [UInt8](repeating: 0, count: 2048)
            var tag: CInt = -1
            var count = 0
            repeat {  // whatever else the stack says on a fresh link
                count = namespace_receive_frame(sink, &bytes, UInt32(bytes.count), &tag)
                try #require(count > 0, "frame \(index) was lost")
            } while tag != 7
            #expect(count == 242)
            #expect(bytes[42..<242].allSatisfy { $0 == UInt8(index) })
        }
    }

    @Test("shares an interface among the rings of a group, each flow with one")
    func fanout() throws {
        let topology = try Topology()
        var options = try Self.options(topology)
        options.slot_count = 256
        options.fanout_group = 4711
        options.fanout_mode = UInt16(PACKET_FANOUT_HASH)
        let rings = try topology.box.run { try (0..<2).map { _ in try Ring(options, filter: Self.toPort(5060)) } }
        var sources: [Set<UInt16>] = [[], []]
        for port in UInt16(6000)..<6064 {
            let phone = try topology.phone.run { try UDPSocket(.init(Self.phone.address, port)) }
            for _ in 0..<3 { try phone.send([1], to: .init(Self.box, 5060)) }
        }
        var count = 0
        for (index, ring) in rings.enumerated() {
            while let frame = ring.next() {
                sources[index].insert(UInt16(frame.bytes[34]) << 8 | UInt16(frame.bytes[35]))
                count += 1
            }
        }
        #expect(count == 192)
        #expect(!sources[0].isEmpty && !sources[1].isEmpty)
        #expect(sources[0].isDisjoint(with: sources[1]))
    }

    @Test("outlives its interface going down, and leaves no memory mapped")
    func lifeCycle() throws {
        let topology = try Topology()
        let socket: String
        do {
            let options = try Self.options(topology)
            let ring = try topology.box.run { try Ring(options, filter: Self.toPort(5060)) }
            var facts = stat()
            #expect(fstat(ring.ring.descriptor, &facts) == 0)
            socket = "socket:[\(facts.st_ino)]"
            #expect(Self.mappings(of: socket) == 1)
            try topology.box.ip("link set lan0 down")
            #expect(ring.takeError() == -ENETDOWN)
            #expect(ring.takeError() == 0)
            try topology.box.ip("link set lan0 up")
            try topology.phone.ip("neigh replace 192.0.2.1 lladdr \(Topology.lan0) dev lan nud permanent")
            let phone = try topology.phone.run { try UDPSocket(Self.phone) }
            try phone.send([9], to: .init(Self.box, 5060))
            let frame = try #require(ring.wait())
            #expect(frame.bytes[42] == 9)
        }
        #expect(Self.mappings(of: socket) == 0)
    }

    @Test("refuses what cannot be, and says at which call")
    func refusals() throws {
        let topology = try Topology()
        let good = try Self.options(topology)
        var (oddSlot, tooMuch, noInterface, loopback) = (good, good, good, good)
        oddSlot.slot_byte_count = 2000
        tooMuch.headroom_byte_count = 1990
        noInterface.interface_index = 9999
        loopback.interface_index = 1
        for (options, text) in [
            (oddSlot, "packet ring: size: Invalid argument"), (tooMuch, "packet ring: size: Invalid argument"),
            (noInterface, "bind: No such device"),
            (loopback, "bind: Address family not supported by protocol"),
        ] {
            let error = #expect(throws: SetupError.self) { _ = try topology.box.run { try Ring(options) } }
            #expect(error?.description == text)
        }
        let before = Self.mappings()
        for _ in 0..<50 { _ = try? topology.box.run { try Ring(noInterface) } }
        #expect(Self.mappings() < before + 50)
    }
}
