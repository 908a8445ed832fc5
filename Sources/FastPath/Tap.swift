import CFastPath
import Glibc
import MediaFormats
import Primitives

/// Whose copy of a flow it is, and which side of the call speaks there. Both numbers mean something to the reader only.
package struct MediaTap: Hashable, Sendable {
    /// Not 0.
    package var id: UInt32
    /// Leg or direction.
    package var direction: UInt8

    package init(id: UInt32, direction: UInt8) {
        precondition(id != 0, "tap 0 means none")
        self.id = id
        self.direction = direction
    }
}

/// Where the copies go: a ring in the kernel's memory, to be handed to its one reader.
package struct TapBuffer: Sendable {
    /// Belongs to `FastPath`; a reader gets its own by SCM_RIGHTS or inheritance and needs no privilege.
    package let descriptor: CInt
    package let byteCount: Int
}

/// How many copies were made, and how many not because the ring was full.
package struct TapCounters: Hashable, Sendable {
    package var copied: UInt64 = 0
    package var lost: UInt64 = 0

    static func += (sum: inout Self, share: relay_tap_counters) {
        sum.copied &+= share.copied
        sum.lost &+= share.lost
    }
}

/// One relayed packet as it arrived.
package struct TapRecord: Hashable, Sendable {
    package var tap: MediaTap
    /// The difference of CLOCK_REALTIME and CLOCK_MONOTONIC at the moment of reading makes wall-clock time of it.
    package var timestamp: MonotonicTime
    /// From the IP header on; cut to `TapRecord.packetByteCountMax` bytes.
    package var packet: [UInt8]
    package var isTruncated: Bool

    package static let packetByteCountMax = Int(RELAY_TAP_PACKET_BYTE_COUNT_MAX)
}

/// Reads a ring in any process that was handed its descriptor. Nobody is woken for a record: read every few
/// milliseconds, before the ring is full (a second of one G.711 stream takes 13 kB of one CPU's share).
package final class TapReader {
    private var reader = relay_tap_reader()

    /// The descriptor may be closed afterwards. Throws when it is no ring of this size.
    package init(descriptor: CInt, byteCount: Int) throws(FastPathError) {
        let code = relay_tap_reader_open(descriptor, &reader)
        guard code == 0 else {
            throw FastPathError(call: "mmap", object: "tap ring of \(byteCount) bytes", code: code)
        }
        guard relay_tap_ring_byte_count(&reader.shape) == byteCount else {
            relay_tap_reader_close(&reader)
            throw FastPathError(call: "mmap", object: "tap ring of \(byteCount) bytes", code: -EINVAL)
        }
    }

    deinit { relay_tap_reader_close(&reader) }

    /// The oldest record there is; nil when there is none yet. Records of one CPU come in their order; of two CPUs' records
    /// that are written at the same moment the later one may come first.
    package func next() -> TapRecord? {
        var captured: UInt32 = 0
        guard let record = relay_tap_reader_next(&reader, &captured) else { return nil }
        guard record.pointee.tap != 0 else { return next() }
        // The record stays in the ring until the next call of relay_tap_reader_next.
        let start = UnsafeRawPointer(record) + MemoryLayout<relay_tap_record>.size
        return TapRecord(
            tap: MediaTap(id: record.pointee.tap, direction: record.pointee.direction),
            timestamp: MonotonicTime(nanoseconds: Int64(truncatingIfNeeded: record.pointee.timestamp)),
            packet: Array(UnsafeRawBufferPointer(start: start, count: Int(captured))),
            isTruncated: captured < record.pointee.packet_byte_count)
    }
}

extension FastPath {
    /// A megabyte holds a second of 80 G.711 streams.
    package static let tapBufferByteCountDefault = 1 << 20

    /// Where the copies go: one buffer for each engine in use, the program's first. Each has its own reader. Another may
    /// come with `reconfigure`, or with a flow that another engine takes; there is none before a tap is wanted.
    package var tapBuffers: [TapBuffer] { [tapBuffer, ring?.tapBuffer].compactMap { $0 } }

