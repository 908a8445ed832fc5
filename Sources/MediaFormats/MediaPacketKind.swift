import Primitives

/// What a datagram at a media port is, by its first two bytes: the check the kernel makes too.
package enum MediaPacketKind: Hashable, Sendable {
    case rtp
    case rtcp

    /// nil when it is neither RTP nor RTCP (RFC 3550 §5.1, §6.4; told apart as RFC 5761 §4 says).
    package init?(of datagram: Span<UInt8>) {
        guard datagram.count >= 8, datagram[0] >> 6 == 2 else { return nil }
        if (192...223).contains(datagram[1]) {
            self = .rtcp
        } else if datagram.count >= RTPHeader.fixedByteCount {
            self = .rtp
        } else {
            return nil
        }
    }
}
