import CFastPath
import Glibc
import MediaFormats
import Primitives

/// The kernel's share of the media: applies flows to the BPF program on a set of interfaces and reads its counters.
///
/// Belongs to one thread. Everything in the kernel ends with this object and with the process (on kernels before 6.6
/// a killed process leaves a classic filter behind, which the next start removes). Create,
/// use and detach it in one network namespace.
package final class FastPath {
    enum Limits {
        /// Beyond it `init` throws E2BIG.
        static let interfaceCountMax = Int(RELAY_INTERFACE_COUNT_MAX)
        static let flowCountMax = 1 << 20
        /// Beyond it `guardPorts` answers `.unsupported(.tableFull)`.
        static let guardedRangeCountMax = Int(RELAY_GUARDED_RANGE_COUNT_MAX)
    }

    /// One per interface asked for: what is attached and why.
    package private(set) var attachments: [FastPathAttachment]

    /// nil if no interface is to be attached.
    let program: RelayProgram?
    private var holds: [Attacher.Hold]
    private let rowNames: [String]
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
    /// nil until one is wanted.
    var tapBuffer: TapBuffer?

    /// How TC ingress is reached.
    package enum Ingress: Sendable {
        /// By a link (Linux 6.6), else by a classic filter.
        case linkOrFilter
        /// By a classic filter: so that tests see what older kernels do.
        case filter
    }

    /// Loads and attaches. Throws if the kernel refuses the program as such; a single interface that refuses is
    /// reported in `attachments`. In either case the socket path can do the work.
    package init(
        interfaces: [FastPathInterface], flowCountMax: Int = 4096, ingress: Ingress = .linkOrFilter
    ) throws(FastPathError) {
        precondition((1...Limits.flowCountMax).contains(flowCountMax), "the flow table holds 1 to 2^20 flows")
        var attacher = try Attacher(interfaces, ingress: ingress)
        let rows = attacher.rows
        guard rows.count <= Limits.interfaceCountMax else {
            throw FastPathError(
                call: "FastPath", object: "\(rows.count) interfaces", code: E2BIG,
                detail: "at most \(Limits.interfaceCountMax)")
        }
        rowNames = rows.map(\.name)
        if rows.isEmpty {
            program = nil
        } else {
            try routeLookupV4.permit()
            try routeLookupV6.permit()
            let program = try RelayProgram(flowCountMax: flowCountMax)
            try program.setInterfaces(rows.map(\.row))
            attacher.attach(program)
            self.program = program
            for index in 0..<UInt32(flowCountMax) { freeIndices.append(index) }
        }
        holds = attacher.holds
        let attached = attacher.attachments
        attachments = interfaces.compactMap { interface in attached.first { $0.interface == interface.name } }
    }

    deinit {
        detach()
        if let tapBuffer { close(tapBuffer.descriptor) }
    }

    /// From now on packets of this flow are relayed as it says. An existing flow with the same key is replaced at
    /// once, and its counters continue. When the answer is `.unsupported` the key has no flow in the kernel.
    /// In a full table the flow of an emergency call takes the place of the youngest ordinary one (`evictions`).
    package func apply(_ flow: MediaFlow) throws(FastPathError) -> FastPathResult {
        guard let program, !holds.isEmpty else { return .unsupported(.notAttached) }
        if let obstacle = relay_flow.obstacle(to: flow) {
            remove(flow.local)
            return .unsupported(obstacle)
        }
        generation = generation == .max ? 1 : generation + 1
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

    /// Packets to this key go up to the socket from now on. Returns the last counters; nil if there was no flow.
    @discardableResult
    package func remove(_ local: TransportAddress) -> MediaFlowCounters? {
        guard let index = counterIndices.removeValue(forKey: local) else { return nil }
        ages.remove(local)
        _ = program?.remove(relay_flow_key(local))
        freeIndices.append(index)
        return counters(at: index)
    }

    /// nil if there is no such flow.
    package func counters(for local: TransportAddress) -> MediaFlowCounters? {
        counterIndices[local].map(counters(at:))
    }

    /// From now on a datagram to one of these ports that has neither a flow nor a socket is dropped, instead of answered
    /// by ICMP, which would tell a scanner the ports in use. Replaces all ranges given before; when the answer is
    /// `.unsupported` those remain. Fragments and packets with options or extension headers are left to the stack.
    package func guardPorts(
        _ ranges: [(address: IPAddress, ports: ClosedRange<UInt16>)]
    ) throws(FastPathError) -> FastPathResult {
        guard let program, !holds.isEmpty else { return .unsupported(.notAttached) }
        guard ranges.count <= Limits.guardedRangeCountMax else { return .unsupported(.tableFull) }
        guard ranges.allSatisfy({ !$0.address.isUnspecified && !$0.address.isMulticast }) else {
            return .unsupported(.address)
        }
        try program.setGuardedRanges(ranges.map { relay_guarded_range($0.address, $0.ports) })
        return .applied
    }

    /// Whether packets pass the program anywhere.
    var isAttached: Bool { !holds.isEmpty }

    /// How many flows the kernel has.
    package var flowCount: Int { counterIndices.count }

    package func totals() -> FastPathTotals {
        var totals = FastPathTotals()
        for (slot, name) in rowNames.enumerated() {
            var outcomes = FastPathOutcomes()
            for share in program?.totals(at: UInt32(slot)) ?? [] {
                withUnsafeBytes(of: share.outcomes) { counts in  // borrowed for the loop only
                    for (index, path) in FastPathOutcomes.inMapOrder.enumerated() {
                        outcomes[keyPath: path] &+= counts.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
                    }
                }
            }
            totals.interfaces[name] = outcomes
        }
        return totals
    }

    /// Takes the program off all interfaces; flows end, counters stay readable. Safe to call again.
    package func detach() {
        for case .filter(let index) in holds { _ = relay_clsact_detach(index) }
        holds = []
        attachments = attachments.map { .init(interface: $0.interface, mode: .none, reason: "detached") }
    }

    private func counters(at index: UInt32) -> MediaFlowCounters {
        guard let program else { return MediaFlowCounters() }
        var counters = program.counters(at: index).reduce(MediaFlowCounters()) { sum, share in
            sum
                + MediaFlowCounters(
                    packets: share.packets, bytes: share.bytes, wrongSource: share.wrong_source,
                    malformed: share.malformed,
                    lastArrival: share.last_arrival == 0
                        ? nil : MonotonicTime(nanoseconds: Int64(truncatingIfNeeded: share.last_arrival)))
        }
        let quality = program.quality(at: index)
        counters.quality = MediaQuality(quality.stream)
        counters.reports = MediaReports(quality.reports)
        return counters
    }
}
