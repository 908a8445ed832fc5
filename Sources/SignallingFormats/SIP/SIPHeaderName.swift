/// A header field's name: compared without case, the compact form equal to the long one (RFC 3261 §7.3.3).
package struct SIPHeaderName: Hashable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
    private enum Storage: Sendable {
        case known(WellKnownHeader)
        case other(String)
    }

    private let storage: Storage

    init(_ known: WellKnownHeader) { storage = .known(known) }

    /// Any name; bytes that cannot stand in a name become `-`.
    package init(_ text: String) {
        let bytes = Array(text.utf8)
        if let known = WellKnownHeader.find(bytes.span, 0..<bytes.count) {
            storage = .known(known)
        } else if !bytes.isEmpty, bytes.allSatisfy(ByteClass.isToken) {
            storage = .other(text)
        } else {
            let repaired = bytes.map { ByteClass.isToken($0) ? $0 : UInt8(ascii: "-") }
            storage = .other(repaired.isEmpty ? "-" : String(decoding: repaired, as: UTF8.self))
        }
    }

    package init(stringLiteral text: String) { self.init(text) }

    /// The canonical spelling of a well-known name, any other as received.
    package var text: String {
        switch storage {
        case .known(let known): known.entry.name
        case .other(let text): text
        }
    }

    package var description: String { text }

    var known: WellKnownHeader? {
        switch storage {
        case .known(let known): known
        case .other: nil
        }
    }

    /// Whether the value is a comma-separated list; an unknown field's value is not taken apart.
    package var isList: Bool { known?.isList ?? false }

    package static func == (left: Self, right: Self) -> Bool {
        switch (left.storage, right.storage) {
        case (.known(let left), .known(let right)): left == right
        case (.other(let left), .other(let right)):
            left.utf8.count == right.utf8.count
                && zip(left.utf8, right.utf8).allSatisfy { ByteClass.lowercased($0) == ByteClass.lowercased($1) }
        case (.known, .other), (.other, .known): false
        }
    }

    package func hash(into hasher: inout Hasher) {
        switch storage {
        case .known(let known): hasher.combine(known.rawValue)
        case .other(let text): for byte in text.utf8 { hasher.combine(ByteClass.lowercased(byte)) }
        }
    }
}

extension WellKnownHeader {
    /// The header whose long or compact name is in `range`; nil when it is none we know.
    static func find(_ bytes: Span<UInt8>, _ range: Range<Int>) -> WellKnownHeader? {
        NameIndex.shared.find(bytes, range)
    }

    /// A hash table from case-folded names to headers, in two flat arrays.
    private struct NameIndex: Sendable {
        static let shared = NameIndex()
        private static let slotCount = 512

        /// The lower-case names, one behind the other.
        private var names: [UInt8] = []
        private var slots: [Slot]
        private var compact: [UInt8]

        private struct Slot: Sendable {
            var header: UInt8 = .max
            var count: UInt8 = 0
            var start: UInt16 = 0
        }

        private init() {
            slots = Array(repeating: Slot(), count: Self.slotCount)
            compact = Array(repeating: .max, count: 32)
            for entry in WellKnownHeader.table {
                let name = entry.name.utf8.map(ByteClass.lowercased)
                var index = Self.hash(name.span, 0..<name.count)
                while slots[index].header != .max { index = (index + 1) % Self.slotCount }
                slots[index] = Slot(
                    header: entry.header.rawValue, count: UInt8(name.count), start: UInt16(names.count))
                names += name
                if let letter = entry.compact { compact[Int(letter & 0x1F)] = entry.header.rawValue }
            }
        }

        /// Length, the first three bytes and the last three tell nearly all names apart.
        @inline(__always)
        private static func hash(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int {
            let last = range.upperBound - 1
            let middle = range.lowerBound + range.count / 2
            var hash = UInt32(truncatingIfNeeded: range.count)
            hash = hash &* 31 &+ UInt32(bytes[range.lowerBound] | 0x20)
            hash = hash &* 31 &+ UInt32(bytes[range.lowerBound + 1] | 0x20)
            hash = hash &* 31 &+ UInt32(bytes[middle] | 0x20)
            hash = hash &* 31 &+ UInt32(bytes[last - 1] | 0x20)
            hash = hash &* 31 &+ UInt32(bytes[last] | 0x20)
            return Int((hash ^ hash >> 9) % UInt32(slotCount))
        }

        func find(_ bytes: Span<UInt8>, _ range: Range<Int>) -> WellKnownHeader? {
            if range.count == 1 {
                let letter = bytes[range.lowerBound]
                guard ByteClass.isAlpha(letter) else { return nil }
                return WellKnownHeader(rawValue: compact[Int(letter & 0x1F)])
            }
            guard range.count > 1 else { return nil }
            var index = Self.hash(bytes, range)
            while slots[index].header != .max {
                let slot = slots[index]
                if Int(slot.count) == range.count {
                    var offset = 0
                    let start = Int(slot.start)
                    while offset < range.count,
                        ByteClass.lowercased(bytes[range.lowerBound + offset]) == names[start + offset]
                    { offset += 1 }
                    if offset == range.count { return WellKnownHeader(rawValue: slot.header) }
                }
                index = (index + 1) % Self.slotCount
            }
            return nil
        }
    }
}
