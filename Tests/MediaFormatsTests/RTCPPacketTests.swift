import MediaFormats
import Primitives
import Testing

@Suite("RTCP (RFC 3550 §6)")
struct RTCPPacketTests {
    static let report = RTCPReportBlock(
        ssrc: 0x0102_0304, fractionLost: 12, cumulativeLost: -3, highestSequenceNumber: 0x1_0005, jitter: 7,
        lastSenderReport: 0xAABB_CCDD, delaySinceLastSenderReport: 65_536)
    static let packets: [RTCPPacket] = [
        .senderReport(
            ssrc: 1, ntpTime: 0xE000_0000_8000_0000, rtpTime: 160, packetCount: 50, byteCount: 8_000,
            reports: [report, report], extensionData: []),
        .receiverReport(ssrc: 2, reports: [], extensionData: [1, 2, 3, 4]),
        .sourceDescription([
            RTCPSourceChunk(ssrc: 1, items: [RTCPSourceItem(type: 1, text: Array("a@b".utf8))]),
            RTCPSourceChunk(
                ssrc: 2, items: [RTCPSourceItem(type: 1, text: []), RTCPSourceItem(type: 7, text: [9, 9])]),
            RTCPSourceChunk(ssrc: 3, items: []),
        ]),
        .bye(sources: [1, 2], reason: Array("done".utf8)),
        .bye(sources: [], reason: nil),
        .application(subtype: 5, ssrc: 1, name: 0x7465_7374, data: [0, 0, 0, 1]),
        .other(type: 207, count: 0, body: [0, 0, 0, 1]),
    ]

    @Test("renders and parses each packet, alone and in one compound", arguments: packets)
    func roundTrip(_ packet: RTCPPacket) throws {
        var writer = ByteWriter()
        packet.render(into: &writer)
        #expect(writer.count % 4 == 0)
        #expect(try RTCPPacket.parseCompound(writer.bytes.span) == [packet])
        #expect(MediaPacketKind(of: writer.bytes.span) == (writer.count >= 8 ? .rtcp : nil))
    }

