import Primitives

/// Why a datagram is not a compound RTCP packet. `offset` is where the packet in question begins.
package enum RTCPError: Error, Equatable, Sendable {
    case truncated(offset: Int)
    case unsupportedVersion(UInt8, offset: Int)
    /// The length field says more than there is, or less than the packet's kind needs.
    case length(offset: Int)
    /// Padding in a packet that is not the last, or more than the packet (RFC 3550 §6.4.1).
    case padding(offset: Int)
    /// The packet type is outside 192...223 (RFC 5761 §4).
    case notRTCP(UInt8, offset: Int)
    case tooManyPackets
}

/// One reception report block (RFC 3550 §6.4.1).
package struct RTCPReportBlock: Hashable, Sendable {
    package static let byteCount = 24

    package var ssrc: UInt32
    /// Of 256, since the previous report.
    package var fractionLost: UInt8
    /// −8388608...8388607; duplicates make it negative.
    package var cumulativeLost: Int32
    /// Sequence number with the count of its cycles above it.
    package var highestSequenceNumber: UInt32
    /// RTP clock ticks.
    package var jitter: UInt32
    /// The middle 32 bits of the NTP time of the last sender report; 0 for none.
    package var lastSenderReport: UInt32
    /// In 1/65536 s since then.
    package var delaySinceLastSenderReport: UInt32

    package init(
        ssrc: UInt32, fractionLost: UInt8 = 0, cumulativeLost: Int32 = 0, highestSequenceNumber: UInt32 = 0,
        jitter: UInt32 = 0, lastSenderReport: UInt32 = 0, delaySinceLastSenderReport: UInt32 = 0
    ) {
        self.ssrc = ssrc
        self.fractionLost = fractionLost
        self.cumulativeLost = cumulativeLost
        self.highestSequenceNumber = highestSequenceNumber
        self.jitter = jitter
        self.lastSenderReport = lastSenderReport
        self.delaySinceLastSenderReport = delaySinceLastSenderReport
    }

    init(_ bytes: Span<UInt8>, at offset: Int) {
        let lost = bytes.word32(at: offset + 4)
        self.init(
            ssrc: bytes.word32(at: offset), fractionLost: UInt8(lost >> 24),
            cumulativeLost: Int32(bitPattern: lost << 8) >> 8,  // 24 bits, signed
            highestSequenceNumber: bytes.word32(at: offset + 8), jitter: bytes.word32(at: offset + 12),
            lastSenderReport: bytes.word32(at: offset + 16), delaySinceLastSenderReport: bytes.word32(at: offset + 20))
    }

    func render(into writer: inout ByteWriter) {
        writer.write(ssrc)
        writer.write(UInt32(fractionLost) << 24 | UInt32(bitPattern: cumulativeLost) & 0xFF_FFFF)
        writer.write(highestSequenceNumber)
        writer.write(jitter)
        writer.write(lastSenderReport)
        writer.write(delaySinceLastSenderReport)
    }
}

/// One item of a source description chunk (RFC 3550 §6.5), its text as bytes.
package struct RTCPSourceItem: Hashable, Sendable {
    package static let canonicalName: UInt8 = 1

    package var type: UInt8
    package var text: [UInt8]

    package init(type: UInt8, text: [UInt8]) {
        precondition(text.count <= 255 && type != 0, "fits the item of RFC 3550 §6.5")
        self.type = type
        self.text = text
    }
}

package struct RTCPSourceChunk: Hashable, Sendable {
    package var ssrc: UInt32
    package var items: [RTCPSourceItem]

    package init(ssrc: UInt32, items: [RTCPSourceItem]) {
        self.ssrc = ssrc
        self.items = items
    }
}

