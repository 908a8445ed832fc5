import CFastPath
import Glibc
import Primitives

/// SIP datagrams read where the kernel put their frames: an AF_PACKET ring on one interface for one endpoint.
///
/// It takes exactly what its `SignallingFilter` leaves out of the kernel's socket, which stays bound, gets everything
/// else, and keeps the stack from answering with ICMP. What is short of a proof of being whole ends here, as it would
/// in the stack: a wrong checksum, lengths that disagree, a source no packet can come from. It sees frames before
/// firewall, NAT and TC do. One thread owns it.
package final class SignallingRing {
    /// Why the ring can no longer be the taker of its datagrams: the kernel's socket would never see them.
    package enum Refusal: String, Sendable {
        case fragmented = "datagrams arrive in fragments although they would fit one packet"
        case joined = "the interface joins datagrams"
    }

    package enum Outcome: Equatable, Sendable {
        /// Nothing waits any more.
        case empty
        /// The limit was reached; more waits.
        case more
        case refused(Refusal)
    }

    /// What a frame turned out to be. Ranges are of the frame.
    package enum Reading: Equatable {
        case datagram(payload: Range<Int>, source: TransportAddress)
        case refused(Refusal)
        /// Longer than the ring's: the socket has it.
        case others
        case damaged
    }

    package struct Counters: Equatable, Sendable {
        package var datagrams: UInt64 = 0
        /// Ended here: checksum, lengths, source.
        package var damaged: UInt64 = 0
        /// Lost for want of a slot.
        package var lost: UInt64 = 0

        package init() {}
    }

    private static let slotCount: UInt32 = 1024

    package let filter: SignallingFilter
    private var ring = packet_ring()
    private var current = Counters()

    /// On the interface named, in the calling thread's network namespace. Needs CAP_NET_RAW.
    package init(interface: String, endpoint: TransportAddress, mtu: Int) throws(FastPathError) {
        guard (1280...65_535).contains(mtu) else {
            throw FastPathError(call: "packet ring", object: "\(interface): MTU \(mtu)", code: EINVAL)
        }
        guard !endpoint.address.isUnspecified else {
            throw FastPathError(call: "packet ring", object: "\(endpoint): needs one address", code: EINVAL)
        }
        let index = if_nametoindex(interface)
        guard index != 0 else { throw FastPathError(call: "if_nametoindex", object: interface, code: errno) }
        filter = SignallingFilter(endpoint: endpoint, interfaceIndex: index, mtu: mtu)
        let program = filter.ring.instructions.map {
            sock_filter(code: $0.code, jt: $0.jumpTrue, jf: $0.jumpFalse, k: $0.operand)
        }
        var options = packet_ring_options()
        options.interface_index = index
        options.slot_byte_count = Self.slotByteCount(mtu: mtu)
        options.slot_count = Self.slotCount
        options.has_virtio_header = true
        var call: UnsafePointer<CChar>?
        let result = program.withUnsafeBufferPointer { buffer in  // the call copies it into the kernel
            options.filter = buffer.baseAddress
            options.filter_count = UInt16(buffer.count)
            return packet_ring_open(&options, &ring, &call)
        }
        guard result == 0 else {
            let name = call.map { String(cString: $0) } ?? "packet ring"
            throw FastPathError(call: name, object: interface, code: result)
        }
    }

    deinit { packet_ring_close(&ring) }

    private static func slotByteCount(mtu: Int) -> UInt32 {
        var count: UInt32 = 2048
        while count < UInt32(PACKET_RING_OVERHEAD) + 14 + UInt32(mtu) { count *= 2 }
        return count
    }

    /// Readable while frames wait; the ring's own.
    package var descriptor: CInt { ring.descriptor }

    package var counters: Counters {
        if packet_ring_statistics(&ring) == 0 { current.lost = ring.drops }
        return current
    }

    /// Hands on up to `limit` datagrams, each where it lies in its slot; they end with the call of `body`, which may not
    /// let go of the ring. After a refusal the rest still can be read, by calling again.
    package func receive(limit: Int, _ body: (Span<UInt8>, TransportAddress) -> Void) -> Outcome {
        var frame = packet_ring_frame()
        for _ in 0..<limit {
            guard packet_ring_next(&ring, &frame) else { return .empty }
            defer { packet_ring_release(&ring, frame.slot) }
            // The slot is ours until its release above.
            let bytes = UnsafeRawBufferPointer(start: frame.bytes, count: Int(frame.byte_count))
            switch Self.read(bytes, status: frame.status, filter) {
            case .datagram(let payload, let source):
                current.datagrams += 1
                let start = UnsafePointer(frame.bytes + payload.lowerBound)
                body(UnsafeBufferPointer(start: start, count: payload.count).span, source)
            case .refused(let refusal): return .refused(refusal)
            case .others: break
            case .damaged: current.damaged += 1
            }
        }
        return .more
    }

    /// Takes the error of a link that went down, which would wake the loop for ever. The ring outlives it.
    package func acknowledgeError() { _ = packet_ring_take_error(&ring) }

    // MARK: Reading a frame

    /// The device checked the transport checksum, or it is the unfinished one of a sender on this machine, whose memory
    /// the frame is.
    package static let checksumIsSettled =
        PACKET_RING_CHECKSUM_VALID.rawValue | PACKET_RING_CHECKSUM_UNFINISHED.rawValue

    /// `status`: bits of `packet_ring_status`.
    package static func read(_ frame: UnsafeRawBufferPointer, status: UInt32, _ filter: SignallingFilter) -> Reading {
        guard frame.count >= 14 else { return .damaged }
        let packet = UnsafeRawBufferPointer(rebasing: frame[14...])
        let isProven = status & checksumIsSettled != 0
        let isJoined = status & PACKET_RING_JOINED.rawValue != 0
        let reading =
            filter.endpoint.address.family == .v4
            ? readV4(packet, isProven, isJoined, filter) : readV6(packet, isProven, isJoined, filter)
        guard case .datagram(let payload, let source) = reading else { return reading }
        return .datagram(payload: payload.lowerBound + 14..<payload.upperBound + 14, source: source)
    }

    private static func readV4(
        _ packet: UnsafeRawBufferPointer, _ isProven: Bool, _ isJoined: Bool, _ filter: SignallingFilter
    ) -> Reading {
        guard packet.count >= 28, packet[0] == 0x45, packet[9] == 17 else { return .damaged }
        if word16(packet, 6) & 0x3FFF != 0 { return .refused(.fragmented) }
        if isJoined { return .refused(.joined) }
        let udpByteCount = word16(packet, 24)
        if udpByteCount > filter.udpByteCountMax { return .others }
        let end = word16(packet, 2)
        guard udpByteCount >= 8, end <= packet.count, 20 + udpByteCount <= end, sum(packet, 0..<20, 0) == 0xFFFF else {
            return .damaged
        }
        let source = UInt32(bigEndian: packet.loadUnaligned(fromByteOffset: 12, as: UInt32.self))
        guard isSource(.v4(source), filter) else { return .damaged }
        if !isProven, word16(packet, 26) != 0 {
            // The pseudo-header: addresses, protocol, length.
            let initial = sum(packet, 12..<20, UInt64(UInt16(17).bigEndian) + UInt64(UInt16(udpByteCount).bigEndian))
            guard sum(packet, 20..<20 + udpByteCount, UInt64(initial)) == 0xFFFF else { return .damaged }
        }
        return .datagram(
            payload: 28..<20 + udpByteCount, source: TransportAddress(.v4(source), UInt16(word16(packet, 20))))
    }

    private static func readV6(
        _ packet: UnsafeRawBufferPointer, _ isProven: Bool, _ isJoined: Bool, _ filter: SignallingFilter
    ) -> Reading {
        guard packet.count >= 48, packet[0] >> 4 == 6 else { return .damaged }
        if packet[6] == 44 { return .refused(.fragmented) }
        if isJoined { return .refused(.joined) }
        let udpByteCount = word16(packet, 44)
        if udpByteCount > filter.udpByteCountMax { return .others }
        let end = 40 + word16(packet, 4)
        guard packet[6] == 17, udpByteCount >= 8, end <= packet.count, 40 + udpByteCount <= end else { return .damaged }
        let high = UInt64(bigEndian: packet.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        let low = UInt64(bigEndian: packet.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        guard isSource(.v6(high, low), filter) else { return .damaged }
        if !isProven {
            guard word16(packet, 46) != 0 else { return .damaged }  // RFC 8200 §8.1
            let initial = sum(packet, 8..<40, UInt64(UInt16(17).bigEndian) + UInt64(UInt16(udpByteCount).bigEndian))
            guard sum(packet, 40..<40 + udpByteCount, UInt64(initial)) == 0xFFFF else { return .damaged }
        }
        return .datagram(
            payload: 48..<40 + udpByteCount, source: TransportAddress(.v6(high, low), UInt16(word16(packet, 40))))
    }

    /// The stack takes none of these off a wire (martians).
    private static func isSource(_ address: IPAddress, _ filter: SignallingFilter) -> Bool {
        if case .v4(let word) = address, word >> 24 == 0 || word >> 28 == 0xF { return false }
        return !address.isUnspecified && !address.isMulticast && !address.isLoopback
            && address != filter.endpoint.address
    }

    private static func word16(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Int {
        Int(bytes[offset]) << 8 | Int(bytes[offset + 1])
    }

    /// The ones' complement sum in the machine's own order, which the sum does not mind (RFC 1071 §2); 0xFFFF if it
    /// includes a right checksum.
    private static func sum(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, _ initial: UInt64) -> UInt16 {
        var sum = initial
        var offset = range.lowerBound
        while offset + 4 <= range.upperBound {
            sum += UInt64(bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            offset += 4
        }
        if offset + 2 <= range.upperBound {
            sum += UInt64(bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            offset += 2
        }
        if offset < range.upperBound { sum += UInt64(UInt16(littleEndian: UInt16(bytes[offset]))) }
        while sum > 0xFFFF { sum = (sum & 0xFFFF) + (sum >> 16) }
        return UInt16(sum)
    }
}
