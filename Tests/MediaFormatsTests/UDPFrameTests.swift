import MediaFormats
import Primitives
import Testing

@Suite("UDP in IPv4 and IPv6 in Ethernet")
struct UDPFrameTests {
    static let near = EthernetAddress(0x0200_0000_0001)
    static let far = EthernetAddress(0x0200_0000_0002)
    static let v4 = UDPFrame(
        destinationMAC: far, sourceMAC: near, source: TransportAddress(.v4(0xC000_0201), 4_000),
        destination: TransportAddress(.v4(0xC633_6407), 5_004), trafficClass: 0xB8, identification: 7,
        payload: [1, 2, 3])
    static let v6 = UDPFrame(
        destinationMAC: far, sourceMAC: near,
        source: TransportAddress(.v6(0x2001_0DB8_0000_0000, 1), 4_000),
        destination: TransportAddress(.v6(0x2001_0DB8_0000_0000, 2), 5_004), trafficClass: 0xB8, hopLimit: 9,
        payload: [1, 2, 3, 4])

    static func changed(_ frame: UDPFrame, _ change: (inout UDPFrame) -> Void) -> UDPFrame {
        var frame = frame
        change(&frame)
        return frame
    }

    static let frames: [UDPFrame] = [
        v4, v6, changed(v4) { $0.payload = [] }, changed(v6) { $0.payload = [] },
        changed(v4) { $0.tags = [.init(vlan: 100, priority: 5)] },
        changed(v6) { $0.tags = [.init(vlan: 7, etherType: 0x88A8), .init(vlan: 4_095)] },
        changed(v4) { $0.options = [1, 1, 1, 0] }, changed(v4) { $0.hasChecksum = false },
        changed(v4) { $0.payload = .init(repeating: 0xFF, count: 1_400) },
        changed(v6) { $0.payload = .init(repeating: 0, count: 65_527) },
        changed(v4) { $0.payload = .init(repeating: 1, count: 65_507) },
    ]

    @Test("renders and parses", arguments: 0..<11)
    func roundTrip(_ index: Int) throws {
        let frame = Self.frames[index]
        #expect(try UDPFrame(parsing: frame.bytes().span) == frame)
        if frame.hasChecksum {
            #expect(try UDPFrame(parsing: frame.bytes(partialChecksum: true).span, isChecksumPartial: true) == frame)
        }
        // Short frames are padded on the wire.
        #expect(try UDPFrame(parsing: (frame.bytes() + [0, 0, 0, 0, 0]).span) == frame)
    }