/// One packet of a compound (RFC 3550 §6.4 to §6.7).
package enum RTCPPacket: Hashable, Sendable {
    /// `extensionData`: profile-specific, whole words.
    case senderReport(
        ssrc: UInt32, ntpTime: UInt64, rtpTime: UInt32, packetCount: UInt32, byteCount: UInt32,
        reports: [RTCPReportBlock], extensionData: [UInt8])
    case receiverReport(ssrc: UInt32, reports: [RTCPReportBlock], extensionData: [UInt8])
    case sourceDescription([RTCPSourceChunk])
    case bye(sources: [UInt32], reason: [UInt8]?)
    case application(subtype: UInt8, ssrc: UInt32, name: UInt32, data: [UInt8])
    /// Feedback (RFC 4585), extended reports (RFC 3611), what is yet to come.
    case other(type: UInt8, count: UInt8, body: [UInt8])

    static let packetCountMax = 64

    /// The packets of a datagram, in order; at least one. That the first is a report is not asked for (RFC 5506).
    package static func parseCompound(_ datagram: Span<UInt8>) throws(RTCPError) -> [RTCPPacket] {
        var packets: [RTCPPacket] = []
        var offset = 0
        repeat {
            guard datagram.count - offset >= 4 else { throw .truncated(offset: offset) }
            let first = datagram[offset]
            guard first >> 6 == 2 else { throw .unsupportedVersion(first >> 6, offset: offset) }
            let type = datagram[offset + 1]
            guard (192...223).contains(type) else { throw .notRTCP(type, offset: offset) }
            let end = offset + 4 + 4 * Int(datagram.word16(at: offset + 2))
            guard end <= datagram.count else { throw .length(offset: offset) }
            var bodyEnd = end
            if first & 0x20 != 0 {
                let padding = Int(datagram[end - 1])
                guard end == datagram.count, padding >= 4, padding % 4 == 0, padding <= end - offset - 4 else {
                    throw .padding(offset: offset)
                }
                bodyEnd -= padding
            }
            guard packets.count < packetCountMax else { throw .tooManyPackets }
            packets.append(
                try parse(type: type, count: Int(first & 0x1F), datagram, body: (offset + 4)..<bodyEnd, at: offset))
            offset = end
        } while offset < datagram.count
        return packets
    }

    private static func parse(
        type: UInt8, count: Int, _ bytes: Span<UInt8>, body: Range<Int>, at offset: Int
    ) throws(RTCPError) -> RTCPPacket {
        let start = body.lowerBound
        func require(_ needed: Int) throws(RTCPError) {
            guard body.count >= needed else { throw .length(offset: offset) }
        }
        let blocks = RTCPReportBlock.byteCount * count
        switch type {
        case 200:
            try require(24 + blocks)
            return .senderReport(
                ssrc: bytes.word32(at: start),
                ntpTime: UInt64(bytes.word32(at: start + 4)) << 32 | UInt64(bytes.word32(at: start + 8)),
                rtpTime: bytes.word32(at: start + 12), packetCount: bytes.word32(at: start + 16),
                byteCount: bytes.word32(at: start + 20), reports: reports(bytes, count, at: start + 24),
                extensionData: bytes.array(start + 24 + blocks..<body.upperBound))
        case 201:
            try require(4 + blocks)
            return .receiverReport(
                ssrc: bytes.word32(at: start), reports: reports(bytes, count, at: start + 4),
                extensionData: bytes.array(start + 4 + blocks..<body.upperBound))
        case 202:
            return .sourceDescription(try chunks(bytes, count, body, at: offset))
        case 203:
            try require(4 * count)
            let sources = (0..<count).map { bytes.word32(at: start + 4 * $0) }
            let reasonStart = start + 4 * count
            guard reasonStart < body.upperBound else { return .bye(sources: sources, reason: nil) }
            let length = Int(bytes[reasonStart])
            guard reasonStart + 1 + length <= body.upperBound else { throw .length(offset: offset) }
            return .bye(sources: sources, reason: bytes.array(reasonStart + 1..<reasonStart + 1 + length))
        case 204:
            try require(8)
            return .application(
                subtype: UInt8(count), ssrc: bytes.word32(at: start), name: bytes.word32(at: start + 4),
                data: bytes.array(start + 8..<body.upperBound))
        default:
            return .other(type: type, count: UInt8(count), body: bytes.array(body))
        }
    }

    private static func reports(_ bytes: Span<UInt8>, _ count: Int, at start: Int) -> [RTCPReportBlock] {
        var reports: [RTCPReportBlock] = []
        for index in 0..<count { reports.append(RTCPReportBlock(bytes, at: start + RTCPReportBlock.byteCount * index)) }
        return reports
    }

    private static func chunks(
        _ bytes: Span<UInt8>, _ count: Int, _ body: Range<Int>, at offset: Int
    ) throws(RTCPError) -> [RTCPSourceChunk] {
        var chunks: [RTCPSourceChunk] = []
        var position = body.lowerBound
        for _ in 0..<count {
            guard body.upperBound - position >= 8 else { throw .length(offset: offset) }
            var chunk = RTCPSourceChunk(ssrc: bytes.word32(at: position), items: [])
            position += 4
            while true {
                guard position < body.upperBound else { throw .length(offset: offset) }
                let type = bytes[position]
                if type == 0 { break }
                guard position + 2 <= body.upperBound else { throw .length(offset: offset) }
                let end = position + 2 + Int(bytes[position + 1])
                guard end <= body.upperBound else { throw .length(offset: offset) }
                chunk.items.append(RTCPSourceItem(type: type, text: bytes.array(position + 2..<end)))
                position = end
            }
            // The null item, and on to the next word (RFC 3550 §6.5).
            position += 4 - (position - body.lowerBound) % 4
            guard position <= body.upperBound else { throw .length(offset: offset) }
            chunks.append(chunk)
        }
        return chunks
    }

    // MARK: Rendering

    /// Appends the packet; a compound is one after the other.
    package func render(into writer: inout ByteWriter) {
        let start = writer.count
        let (type, count) = head
        precondition(count <= 31, "five bits")
        writer.write(0x80 | UInt8(count))
        writer.write(type)
        writer.write(UInt16(0))
        switch self {
        case .senderReport(let ssrc, let ntpTime, let rtpTime, let packetCount, let byteCount, let reports, let data):
            writer.write(ssrc)
            writer.write(ntpTime)
            writer.write(rtpTime)
            writer.write(packetCount)
            writer.write(byteCount)
            for report in reports { report.render(into: &writer) }
            writer.write(contentsOf: data)
        case .receiverReport(let ssrc, let reports, let data):
            writer.write(ssrc)
            for report in reports { report.render(into: &writer) }
            writer.write(contentsOf: data)
        case .sourceDescription(let chunks):
            for chunk in chunks {
                writer.write(chunk.ssrc)
                for item in chunk.items {
                    writer.write(item.type)
                    writer.write(UInt8(item.text.count))
                    writer.write(contentsOf: item.text)
                }
                repeat { writer.write(UInt8(0)) } while (writer.count - start) % 4 != 0
            }
        case .bye(let sources, let reason):
            for source in sources { writer.write(source) }
            if let reason {
                precondition(reason.count <= 255, "one byte of length")
                writer.write(UInt8(reason.count))
                writer.write(contentsOf: reason)
            }
        case .application(_, let ssrc, let name, let data):
            writer.write(ssrc)
            writer.write(name)
            writer.write(contentsOf: data)
        case .other(_, _, let body):
            writer.write(contentsOf: body)
        }
        while (writer.count - start) % 4 != 0 { writer.write(UInt8(0)) }
        writer.overwrite(at: start + 2, with: UInt16((writer.count - start) / 4 - 1))
    }

    private var head: (type: UInt8, count: Int) {
        switch self {
        case .senderReport(_, _, _, _, _, let reports, _): (200, reports.count)
        case .receiverReport(_, let reports, _): (201, reports.count)
        case .sourceDescription(let chunks): (202, chunks.count)
        case .bye(let sources, _): (203, sources.count)
        case .application(let subtype, _, _, _): (204, Int(subtype))
        case .other(let type, let count, _): (type, Int(count))
        }
    }
}

extension Span<UInt8> {
    /// A copy of these bytes; the caller has checked the range.
    func array(_ range: Range<Int>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(range.count)
        for index in range { bytes.append(self[index]) }
        return bytes
    }
}
