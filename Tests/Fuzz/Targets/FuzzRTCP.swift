import MediaFormats
import Primitives

/// Compound RTCP: what we render we must understand alike.
func fuzzRTCP(_ bytes: Span<UInt8>) {
    guard let packets = try? RTCPPacket.parseCompound(bytes) else { return }
    var writer = ByteWriter(capacity: bytes.count)
    for packet in packets { packet.render(into: &writer) }
    let rendered = writer.bytes
    guard let again = try? RTCPPacket.parseCompound(rendered.span) else { fatalError("we reject what we sent") }
    guard again == packets else { fatalError("a second parse differs") }
}
