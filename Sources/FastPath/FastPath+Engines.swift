import CFastPath
import Glibc
import MediaFormats
import Primitives

/// What rings need of the sockets bound to the media ports. The stack shows both the same packets: while the rings have a
/// flow, its socket must not hear what they take, and what they do not relay after all comes to the socket's owner by
/// `FastPath.takePassed`.
package protocol FastPathSockets: AnyObject {
    /// From now on the socket at this address hears only what the filter accepts; nil: everything. False if it
    /// cannot; true also when there is no such socket.
    func setFilter(_ filter: PacketFilter?, of local: TransportAddress) -> Bool
    /// `FastPath.takePassed` is to be called whenever this descriptor is readable, until another one follows; nil: none.
    func watch(_ descriptor: CInt?)
}

/// Who relays a flow; both where its packets may arrive by interfaces of either kind.
package struct FastPathEngines: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let program = Self(rawValue: 1)
    package static let ring = Self(rawValue: 2)
}

// Which engine gets which interface and which flow. The order of steps sees to it that no packet is lost when a flow
// moves, and none is sent twice but perhaps one that arrives in the very moment a socket's filter changes: rings are
// bound behind TC ingress, so they see only what the program lets up, and whoever is to relay knows the flow before
// packets reach it.
extension FastPath {
    struct Served {
        var flow: MediaFlow
        var engines: FastPathEngines
        /// What engines counted that no longer have the flow.
        var earlier = MediaFlowCounters()
        var isFiltered = false
    }

    // MARK: Flows

    /// From now on packets of this flow are relayed as it says. An existing flow with the same key is replaced at
    /// once, and its counters continue. When the answer is `.unsupported` no engine has a flow with this key.
    package func apply(_ flow: MediaFlow) throws(FastPathError) -> FastPathResult {
        guard !flow.staysInUserSpace else {
            remove(flow.local)
            return .unsupported(.userSpace)
        }
        var entry = served[flow.local] ?? Served(flow: flow, engines: [])
        entry.flow = flow
        var result = FastPathResult.unsupported(.notAttached)
        if !holds.isEmpty, programReachesAll {
            result = try applyToProgram(flow)
            if result == .applied { entry.engines.insert(.program) } else { entry.engines.remove(.program) }
        }
        served[flow.local] = entry
        // A flow beyond the table's size is refused, not moved: rings would be full as well.
        if result != .unsupported(.tableFull), result != .applied || !ringInterfaces.isEmpty {
            let ringResult = try applyToRing(flow, isNeeded: result != .applied)
            if result != .applied { result = ringResult }
        }
        switch result {
        case .applied: break
        case .unsupported(.notAttached): retire(flow.local)
        case .unsupported: remove(flow.local)
        }
        return result
    }

    /// No engine has the flow from now on. What they counted stays until `remove`, if it was anything.
    private func retire(_ local: TransportAddress) {
        leaveRing(local)
        leaveProgram(local)
        if served[local]?.earlier == MediaFlowCounters() { served[local] = nil }
    }

    /// `isNeeded`: the program cannot do it, so that rings are opened where it is attached.
    private func applyToRing(_ flow: MediaFlow, isNeeded: Bool) throws(FastPathError) -> FastPathResult {
        guard let attacher, !attachments.allSatisfy({ $0.mode == .none }) else { return .unsupported(.notAttached) }
        if let obstacle = RingEngine.obstacle(to: flow) { return .unsupported(obstacle) }
        if isNeeded {
            for candidate in attacher.candidates { try addRing(candidate) }
        }
        guard let ring else { return .unsupported(.notAttached) }
        let result = try ring.apply(flow, generation: nextGeneration(), tap: taps[flow.local])
        guard result == .applied else { return result }
        served[flow.local]?.engines.insert(.ring)
        if served[flow.local]?.isFiltered == false {
            // Known to the ring first: a packet in between is relayed twice at worst, and not lost.
            guard sockets?.setFilter(ring.socketFilter, of: flow.local) ?? true else {
                _ = ring.remove(flow.local)
                served[flow.local]?.engines.remove(.ring)
                return .unsupported(.notAttached)
            }
            served[flow.local]?.isFiltered = true
        }
        return .applied
    }

    /// Packets to this key go up to the socket from now on. Returns the last counters; nil if there was no flow.
    @discardableResult
    package func remove(_ local: TransportAddress) -> MediaFlowCounters? {
        guard served[local] != nil else { return nil }
        leaveRing(local)
        leaveProgram(local)
        let last = served.removeValue(forKey: local)?.earlier
        if ring != nil, !served.values.contains(where: { $0.engines.contains(.ring) }) { leaveRings() }
        return last
    }

