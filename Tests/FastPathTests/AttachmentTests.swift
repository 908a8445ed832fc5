import CNamespaces
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

@Suite("Attaching the relay", .serialized, .enabled(if: isRoot, "BPF needs root"))
struct AttachmentTests {
    @Test("takes TC for veths when it may choose, and says why")
    func automatic() throws {
        let topology = try Topology()
        let fastPath = try topology.fastPath(.auto)
        #expect(fastPath.attachments.map(\.interface) == ["lan0", "wan0"])
        for attachment in fastPath.attachments {
            #expect(attachment.mode == .tc)
            #expect(attachment.reason.contains("lan0 is a veth"))
        }
        try topology.box.run {
            #expect(namespace_tcx_program("lan0") != 0 && namespace_xdp_program("lan0") == 0)
            fastPath.detach()
            #expect(namespace_tcx_program("lan0") == 0 && namespace_tcx_program("wan0") == 0)
        }
        #expect(fastPath.attachments.map(\.mode) == [.none, .none])
        #expect(try topology.apply(Topology.Ends(.v4).outward, to: fastPath) == .unsupported(.notAttached))
    }

    @Test("warns when XDP is asked for and a veth's peer takes no frames")
    func warning() throws {
        let topology = try Topology()
        let deaf = try topology.fastPath(.xdp)
        #expect(deaf.attachments.allSatisfy { $0.mode == .xdp && $0.reason.contains("does not take frames") })
        deaf.detach()
        try topology.letPeersTakeFrames()
        let fine = try topology.fastPath(.xdp)
        #expect(fine.attachments.map(\.reason) == ["native XDP", "native XDP"])
    }

    @Test("uses one mode for the whole set")
    func oneMode() throws {
        let topology = try Topology()
        let fastPath = try topology.box.run {
            try FastPath(interfaces: [.init(name: "lan0", mode: .xdp), .init(name: "wan0", mode: .tc)])
        }
        #expect(fastPath.attachments.map(\.mode) == [.tc, .tc])
        #expect(fastPath.attachments[0].reason.contains("wan0 is configured for TC"))
    }

    @Test("leaves a program of somebody else in its place")
    func busy() throws {
        let topology = try Topology()
        let first = try topology.fastPath(.xdp)
        let there = try topology.box.run { namespace_xdp_program("lan0") }
        let second = try topology.fastPath(.xdp)
        #expect(second.attachments.map(\.mode) == [.tc, .tc])
        #expect(second.attachments[0].reason.contains("another XDP program is attached"))
        #expect(try topology.box.run { namespace_xdp_program("lan0") } == there)
        first.detach()
        second.detach()
        #expect(try topology.fastPath(.xdp).attachments.map(\.mode) == [.xdp, .xdp])
    }

