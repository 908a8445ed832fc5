/// An IPv4 or IPv6 address, as a value; no scope identifier.
package enum IPAddress: Hashable, Sendable {
    /// Host order: 192.0.2.1 is 0xC000_0201.
    case v4(UInt32)
    /// The sixteen bytes in network order, as two host-order halves.
    case v6(UInt64, UInt64)

    package enum Family: String, Hashable, Sendable, CaseIterable { case v4, v6 }

    package var family: Family {
        switch self {
        case .v4: .v4
        case .v6: .v6
        }
    }

    /// Width of an address of this family: 32 or 128.
    package var bitCount: Int { family == .v4 ? 32 : 128 }

    /// Network order: four or sixteen bytes.
    package var bytes: [UInt8] {
        switch self {
        case .v4(let word): (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(24 - 8 * $0)) }
        case .v6(let high, let low):
            (0..<16).map { index in
                UInt8(truncatingIfNeeded: (index < 8 ? high : low) >> UInt64(56 - 8 * (index % 8)))
            }
        }
    }

    /// nil unless there are four or sixteen bytes.
    package init?(bytes: some Collection<UInt8>) {
        switch bytes.count {
        case 4:
            self = .v4(bytes.reduce(0) { $0 << 8 | UInt32($1) })
        case 16:
            let high = bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let low = bytes.suffix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            self = .v6(high, low)
        default: return nil
        }
    }

    /// 0.0.0.0 or ::
    package var isUnspecified: Bool {
        switch self {
        case .v4(let word): word == 0
        case .v6(let high, let low): high == 0 && low == 0
        }
    }

    package var isMulticast: Bool {
        switch self {
        case .v4(let word): word >> 28 == 0xE
        case .v6(let high, _): high >> 56 == 0xFF
        }
    }

    package var isLoopback: Bool {
        switch self {
        case .v4(let word): word >> 24 == 127
        case .v6(let high, let low): high == 0 && low == 1
        }
    }

    /// The bare text forms of RFC 3986 and RFC 5952: `192.0.2.1`, `2001:db8::1`, also `[2001:db8::1]`.
    /// nil for anything else: no leading zeros in IPv4 octets, no scope identifiers.
    package init?(_ text: some StringProtocol) {
        let utf8 = Array(text.utf8)
        guard utf8.count <= 47 else { return nil }
        if utf8.first == UInt8(ascii: "["), utf8.last == UInt8(ascii: "]") {
            guard let address = Self.parseV6(Array(utf8.dropFirst().dropLast())) else { return nil }
            self = address
        } else if utf8.contains(UInt8(ascii: ":")) {
            guard let address = Self.parseV6(utf8) else { return nil }
            self = address
        } else {
            guard let word = Self.parseV4(utf8[...]) else { return nil }
            self = .v4(word)
        }
    }

    private static func parseV4(_ text: ArraySlice<UInt8>) -> UInt32? {
        var word: UInt32 = 0
        let octets = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard octets.count == 4 else { return nil }
        for octet in octets {
            guard (1...3).contains(octet.count), octet.count == 1 || octet.first != UInt8(ascii: "0") else {
                return nil
            }
            var value: UInt32 = 0
            for digit in octet {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
                value = value * 10 + UInt32(digit - UInt8(ascii: "0"))
            }
            guard value <= 255 else { return nil }
            word = word << 8 | value
        }
        return word
    }

    private static func parseV6(_ text: [UInt8]) -> IPAddress? {
        var head: [UInt16] = []
        var tail: [UInt16] = []
        var compressed = false
        var index = 0
        if text.starts(with: [UInt8(ascii: ":"), UInt8(ascii: ":")]) {
            compressed = true
            index = 2
        } else if text.first == UInt8(ascii: ":") {
            return nil
        }
        while index < text.count {
            let end = text[index...].firstIndex(of: UInt8(ascii: ":")) ?? text.count
            let group = text[index..<end]
            var words: [UInt16] = []
            if group.contains(UInt8(ascii: ".")) {
                guard end == text.count, let word = parseV4(group) else { return nil }
                words = [UInt16(truncatingIfNeeded: word >> 16), UInt16(truncatingIfNeeded: word)]
            } else {
                guard (1...4).contains(group.count) else { return nil }
                var value: UInt16 = 0
                for character in group {
                    guard let digit = Character(UnicodeScalar(character)).hexDigitValue else { return nil }
                    value = value << 4 | UInt16(digit)
                }
                words = [value]
            }
            if compressed { tail += words } else { head += words }
            guard head.count + tail.count <= 8 else { return nil }
            index = end
            guard index < text.count else { break }
            index += 1
            if index < text.count, text[index] == UInt8(ascii: ":") {
                guard !compressed else { return nil }
                compressed = true
                index += 1
            } else if index == text.count {
                return nil  // a single trailing colon
            }
        }
        let missing = 8 - head.count - tail.count
        guard compressed ? missing >= 1 : missing == 0 else { return nil }
        let words = head + [UInt16](repeating: 0, count: missing) + tail
        let high = words[0..<4].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
        let low = words[4..<8].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
        return .v6(high, low)
    }
}

