import CFastPath
import Glibc

/// Decides how each interface is attached, and does it. The whole set gets one mode: a native XDP program may only
/// redirect to an interface that takes frames, and where one does not, packets would be lost without a word.
struct Attacher {
    struct Candidate {
        let interface: FastPathInterface
        let facts: relay_interface_facts

        var driver: String { text(facts.driver) }
        /// XDP sees frames before their tag is taken off: a VLAN device's program sits on its parent.
        var xdpIndex: UInt32 { facts.parent_index != 0 ? facts.parent_index : facts.index }
        var xdpName: String { facts.parent_index != 0 ? text(facts.parent_name) : interface.name }

        var row: relay_interface {
            relay_interface(index: facts.index, transmit_index: xdpIndex, vlan: facts.vlan, zero: 0)
        }

        private func text<Array>(_ array: Array) -> String {
            withUnsafeBytes(of: array) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }  // borrowed
        }
    }

    /// A hook that holds the program until it is released.
    enum Hold {
        case link(OwnedLink)
        /// Classic filter on the interface with this index.
        case filter(UInt32)
    }

    /// For the BPF program.
    private(set) var candidates: [Candidate] = []
    /// For rings, with the reason.
    private(set) var ringCandidates: [(candidate: Candidate, reason: String)] = []
    private(set) var attachments: [FastPathAttachment] = []
    private(set) var holds: [Hold] = []
    private let ingress: FastPath.Ingress

    /// `ours`: interfaces whose classic filter is in use, the program's or the rings'.
    init(
        _ interfaces: [FastPathInterface], ingress: FastPath.Ingress, ours: Set<UInt32> = []
    ) throws(FastPathError) {
        self.ingress = ingress
        for interface in interfaces {
            var facts = relay_interface_facts()
            let result = relay_interface_facts(interface.name, &facts)
            guard result == 0 else {
                throw FastPathError(call: "if_nametoindex", object: interface.name, code: result)
            }
            // Whatever mode follows, a filter left by a process that was killed must not stand in the way.
            if !ours.contains(facts.index) {
                _ = relay_clsact_detach(facts.index)
                ring_relay_forget(facts.index)
            }
            let candidate = Candidate(interface: interface, facts: facts)
            switch interface.mode {
            case .off: note(interface.name, .none, "switched off by the configuration")
            case .ring: ringCandidates.append((candidate, "configured"))
            case .auto, .xdp, .tc:
                if facts.is_ethernet {
                    candidates.append(candidate)
                } else {
                    ringCandidates.append((candidate, "not an Ethernet interface"))
                }
            }
        }
    }

    /// Rows for the program: where packets leave, and where else they arrive. An interface with a ring is a way out as
    /// any other.
    var rows: [(name: String, row: relay_interface)] {
        var rows = candidates.map { (name: $0.interface.name, row: $0.row) }
        rows += ringCandidates.lazy.map(\.candidate).filter(\.facts.is_ethernet).map {
            (name: $0.interface.name, row: $0.row)
        }
        for candidate in candidates where !rows.contains(where: { $0.row.index == candidate.xdpIndex }) {
            rows.append(
                (candidate.xdpName, relay_interface(index: candidate.xdpIndex, transmit_index: 0, vlan: 0, zero: 0)))
        }
        return rows
    }

    /// Rows for the rings: all interfaces, each as it is.
    var ringRows: [(name: String, row: relay_interface)] {
        (candidates + ringCandidates.map(\.candidate)).map { (name: $0.interface.name, row: RingEngine.row($0.facts)) }
    }

    /// The BPF program is out of the question: rings do its work.
    mutating func replaceProgramByRings(because reason: String) {
        ringCandidates += candidates.map { ($0, reason) }
        candidates = []
    }

    /// Whoever takes them is their owner.
    mutating func takeHolds() -> [Hold] {
        defer { holds = [] }
        return holds
    }

    mutating func attach(_ program: RelayProgram) {
        guard !candidates.isEmpty else { return }
        if let other = ringCandidates.first {
            let name = other.candidate.interface.name
            attachTC(program.tc, because: "\(name) has a ring, which takes no frames from XDP")
        } else if let obstacle = candidates.lazy.compactMap(Self.obstacleToXDP).first ?? attachXDP(program.xdp) {
            attachTC(program.tc, because: obstacle)
        }
    }

    /// Why native XDP is out of the question before trying; nil if it is not.
    private static func obstacleToXDP(_ candidate: Candidate) -> String? {
        let name = candidate.interface.name
        switch candidate.interface.mode {
        case .tc, .ring, .off: return "\(name) is configured for TC, and all interfaces share one mode"
        case .xdp: return nil
        case .auto: break
        }
        if candidate.driver == "veth" {
            return "\(name) is a veth, which loses every frame when its peer has neither XDP nor GRO"
        }
        var features: UInt64 = 0
        let result = relay_xdp_features(candidate.xdpIndex, &features)
        guard result == 0 else { return "the kernel does not tell what XDP can do on \(name) (\(errnoText(-result)))" }
        let needed = UInt64(RELAY_XDP_BASIC.rawValue | RELAY_XDP_REDIRECT.rawValue)
        return features & needed == needed
            ? nil : "the driver of \(name) (\(candidate.driver)) has no native XDP redirect"
    }

    /// All or nothing; returns what stood in the way.
    private mutating func attachXDP(_ program: CInt) -> String? {
        var links: [UInt32: OwnedLink] = [:]
        for candidate in candidates where links[candidate.xdpIndex] == nil {
            let result = relay_link_xdp(program, candidate.xdpIndex)
            guard result >= 0 else {
                let hint = result == -EBUSY ? ", another XDP program is attached" : ""
                return "native XDP on \(candidate.xdpName): \(errnoText(-result))\(hint)"
            }
            links[candidate.xdpIndex] = OwnedLink(owning: result)
        }
        // Several drivers can transmit frames only since the program is attached, so this is asked afterwards.
        var warnings: [String: String] = [:]
        for candidate in candidates {
            var features: UInt64 = 0
            let result = relay_xdp_features(candidate.xdpIndex, &features)
            if result == 0, features & UInt64(RELAY_XDP_TRANSMIT.rawValue) != 0 { continue }
            let lack =
                result == 0
                ? "\(candidate.xdpName) does not take frames from other interfaces now"
                : "whether \(candidate.xdpName) takes frames from other interfaces is unknown"
            if candidate.interface.mode == .auto { return lack }
            warnings[candidate.interface.name] = lack
        }
        holds = links.values.map { .link($0) }
        for candidate in candidates {
            let name = candidate.interface.name
            let place = candidate.xdpName == name ? "native XDP" : "native XDP on \(candidate.xdpName)"
            note(name, .xdp, warnings[name].map { "\(place), but \($0)" } ?? place)
        }
        return nil
    }

    private mutating func attachTC(_ program: CInt, because obstacle: String) {
        for candidate in candidates {
            let index = candidate.facts.index
            var result = ingress == .filter ? -EINVAL : relay_link_tcx(program, index)
            var hook = "TC ingress (TCX)"
            if result >= 0 {
                holds.append(.link(OwnedLink(owning: result)))
            } else {
                // Before Linux 6.6.
                hook = "TC ingress (clsact)"
                result = relay_clsact_attach(program, index)
                if result >= 0 { holds.append(.filter(index)) }
            }
            if result >= 0 {
                note(candidate.interface.name, .tc, "\(hook): \(obstacle)")
            } else {
                ringCandidates.append((candidate, "\(hook): \(errnoText(-result)); \(obstacle)"))
                candidates.removeAll { $0.facts.index == index }
            }
        }
    }

    mutating func note(_ name: String, _ mode: FastPathAttachment.Mode, _ reason: String) {
        attachments.append(FastPathAttachment(interface: name, mode: mode, reason: reason))
    }
}
