import CNamespaces
import FastPath
import Glibc
import MediaFormats
import Primitives

/// Three namespaces, wired:  phone (lan) ═══ lan0 (box) wan0 ═══ (wan) carrier.
/// Neighbours are static, but for those a test wants unknown.
final class Topology {
    let phone: Namespace
    let box: Namespace
    let carrier: Namespace

    static let lan0 = MAC("02:00:00:00:01:01")
    static let lan = MAC("02:00:00:00:01:0a")
    static let wan0 = MAC("02:00:00:00:02:01")
    static let wan = MAC("02:00:00:00:02:0a")

    /// The four ends of one stream, in both families.
    struct Ends: Sendable, CustomStringConvertible {
        let phone: TransportAddress
        let boxLAN: TransportAddress
        let boxWAN: TransportAddress
        let carrier: TransportAddress
        var description: String { phone.address.family.rawValue }

        /// `far` is the family of the carrier's side.
        init(_ family: IPAddress.Family, far: IPAddress.Family? = nil, offset: UInt16 = 0) {
            let v4 = family == .v4
            let farV4 = (far ?? family) == .v4
            phone = .init(v4 ? .v4(0xC000_020A) : .v6(0x2001_0db8_0001_0000, 0xA), 4000 + offset)
            boxLAN = .init(v4 ? .v4(0xC000_0201) : .v6(0x2001_0db8_0001_0000, 1), 20000 + offset)
            boxWAN = .init(farV4 ? .v4(0xC633_6401) : .v6(0x2001_0db8_0002_0000, 1), 30000 + offset)
            carrier = .init(farV4 ? .v4(0xC633_640A) : .v6(0x2001_0db8_0002_0000, 0xA), 5000 + offset)
        }

        var outward: MediaFlow {
            MediaFlow(
                local: boxLAN, kind: .rtp, acceptedSource: phone, wrongSource: .drop, rewrittenSource: boxWAN,
                rewrittenDestination: carrier)
        }

        var inward: MediaFlow {
            MediaFlow(
                local: boxWAN, kind: .rtp, acceptedSource: carrier, wrongSource: .drop, rewrittenSource: boxLAN,
                rewrittenDestination: phone)
        }
    }

    init() throws {
        (phone, box, carrier) = (try Namespace(), try Namespace(), try Namespace())
        for (peer, ours, ourMAC, theirs, theirMAC, net) in [
            (phone, "lan0", Self.lan0, "lan", Self.lan, ("192.0.2", "2001:db8:1::")),
            (carrier, "wan0", Self.wan0, "wan", Self.wan, ("198.51.100", "2001:db8:2::")),
        ] {
            try box.ip(
                "link add \(ours) address \(ourMAC) type veth peer name \(theirs) address \(theirMAC) netns \(peer.path)"
            )
            for (namespace, name, host, otherHost, otherMAC) in [
                (box, ours, "1", "a", theirMAC), (peer, theirs, "a", "1", ourMAC),
            ] {
                let v4Host = host == "a" ? "10" : host
                let otherV4Host = otherHost == "a" ? "10" : otherHost
                try namespace.ip("addr add \(net.0).\(v4Host)/24 dev \(name)")
                try namespace.ip("-6 addr add \(net.1)\(host)/64 dev \(name) nodad")
                try namespace.ip("link set \(name) up")
                try namespace.ip("neigh add \(net.0).\(otherV4Host) lladdr \(otherMAC) dev \(name)")
                try namespace.ip("neigh add \(net.1)\(otherHost) lladdr \(otherMAC) dev \(name)")
            }
        }
    }

    /// Index of an interface of the box.
    func index(_ name: String) throws -> UInt32 { try box.run { if_nametoindex(name) } }

    /// Both interfaces in one mode.
    func fastPath(_ mode: FastPathInterface.Mode, ingress: FastPath.Ingress = .linkOrFilter) throws -> FastPath {
        try box.run {
            try FastPath(
                interfaces: [.init(name: "lan0", mode: mode), .init(name: "wan0", mode: mode)], flowCountMax: 64,
                ingress: ingress)
        }
    }

    /// Inside the box, where the fast path lives.
    func apply(_ flow: MediaFlow, to fastPath: FastPath) throws -> FastPathResult {
        try box.run { try fastPath.apply(flow) }
    }

    /// So that frames redirected onto the veths arrive (measured: without, every one is lost).
    func letPeersTakeFrames() throws {
        _ = try SetupError.check(try phone.run { namespace_set_gro("lan", true) }, "GRO on lan")
        _ = try SetupError.check(try carrier.run { namespace_set_gro("wan", true) }, "GRO on wan")
    }
}

/// Whether a test that needs the kernel can run.
let isRoot = geteuid() == 0
