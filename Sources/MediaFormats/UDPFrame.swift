import Primitives

/// Why a frame does not hold a UDP datagram we can read.
package enum UDPFrameError: Error, Equatable, Sendable {
    case truncated(needed: Int, got: Int)
    /// Neither IPv4 nor IPv6.
    case etherType(UInt16)
    case tooManyTags
    case ipVersion(UInt8)
    /// A length field contradicts another or the frame.
    case length
    case fragment
    /// The protocol behind IP is not UDP.
    case notUDP(UInt8)
    case headerChecksum
    case checksum
    /// UDP over IPv6 without one (RFC 8200 §8.1).
    case checksumMissing
    case tooManyExtensionHeaders
}

/// Six bytes of an Ethernet address.
package struct EthernetAddress: Hashable, Sendable, CustomStringConvertible {
    /// The lower 48 bits.
    package let rawValue: UInt64

    package init(_ rawValue: UInt64) { self.rawValue = rawValue & 0xFFFF_FFFF_FFFF }

    package var description: String {
        (0..<6).map { index in
            let byte = UInt8(truncatingIfNeeded: rawValue >> UInt64(40 - 8 * index))
            return (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined(separator: ":")
    }
}

/// An Ethernet frame with UDP in IPv4 or IPv6, VLAN tags included: what the fast path rewrites.
package struct UDPFrame: Hashable, Sendable {
    /// 802.1Q or 802.1ad.
    package struct Tag: Hashable, Sendable {
        /// 0x8100 or 0x88A8.
        package var etherType: UInt16
        /// Priority, drop eligibility and VLAN identifier.
        package var control: UInt16

        package init(vlan: UInt16, priority: UInt8 = 0, etherType: UInt16 = 0x8100) {
            self.etherType = etherType
            control = UInt16(priority & 7) << 13 | vlan & 0x0FFF
        }

        init(etherType: UInt16, control: UInt16) {
            self.etherType = etherType
            self.control = control
        }

        package var vlan: UInt16 { control & 0x0FFF }
    }

    static let tagCountMax = 2
    static let extensionHeaderCountMax = 8

    package var destinationMAC: EthernetAddress
    package var sourceMAC: EthernetAddress
    package var tags: [Tag]
    package var source: TransportAddress
    package var destination: TransportAddress
    /// DSCP and ECN.
    package var trafficClass: UInt8
    /// Time to live or hop limit.
    package var hopLimit: UInt8
    /// IPv4 only.
    package var identification: UInt16
    /// IPv4 only, in whole words; empty as a rule.
    package var options: [UInt8]
    package var payload: [UInt8]
    /// IPv4 allows UDP without (field 0).
    package var hasChecksum: Bool

    package init(
        destinationMAC: EthernetAddress, sourceMAC: EthernetAddress, tags: [Tag] = [], source: TransportAddress,
        destination: TransportAddress, trafficClass: UInt8 = 0, hopLimit: UInt8 = 64, identification: UInt16 = 0,
        options: [UInt8] = [], payload: [UInt8], hasChecksum: Bool = true
    ) {
        precondition(source.address.family == destination.address.family, "one family in one packet")
        precondition(options.count <= 40 && options.count % 4 == 0, "fits the header length of IPv4")
        let headers = source.address.family == .v4 ? 28 + options.count : 8
        precondition(payload.count <= 65_535 - headers, "fits one datagram")
        self.destinationMAC = destinationMAC
        self.sourceMAC = sourceMAC
        self.tags = tags
        self.source = source
        self.destination = destination
        self.trafficClass = trafficClass
        self.hopLimit = hopLimit
        self.identification = identification
        self.options = options
        self.payload = payload
        self.hasChecksum = hasChecksum
    }

    // MARK: Rendering

    /// The frame with all checksums. `partialChecksum`: only the pseudo-header is summed, as Linux hands a packet to a
    /// card that completes it (CHECKSUM_PARTIAL).
    package func bytes(partialChecksum: Bool = false) -> [UInt8] {
        var writer = ByteWriter(capacity: 14 + 4 * tags.count + 40 + 8 + payload.count)
        writer.write(mac: destinationMAC)
        writer.write(mac: sourceMAC)
        for tag in tags {
            writer.write(tag.etherType)
            writer.write(tag.control)
        }
        let udpLength = UInt16(8 + payload.count)
        switch source.address {
        case .v4:
            writer.write(UInt16(0x0800))
            var header = ByteWriter(capacity: 60)
            header.write(0x40 | UInt8(5 + options.count / 4))
            header.write(trafficClass)
            header.write(UInt16(20 + options.count) + udpLength)
            header.write(identification)
            header.write(UInt16(0x4000))  // do not fragment
            header.write(hopLimit)
            header.write(UInt8(17))
            header.write(UInt16(0))
            header.write(contentsOf: source.address.bytes)
            header.write(contentsOf: destination.address.bytes)
            header.write(contentsOf: options)
            var sum = InternetChecksum()
            sum.add(header.bytes)
            header.overwrite(at: 10, with: sum.value)
            writer.write(contentsOf: header.bytes)
        case .v6:
            writer.write(UInt16(0x86DD))
            writer.write(UInt32(6) << 28 | UInt32(trafficClass) << 20)
            writer.write(udpLength)
            writer.write(UInt8(17))
            writer.write(hopLimit)
            writer.write(contentsOf: source.address.bytes)
            writer.write(contentsOf: destination.address.bytes)
        }
        writer.write(source.port)
        writer.write(destination.port)
        writer.write(udpLength)
        writer.write(checksumField(partialChecksum: partialChecksum))
        writer.write(contentsOf: payload)
        return writer.bytes
    }

    private func checksumField(partialChecksum: Bool) -> UInt16 {
        if partialChecksum { return ~Self.pseudoHeader(source.address, destination.address, 8 + payload.count).value }
        guard hasChecksum else { return 0 }
        var sum = Self.pseudoHeader(source.address, destination.address, 8 + payload.count)
        sum.add(source.port)
        sum.add(destination.port)
        sum.add(UInt16(8 + payload.count))
        sum.add(payload)
        return sum.value == 0 ? 0xFFFF : sum.value  // 0 would say "none" (RFC 768)
    }

    static func pseudoHeader(_ source: IPAddress, _ destination: IPAddress, _ udpLength: Int) -> InternetChecksum {
        var sum = InternetChecksum()
        sum.add(source.bytes)
        sum.add(destination.bytes)
        sum.add(17)
        sum.add(UInt16(truncatingIfNeeded: udpLength))
        return sum
    }

    // MARK: Parsing

    /// Checks every length and checksum. `isChecksumPartial`: the card would have completed the UDP checksum.
    package init(parsing frame: Span<UInt8>, isChecksumPartial: Bool = false) throws(UDPFrameError) {
        try Self.require(14, of: frame)
        let destinationMAC = EthernetAddress(UInt64(frame.word16(at: 0)) << 32 | UInt64(frame.word32(at: 2)))
        let sourceMAC = EthernetAddress(UInt64(frame.word16(at: 6)) << 32 | UInt64(frame.word32(at: 8)))
        var tags: [Tag] = []
        var offset = 12
        while frame.word16(at: offset) == 0x8100 || frame.word16(at: offset) == 0x88A8 {
            guard tags.count < Self.tagCountMax else { throw .tooManyTags }
            try Self.require(offset + 6, of: frame)
            tags.append(Tag(etherType: frame.word16(at: offset), control: frame.word16(at: offset + 2)))
            offset += 4
        }
        let network: NetworkHeader
        switch frame.word16(at: offset) {
        case 0x0800: network = try NetworkHeader(v4: frame, at: offset + 2)
        case 0x86DD: network = try NetworkHeader(v6: frame, at: offset + 2)
        case let etherType: throw .etherType(etherType)
        }
        let udp = network.payload.lowerBound
        guard network.payload.count >= 8 else { throw .length }
        let length = Int(frame.word16(at: udp + 4))
        guard length >= 8, length <= network.payload.count else { throw .length }
        let checksum = frame.word16(at: udp + 6)
        var sum = Self.pseudoHeader(network.source, network.destination, length)
        if isChecksumPartial {
            guard checksum == ~sum.value else { throw .checksum }
        } else if checksum != 0 {
            sum.add(frame, udp..<udp + length)
            guard sum.value == 0 else { throw .checksum }
        } else if network.source.family == .v6 {
            throw .checksumMissing
        }
        self.init(
            destinationMAC: destinationMAC, sourceMAC: sourceMAC, tags: tags,
            source: TransportAddress(network.source, frame.word16(at: udp)),
            destination: TransportAddress(network.destination, frame.word16(at: udp + 2)),
            trafficClass: network.trafficClass, hopLimit: network.hopLimit, identification: network.identification,
            options: network.options, payload: frame.array(udp + 8..<udp + length), hasChecksum: checksum != 0)
    }

    fileprivate static func require(_ needed: Int, of frame: Span<UInt8>) throws(UDPFrameError) {
        guard frame.count >= needed else { throw .truncated(needed: needed, got: frame.count) }
    }
}

/// What the two IP headers have in common.
private struct NetworkHeader {
    let source: IPAddress
    let destination: IPAddress
    let trafficClass: UInt8
    let hopLimit: UInt8
    var identification: UInt16 = 0
    var options: [UInt8] = []
    /// Where UDP lies; padding behind the packet (short frames) excluded.
    let payload: Range<Int>

    init(v4 frame: Span<UInt8>, at start: Int) throws(UDPFrameError) {
        try UDPFrame.require(start + 20, of: frame)
        guard frame[start] >> 4 == 4 else { throw .ipVersion(frame[start] >> 4) }
        let headerLength = 4 * Int(frame[start] & 0x0F)
        guard headerLength >= 20 else { throw .length }
        try UDPFrame.require(start + headerLength, of: frame)
        let total = Int(frame.word16(at: start + 2))
        guard total >= headerLength, start + total <= frame.count else { throw .length }
        var sum = InternetChecksum()
        sum.add(frame, start..<start + headerLength)
        guard sum.value == 0 else { throw .headerChecksum }
        // More fragments, or not the first (RFC 791); "do not fragment" is fine.
        guard frame.word16(at: start + 6) & 0x3FFF == 0 else { throw .fragment }
        guard frame[start + 9] == 17 else { throw .notUDP(frame[start + 9]) }
        source = .v4(frame.word32(at: start + 12))
        destination = .v4(frame.word32(at: start + 16))
        trafficClass = frame[start + 1]
        hopLimit = frame[start + 8]
        identification = frame.word16(at: start + 4)
        options = frame.array(start + 20..<start + headerLength)
        payload = start + headerLength..<start + total
    }

    init(v6 frame: Span<UInt8>, at start: Int) throws(UDPFrameError) {
        try UDPFrame.require(start + 40, of: frame)
        guard frame[start] >> 4 == 6 else { throw .ipVersion(frame[start] >> 4) }
        let end = start + 40 + Int(frame.word16(at: start + 4))
        guard end <= frame.count else { throw .length }
        func address(_ offset: Int) -> IPAddress {
            .v6(
                UInt64(frame.word32(at: offset)) << 32 | UInt64(frame.word32(at: offset + 4)),
                UInt64(frame.word32(at: offset + 8)) << 32 | UInt64(frame.word32(at: offset + 12)))
        }
        source = address(start + 8)
        destination = address(start + 24)
        trafficClass = UInt8(truncatingIfNeeded: frame.word16(at: start) >> 4)
        hopLimit = frame[start + 7]
        var next = frame[start + 6]
        var offset = start + 40
        var count = 0
        // Hop-by-hop, routing and destination options are skipped (RFC 8200 §4); all have the same first two bytes.
        while next == 0 || next == 43 || next == 60 {
            count += 1
            guard count <= UDPFrame.extensionHeaderCountMax else { throw .tooManyExtensionHeaders }
            guard offset + 8 <= end else { throw .length }
            let length = 8 + 8 * Int(frame[offset + 1])
            guard offset + length <= end else { throw .length }
            next = frame[offset]
            offset += length
        }
        guard next != 44 else { throw .fragment }
        guard next == 17 else { throw .notUDP(next) }
        payload = offset..<end
    }
}

extension ByteWriter {
    fileprivate mutating func write(mac: EthernetAddress) {
        write(UInt16(truncatingIfNeeded: mac.rawValue >> 32))
        write(UInt32(truncatingIfNeeded: mac.rawValue))
    }
}
