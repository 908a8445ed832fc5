/// Appends wire bytes, big-endian, and text to one buffer.
package struct ByteWriter: Sendable {
    package private(set) var bytes: [UInt8]

    package init(capacity: Int = 0) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    package var count: Int { bytes.count }

    package mutating func write(_ value: UInt8) { bytes.append(value) }

    package mutating func write(_ value: UInt16) {
        bytes.append(UInt8(truncatingIfNeeded: value >> 8))
        bytes.append(UInt8(truncatingIfNeeded: value))
    }

    package mutating func write(_ value: UInt32) {
        write(UInt16(truncatingIfNeeded: value >> 16))
        write(UInt16(truncatingIfNeeded: value))
    }

    package mutating func write(_ value: UInt64) {
        write(UInt32(truncatingIfNeeded: value >> 32))
        write(UInt32(truncatingIfNeeded: value))
    }

    package mutating func write(_ text: String) { bytes.append(contentsOf: text.utf8) }

    package mutating func write(contentsOf more: [UInt8]) { bytes.append(contentsOf: more) }

    package mutating func write(contentsOf more: ArraySlice<UInt8>) { bytes.append(contentsOf: more) }

    package mutating func write(contentsOf more: Span<UInt8>) {
        bytes.reserveCapacity(bytes.count + more.count)
        for index in more.indices { bytes.append(more[index]) }
    }

    /// The decimal digits of `value`.
    package mutating func writeDecimal(_ value: Int) { bytes.append(contentsOf: String(value).utf8) }

    /// Overwrites two bytes already written, for lengths and checksums known only at the end.
    package mutating func overwrite(at offset: Int, with value: UInt16) {
        precondition(offset >= 0 && offset + 2 <= bytes.count, "overwrites only what was written")
        bytes[offset] = UInt8(truncatingIfNeeded: value >> 8)
        bytes[offset + 1] = UInt8(truncatingIfNeeded: value)
    }
}
