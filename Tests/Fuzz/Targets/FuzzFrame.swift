import MediaFormats

/// Ethernet, VLAN, IPv4 and IPv6, UDP; the first byte says whether the checksum was left to the card.
func fuzzFrame(_ bytes: Span<UInt8>) {
    guard !bytes.isEmpty else { return }
    blackHole(try? UDPFrame(parsing: bytes.extracting(1...), isChecksumPartial: bytes[0] & 1 != 0))
}