    @Test("a compound, byte for byte")
    func compound() throws {
        var writer = ByteWriter()
        for packet in Self.packets { packet.render(into: &writer) }
        #expect(try RTCPPacket.parseCompound(writer.bytes.span) == Self.packets)
        var small = ByteWriter()
        RTCPPacket.receiverReport(ssrc: 1, reports: [Self.report], extensionData: []).render(into: &small)
        #expect(
            small.bytes == [
                0x81, 201, 0, 7, 0, 0, 0, 1, 1, 2, 3, 4, 12, 0xFF, 0xFF, 0xFD, 0, 1, 0, 5, 0, 0, 0, 7, 0xAA, 0xBB, 0xCC,
                0xDD, 0, 1, 0, 0,
            ])
    }

    @Test("padding of the last packet is left out")
    func padding() throws {
        let bytes: [UInt8] = [0x80, 201, 0, 1, 0, 0, 0, 1, 0xA0, 201, 0, 2, 0, 0, 0, 2, 0, 0, 0, 4]
        #expect(
            try RTCPPacket.parseCompound(bytes.span) == [
                .receiverReport(ssrc: 1, reports: [], extensionData: []),
                .receiverReport(ssrc: 2, reports: [], extensionData: []),
            ])
    }

    struct Malformed: Sendable, CustomTestStringConvertible {
        var testDescription: String { name }
        let name: String
        let bytes: [UInt8]
        let error: RTCPError
    }

    static let report8: [UInt8] = [0x80, 201, 0, 1, 0, 0, 0, 1]

    @Test(
        "rejects",
        arguments: [
            Malformed(name: "empty", bytes: [], error: .truncated(offset: 0)),
            Malformed(name: "three bytes", bytes: [0x80, 201, 0], error: .truncated(offset: 0)),
            Malformed(name: "a tail of three bytes", bytes: report8 + [0x80, 201, 0], error: .truncated(offset: 8)),
            Malformed(
                name: "version 1", bytes: [0x40, 201, 0, 1, 0, 0, 0, 1], error: .unsupportedVersion(1, offset: 0)),
            Malformed(
                name: "second of version 0", bytes: report8 + [0, 201, 0, 0], error: .unsupportedVersion(0, offset: 8)),
            Malformed(name: "RTP", bytes: [0x80, 0, 0, 1, 0, 0, 0, 1], error: .notRTCP(0, offset: 0)),
            Malformed(name: "longer than it is", bytes: [0x80, 201, 0, 2, 0, 0, 0, 1], error: .length(offset: 0)),
            Malformed(name: "length of 65535", bytes: [0x80, 201, 0xFF, 0xFF, 0, 0, 0, 1], error: .length(offset: 0)),
            Malformed(name: "31 reports, none there", bytes: [0x9F, 201, 0, 1, 0, 0, 0, 1], error: .length(offset: 0)),
            Malformed(
                name: "sender report without sender", bytes: [0x80, 200, 0, 1, 0, 0, 0, 1], error: .length(offset: 0)),
            Malformed(name: "receiver report without receiver", bytes: [0x80, 201, 0, 0], error: .length(offset: 0)),
            Malformed(name: "APP without a name", bytes: [0x80, 204, 0, 1, 0, 0, 0, 1], error: .length(offset: 0)),
            Malformed(name: "BYE of two, one there", bytes: [0x82, 203, 0, 1, 0, 0, 0, 1], error: .length(offset: 0)),
            Malformed(name: "reason too long", bytes: [0x80, 203, 0, 1, 9, 1, 2, 3], error: .length(offset: 0)),
            Malformed(name: "chunk missing", bytes: [0x81, 202, 0, 0], error: .length(offset: 0)),
            Malformed(name: "chunk without an end", bytes: [0x81, 202, 0, 1, 0, 0, 0, 1], error: .length(offset: 0)),
            Malformed(
                name: "item too long", bytes: [0x81, 202, 0, 2, 0, 0, 0, 1, 1, 9, 0x61, 0], error: .length(offset: 0)),
            Malformed(
                name: "item fills the chunk", bytes: [0x81, 202, 0, 2, 0, 0, 0, 1, 1, 2, 0x61, 0x61],
                error: .length(offset: 0)),
            Malformed(
                name: "padding not at the end", bytes: [0xA0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4] + report8,
                error: .padding(offset: 0)),
            Malformed(
                name: "padding of three", bytes: [0xA0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3], error: .padding(offset: 0)),
            Malformed(
                name: "padding of nothing", bytes: [0xA0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0], error: .padding(offset: 0)
            ),
            Malformed(
                name: "padding of all", bytes: [0xA0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 12], error: .padding(offset: 0)),
            Malformed(
                name: "65 packets", bytes: (0..<65).flatMap { _ in report8 }, error: .tooManyPackets),
        ])
    func rejects(_ sample: Malformed) {
        #expect(throws: sample.error) { try RTCPPacket.parseCompound(sample.bytes.span) }
    }

    @Test("mutated compounds never trap; what is accepted renders again")
    func fuzz() {
        var random = RandomSource(seed: 3_550)
        var writer = ByteWriter()
        for packet in Self.packets { packet.render(into: &writer) }
        var accepted = 0
        for _ in 0..<20_000 {
            var bytes = writer.bytes
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) {
                bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)))
            }
            guard let packets = try? RTCPPacket.parseCompound(bytes.span) else { continue }
            accepted += 1
            var again = ByteWriter()
            for packet in packets { packet.render(into: &again) }
            #expect(try! RTCPPacket.parseCompound(again.bytes.span) == packets)
        }
        #expect(accepted > 1_000)
    }
}

@Suite("Telephone events (RFC 4733 §2.3)")
struct TelephoneEventTests {
    @Test("key 5, ending, as on the wire")
    func render() throws {
        let event = TelephoneEvent(code: 5, isEnd: true, volume: 10, duration: 1_600)
        var writer = ByteWriter()
        event.render(into: &writer)
        #expect(writer.bytes == [5, 0x8A, 0x06, 0x40])
        #expect(try TelephoneEvent.parse(writer.bytes.span) == [event])
        #expect(event.key == "5")
    }

    @Test("several in one payload; the reserved bit is ignored; other events have no key")
    func several() throws {
        let events = try TelephoneEvent.parse(([10, 0xFF, 0xFF, 0xFF, 16, 0x40, 0, 0] as [UInt8]).span)
        #expect(events.map(\.key) == ["*", nil])
        #expect(events.map(\.volume) == [63, 0])
        #expect(events.map(\.isEnd) == [true, false])
        #expect(events.map(\.duration) == [65_535, 0])
        #expect(
            (0...15).compactMap { TelephoneEvent(code: $0, isEnd: false, volume: 0, duration: 0).key }
                == Array("0123456789*#ABCD"))
    }

    @Test("rejects odd lengths", arguments: [0, 1, 2, 3, 5, 7, 9])
    func rejects(_ count: Int) {
        #expect(throws: TelephoneEventError.length(count)) {
            try TelephoneEvent.parse([UInt8](repeating: 0, count: count).span)
        }
    }
}