    @Test("leaves a filter of somebody else in its place")
    func foreignFilter() throws {
        let topology = try Topology()
        try topology.box.run {
            for command in [
                "qdisc add dev lan0 clsact",
                "filter add dev lan0 ingress prio 7 protocol ip u32 match u32 0 0 flowid 1:1",
            ] {
                let tc = try ChildProcess(
                    ["/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "tc"]
                        + command.split(separator: " ").map(String.init))
                let (status, output) = tc.wait()
                try #require(status == 0, "tc \(command): \(output)")
            }
        }
        let fastPath = try topology.fastPath(.tc, ingress: .filter)
        #expect(fastPath.attachments.map(\.mode) == [.tc, .tc])
        #expect(try filters(topology, "lan0") == (ours: 1, theirs: 1))
        try topology.box.run { fastPath.detach() }
        #expect(try filters(topology, "lan0") == (ours: 0, theirs: 1))
    }

    private func filters(_ topology: Topology, _ interface: String) throws -> (ours: Int, theirs: Int) {
        let tc = try topology.box.run {
            try ChildProcess([
                "/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "tc", "filter", "show", "dev", interface,
                "ingress",
            ])
        }
        let lines = tc.wait().output.split(separator: "\n")
        return (
            lines.filter { $0.contains("relay_tc") }.count,
            lines.filter { $0.contains("match 00000000/00000000") }.count
        )
    }

    @Test("does nothing where it is switched off or cannot")
    func off() throws {
        let topology = try Topology()
        let fastPath = try topology.box.run {
            try FastPath(interfaces: [.init(name: "lo", mode: .auto), .init(name: "lan0", mode: .off)])
        }
        #expect(fastPath.attachments.map(\.mode) == [.none, .none])
        #expect(fastPath.attachments[0].reason.contains("not an Ethernet interface"))
        #expect(fastPath.attachments[1].reason.contains("switched off"))
        #expect(try topology.apply(Topology.Ends(.v4).outward, to: fastPath) == .unsupported(.notAttached))
        #expect(fastPath.totals() == FastPathTotals())
    }

    @Test("names the interface that does not exist")
    func unknown() throws {
        let topology = try Topology()
        try topology.box.run {
            let error = #expect(throws: FastPathError.self) { try FastPath(interfaces: [.init(name: "eth7")]) }
            #expect(error?.object == "eth7")
            #expect(error?.code == ENODEV)
            #expect(error.map { "\($0)" }?.contains("if_nametoindex (eth7)") == true)
        }
    }

    @Test("keeps counters when a flow is replaced, starts anew when it was removed, ends at its limit")
    func table() throws {
        let topology = try Topology()
        let fastPath = try topology.fastPath(.tc)
        let ends = Topology.Ends(.v4)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        var flow = ends.outward
        #expect(fastPath.counters(for: flow.local) == nil)
        #expect(fastPath.remove(flow.local) == nil)
        for _ in 0..<2 {
            #expect(try topology.apply(flow, to: fastPath) == .applied)
            try phone.send(Frame.rtp(), to: ends.boxLAN)
            #expect(carrier.receive() != nil)
        }
        #expect(fastPath.counters(for: flow.local)?.packets == 2)
        flow.rewrittenDestination.address = .v6(1, 1)
        #expect(try topology.apply(flow, to: fastPath) == .unsupported(.mixedFamilies))
        #expect(fastPath.counters(for: flow.local) == nil, "a flow the kernel cannot relay is not there")

        for index in 0..<64 {
            var each = ends.outward
            each.local.port = 40000 + UInt16(index)
            #expect(try topology.apply(each, to: fastPath) == .applied)
            #expect(fastPath.counters(for: each.local) == MediaFlowCounters())
        }
        #expect(fastPath.flowCount == 64)
        #expect(try topology.apply(ends.outward, to: fastPath) == .unsupported(.tableFull))
        fastPath.remove(.init(ends.boxLAN.address, 40000))
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        #expect(fastPath.counters(for: ends.boxLAN) == MediaFlowCounters())
    }
}

/// The process that owns the fast path is killed or has no rights.
@Suite("Ends and failures of the process", .serialized, .enabled(if: isRoot, "BPF needs root"))
struct ProcessTests {
    /// Beside the test bundle.
    static var holder: String {
        let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        return String(bundle[..<(bundle.lastIndex(of: "/") ?? bundle.startIndex)]) + "/FastPathHolder"
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let mode: FastPathInterface.Mode
        let clsact: Bool
        var testDescription: String { clsact ? "clsact" : mode.rawValue }
    }

    private func start(_ sample: Case, in topology: Topology) throws -> (holder: ChildProcess, lines: [String]) {
        let ends = Topology.Ends(.v4)
        var arguments = [Self.holder] + (sample.clsact ? ["--clsact"] : [])
        arguments += ["lan0=\(sample.mode.rawValue)", "wan0=\(sample.mode.rawValue)"]
        arguments.append("\(ends.boxLAN),\(ends.phone),\(ends.boxWAN),\(ends.carrier)")
        let holder = try topology.box.run { try ChildProcess(arguments) }
        var lines: [String] = []
        while let line = holder.readLine(), line != "ready" { lines.append(line) }
        return (holder, lines)
    }

