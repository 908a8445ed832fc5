import CFastPath
import MediaFormats
import Primitives

/// A sum of sixteen-bit words in ones' complement arithmetic (RFC 1071), in host order.
struct OnesComplementSum {
    private(set) var word: UInt16 = 0

    mutating func add(_ value: UInt16) {
        let (sum, carried) = word.addingReportingOverflow(value)
        word = carried ? sum &+ 1 : sum
    }

    mutating func subtract(_ value: UInt16) { add(~value) }

    mutating func add(_ address: IPAddress) { address.words.forEach { add($0) } }

    mutating func subtract(_ address: IPAddress) { address.words.forEach { subtract($0) } }
}

extension IPAddress {
    /// Two or eight, in host order.
    fileprivate var words: [UInt16] {
        let bytes = bytes
        return stride(from: 0, to: bytes.count, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
    }

    /// Sixteen bytes: IPv4 as ::ffff:a.b.c.d.
    var mappedBytes: [UInt8] {
        family == .v4 ? [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF] + bytes : bytes
    }
}

/// Copies into a C array, which Swift sees as a tuple.
func fill<Array>(_ array: inout Array, with bytes: [UInt8]) {
    withUnsafeMutableBytes(of: &array) { $0.copyBytes(from: bytes) }  // the tuple lives while it is borrowed here
}

extension relay_flow_key {
    init(_ local: TransportAddress) {
        self.init()
        fill(&address, with: local.address.mappedBytes)
        port = local.port.bigEndian
    }
}

extension relay_guarded_range {
    init(_ address: IPAddress, _ ports: ClosedRange<UInt16>) {
        self.init()
        fill(&self.address, with: address.mappedBytes)
        port_min = ports.lowerBound
        port_max = ports.upperBound
    }
}

extension relay_flow {
    /// All that a packet of this flow needs, computed once. The flow must be one that `obstacle(to:)` accepts.
    init(_ flow: MediaFlow, counterIndex: UInt32, generation: UInt32) {
        self.init()
        fill(&accepted_address, with: flow.acceptedSource.address.mappedBytes)
        fill(&source_address, with: flow.rewrittenSource.address.mappedBytes)
        fill(&destination_address, with: flow.rewrittenDestination.address.mappedBytes)
        accepted_port = flow.acceptedSource.port.bigEndian
        source_port = flow.rewrittenSource.port.bigEndian
        destination_port = flow.rewrittenDestination.port.bigEndian

        var pseudoHeader = OnesComplementSum()
        pseudoHeader.add(flow.acceptedSource.address)
        pseudoHeader.add(flow.local.address)
        pseudoHeader.add(17)  // UDP
        pseudo_header_sum = pseudoHeader.word.bigEndian

        var addresses = OnesComplementSum()
        addresses.subtract(flow.acceptedSource.address)
        addresses.subtract(flow.local.address)
        addresses.add(flow.rewrittenSource.address)
        addresses.add(flow.rewrittenDestination.address)
        address_difference = addresses.word.bigEndian

        var ports = OnesComplementSum()
        ports.subtract(flow.acceptedSource.port)
        ports.subtract(flow.local.port)
        ports.add(flow.rewrittenSource.port)
        ports.add(flow.rewrittenDestination.port)
        port_difference = ports.word.bigEndian

        var header = addresses
        header.subtract(flow.local.address.family == .v4 ? 0x0100 : 0x0001)  // TTL is a high byte, hop limit a low one
        header_difference = header.word.bigEndian

        let mask = flow.rewrittenDestination.address.family == .v4 ? (0xFF03 as UInt16, 0) : (0xF03F, 4)
        switch flow.trafficClass {
        case .preserve: (class_keep, class_set) = (0xFFFF, 0)
        case .set(let dscp):
            (class_keep, class_set) = (mask.0.bigEndian, (UInt16(dscp.rawValue) << (2 + mask.1)).bigEndian)
        }
        kind = UInt8(flow.kind == .rtp ? RELAY_FLOW_RTP.rawValue : RELAY_FLOW_RTCP.rawValue)
        wrong_source = UInt8(
            flow.wrongSource == .drop ? RELAY_WRONG_SOURCE_DROP.rawValue : RELAY_WRONG_SOURCE_PASS.rawValue)
        let translation: relay_translation =
            switch (flow.local.address.family, flow.rewrittenSource.address.family) {
            case (.v4, .v4), (.v6, .v6): RELAY_TRANSLATION_NONE
            case (.v4, .v6): RELAY_TRANSLATION_V4_TO_V6
            case (.v6, .v4): RELAY_TRANSLATION_V6_TO_V4
            }
        self.translation = UInt8(translation.rawValue)
        counter_index = counterIndex
        self.generation = generation
        payload_type_count = UInt8(flow.payloadTypes.count)
        fill(&payload_type_from, with: flow.payloadTypes.map(\.from))
        fill(&payload_type_to, with: flow.payloadTypes.map(\.to))
        event_payload_type = flow.eventPayloadType ?? 0xFF
        clock_ticks = StreamMonitor.clockTicks(flow.clockRate ?? 0)
    }

    /// Why the kernel cannot relay a flow; nil when it can.
    static func obstacle(to flow: MediaFlow) -> FastPathResult.Reason? {
        let ends = [flow.local, flow.acceptedSource, flow.rewrittenSource, flow.rewrittenDestination]
        guard ends.allSatisfy({ $0.port != 0 && !$0.address.isUnspecified && !$0.address.isMulticast }) else {
            return .address
        }
        guard flow.acceptedSource.address.family == flow.local.address.family,
            flow.rewrittenSource.address.family == flow.rewrittenDestination.address.family
        else { return .mixedFamilies }
        guard flow.payloadTypes.count <= MediaFlow.payloadTypeMappingCountMax,
            flow.payloadTypes.allSatisfy({ $0.from < 128 && $0.to < 128 }),
            flow.kind == .rtp || flow.payloadTypes.isEmpty
        else { return .payloadTypes }
        return nil
    }
}
