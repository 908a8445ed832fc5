/// Addresses of one family from the first to the last, as `192.0.2.1-192.0.2.254`, or what a prefix covers.
package struct IPRange: Hashable, Sendable, CustomStringConvertible {
    package let first: IPAddress
    package let last: IPAddress

    /// nil when the families differ, or `last` comes before `first`.
    package init?(first: IPAddress, last: IPAddress) {
        guard first.family == last.family, !Self.isBefore(last, first) else { return nil }
        self.first = first
        self.last = last
    }

    package init(_ prefix: IPPrefix) {
        first = prefix.address
        last = prefix.lastAddress
    }

    /// `first-last`, `address/length`, or a bare address. nil when it is none of them.
    package init?(_ text: some StringProtocol) {
        if let prefix = IPPrefix(text) {
            self.init(prefix)
            return
        }
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let first = IPAddress(Self.trimmed(parts[0])),
            let last = IPAddress(Self.trimmed(parts[1]))
        else { return nil }
        self.init(first: first, last: last)
    }

    package func contains(_ address: IPAddress) -> Bool {
        address.family == first.family && !Self.isBefore(address, first) && !Self.isBefore(last, address)
    }

    /// Whether fewer addresses are in it than in `other`: the narrower one says more of where somebody is.
    package func isNarrower(than other: IPRange) -> Bool {
        let (left, right) = (span, other.span)
        return left.high != right.high ? left.high < right.high : left.low < right.low
    }

    /// The prefix that covers the same addresses, where there is one, else both ends.
    package var description: String {
        for length in 0...first.bitCount {
            guard let prefix = IPPrefix(address: first, bitLength: length), prefix.address == first,
                prefix.lastAddress == last
            else { continue }
            return prefix.description
        }
        return "\(first)-\(last)"
    }

    /// How far it is from the first to the last.
    private var span: (high: UInt64, low: UInt64) {
        let (start, end) = (Self.words(first), Self.words(last))
        let (low, borrow) = end.low.subtractingReportingOverflow(start.low)
        return (end.high &- start.high &- (borrow ? 1 : 0), low)
    }

    private static func isBefore(_ left: IPAddress, _ right: IPAddress) -> Bool {
        let (left, right) = (words(left), words(right))
        return left.high != right.high ? left.high < right.high : left.low < right.low
    }

    private static func words(_ address: IPAddress) -> (high: UInt64, low: UInt64) {
        switch address {
        case .v4(let word): (0, UInt64(word))
        case .v6(let high, let low): (high, low)
        }
    }

    private static func trimmed<Text: StringProtocol>(_ text: Text) -> Text.SubSequence {
        var slice = text[...]
        while slice.first == " " { slice.removeFirst() }
        while slice.last == " " { slice.removeLast() }
        return slice
    }
}

extension IPPrefix {
    /// All bits beyond the length set.
    package var lastAddress: IPAddress {
        switch address {
        case .v4(let word): .v4(bitLength == 32 ? word : word | (.max >> UInt32(bitLength)))
        case .v6(let high, let low):
            .v6(
                bitLength >= 64 ? high : high | (.max >> UInt64(bitLength)),
                bitLength == 128 ? low : low | (bitLength <= 64 ? .max : .max >> UInt64(bitLength - 64)))
        }
    }
}
