/// Why bytes from the wire could not be read.
package enum WireError: Error, Equatable, Sendable {
    /// Fewer bytes remained than the field at this offset needs.
    case truncated(at: Int)
}

/// A cursor over borrowed bytes, big-endian; it checks and never traps.
package struct ByteReader: ~Escapable {
    private let bytes: Span<UInt8>
    package private(set) var offset = 0

    @_lifetime(copy bytes)
    package init(_ bytes: Span<UInt8>) { self.bytes = bytes }

    package var remaining: Int { bytes.count - offset }

    @_lifetime(self: copy self)
    package mutating func readUInt8() throws(WireError) -> UInt8 {
        guard remaining >= 1 else { throw .truncated(at: offset) }
        defer { offset += 1 }
        return bytes[offset]
    }

    @_lifetime(self: copy self)
    package mutating func readUInt16() throws(WireError) -> UInt16 {
        guard remaining >= 2 else { throw .truncated(at: offset) }
        defer { offset += 2 }
        return UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1])
    }

    @_lifetime(self: copy self)
    package mutating func readUInt32() throws(WireError) -> UInt32 {
        guard remaining >= 4 else { throw .truncated(at: offset) }
        let high = try readUInt16()
        let low = try readUInt16()
        return UInt32(high) << 16 | UInt32(low)
    }

    @_lifetime(self: copy self)
    package mutating func readUInt64() throws(WireError) -> UInt64 {
        guard remaining >= 8 else { throw .truncated(at: offset) }
        let high = try readUInt32()
        let low = try readUInt32()
        return UInt64(high) << 32 | UInt64(low)
    }

    /// Where the next `count` bytes lie; the cursor moves behind them.
    @_lifetime(self: copy self)
    package mutating func readRange(count: Int) throws(WireError) -> Range<Int> {
        guard count >= 0, remaining >= count else { throw .truncated(at: offset) }
        defer { offset += count }
        return offset..<(offset + count)
    }
}
