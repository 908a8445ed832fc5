import FastPath
import MediaFormats
import Primitives

/// A frame of the signalling ring; the first byte is its status. What the ring takes for a proven datagram, the parser
/// of whole frames must take for the same.
func fuzzRing(_ bytes: Span<UInt8>) {
    guard bytes.count >= 15 else { return }
    let status = UInt32(bytes[0])
    let frame = bytes.extracting(1...)
    let isV4 = frame[12] == 0x08 && frame[13] == 0x00
    let isV6 = frame[12] == 0x86 && frame[13] == 0xDD
    guard isV4 || isV6 else { return }
    let filter = SignallingFilter(
        endpoint: TransportAddress(isV4 ? .v4(0xC000_0201) : .v6(0x2001_0DB8 << 32, 1), 5060), interfaceIndex: 2,
        mtu: 1500)
    // The span's memory is the fuzzer's until we return.
    let reading = frame.withUnsafeBufferPointer {
        SignallingRing.read(UnsafeRawBufferPointer($0), status: status, filter)
    }
    guard case .datagram(let payload, let source) = reading else { return }
    guard status & SignallingRing.checksumIsSettled == 0 else {
        return blackHole([UInt8](copying: frame.extracting(payload)))
    }
    guard let whole = try? UDPFrame(parsing: frame) else { fatalError("taken, but not a whole datagram") }
    precondition(whole.source == source, "another source")
    precondition(whole.payload == [UInt8](copying: frame.extracting(payload)), "another payload")
}
