import Primitives

/// Why a payload is not a telephone-event.
package enum TelephoneEventError: Error, Equatable, Sendable {
    /// Not a multiple of four bytes, or none (RFC 4733 §2.3, §2.5.1.5).
    case length(Int)
}

/// One event of a telephone-event payload (RFC 4733 §2.3).
package struct TelephoneEvent: Hashable, Sendable {
    package static let byteCount = 4

    /// 0...9 digits, 10 `*`, 11 `#`, 12...15 A...D (RFC 4733 §3.2); others are tones.
    package var code: UInt8
    /// The event is over; sent three times (RFC 4733 §2.5.1.4).
    package var isEnd: Bool
    /// 0...63, as a power of −dBm0.
    package var volume: UInt8
    /// In RTP clock ticks since the timestamp; 0xFFFF and a new segment for long ones (RFC 4733 §2.5.1.3).
    package var duration: UInt16

    package init(code: UInt8, isEnd: Bool, volume: UInt8, duration: UInt16) {
        precondition(volume < 64, "six bits")
        self.code = code
        self.isEnd = isEnd
        self.volume = volume
        self.duration = duration
    }

    /// The events of a payload; the reserved bit is ignored (RFC 4733 §2.3.3).
    package static func parse(_ payload: Span<UInt8>) throws(TelephoneEventError) -> [TelephoneEvent] {
        guard payload.count > 0, payload.count % byteCount == 0 else { throw .length(payload.count) }
        return stride(from: 0, to: payload.count, by: byteCount).map { offset in
            TelephoneEvent(
                code: payload[offset], isEnd: payload[offset + 1] & 0x80 != 0, volume: payload[offset + 1] & 0x3F,
                duration: payload.word16(at: offset + 2))
        }
    }

    package func render(into writer: inout ByteWriter) {
        writer.write(code)
        writer.write((isEnd ? 0x80 : 0) | volume)
        writer.write(duration)
    }

    /// The key of a telephone: `0`…`9`, `*`, `#`, `A`…`D`; nil for other events.
    package var key: Character? {
        let keys = Array("0123456789*#ABCD")
        return Int(code) < keys.count ? keys[Int(code)] : nil
    }
}