extension IPAddress: CustomStringConvertible {
    /// `192.0.2.1`, or the canonical IPv6 form of RFC 5952 without brackets.
    package var description: String {
        switch self {
        case .v4(let word):
            var text: [UInt8] = []
            text.reserveCapacity(15)
            for shift: UInt32 in [24, 16, 8, 0] {
                let octet = UInt8(truncatingIfNeeded: word >> shift)
                if octet >= 100 { text.append(UInt8(ascii: "0") + octet / 100) }
                if octet >= 10 { text.append(UInt8(ascii: "0") + octet / 10 % 10) }
                text.append(UInt8(ascii: "0") + octet % 10)
                if shift > 0 { text.append(UInt8(ascii: ".")) }
            }
            return String(decoding: text, as: UTF8.self)
        case .v6(0, let low) where low >> 32 == 0xFFFF:
            return "::ffff:\(IPAddress.v4(UInt32(truncatingIfNeeded: low)))"  // RFC 5952 §5
        case .v6(let high, let low):
            let words = (0..<8).map { index in
                UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> UInt64(48 - 16 * (index % 4)))
            }
            var best = 0..<0
            var start = 0
            while start < 8 {
                var end = start
                while end < 8, words[end] == 0 { end += 1 }
                if end - start > best.count, end - start >= 2 { best = start..<end }
                start = end + 1
            }
            let text = { (range: Range<Int>) in words[range].map { String($0, radix: 16) }.joined(separator: ":") }
            return best.isEmpty ? text(0..<8) : text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
        }
    }

    /// As a host in a URI or Via: IPv6 in brackets (RFC 3261 §25.1, RFC 5118).
    package var uriHost: String { family == .v6 ? "[\(description)]" : description }
}

/// An address prefix, as `192.0.2.0/24` or `2001:db8::/32`; bits beyond the length are zero.
package struct IPPrefix: Hashable, Sendable, CustomStringConvertible {
    package let address: IPAddress
    /// 0...32 or 0...128.
    package let bitLength: Int

    /// Clears the bits beyond `bitLength`; nil when the length does not fit the family.
    package init?(address: IPAddress, bitLength: Int) {
        guard (0...address.bitCount).contains(bitLength) else { return nil }
        self.address = Self.masked(address, bitLength)
        self.bitLength = bitLength
    }

    /// `address/length`, or a bare address for a prefix of full length. nil when it is neither.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else { return nil }
        switch parts.count {
        case 1: self.init(address: address, bitLength: address.bitCount)
        case 2:
            // The number must be written as we would: no sign, no leading zero.
            guard let length = Int(parts[1]), String(length) == parts[1] else { return nil }
            self.init(address: address, bitLength: length)
        default: return nil
        }
    }

    package func contains(_ other: IPAddress) -> Bool {
        other.family == address.family && Self.masked(other, bitLength) == address
    }

    package var description: String { "\(address)/\(bitLength)" }

    private static func masked(_ address: IPAddress, _ length: Int) -> IPAddress {
        switch address {
        case .v4(let word): .v4(length == 0 ? 0 : word & (~0 << UInt32(32 - length)))
        case .v6(let high, let low):
            .v6(
                length == 0 ? 0 : (length >= 64 ? high : high & (~0 << UInt64(64 - length))),
                length <= 64 ? 0 : (length == 128 ? low : low & (~0 << UInt64(128 - length))))
        }
    }
}
