import CLinux

/// The memory all sockets of one loop receive into: a few slots, each as large as the largest datagram.
///
/// Pages are touched only by datagrams that fill them, so its half megabyte costs little until then.
final class ReceiveBuffer {
    static let slotByteCount = 65_536
    static let slotCount = 8

    private let memory: UnsafeMutableRawBufferPointer
    private var datagrams = [clinux_datagram](repeating: clinux_datagram(), count: ReceiveBuffer.slotCount)
    private var isBusy = false

    init() {
        memory = .allocate(byteCount: Self.slotByteCount * Self.slotCount, alignment: 4096)
    }

    deinit { memory.deallocate() }

    /// Receives one batch and hands each datagram on while `body` says so; the count, or a negated errno.
    func receiveBatch(
        from socket: CInt, _ body: (Span<UInt8>, clinux_datagram) -> Bool
    ) -> Int {
        precondition(!isBusy, "a handler that receives must not run the loop")
        isBusy = true
        defer { isBusy = false }
        // The buffer lives as long as this object; the spans end with each call of `body`.
        guard let base = memory.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return 0 }
        let count = Int(
            clinux_receive_batch(socket, base, Self.slotByteCount, &datagrams, UInt32(Self.slotCount)))
        for index in 0..<max(0, count) {
            let bytes = UnsafeBufferPointer(
                start: base + index * Self.slotByteCount, count: min(datagrams[index].byte_count, Self.slotByteCount))
            guard body(bytes.span, datagrams[index]) else { break }
        }
        return count
    }

    /// Lets `fill` read into all of the memory, then hands the bytes on; the count, or what `fill` returned.
    func read(_ fill: (UnsafeMutableRawBufferPointer) -> Int, _ body: (Span<UInt8>) -> Void) -> Int {
        precondition(!isBusy, "a handler that receives must not run the loop")
        isBusy = true
        defer { isBusy = false }
        // One slot, not all: a stream's reader shall not starve the others.
        let slot = UnsafeMutableRawBufferPointer(rebasing: memory[..<Self.slotByteCount])
        let count = fill(slot)
        guard count > 0 else { return count }
        body(UnsafeBufferPointer(rebasing: slot.assumingMemoryBound(to: UInt8.self)[..<count]).span)
        return count
    }
}
