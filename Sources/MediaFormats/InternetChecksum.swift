import Primitives

/// The ones' complement sum of IPv4, UDP and their kin (RFC 1071).
package struct InternetChecksum: Hashable, Sendable {
    /// Never overflows: 65535 words of 65535 fit in 32 bits, folded on every addition of a span.
    private var sum: UInt32 = 0

    package init() {}

    package mutating func add(_ word: UInt16) {
        sum += UInt32(word)
        sum = (sum & 0xFFFF) + (sum >> 16)
    }

    /// Bytes in pairs; an odd last one counts as the high byte. At most one odd piece, the last.
    package mutating func add(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        var index = range.lowerBound
        while index + 1 < range.upperBound {
            add(bytes.word16(at: index))
            index += 2
        }
        if index < range.upperBound { add(UInt16(bytes[index]) << 8) }
    }

    package mutating func add(_ bytes: [UInt8]) { add(bytes.span, 0..<bytes.count) }

    /// The field's value; 0 when the field, included in the sum, was right.
    package var value: UInt16 { ~UInt16(truncatingIfNeeded: sum) }

    /// The checksum after one word changed, without the rest (RFC 1624 equation 3).
    package static func update(_ checksum: UInt16, from old: UInt16, to new: UInt16) -> UInt16 {
        var sum = UInt32(~checksum) + UInt32(~old) + UInt32(new)
        sum = (sum & 0xFFFF) + (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16)
        return ~UInt16(truncatingIfNeeded: sum)
    }
}