    @Test(
        "SIGKILL leaves nothing in the way",
        arguments: [Case(mode: .xdp, clsact: false), Case(mode: .tc, clsact: false), Case(mode: .tc, clsact: true)])
    func killed(_ sample: Case) throws {
        let topology = try Topology()
        try topology.letPeersTakeFrames()
        let ends = Topology.Ends(.v4)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        let (holder, lines) = try start(sample, in: topology)
        try #require(lines.count == 2 && lines.allSatisfy { $0.contains(" \(sample.mode.rawValue) ") }, "\(lines)")
        try phone.send(Frame.rtp(sequence: 1), to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == Frame.rtp(sequence: 1))
        let program = try topology.box.run {
            sample.mode == .xdp ? namespace_xdp_program("lan0") : namespace_tcx_program("lan0")
        }
        #expect(sample.clsact || program != 0)

        holder.kill()
        let box = try topology.box.run { try UDPSocket(ends.boxLAN) }  // the port was the holder's until now
        if !sample.clsact {
            for _ in 0..<200 where namespace_program_exists(program) { usleep(10_000) }
            #expect(!namespace_program_exists(program))
            try topology.box.run {
                for interface in ["lan0", "wan0"] {
                    #expect(namespace_xdp_program(interface) == 0)
                    #expect(namespace_tcx_program(interface) == 0)
                }
            }
            try phone.send(Frame.rtp(sequence: 2), to: ends.boxLAN)
            #expect(box.receive()?.bytes == Frame.rtp(sequence: 2))
        }
        // The next start finds a clean table, also where the classic filter outlived its process.
        let fastPath = try topology.fastPath(sample.mode)
        #expect(fastPath.attachments.allSatisfy { $0.mode.rawValue == sample.mode.rawValue })
        try phone.send(Frame.rtp(sequence: 3), to: ends.boxLAN)
        #expect(box.receive()?.bytes == Frame.rtp(sequence: 3))
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        try phone.send(Frame.rtp(sequence: 4), to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == Frame.rtp(sequence: 4))
    }

    @Test("says which calls failed when it has no capabilities")
    func unprivileged() throws {
        let topology = try Topology()
        try topology.fastPath(.tc).detach()  // has set what only root may set
        let line = try startWithout("all", "lan0=auto", in: topology).lines.first ?? ""
        #expect(line.hasPrefix("lan0 none socket(AF_PACKET) (lan0): Operation not permitted"), "\(line)")
        #expect(line.contains("bpf_object__load (relay.bpf.o): Operation not permitted"), "\(line)")
        #expect(line.contains("CAP_BPF") && line.contains("CAP_NET_RAW"), "\(line)")
    }

    /// As in a container that may not load BPF, or on a kernel that refuses the program.
    @Test("takes rings where it may not load the program, and says why", arguments: ["auto", "tc", "xdp"])
    func withoutBPF(_ mode: String) throws {
        let topology = try Topology()
        let ends = Topology.Ends(.v4)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        try topology.fastPath(.tc).detach()  // has set what only root may set
        let (holder, lines) = try startWithout(
            "bpf,-perfmon,-sys_admin", "lan0=\(mode)", "wan0=\(mode)",
            "\(ends.boxLAN),\(ends.phone),\(ends.boxWAN),\(ends.carrier)", in: topology)
        try #require(lines.count == 2, "\(lines)")
        for line in lines {
            #expect(line.contains(" ring AF_PACKET ring: the BPF program cannot be used: bpf_object__load"), "\(line)")
        }
        try phone.send(Frame.rtp(sequence: 1), to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == Frame.rtp(sequence: 1))
        holder.kill()
    }

    private func startWithout(
        _ capabilities: String, _ arguments: String..., in topology: Topology
    ) throws -> (holder: ChildProcess, lines: [String]) {
        let holder = try topology.box.run {
            try ChildProcess(
                ["/usr/bin/setpriv", "--bounding-set=-\(capabilities)", "--inh-caps=-all", Self.holder] + arguments)
        }
        var lines: [String] = []
        while let line = holder.readLine(), line != "ready" { lines.append(line) }
        return (holder, lines)
    }
}
