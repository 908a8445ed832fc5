import MediaFormats

/// RTP headers, telephone events, and telling RTP from RTCP; the payload must lie within the datagram.
func fuzzRTP(_ bytes: Span<UInt8>) {
    blackHole(MediaPacketKind(of: bytes))
    blackHole(try? TelephoneEvent.parse(bytes))
    guard let header = try? RTPHeader(parsing: bytes) else { return }
    guard header.payload.lowerBound >= RTPHeader.fixedByteCount, header.payload.upperBound <= bytes.count,
        header.extensionData.upperBound <= bytes.count
    else { fatalError("the payload lies outside") }
}