    /// Makes a buffer for each engine that has none, and returns the first of them all. Memory is spent from now on
    /// until `closeTapBuffer`.
    ///
    /// `byteCount` is rounded down to an equal share of so many records for each CPU; nil when no interface is attached.
    package func openTapBuffer(
        byteCount: Int = tapBufferByteCountDefault
    ) throws(FastPathError) -> TapBuffer? {
        if tapBuffer == nil, let program, isAttached { try openTapBuffer(of: program, byteCount: byteCount) }
        try ring?.openTapBuffer(byteCount: byteCount, generation: nextGeneration())
        return tapBuffers.first
    }

    private func openTapBuffer(of program: RelayProgram, byteCount: Int) throws(FastPathError) {
        var shape = relay_tap_shape()
        let descriptor = relay_tap_ring_create(UInt32(clamping: min(byteCount, 1 << 30)), nextGeneration(), &shape)
        guard descriptor >= 0 else {
            throw FastPathError(call: "bpf_map_create", object: "tap ring of \(byteCount) bytes", code: descriptor)
        }
        do throws(FastPathError) {
            try program.setTapRing(descriptor, shape)
        } catch {
            close(descriptor)
            throw error
        }
        tapBuffer = TapBuffer(descriptor: descriptor, byteCount: Int(relay_tap_ring_byte_count(&shape)))
    }

    /// Ends all taps and gives the buffers' memory back, as soon as their readers have closed them, too.
    package func closeTapBuffer() {
        for local in Array(taps.keys) { try? setTap(nil, on: local) }
        if let counters = ring?.tapCounters { retiredTaps += counters }
        ring?.closeTapBuffer()
        guard let buffer = tapBuffer else { return }
        program?.clearTapRing()
        close(buffer.descriptor)
        tapBuffer = nil
    }

    /// From now on each packet an engine relays from this address is copied to its buffer, or no more (nil). Holds
    /// for the flow there is and for every later one at this address, until it is taken back; one tap per address.
    ///
    /// Only what an engine relays is copied: a packet that goes through a socket (the first of a flow, an unusual one, a
    /// flow the table has no room for) is whoever relays it to deliver. The relay waits for no reader: what finds the ring
    /// full is relayed, not copied, and counted in `tapCounters`.
    package func setTap(_ tap: MediaTap?, on local: TransportAddress) throws(FastPathError) {
        if tap != nil { _ = try openTapBuffer() }
        taps[local] = tap
        if let entry = served[local], entry.engines.contains(.ring) {
            _ = try ring?.apply(entry.flow, generation: nextGeneration(), tap: tap)
        }
        guard let program, let entry = program.flow(relay_flow_key(local)) else { return }
        try program.update(relay_flow_key(local), tapped(entry, local))
    }

    /// Copies made and lost since the fast path began.
    package var tapCounters: TapCounters {
        let current = (program?.tapCounters ?? []) + [ring?.tapCounters ?? relay_tap_counters()]
        return current.reduce(into: retiredTaps) { $0 += $1 }
    }

    /// The entry with the tap that is wanted for its address, if any.
    func tapped(_ entry: relay_flow, _ local: TransportAddress) -> relay_flow {
        var entry = entry
        entry.tap = taps[local]?.id ?? 0
        entry.tap_direction = taps[local]?.direction ?? 0
        return entry
    }
}

extension RelayProgram {
    /// The ring last: once it stands there, packets go into it.
    func setTapRing(_ descriptor: CInt, _ shape: relay_tap_shape) throws(FastPathError) {
        var zero: UInt32 = 0
        var (shape, value) = (shape, descriptor)
        try check(bpf_map_update_elem(tapShape, &zero, &shape, UInt64(BPF_ANY)), "tap_shape")
        try check(bpf_map_update_elem(tapRings, &zero, &value, UInt64(BPF_ANY)), "tap_rings")
    }

    func clearTapRing() {
        var zero: UInt32 = 0
        _ = bpf_map_delete_elem(tapRings, &zero)
    }
}
