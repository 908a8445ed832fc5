import Primitives

/// Why a datagram is not RTP.
package enum RTPError: Error, Equatable, Sendable {
    case truncated(needed: Int, got: Int)
    case unsupportedVersion(UInt8)
    case paddingExceedsPayload
}

/// The fixed RTP header and where the rest lies (RFC 3550 §5.1, §5.3.1).
package struct RTPHeader: Hashable, Sendable {
    package static let fixedByteCount = 12
    package static let version: UInt8 = 2

    /// 0...127
    package var payloadType: UInt8
    package var marker: Bool
    package var sequenceNumber: UInt16
    /// RTP clock ticks, not milliseconds.
    package var timestamp: UInt32
    package var ssrc: UInt32
    /// At most fifteen contributing sources.
    package var contributingSources: [UInt32]
    /// The `defined by profile` field; nil without an extension.
    package var extensionProfile: UInt16?
    /// Where the extension's data lies, whole words; empty without one.
    package private(set) var extensionData: Range<Int>
    /// Where the media lies in the datagram, padding excluded.
    package private(set) var payload: Range<Int>

    package init(
        payloadType: UInt8, marker: Bool = false, sequenceNumber: UInt16, timestamp: UInt32, ssrc: UInt32,
        contributingSources: [UInt32] = []
    ) {
        precondition(payloadType < 128 && contributingSources.count <= 15, "fits the fields of RFC 3550 §5.1")
        self.payloadType = payloadType
        self.marker = marker
        self.sequenceNumber = sequenceNumber
        self.timestamp = timestamp
        self.ssrc = ssrc
        self.contributingSources = contributingSources
        extensionProfile = nil
        extensionData = 0..<0
        payload = 0..<0
    }

    package init(parsing datagram: Span<UInt8>) throws(RTPError) {
        let count = datagram.count
        guard count >= Self.fixedByteCount else { throw .truncated(needed: Self.fixedByteCount, got: count) }
        let first = datagram[0]
        guard first >> 6 == Self.version else { throw .unsupportedVersion(first >> 6) }
        marker = datagram[1] & 0x80 != 0
        payloadType = datagram[1] & 0x7F
        sequenceNumber = datagram.word16(at: 2)
        timestamp = datagram.word32(at: 4)
        ssrc = datagram.word32(at: 8)
        let sourceCount = Int(first & 0x0F)
        var offset = Self.fixedByteCount + 4 * sourceCount
        guard count >= offset else { throw .truncated(needed: offset, got: count) }
        contributingSources =
            sourceCount == 0 ? [] : (0..<sourceCount).map { datagram.word32(at: Self.fixedByteCount + 4 * $0) }
        extensionProfile = nil
        extensionData = offset..<offset
        if first & 0x10 != 0 {
            guard count >= offset + 4 else { throw .truncated(needed: offset + 4, got: count) }
            extensionProfile = datagram.word16(at: offset)
            let end = offset + 4 + 4 * Int(datagram.word16(at: offset + 2))
            guard count >= end else { throw .truncated(needed: end, got: count) }
            extensionData = (offset + 4)..<end
            offset = end
        }
        var end = count
        if first & 0x20 != 0 {
            let padding = Int(datagram[count - 1])
            guard padding >= 1, count - offset >= padding else { throw .paddingExceedsPayload }
            end -= padding
        }
        payload = offset..<end
    }

    /// Appends the header without extension or padding; the payload follows.
    package func render(into writer: inout ByteWriter) {
        writer.write(Self.version << 6 | UInt8(contributingSources.count))
        writer.write((marker ? 0x80 : 0) | payloadType)
        writer.write(sequenceNumber)
        writer.write(timestamp)
        writer.write(ssrc)
        for source in contributingSources { writer.write(source) }
    }

    /// A whole datagram.
    package func datagram(payload: [UInt8]) -> [UInt8] {
        var writer = ByteWriter(capacity: Self.fixedByteCount + 4 * contributingSources.count + payload.count)
        render(into: &writer)
        writer.write(contentsOf: payload)
        return writer.bytes
    }
}

extension Span<UInt8> {
    /// Big-endian; the caller has checked the length.
    func word16(at offset: Int) -> UInt16 { UInt16(self[offset]) << 8 | UInt16(self[offset + 1]) }

    /// Big-endian; the caller has checked the length.
    func word32(at offset: Int) -> UInt32 {
        UInt32(word16(at: offset)) << 16 | UInt32(word16(at: offset + 2))
    }
}