    /// The socket hears again before the ring, having relayed what it holds, forgets the flow.
    private func leaveRing(_ local: TransportAddress) {
        guard let entry = served[local], entry.engines.contains(.ring) else { return }
        if entry.isFiltered { _ = sockets?.setFilter(nil, of: local) }
        let last = ring?.remove(local)
        served[local]?.isFiltered = false
        served[local]?.engines.remove(.ring)
        served[local]?.earlier = entry.earlier + (last ?? MediaFlowCounters())
    }

    /// nil if there is no such flow.
    package func counters(for local: TransportAddress) -> MediaFlowCounters? {
        guard let entry = served[local] else { return nil }
        return [programCounters(for: local), ring?.counters(for: local)].compactMap { $0 }.reduce(entry.earlier, +)
    }

    /// Empty if there is no such flow.
    package func engines(of local: TransportAddress) -> FastPathEngines { served[local]?.engines ?? [] }

    /// How many flows the engines have.
    package var flowCount: Int { served.values.count { !$0.engines.isEmpty } }

    package func totals() -> FastPathTotals {
        var totals = FastPathTotals(interfaces: retired)
        for (name, outcomes) in programTotals() { totals.interfaces[name, default: .init()] += outcomes }
        for (name, outcomes) in ring?.totals() ?? [:] { totals.interfaces[name, default: .init()] += outcomes }
        return totals
    }

    /// Packets that found no room in a ring, and packets for sockets that nobody took in time.
    package var ringLosses: (ringFull: UInt64, passed: UInt64) { ring?.losses ?? (0, 0) }

    /// Hands over the packets that a ring took but does not relay, up to a batch: local address, source, payload.
    package func takePassed(_ body: (TransportAddress, TransportAddress, [UInt8]) -> Void) {
        var buffer = [UInt8](repeating: 0, count: 2048)
        for _ in 0..<Limits.passedBatchCount {
            guard let passed = ring?.receive(into: &buffer) else { return }
            body(passed.local, passed.source, Array(buffer.prefix(passed.byteCount)))
        }
    }

    // MARK: Interfaces

    /// Attaches as if these interfaces had been given at the start. Flows live on: each moves to the engine that has its
    /// interface now, or to its socket where none has. Throws as `init`, and then nothing has changed.
    package func reconfigure(_ interfaces: [FastPathInterface]) throws(FastPathError) {
        guard interfaces != configured || attachments.isEmpty else { return }
        let filters = holds.compactMap { if case .filter(let index) = $0 { index } else { nil } }
        var attacher = try Attacher(interfaces, ingress: ingress, ours: Set(filters + (ring?.interfaces ?? [])))
        let rows = attacher.rows
        guard rows.count <= Limits.interfaceCountMax else {
            throw FastPathError(
                call: "FastPath", object: "\(rows.count) interfaces", code: E2BIG,
                detail: "at most \(Limits.interfaceCountMax)")
        }
        configured = interfaces
        self.attacher = attacher
        loadProgram(rows, &attacher)
        for flow in served.values.map(\.flow) where !attacher.candidates.isEmpty {
            if case .applied? = try? applyToProgram(flow) { served[flow.local]?.engines.insert(.program) }
        }
        // The rings to be are ready before the program leaves their interfaces.
        var attached = Set<UInt32>()
        addRings(&attacher, &attached)
        release(holds)
        holds = []
        if let program {
            // One of the two relays a packet: rings that stay make room at the ingress first.
            for candidate in attacher.candidates { try place(candidate, isAlone: false) }
            attacher.attach(program)
        }
        holds = attacher.takeHolds()
        addRings(&attacher, &attached)  // where the program could not be attached
        self.attacher = attacher
        let reached = attacher.attachments
        attachments = interfaces.compactMap { interface in reached.first { $0.interface == interface.name } }
        if holds.isEmpty {
            for local in served.keys { leaveProgram(local) }
        }
        ringInterfaces = attached
        if !programReachesAll, !served.isEmpty {
            for candidate in attacher.candidates { try? addRing(candidate) }  // else their sockets relay
            for local in served.keys { leaveProgram(local) }
        }
        leaveRings()
        for candidate in attacher.ringCandidates.map(\.candidate) where !hasProgram(candidate) {
            // Rings behind the ingress do the same work, at a higher price.
            try? place(candidate, isAlone: true)
        }
    }

    private func hasProgram(_ candidate: Attacher.Candidate) -> Bool {
        attachments.contains { $0.interface == candidate.interface.name && ($0.mode == .xdp || $0.mode == .tc) }
    }

