import MediaFormats
import Primitives
import Testing

@Suite("RTP header (RFC 3550 §5.1)")
struct RTPHeaderTests {
    static let plain: [UInt8] = [0x80, 0xE5, 0x12, 0x34, 0, 0, 0, 160, 0xDE, 0xAD, 0xBE, 0xEF]

    struct Malformed: Sendable, CustomTestStringConvertible {
        var testDescription: String { name }
        let name: String
        let bytes: [UInt8]
        let error: RTPError
    }

    static let malformed: [Malformed] = [
        .init(name: "empty", bytes: [], error: .truncated(needed: 12, got: 0)),
        .init(name: "eleven bytes", bytes: Array(plain.dropLast()), error: .truncated(needed: 12, got: 11)),
        .init(name: "version 0 (STUN)", bytes: [0] + plain.dropFirst(), error: .unsupportedVersion(0)),
        .init(name: "version 1", bytes: [0x40] + plain.dropFirst(), error: .unsupportedVersion(1)),
        .init(name: "version 3", bytes: [0xC0] + plain.dropFirst(), error: .unsupportedVersion(3)),
        .init(
            name: "two sources, one there", bytes: [0x82] + plain.dropFirst() + [0, 0, 0, 1],
            error: .truncated(needed: 20, got: 16)),
        .init(
            name: "extension header cut", bytes: [0x90] + plain.dropFirst() + [0xBE, 0xDE, 0],
            error: .truncated(needed: 16, got: 15)),
        .init(
            name: "extension longer than the packet", bytes: [0x90] + plain.dropFirst() + [0xBE, 0xDE, 0xFF, 0xFF],
            error: .truncated(needed: 16 + 4 * 65_535, got: 16)),
        .init(
            name: "padding of nothing", bytes: [0xA0] + plain.dropFirst() + [1, 2, 3, 0], error: .paddingExceedsPayload),
        .init(
            name: "padding over the header", bytes: [0xA0] + plain.dropFirst() + [1, 5], error: .paddingExceedsPayload),
        .init(name: "padding and no payload", bytes: [0xA0] + plain.dropFirst(), error: .paddingExceedsPayload),
    ]

    @Test("rejects what is not RTP", arguments: malformed)
    func rejects(_ sample: Malformed) {
        #expect(throws: sample.error, "\(sample.name)") { try RTPHeader(parsing: sample.bytes.span) }
    }

    struct Valid: Sendable, CustomTestStringConvertible {
        var testDescription: String { name }
        let name: String
        let bytes: [UInt8]
        let payload: Range<Int>
        var sources: [UInt32] = []
        var profile: UInt16?
    }

    static let valid: [Valid] = [
        .init(name: "no payload", bytes: plain, payload: 12..<12),
        .init(name: "payload", bytes: plain + [1, 2, 3], payload: 12..<15),
        .init(name: "all padding", bytes: [0xA0] + plain.dropFirst() + [0, 0, 0, 4], payload: 12..<12),
        .init(name: "padding", bytes: [0xA0] + plain.dropFirst() + [9, 9, 0, 2], payload: 12..<14),
        .init(
            name: "a source", bytes: [0x81] + plain.dropFirst() + [0, 0, 0, 7, 9], payload: 16..<17, sources: [7]),
        .init(
            name: "an extension", bytes: [0x90] + plain.dropFirst() + [0xBE, 0xDE, 0, 1, 1, 2, 3, 4, 5],
            payload: 20..<21, profile: 0xBEDE),
        .init(
            name: "all of it",
            bytes: [0xB1] + plain.dropFirst() + [0, 0, 0, 7] + [0, 1, 0, 0] + [5, 6] + [0, 2], payload: 20..<22,
            sources: [7], profile: 1),
    ]

    @Test("finds the parts", arguments: valid)
    func parses(_ sample: Valid) throws {
        let header = try RTPHeader(parsing: sample.bytes.span)
        #expect(header.payload == sample.payload)
        #expect(header.contributingSources == sample.sources)
        #expect(header.extensionProfile == sample.profile)
        #expect(header.payloadType == 101 && header.marker)
        #expect(header.sequenceNumber == 0x1234 && header.timestamp == 160 && header.ssrc == 0xDEAD_BEEF)
    }

    @Test("renders what it parses")
    func renders() throws {
        let header = RTPHeader(
            payloadType: 101, marker: true, sequenceNumber: 0x1234, timestamp: 160, ssrc: 0xDEAD_BEEF)
        #expect(header.datagram(payload: [1]) == Self.plain + [1])
        let mixed = RTPHeader(
            payloadType: 0, sequenceNumber: 1, timestamp: 2, ssrc: 3, contributingSources: [4, 5])
        #expect(try RTPHeader(parsing: mixed.datagram(payload: []).span).contributingSources == [4, 5])
    }

    @Test("never traps on random bytes")
    func random() {
        var random = RandomSource(seed: 3550)
        for _ in 0..<20_000 {
            var bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if !bytes.isEmpty { bytes[0] = 0x80 | bytes[0] & 0x3F }
            if let header = try? RTPHeader(parsing: bytes.span) {
                #expect(header.payload.upperBound <= bytes.count)
            }
        }
    }

    struct Kind: Sendable {
        let bytes: [UInt8]
        let kind: MediaPacketKind?
    }

    @Test(
        "tells RTP and RTCP apart by two bytes (RFC 5761 §4)",
        arguments: [
            Kind(bytes: plain, kind: .rtp), Kind(bytes: [0x80, 200, 0, 1, 0, 0, 0, 1], kind: .rtcp),
            Kind(bytes: [0x81, 201] + .init(repeating: 0, count: 30), kind: .rtcp),
            Kind(bytes: [0x80, 191] + .init(repeating: 0, count: 10), kind: .rtp),
            Kind(bytes: [0x80, 192] + .init(repeating: 0, count: 10), kind: .rtcp),
            Kind(bytes: [0x80, 223] + .init(repeating: 0, count: 6), kind: .rtcp),
            Kind(bytes: [0x80, 224] + .init(repeating: 0, count: 10), kind: .rtp),
            Kind(bytes: [0x80, 0, 0, 1, 0, 0, 0, 1], kind: nil), Kind(bytes: [0x80, 200, 0, 1, 0, 0, 0], kind: nil),
            Kind(bytes: [], kind: nil), Kind(bytes: [0x00, 200, 0, 1, 0, 0, 0, 1], kind: nil),
        ])
    func kinds(_ sample: Kind) {
        #expect(MediaPacketKind(of: sample.bytes.span) == sample.kind)
    }
}