    @Test("an IPv4 frame, byte for byte")
    func bytes() {
        #expect(
            Self.v4.bytes() == [
                2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0,
                0x45, 0xB8, 0, 31, 0, 7, 0x40, 0, 64, 17, 0x4D, 0xD3, 192, 0, 2, 1, 198, 51, 100, 7,
                0x0F, 0xA0, 0x13, 0x8C, 0, 11, 0xEC, 0x6D, 1, 2, 3,
            ])
        #expect(Self.near.description == "02:00:00:00:00:01")
    }

    @Test("a computed checksum of zero is sent as all ones (RFC 768)")
    func zero() throws {
        // Payload chosen so that the sum is 0xFFFF.
        var frame = Self.v4
        frame.payload = [0, 0]
        let bytes = frame.bytes()
        frame.payload = [bytes[40], bytes[41]]
        let field = frame.bytes()[40...41]
        #expect(field == [0xFF, 0xFF])
        #expect(try UDPFrame(parsing: frame.bytes().span) == frame)
    }

    @Test("the incremental update agrees with the whole sum (RFC 1624)")
    func incremental() {
        var random = RandomSource(seed: 1_624)
        for _ in 0..<10_000 {
            var words = (0..<6).map { _ in UInt16.random(in: 0...UInt16.max, using: &random) }
            words[0] = 1  // all zero is the one case where the two zeros differ
            func sum() -> UInt16 {
                var sum = InternetChecksum()
                for word in words { sum.add(word) }
                return sum.value
            }
            let before = sum()
            let old = words[3]
            words[3] = UInt16.random(in: 0...UInt16.max, using: &random)
            #expect(InternetChecksum.update(before, from: old, to: words[3]) == sum())
        }
    }

    struct Malformed: Sendable, CustomTestStringConvertible {
        var testDescription: String { name }
        let name: String
        let bytes: [UInt8]
        let error: UDPFrameError

        init(_ name: String, _ bytes: [UInt8], _ error: UDPFrameError) {
            self.name = name
            self.bytes = bytes
            self.error = error
        }
    }

    static func edited(_ frame: UDPFrame, _ edits: [Int: UInt8], fixHeader: Bool = true) -> [UInt8] {
        var bytes = frame.bytes()
        for (offset, value) in edits { bytes[offset] = value }
        if fixHeader, bytes[12] == 8, bytes[14] >> 4 == 4, (bytes[14] & 15) >= 5 {
            bytes[24] = 0
            bytes[25] = 0
            var sum = InternetChecksum()
            sum.add(Array(bytes[14..<min(bytes.count, 14 + 4 * Int(bytes[14] & 15))]))
            bytes[24] = UInt8(sum.value >> 8)
            bytes[25] = UInt8(sum.value & 255)
        }
        return bytes
    }

    static let malformed: [Malformed] = [
        .init("empty", [], .truncated(needed: 14, got: 0)),
        .init("no type", Array(v4.bytes().prefix(13)), .truncated(needed: 14, got: 13)),
        .init("tag cut", Array(repeating: 0, count: 12) + [0x81, 0], .truncated(needed: 18, got: 14)),
        .init(
            "three tags", Array(repeating: 0, count: 12) + [0x81, 0, 0, 1, 0x81, 0, 0, 1, 0x81, 0, 0, 1, 8, 0],
            .tooManyTags),
        .init("ARP", edited(v4, [12: 8, 13: 6]), .etherType(0x0806)),
        .init("IPv4 header cut", Array(v4.bytes().prefix(33)), .truncated(needed: 34, got: 33)),
        .init("IPv6 under the type of IPv4", edited(v4, [14: 0x65]), .ipVersion(6)),
        .init("IPv4 under the type of IPv6", edited(v6, [14: 0x45]), .ipVersion(4)),
        .init("header length of 16", edited(v4, [14: 0x44]), .length),
        .init("header longer than the frame", edited(v4, [14: 0x4F]), .truncated(needed: 74, got: 45)),
        .init("total beyond the frame", edited(v4, [16: 1]), .length),
        .init("total less than the header", edited(v4, [17: 19]), .length),
        .init("header checksum", edited(v4, [22: 63], fixHeader: false), .headerChecksum),
        .init("more fragments", edited(v4, [20: 0x20]), .fragment),
        .init("a later fragment", edited(v4, [21: 1]), .fragment),
        .init("TCP", edited(v4, [23: 6]), .notUDP(6)),
        .init("UDP header cut", edited(v4, [17: 27]), .length),
        .init("UDP longer than IP", edited(v4, [39: 12]), .length),
        .init("UDP length 7", edited(v4, [39: 7]), .length),
        .init("UDP checksum", edited(v4, [44: 9]), .checksum),
        .init("IPv6 header cut", Array(v6.bytes().prefix(53)), .truncated(needed: 54, got: 53)),
        .init("IPv6 payload beyond the frame", edited(v6, [18: 1]), .length),
        .init("IPv6 without checksum", edited(v6, [60: 0, 61: 0]), .checksumMissing),
        .init("IPv6 fragment", edited(v6, [20: 44]), .fragment),
        .init("ICMPv6", edited(v6, [20: 58]), .notUDP(58)),
        .init("extension header longer than the packet", edited(v6, [20: 0, 54: 17, 55: 200]), .length),
    ]

    @Test("rejects", arguments: malformed)
    func rejects(_ sample: Malformed) {
        #expect(throws: sample.error) { try UDPFrame(parsing: sample.bytes.span) }
    }

    @Test("extension headers before UDP are skipped")
    func extensionHeaders() throws {
        var bytes = Self.v6.bytes()
        bytes[20] = 0
        bytes[19] += 16
        bytes.insert(contentsOf: [60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0], at: 54)
        #expect(try UDPFrame(parsing: bytes.span) == Self.v6)
    }

    @Test("mutated frames never trap")
    func fuzz() {
        var random = RandomSource(seed: 894)
        for round in 0..<20_000 {
            var bytes = Self.frames[round % 7].bytes()
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)))
            if let frame = try? UDPFrame(parsing: bytes.span) { _ = frame.bytes() }
        }
    }
}
