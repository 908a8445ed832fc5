import CFastPath
import Glibc
import Primitives
import Testing

@testable import FastPath

/// The ring that user space writes, where no program copies.
@Suite("Tap ring in memory")
struct TapWriterTests {
    /// Writer and reader of a ring of sixteen blocks.
    final class Ring {
        var writer = relay_tap_writer()
        let descriptor: CInt
        let reader: TapReader

        init() throws {
            descriptor = relay_tap_writer_open(4096, 1, &writer)
            try #require(descriptor >= 0)
            reader = try TapReader(descriptor: descriptor, byteCount: 4096)
        }

        deinit {
            relay_tap_writer_close(&writer)
            close(descriptor)
        }

        func write(_ packet: [UInt8]) { relay_tap_write(&writer, 7, 2, 1_000, packet, UInt32(packet.count)) }
    }

    @Test("hands over what was written, round the ring and round again")
    func wraps() throws {
        let ring = try Ring()
        for index in 0..<300 {
            let packet = (0..<20 + index * 7 % 1500).map { UInt8(truncatingIfNeeded: $0 + index) }
            ring.write(packet)
            let record = try #require(ring.reader.next())
            #expect(record.packet == packet)
            #expect(record.tap == MediaTap(id: 7, direction: 2))
            #expect(record.timestamp == MonotonicTime(nanoseconds: 1_000))
            #expect(!record.isTruncated)
            #expect(ring.reader.next() == nil)
        }
        #expect(ring.writer.counters.copied == 300)
        #expect(ring.writer.counters.lost == 0)
    }

    @Test("cuts what is longer than a record, and loses what finds no room")
    func limits() throws {
        let ring = try Ring()
        ring.write([UInt8](repeating: 1, count: 2100))
        let record = try #require(ring.reader.next())
        #expect(record.packet.count == Int(RELAY_TAP_PACKET_BYTE_COUNT_MAX))
        #expect(record.isTruncated)
        #expect(ring.reader.next() == nil)
        for _ in 0..<5 { ring.write([UInt8](repeating: 2, count: 900)) }  // four blocks each
        #expect(ring.writer.counters.copied == 1 + 4)
        #expect(ring.writer.counters.lost == 1)
        for _ in 0..<4 { #expect(ring.reader.next()?.packet == [UInt8](repeating: 2, count: 900)) }
        #expect(ring.reader.next() == nil)
    }

    @Test("does not believe a reader that lies about where it is")
    func lies() throws {
        let ring = try Ring()
        for position in [1, 1 << 40, UInt64.max - 5_000] {
            UnsafeMutableRawPointer(ring.writer.heads + 1).storeBytes(of: position, as: UInt64.self)
            ring.write([1, 2, 3])
        }
        #expect(ring.writer.counters.copied == 0)
        #expect(ring.writer.counters.lost == 3)
    }

    @Test("keeps its size whatever the reader does")
    func sealed() throws {
        let ring = try Ring()
        #expect(ftruncate(ring.descriptor, 0) == -1)
        #expect(ftruncate(ring.descriptor, 1 << 20) == -1)
    }
}
