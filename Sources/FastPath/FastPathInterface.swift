/// An interface the relay may use, and how the configuration wants it attached.
package struct FastPathInterface: Hashable, Sendable {
    package enum Mode: String, Hashable, Sendable, CaseIterable {
        /// Native XDP where every interface of the set has it and delivery is certain, else TC ingress, else rings.
        case auto
        /// Native XDP, if every other interface agrees; else as `auto`, with a reason.
        case xdp
        /// TC ingress, and then for every interface of the set but those with rings; else rings.
        case tc
        /// AF_PACKET rings, relayed in user space.
        case ring
        /// Not used: its media goes through sockets.
        case off
    }

    /// As Linux names it, for instance `lan0` or `eth0.10`.
    package var name: String
    package var mode: Mode

    package init(name: String, mode: Mode = .auto) {
        self.name = name
        self.mode = mode
    }
}

/// What became of an interface.
package struct FastPathAttachment: Hashable, Sendable {
    package enum Mode: String, Hashable, Sendable { case xdp, tc, ring, none }

    package var interface: String
    package var mode: Mode
    /// One sentence for the operator: why this mode and no better one.
    package var reason: String
}

/// What the world refused: the call, whom it concerned, the errno and what else is known.
package struct FastPathError: Error, Hashable, Sendable, CustomStringConvertible {
    /// As in the manual: `bpf_object__load`, `if_nametoindex`.
    package var call: String
    /// A file, an interface or a flow.
    package var object: String
    /// A positive errno.
    package var code: CInt
    /// The end of libbpf's and the verifier's log, or a hint; may be empty.
    package var detail: String

    package init(call: String, object: String, code: CInt, detail: String = "") {
        self.call = call
        self.object = object
        self.code = code < 0 ? -code : code
        self.detail = detail
    }

    package var description: String {
        "\(call) (\(object)): \(errnoText(code))" + (detail.isEmpty ? "" : ": \(detail)")
    }
}

/// How the packets of known flows, and those to guarded ports, ended, on one interface or on all.
package struct FastPathOutcomes: Hashable, Sendable {
    package var relayed: UInt64 = 0
    package var droppedWrongSource: UInt64 = 0
    package var droppedMalformed: UInt64 = 0
    /// The kernel had no memory for a VLAN tag.
    package var droppedNoRoom: UInt64 = 0
    /// Without a flow, to a port that `FastPath.guardPorts` covers and no socket is bound to.
    package var droppedClosedPort: UInt64 = 0
    /// Without a flow, from here on by the shield: the source is blocked.
    package var droppedBlocked: UInt64 = 0
    /// To a SIP address: lengths that lie, IPv4 options, IPv6 extension headers.
    package var droppedUnusual: UInt64 = 0
    /// To a SIP port, but neither a message nor a keepalive.
    package var droppedNotSIP: UInt64 = 0
    /// Signalling beyond the rate of its source.
    package var droppedSourceRate: UInt64 = 0
    /// Signalling of unknown sources beyond their common rate.
    package var droppedUnknownRate: UInt64 = 0
    /// Passed, here and below: untouched to the bound socket, which may relay them.
    package var passedWrongSource: UInt64 = 0
    /// Lengths that disagree, several datagrams in one buffer, IPv6 without a checksum.
    package var passedUnusual: UInt64 = 0
    package var passedTimeToLive: UInt64 = 0
    package var passedNoRoute: UInt64 = 0
    package var passedNoNeighbour: UInt64 = 0
    package var passedTooLarge: UInt64 = 0
    /// The route leads out of an interface that is not in the set.
    package var passedForeignInterface: UInt64 = 0

    package init() {}

    package static func += (left: inout Self, right: Self) {
        for path in Self.inMapOrder { left[keyPath: path] &+= right[keyPath: path] }
    }

    /// In the order of `enum relay_outcome`.
    nonisolated(unsafe) static let inMapOrder: [WritableKeyPath<Self, UInt64>] = [
        \.relayed, \.droppedWrongSource, \.droppedMalformed, \.droppedNoRoom, \.droppedClosedPort,
        \.droppedBlocked, \.droppedUnusual, \.droppedNotSIP, \.droppedSourceRate, \.droppedUnknownRate,
        \.passedWrongSource,
        \.passedUnusual, \.passedTimeToLive, \.passedNoRoute, \.passedNoNeighbour, \.passedTooLarge,
        \.passedForeignInterface,
    ]
}

/// Since `FastPath` was started.
package struct FastPathTotals: Hashable, Sendable {
    /// By the name of the interface the packets arrived at; VLAN devices under native XDP count at their parent.
    package var interfaces: [String: FastPathOutcomes] = [:]

    package var sum: FastPathOutcomes { interfaces.values.reduce(into: FastPathOutcomes()) { $0 += $1 } }
}

/// What `FastPath` made of a flow, or of guarded ranges.
package enum FastPathResult: Hashable, Sendable {
    /// The kernel relays the flow, or guards the ranges, from now on.
    case applied
    /// The kernel cannot: a flow has to go through the sockets, whatever was relayed for its key before is gone.
    case unsupported(Reason)

    package enum Reason: String, Hashable, Sendable {
        /// IPv4 and IPv6 on the same side.
        case mixedFamilies
        /// More mappings than fit, a number above 127, or a mapping on RTCP.
        case payloadTypes
        /// An unspecified or multicast address, or port 0.
        case address
        /// As many flows, or ranges, as the table holds.
        case tableFull
        /// No interface has the program.
        case notAttached
        /// The flow says so itself.
        case userSpace
    }
}
