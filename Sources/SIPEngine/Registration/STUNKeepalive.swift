import Primitives

/// The STUN binding requests phones send over UDP on the SIP port to keep their NAT open (RFC 5626 §4.4.2, RFC 8489).
package enum STUNKeepalive {
    private static let magicCookie: UInt32 = 0x2112_A442
    private static let headerByteCount = 20

    /// Whether a datagram is STUN rather than SIP: two zero bits and the magic cookie.
    package static func isSTUN(_ datagram: Span<UInt8>) -> Bool {
        guard datagram.count >= headerByteCount, datagram[0] & 0xC0 == 0 else { return false }
        return datagram[4] == 0x21 && datagram[5] == 0x12 && datagram[6] == 0xA4 && datagram[7] == 0x42
    }

    package static func answer(to datagram: [UInt8], from source: TransportAddress) -> [UInt8]? {
        answer(to: datagram.span, from: source)
    }

    /// The answer to a binding request: where it came from, as XOR-MAPPED-ADDRESS. nil for anything else, to be dropped.
    package static func answer(to datagram: Span<UInt8>, from source: TransportAddress) -> [UInt8]? {
        guard isSTUN(datagram) else { return nil }
        let type = UInt16(datagram[0]) << 8 | UInt16(datagram[1])
        let byteCount = Int(datagram[2]) << 8 | Int(datagram[3])
        guard type == 0x0001, byteCount % 4 == 0, byteCount == datagram.count - headerByteCount else { return nil }

        // Attributes below 0x8000 have to be understood; we know those of authentication and ignore them.
        var unknown: [UInt16] = []
        var offset = headerByteCount
        while offset + 4 <= datagram.count {
            let attribute = UInt16(datagram[offset]) << 8 | UInt16(datagram[offset + 1])
            let length = Int(datagram[offset + 2]) << 8 | Int(datagram[offset + 3])
            let padded = (length + 3) & ~3
            guard padded <= datagram.count - offset - 4 else { return nil }
            if attribute < 0x8000, ![0x0006, 0x0008, 0x0014, 0x0015, 0x001C, 0x001E].contains(attribute) {
                unknown.append(attribute)
            }
            offset += 4 + padded
        }

        var attributes = ByteWriter(capacity: 32)
        if unknown.isEmpty {
            attributes.write(UInt16(0x0020))
            let address = source.address.bytes
            attributes.write(UInt16(4 + address.count))
            attributes.write(UInt16(source.address.family == .v4 ? 1 : 2))
            attributes.write(source.port ^ 0x2112)
            // The address is xored with the cookie and, in IPv6, the transaction's number, as they stand in the header.
            for index in address.indices { attributes.write(address[index] ^ datagram[4 + index]) }
        } else {
            let reason = Array("Unknown Attribute".utf8)
            attributes.write(UInt16(0x0009))
            attributes.write(UInt16(4 + reason.count))
            attributes.write(UInt32(4 << 8 | 20))
            attributes.write(contentsOf: reason)
            for _ in 0..<((4 - reason.count % 4) % 4) { attributes.write(UInt8(0)) }
            attributes.write(UInt16(0x000A))
            attributes.write(UInt16(truncatingIfNeeded: unknown.count * 2))
            for attribute in unknown { attributes.write(attribute) }
            if unknown.count % 2 == 1 { attributes.write(UInt16(0)) }
        }
        var writer = ByteWriter(capacity: headerByteCount + attributes.count)
        writer.write(UInt16(unknown.isEmpty ? 0x0101 : 0x0111))
        writer.write(UInt16(truncatingIfNeeded: attributes.count))
        for index in 4..<headerByteCount { writer.write(datagram[index]) }
        writer.write(contentsOf: attributes.bytes)
        return writer.bytes
    }
}
