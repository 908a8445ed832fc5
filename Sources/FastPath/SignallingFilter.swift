import Primitives

/// Who takes a datagram to a SIP endpoint: the ring on its interface or the kernel's socket. Two programs that divide
/// the same datagrams between them, each of which can see only its own end of the stack.
///
/// The ring's are those to the endpoint that came by this interface, addressed to this host on the link, right behind
/// an IP header without options or extensions, and no longer than fits one packet of the interface's MTU. All others
/// are the socket's. What the socket cannot know is whether a short datagram came in fragments or as one of several
/// joined by offload: such a frame is shown to the ring, which then has to give up (`SignallingRing.Refusal`).
package struct SignallingFilter: Hashable, Sendable {
    package let endpoint: TransportAddress
    package let interfaceIndex: UInt32
    /// Of the interface, at least 1280.
    package let mtu: Int

    package init(endpoint: TransportAddress, interfaceIndex: UInt32, mtu: Int) {
        self.endpoint = endpoint
        self.interfaceIndex = interfaceIndex
        self.mtu = mtu
    }

    /// The longest datagram of the ring, UDP header included.
    package var udpByteCountMax: Int { mtu - (endpoint.address.family == .v4 ? 20 : 40) }

    private enum Offset {
        static let ethernet: UInt32 = 14
        static let network: UInt32 = 0xFFF0_0000  // SKF_NET_OFF
        static let packetType: UInt32 = 0xFFFF_F004  // SKF_AD_OFF + SKF_AD_PKTTYPE
        static let interface: UInt32 = 0xFFFF_F008
        static let vlanTag: UInt32 = 0xFFFF_F02C
    }

    /// For the ring: sees a frame from its Ethernet header. VLAN 0 is a priority without a VLAN.
    package var ring: PacketFilter {
        let isV4 = endpoint.address.family == .v4
        let ip = Offset.ethernet
        let fragment = ip + 40
        var program = Assembler()
        program.require(.word, Offset.packetType, equals: 0)
        program.require(.word, Offset.vlanTag, masked: 0x0FFF, equals: 0)
        program.require(.half, 12, equals: isV4 ? 0x0800 : 0x86DD)
        program.requireAddress(endpoint.address, at: ip + (isV4 ? 16 : 24))
        if isV4 {
            program.require(.byte, ip, equals: 0x45)
            program.require(.byte, ip + 9, equals: 17)
            program.require(.half, ip + 6, masked: 0x1FFF, equals: 0)  // also the first of several fragments
            program.takePort(endpoint.port, udp: ip + 20, maximum: udpByteCountMax, frameByteCountMax: mtu + 14)
        } else {
            program.unless(.byte, ip + 6, equals: 17) { first in
                first.require(.byte, ip + 6, equals: 44)
                first.require(.byte, fragment, equals: 17)
                first.require(.half, fragment + 2, masked: 0xFFF9, equals: 1)  // the first of several
                first.takePort(endpoint.port, udp: fragment + 8, maximum: udpByteCountMax, frameByteCountMax: nil)
            }
            program.takePort(endpoint.port, udp: ip + 40, maximum: udpByteCountMax, frameByteCountMax: mtu + 14)
        }
        return program.finished(whenRequirementsFail: .refuse)
    }

    /// For the socket: sees a whole datagram from its UDP header, and the packet before it.
    package var socket: PacketFilter {
        let isV4 = endpoint.address.family == .v4
        var program = Assembler()
        program.require(.word, Offset.interface, equals: interfaceIndex)
        program.require(.word, Offset.packetType, equals: 0)
        program.require(.byte, Offset.network + (isV4 ? 0 : 6), equals: isV4 ? 0x45 : 17)
        program.requireAddress(endpoint.address, at: Offset.network + (isV4 ? 16 : 24))
        program.requireLength(udp: 0, maximum: udpByteCountMax)
        program.end(.refuse)
        return program.finished(whenRequirementsFail: .accept)
    }
}

/// Classic BPF, forward jumps filled in at the end.
private struct Assembler {
    enum Size: UInt16 { case word = 0x20, half = 0x28, byte = 0x30 }  // BPF_LD + BPF_ABS
    enum Verdict: UInt32 { case refuse = 0, accept = 0xFFFF_FFFF }

    private enum Code {
        static let and: UInt16 = 0x54
        static let jumpEqual: UInt16 = 0x15
        static let jumpGreater: UInt16 = 0x25
        static let jumpGreaterOrEqual: UInt16 = 0x35
        static let loadLength: UInt16 = 0x80
        static let end: UInt16 = 0x06
    }

    private struct Line {
        var instruction: PacketFilter.Instruction
        /// The jump leads to the end, where the verdict on failed requirements stands.
        var failsIfTrue = false
        var failsIfFalse = false
    }

    private var lines: [Line] = []

    mutating func require(_ size: Size, _ offset: UInt32, masked mask: UInt32? = nil, equals value: UInt32) {
        add(size.rawValue, offset)
        if let mask { add(Code.and, mask) }
        lines.append(Line(instruction: .init(Code.jumpEqual, value), failsIfFalse: true))
    }

    mutating func requireAddress(_ address: IPAddress, at offset: UInt32) {
        let bytes = address.bytes
        for index in stride(from: 0, to: bytes.count, by: 4) {
            let word = bytes[index..<index + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            require(.word, offset + UInt32(index), equals: word)
        }
    }

    /// A UDP length from that of a header to `maximum`.
    mutating func requireLength(udp: UInt32, maximum: Int) {
        add(Size.half.rawValue, udp + 4)
        lines.append(Line(instruction: .init(Code.jumpGreaterOrEqual, 8), failsIfFalse: true))
        lines.append(Line(instruction: .init(Code.jumpGreater, UInt32(maximum)), failsIfTrue: true))
    }

    /// `alternative`, which must come to an end, where the value is another.
    mutating func unless(
        _ size: Size, _ offset: UInt32, equals value: UInt32, _ alternative: (inout Assembler) -> Void
    ) {
        var inner = Assembler()
        alternative(&inner)
        add(size.rawValue, offset)
        lines.append(Line(instruction: .init(Code.jumpEqual, value, jumpTrue: UInt8(inner.lines.count))))
        lines += inner.lines
    }

    /// To `port` and of the ring's length, or longer in a frame longer than any the interface can have received.
    mutating func takePort(_ port: UInt16, udp: UInt32, maximum: Int, frameByteCountMax: Int?) {
        require(.half, udp + 2, equals: UInt32(port))
        if let frameByteCountMax {
            add(Code.loadLength, 0)
            // Over the length, to the verdict.
            lines.append(Line(instruction: .init(Code.jumpGreater, UInt32(frameByteCountMax), jumpTrue: 3)))
        }
        requireLength(udp: udp, maximum: maximum)
        end(.accept)
    }

    mutating func end(_ verdict: Verdict) { add(Code.end, verdict.rawValue) }

    private mutating func add(_ code: UInt16, _ operand: UInt32) {
        lines.append(Line(instruction: .init(code, operand)))
    }

    func finished(whenRequirementsFail verdict: Verdict) -> PacketFilter {
        var instructions: [PacketFilter.Instruction] = []
        for (index, line) in lines.enumerated() {
            let distance = UInt8(lines.count - index - 1)
            instructions.append(
                .init(
                    line.instruction.code, line.instruction.operand,
                    jumpTrue: line.failsIfTrue ? distance : line.instruction.jumpTrue,
                    jumpFalse: line.failsIfFalse ? distance : line.instruction.jumpFalse))
        }
        return PacketFilter(instructions + [.init(Code.end, verdict.rawValue)])
    }
}
