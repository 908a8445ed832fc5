import MediaFormats

/// Finds key presses in the RTP of one source (RFC 4733): each is told once, with its first packet.
struct KeyReader: Sendable {
    /// Of the latest event: its packets, the three at its end too, have one timestamp (RFC 4733 §2.5.1.1).
    private var latest: (ssrc: UInt32, timestamp: UInt32)?

    /// The key a packet begins, if it does.
    mutating func key(in datagram: Span<UInt8>, eventPayloadTypes: [UInt8]) -> Character? {
        guard let header = try? RTPHeader(parsing: datagram), eventPayloadTypes.contains(header.payloadType),
            let events = try? TelephoneEvent.parse(datagram.extracting(header.payload)), let event = events.first,
            latest.map({ $0 != (header.ssrc, header.timestamp) }) ?? true
        else { return nil }
        // One that overtook its predecessor's end is news, one from before is not.
        if let latest, latest.ssrc == header.ssrc, Int32(bitPattern: header.timestamp &- latest.timestamp) < 0 {
            return nil
        }
        latest = (header.ssrc, header.timestamp)
        return event.key
    }
}
