import CFastPath
import Glibc
import MediaFormats
import Primitives

/// The fast path of the media: applies flows to the BPF program, or to rings, on a set of interfaces and reads their
/// counters.
///
/// Belongs to one thread. Everything in the kernel ends with this object and with the process (on kernels before 6.6
/// a killed process leaves a classic filter behind, which the next start removes). Create,
/// use and detach it in one network namespace.
///
/// This file is the BPF engine; which engine gets what is in `FastPath+Engines.swift`.
package final class FastPath {
    enum Limits {
        /// Packets for sockets taken at once; then others have their turn.
        static let passedBatchCount = 64
        static let reasonCharacterCount = 300
        /// Beyond it `init` throws E2BIG.
        static let interfaceCountMax = Int(RELAY_INTERFACE_COUNT_MAX)
        static let flowCountMax = 1 << 20
        /// Beyond it `guardPorts` answers `.unsupported(.tableFull)`.
        static let guardedRangeCountMax = Int(RELAY_GUARDED_RANGE_COUNT_MAX)
    }

    /// One per interface asked for: what is attached and why.
    package internal(set) var attachments: [FastPathAttachment] = [] {
        didSet { sender = nil }
    }
    /// nil before something is sent, and after the interfaces have changed.
    var sender: MediaSender?

    /// nil before an interface needs it.
    var program: RelayProgram?
    var holds: [Attacher.Hold] = []
    var rowNames: [String] = []
    /// nil before an interface or a flow needs it.
    var ring: RingEngine?
    var served: [TransportAddress: Served] = [:]
    /// What rings had counted that are closed, by interface.
    var retired: [String: FastPathOutcomes] = [:]
    var guardedRanges: [relay_guarded_range] = []
    var configured: [FastPathInterface] = []
    var attacher: Attacher?
    /// Interfaces with rings by configuration, by index; others have them for single flows.
    var ringInterfaces = Set<UInt32>()
    let flowCountMax: Int
    let ingress: Ingress

    /// The sockets behind the flows; rings need their help.
    package weak var sockets: (any FastPathSockets)? {
        didSet { if let ring { sockets?.watch(ring.descriptor) } }
    }

    private let routeLookupV4 = RouteLookup(.v4)
    private let routeLookupV6 = RouteLookup(.v6)
    private var generation: UInt32 = 0
    private var counterIndices: [TransportAddress: UInt32] = [:]
    /// Oldest first, so that a run still under way on another CPU cannot count for the next owner of its index.
    private var freeIndices = Queue<UInt32>()
    private var ages = FlowAges()
    /// Flows that gave way to an emergency call's since this was last emptied: sockets relay them from now on.
    package var evictions: [FlowEviction] = []
    var taps: [TransportAddress: MediaTap] = [:]
    /// The program's; nil until one is wanted.
    var tapBuffer: TapBuffer?
    /// Of buffers that rings had.
    var retiredTaps = TapCounters()

    /// How TC ingress is reached.
    package enum Ingress: Sendable {
        /// By a link (Linux 6.6), else by a classic filter.
        case linkOrFilter
        /// By a classic filter: so that tests see what older kernels do.
        case filter
    }

    /// Loads and attaches. Throws if an interface does not exist; what the kernel refuses is reported in `attachments`.
    /// In either case the socket path can do the work.
    package init(
        interfaces: [FastPathInterface], flowCountMax: Int = 4096, ingress: Ingress = .linkOrFilter
    ) throws(FastPathError) {
        precondition((1...Limits.flowCountMax).contains(flowCountMax), "the flow table holds 1 to 2^20 flows")
        self.flowCountMax = flowCountMax
        self.ingress = ingress
        try reconfigure(interfaces)
    }

    deinit {
        detach()
        if let tapBuffer { close(tapBuffer.descriptor) }
    }

    /// Loads the program and gives it its interfaces.
    func load(_ rows: [(name: String, row: relay_interface)]) throws(FastPathError) {
        try routeLookupV4.permit()
        try routeLookupV6.permit()
        let program: RelayProgram
        if let loaded = self.program {
            program = loaded
        } else {
            program = try RelayProgram(flowCountMax: flowCountMax)
            for index in 0..<UInt32(flowCountMax) { freeIndices.append(index) }
        }
        try program.setInterfaces(rows.inSlots(of: &rowNames))
        self.program = program
    }

    /// `apply`, for the program alone.
    func applyToProgram(_ flow: MediaFlow) throws(FastPathError) -> FastPathResult {
        guard let program else { return .unsupported(.notAttached) }
        if let obstacle = relay_flow.obstacle(to: flow) {
            removeFromProgram(flow.local)
            return .unsupported(obstacle)
        }
        let generation = nextGeneration()
        if let index = counterIndices[flow.local] {
            ages.note(flow)
            try program.update(
                relay_flow_key(flow.local),
                tapped(relay_flow(flow, counterIndex: index, generation: generation), flow.local))
            return .applied
        }
        switch flow.rewrittenSource.address.family {
        case .v4: try routeLookupV4.permit()
        case .v6: try routeLookupV6.permit()
        }
        guard let index = freeIndices.popFirst() ?? (flow.isEmergency ? evictOrdinary() : nil) else {
            return .unsupported(.tableFull)
        }
        do throws(FastPathError) {
            try program.clearCounters(at: index)
            try program.update(
                relay_flow_key(flow.local),
                tapped(relay_flow(flow, counterIndex: index, generation: generation), flow.local))
        } catch {
            freeIndices.append(index)
            throw error
        }
        counterIndices[flow.local] = index
        ages.note(flow)
        return .applied
    }

    /// The place of the youngest ordinary flow; nil when there is none.
    private func evictOrdinary() -> UInt32? {
        guard let local = ages.youngestOrdinary, let counters = remove(local) else { return nil }
        evictions.append(FlowEviction(local: local, counters: counters))
        return freeIndices.popFirst()
    }

    func nextGeneration() -> UInt32 {
        generation = generation == .max ? 1 : generation + 1
        return generation
    }

    /// `remove`, for the program alone.
    @discardableResult
    func removeFromProgram(_ local: TransportAddress) -> MediaFlowCounters? {
        guard let index = counterIndices.removeValue(forKey: local) else { return nil }
        ages.remove(local)
        _ = program?.remove(relay_flow_key(local))
        freeIndices.append(index)
        return counters(at: index)
    }

    /// `counters(for:)`, of the program alone.
    func programCounters(for local: TransportAddress) -> MediaFlowCounters? {
        counterIndices[local].map(counters(at:))
    }

    /// From now on a datagram to one of these ports that has neither a flow nor a socket is dropped, instead of answered
    /// by ICMP, which would tell a scanner the ports in use. Replaces all ranges given before; when the answer is
    /// `.unsupported` those remain. Fragments and packets with options or extension headers are left to the stack.
    package func guardPorts(
        _ ranges: [(address: IPAddress, ports: ClosedRange<UInt16>)]
    ) throws(FastPathError) -> FastPathResult {
        guard ranges.count <= Limits.guardedRangeCountMax else { return .unsupported(.tableFull) }
        guard ranges.allSatisfy({ !$0.address.isUnspecified && !$0.address.isMulticast }) else {
            return .unsupported(.address)
        }
        guardedRanges = ranges.map { relay_guarded_range($0.address, $0.ports) }
        // A ring cannot keep a port silent, but takes only what goes to these.
        try ring?.setPorts(guardedRanges)
        guard let program, !holds.isEmpty else { return .unsupported(.notAttached) }
        try program.setGuardedRanges(guardedRanges)
        return .applied
    }

    /// Whether packets pass the program anywhere.
    var isAttached: Bool { !holds.isEmpty }

    func programTotals() -> [String: FastPathOutcomes] {
        var totals: [String: FastPathOutcomes] = [:]
        for (slot, name) in rowNames.enumerated() {
            let shares = program?.totals(at: UInt32(slot)) ?? []
            totals[name] = shares.reduce(into: FastPathOutcomes()) { $0 += FastPathOutcomes($1) }
        }
        return totals
    }

    /// Takes the program off its interfaces.
    func release(_ holds: [Attacher.Hold]) {
        for case .filter(let index) in holds { _ = relay_clsact_detach(index) }
    }

    private func counters(at index: UInt32) -> MediaFlowCounters {
        guard let program else { return MediaFlowCounters() }
        var counters = program.counters(at: index).reduce(MediaFlowCounters()) { sum, share in
            sum + MediaFlowCounters(share)
        }
        let quality = program.quality(at: index)
        counters.quality = MediaQuality(quality.stream)
        counters.reports = MediaReports(quality.reports)
        return counters
    }
}
