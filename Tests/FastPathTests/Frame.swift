import Primitives

struct MAC: Hashable, Sendable, CustomStringConvertible {
    let bytes: [UInt8]

    init(_ text: String) { bytes = text.split(separator: ":").map { UInt8($0, radix: 16)! } }

    var description: String {
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined(separator: ":")
    }
}

/// An Ethernet frame with one UDP datagram, from values to bytes: what goes in, and what must come out.
struct Frame: Sendable {
    enum Checksum: Sendable {
        case finished
        /// None (IPv4 only).
        case zero
        /// As the stack leaves it to the device: the sum of the pseudo-header, not inverted.
        case unfinished
        /// Wrong by this much: damage on the way must stay visible.
        case damaged(by: UInt16)
    }

    var destinationMAC: MAC
    var sourceMAC: MAC
    /// Priority and identifier of 802.1Q tags, outermost first.
    var tags: [UInt16] = []
    var source: TransportAddress
    var destination: TransportAddress
    /// TTL or hop limit.
    var hops: UInt8 = 64
    var payload: [UInt8]
    var checksum = Checksum.finished
    /// IPv4 flags and offset.
    var fragment: UInt16 = 0x4000
    /// IPv4
    var identification: UInt16 = 0xBEEF
    /// IPv6, 20 bits
    var flowLabel: UInt32 = 0x51234
    /// IPv4 options: a multiple of four bytes.
    var options: [UInt8] = []
    /// An IPv6 extension header between IP and UDP.
    var extensionHeader: [UInt8] = []
    /// Behind the datagram, as in frames below sixty bytes.
    var padding: [UInt8] = []
    var udpByteCountError = 0

    /// DSCP and ECN; expedited forwarding.
    var trafficClass: UInt8 = 0xB8

    var bytes: [UInt8] {
        let etherType: UInt16 = source.address.family == .v4 ? 0x0800 : 0x86DD
        let ethernet = destinationMAC.bytes + sourceMAC.bytes + tags.flatMap { big(0x8100) + big($0) } + big(etherType)
        return ethernet + ipHeader + extensionHeader + udp + padding
    }

    private var udp: [UInt8] {
        let byteCount = UInt16(8 + payload.count + udpByteCountError)
        let header = big(source.port) + big(destination.port) + big(byteCount)
        let pseudoHeader = source.address.bytes + destination.address.bytes + big(17) + big(byteCount)
        let field: UInt16
        switch checksum {
        case .zero: field = 0
        case .unfinished: field = Self.sum(pseudoHeader)
        case .finished, .damaged:
            let complement = ~Self.sum(pseudoHeader + header + payload)
            var whole = complement == 0 ? 0xFFFF : complement
            if case .damaged(let difference) = checksum {
                whole = UInt16(truncatingIfNeeded: (UInt32(whole) + UInt32(difference)) % 0xFFFF)
                if whole == 0 { whole = 0xFFFF }
            }
            field = whole
        }
        return header + big(field) + payload
    }

    private var ipHeader: [UInt8] {
        let behind = extensionHeader.count + 8 + payload.count
        if source.address.family == .v6 {
            let next: UInt8 = extensionHeader.isEmpty ? 17 : 60
            let word = 0x6000_0000 | UInt32(trafficClass) << 20 | flowLabel
            return big(UInt16(word >> 16)) + big(UInt16(word & 0xFFFF)) + big(UInt16(behind))
                + [next, hops] + source.address.bytes + destination.address.bytes
        }
        var header: [UInt8] = [0x45 + UInt8(options.count / 4), trafficClass]
        header += big(UInt16(20 + options.count + behind)) + big(identification) + big(fragment) + [hops, 17, 0, 0]
        header += source.address.bytes + destination.address.bytes + options
        header.replaceSubrange(10..<12, with: big(~Self.sum(header)))
        return header
    }

    private func big(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }

    /// RFC 1071, over all bytes at once: not the way the program does it.
    static func sum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt64 = 0
        for (index, byte) in bytes.enumerated() { sum += UInt64(byte) << (index % 2 == 0 ? 8 : 0) }
        while sum > 0xFFFF { sum = (sum & 0xFFFF) + (sum >> 16) }
        return UInt16(sum)
    }

    /// An RTP packet: version 2, then its marker and type, sequence number, timestamp, SSRC and speech.
    static func rtp(type: UInt8 = 0, marker: Bool = false, sequence: UInt16 = 1, speech: Int = 160) -> [UInt8] {
        [
            0x80, (marker ? 0x80 : 0) | type, UInt8(sequence >> 8), UInt8(sequence & 0xFF), 0, 0, 0x12, 0x34, 0xDE,
            0xAD, 0xBE, 0xEF,
        ]
            + (0..<speech).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ Int(sequence)) }
    }

    static func rtcp(type: UInt8 = 200, byteCount: Int = 28) -> [UInt8] {
        ([0x80, type, 0, 6] + [UInt8](repeating: 0x5A, count: byteCount)).prefix(byteCount).map { $0 }
    }
}