    private func place(_ candidate: Attacher.Candidate, isAlone: Bool) throws(FastPathError) {
        try ring?.move(
            candidate.facts.index, name: candidate.interface.name, ports: guardedRanges, isAlone: isAlone)
    }

    /// False where a ring has an interface without Ethernet, to which the program cannot send: rings relay on all
    /// interfaces then, and the program stands before them for its shield.
    private var programReachesAll: Bool {
        attacher?.ringCandidates.map(\.candidate.facts).allSatisfy {
            $0.is_ethernet || !ringInterfaces.contains($0.index)
        } ?? true
    }

    /// Where the program cannot be had, rings take its interfaces.
    private func loadProgram(_ rows: [(name: String, row: relay_interface)], _ attacher: inout Attacher) {
        guard !attacher.candidates.isEmpty else { return }
        do throws(FastPathError) {
            try load(rows)
            if !guardedRanges.isEmpty { try program?.setGuardedRanges(guardedRanges) }
        } catch {
            // libbpf's log has many lines, a reason has one.
            let text = "\(error)".split(separator: "\n").joined(separator: " ").prefix(Limits.reasonCharacterCount)
            attacher.replaceProgramByRings(because: "the BPF program cannot be used: \(text)")
        }
    }

    private func addRings(_ attacher: inout Attacher, _ attached: inout Set<UInt32>) {
        self.attacher = attacher
        for (candidate, reason) in attacher.ringCandidates where !attached.contains(candidate.facts.index) {
            let name = candidate.interface.name
            do throws(FastPathError) {
                try addRing(candidate)
                attached.insert(candidate.facts.index)
                attacher.note(name, .ring, "AF_PACKET ring: \(reason)")
            } catch {
                attacher.note(name, .none, "\(error); \(reason)")
            }
        }
        guard !attached.isEmpty, let ring else { return }
        for flow in served.values.map(\.flow) {
            guard case .applied? = try? ring.apply(flow, generation: nextGeneration(), tap: taps[flow.local])
            else { continue }
            served[flow.local]?.engines.insert(.ring)
        }
        renewFilters()
    }

    /// The filters name the interfaces with rings.
    private func renewFilters() {
        guard let filter = ring?.socketFilter else { return }
        for (local, entry) in served where entry.engines.contains(.ring) {
            served[local]?.isFiltered = sockets?.setFilter(filter, of: local) ?? true
        }
    }

    private func addRing(_ candidate: Attacher.Candidate) throws(FastPathError) {
        if ring == nil {
            let ring = try RingEngine(flowCountMax: flowCountMax)
            self.ring = ring
            sockets?.watch(ring.descriptor)
            if !taps.isEmpty { _ = try openTapBuffer() }
        }
        guard let ring, let attacher else { return }
        ring.setRows(attacher.ringRows)
        guard !ring.interfaces.contains(candidate.facts.index) else { return }
        try ring.add(
            candidate.facts.index, name: candidate.interface.name, ports: guardedRanges,
            isAlone: !hasProgram(candidate), isIdle: served.isEmpty)
        renewFilters()
    }

    private func leaveProgram(_ local: TransportAddress) {
        guard let last = removeFromProgram(local), let entry = served[local] else { return }
        served[local]?.engines.remove(.program)
        served[local]?.earlier = entry.earlier + last
    }

    /// Closes rings nobody needs: a flow that only rings can relay keeps them all.
    private func leaveRings() {
        guard let ring else { return }
        let isNeeded = !holds.isEmpty && served.values.contains { $0.engines == .ring }
        if ringInterfaces.isEmpty {
            for (local, entry) in served where entry.engines != .ring || !isNeeded { leaveRing(local) }
        }
        if !isNeeded {
            for interface in ring.interfaces where !ringInterfaces.contains(interface) { ring.drop(interface) }
        }
        if ring.interfaces.isEmpty { closeRings() } else { renewFilters() }
    }

    private func closeRings() {
        for local in served.keys { leaveRing(local) }
        for (name, outcomes) in ring?.totals() ?? [:] where outcomes != FastPathOutcomes() {
            retired[name, default: .init()] += outcomes
        }
        if let ring {
            sockets?.watch(nil)
            retiredTaps += ring.tapCounters
        }
        ring = nil
    }

    /// Takes the program and the rings off all interfaces; flows end, counters stay readable until then. Safe to call
    /// again.
    package func detach() {
        closeRings()
        ringInterfaces = []
        release(holds)
        holds = []
        configured = []
        attachments = attachments.map { .init(interface: $0.interface, mode: .none, reason: "detached") }
    }
}
