import CFastPath
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

@Suite("Guarded ports", .serialized, .enabled(if: isRoot, "BPF needs root"))
struct GuardTests {
    enum Socket: Sendable {
        /// Of the address and port the packet goes to, or of another port.
        case bound(portOffset: UInt16)
        /// Of the port of all addresses of a family.
        case wildcard(IPAddress.Family)
        /// Of the right address and port, but talking to the sender's port and this much.
        case connected(peerPortOffset: UInt16)
    }

    struct Fixture: Sendable {
        var name: String
        var families: [IPAddress.Family] = [.v4, .v6]
        var hooks = FixtureTests.Hook.programs
        /// Changes a packet to the first guarded port of the LAN, which is closed.
        var input: @Sendable (inout Frame) -> Void = { _ in }
        var socket: Socket?
        var dropped: Bool
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let fixture: Fixture
        let family: IPAddress.Family
        let hook: FixtureTests.Hook
        var testDescription: String { "\(fixture.name), \(family.rawValue), \(hook.rawValue)" }
    }

    static let fixtures: [Fixture] = [
        Fixture(name: "first port", dropped: true),
        Fixture(name: "last port", input: { $0.destination.port = 20_099 }, dropped: true),
        Fixture(name: "one below", input: { $0.destination.port = 19_999 }, dropped: false),
        Fixture(name: "one above", input: { $0.destination.port = 20_100 }, dropped: false),
        Fixture(name: "highest port", input: { $0.destination.port = 65_535 }, dropped: true),
        Fixture(
            name: "second range, of the other side",
            input: { $0.destination = Topology.Ends($0.source.address.family).boxWAN }, dropped: true),
        Fixture(
            name: "port of the other side's range", input: { $0.destination.port = 30_000 }, dropped: false),
        Fixture(name: "not media", input: { $0.payload = [] }, dropped: true),
        Fixture(name: "no checksum", families: [.v4], input: { $0.checksum = .zero }, dropped: true),
        Fixture(name: "tagged", hooks: [.xdp], input: { $0.tags = [10] }, dropped: true),
        Fixture(name: "bound", socket: .bound(portOffset: 0), dropped: false),
        Fixture(name: "another port is bound", socket: .bound(portOffset: 1), dropped: true),
        Fixture(name: "bound for all addresses", families: [.v4], socket: .wildcard(.v4), dropped: false),
        Fixture(name: "bound for all addresses of both families", socket: .wildcard(.v6), dropped: false),
        Fixture(name: "bound in the other family", families: [.v6], socket: .wildcard(.v4), dropped: true),
        Fixture(name: "connected to the sender", socket: .connected(peerPortOffset: 0), dropped: false),
        Fixture(name: "connected to somebody else", socket: .connected(peerPortOffset: 1), dropped: true),
        Fixture(name: "first fragment", families: [.v4], input: { $0.fragment = 0x2000 }, dropped: false),
        Fixture(name: "later fragment", families: [.v4], input: { $0.fragment = 0x0010 }, dropped: false),
        Fixture(name: "IPv4 options", families: [.v4], input: { $0.options = [1, 1, 1, 0] }, dropped: false),
        Fixture(
            name: "IPv6 fragment", families: [.v6], input: { $0.extensionHeader = [17, 0, 0, 1, 0, 0, 0, 7] },
            dropped: false),
    ]

    static let cases: [Case] = fixtures.flatMap { fixture in
        fixture.families.flatMap { family in
            fixture.hooks.map { Case(fixture: fixture, family: family, hook: $0) }
        }
    }

    typealias Ranges = [(address: IPAddress, ports: ClosedRange<UInt16>)]

    static func ranges(_ family: IPAddress.Family) -> Ranges {
        let ends = Topology.Ends(family)
        return [
            (ends.boxLAN.address, 20_000...20_099), (ends.boxWAN.address, 30_000...30_099),
            (ends.boxLAN.address, 65_535...65_535),
        ]
    }

    nonisolated(unsafe) static let bench = Result { try FixtureTests.Bench() }

    @Test("drops what has neither a flow nor a socket, and nothing else", arguments: cases)
    func fixture(_ sample: Case) throws {
        let bench = try Self.bench.get()
        let ends = Topology.Ends(sample.family)
        let ranges = IPAddress.Family.allCases.flatMap(Self.ranges)
        #expect(try bench.fastPath.guardPorts(ranges) == .applied)
        var input = Frame(
            destinationMAC: Topology.lan0, sourceMAC: Topology.lan, source: ends.phone, destination: ends.boxLAN,
            payload: Frame.rtp())
        sample.fixture.input(&input)
        let socket = try bench.topology.box.run { try Self.open(sample.fixture.socket, for: input) }
        var totals = bench.fastPath.totals().sum
        if sample.fixture.dropped { totals.droppedClosedPort += 1 }

        let action = try Self.run(input, sample.hook, bench)
        #expect(action == (sample.fixture.dropped ? .dropped : .passed))
        #expect(bench.fastPath.totals().sum == totals)
        withExtendedLifetime(socket) {}
    }

    private static func open(_ socket: Socket?, for input: Frame) throws -> UDPSocket? {
        let destination = input.destination
        switch socket {
        case nil: return nil
        case .bound(let offset): return try UDPSocket(.init(destination.address, destination.port + offset))
        case .wildcard(let family):
            return try UDPSocket(.init(family == .v4 ? .v4(0) : .v6(0, 0), destination.port))
        case .connected(let offset):
            let socket = try UDPSocket(destination)
            try socket.connect(to: .init(input.source.address, input.source.port + offset))
            return socket
        }
    }

    /// In the namespace of the box; the packet itself is never changed.
    private static func run(
        _ input: Frame, _ hook: FixtureTests.Hook, _ bench: FixtureTests.Bench
    ) throws -> FixtureTests.End {
        let program = try #require(bench.fastPath.program)
        let packet = input.bytes
        var output = [UInt8](repeating: 0, count: 2048)
        var result = relay_run_result()
        let code = try bench.topology.box.run {
            relay_run(
                hook == .xdp ? program.xdp : program.tc, hook == .xdp, bench.lan0, 1, packet, UInt32(packet.count),
                &output, UInt32(output.count), &result)
        }
        try #require(code == 0, "\(String(cString: strerror(-code)))")
        switch (hook, result.action) {
        case (.xdp, XDP_DROP.rawValue), (.tc, 2): return .dropped
        case (.xdp, XDP_PASS.rawValue), (.tc, UInt32.max):
            #expect(output.prefix(Int(result.byte_count)) == packet[...])
            return .passed
        default: return .relayed
        }
    }

    @Test("takes sixteen ranges, refuses a seventeenth, and replaces them all", arguments: FixtureTests.Hook.programs)
    func limits(_ hook: FixtureTests.Hook) throws {
        let bench = try Self.bench.get()
        let ends = Topology.Ends(.v4)
        let input = Frame(
            destinationMAC: Topology.lan0, sourceMAC: Topology.lan, source: ends.phone, destination: ends.boxLAN,
            payload: Frame.rtp())
        var ranges: Ranges = (1...15).map { (ends.boxLAN.address, $0 * 100...$0 * 100 + 9) }
        ranges.append((ends.boxLAN.address, 20_000...20_000))
        #expect(try bench.fastPath.guardPorts(ranges) == .applied)
        #expect(try Self.run(input, hook, bench) == .dropped, "the sixteenth counts")
        #expect(
            try bench.fastPath.guardPorts(ranges + [(ends.boxWAN.address, 1...2)]) == .unsupported(.tableFull))
        #expect(try bench.fastPath.guardPorts([(.v4(0), 1...2)]) == .unsupported(.address))
        #expect(try Self.run(input, hook, bench) == .dropped, "the old ones remain")
        #expect(try bench.fastPath.guardPorts(Array(ranges.dropLast())) == .applied)
        #expect(try Self.run(input, hook, bench) == .passed)
        #expect(try bench.fastPath.guardPorts([]) == .applied)
        #expect(try Self.run(input, hook, bench) == .passed)
    }

    @Test("has nothing to guard with where nothing is attached")
    func detached() throws {
        let fastPath = try FastPath(interfaces: [])
        #expect(try fastPath.guardPorts(Self.ranges(.v4)) == .unsupported(.notAttached))
    }

    struct Live: Sendable, CustomTestStringConvertible {
        let path: LiveTests.Path
        let family: IPAddress.Family
        var testDescription: String { "\(path), \(family)" }
    }

    static let live: [Live] = LiveTests.Path.programs.flatMap { path in
        IPAddress.Family.allCases.map { Live(path: path, family: $0) }
    }

    @Test("a scanner hears nothing of guarded ports; sockets and flows get their packets", arguments: live)
    func scanned(_ sample: Live) throws {
        let topology = try Topology()
        let fastPath = try LiveTests.start(sample.path, topology)
        let ends = Topology.Ends(sample.family)
        let scanner = try topology.phone.run { try UDPSocket(ends.phone) }
        let bound = try topology.box.run { try UDPSocket(.init(ends.boxLAN.address, 20_050)) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        let unreachable = sample.family == .v4 ? "Icmp:InDestUnreachs" : "Icmp6InDestUnreachs"
        let noPorts = sample.family == .v4 ? "Udp:NoPorts" : "Udp6NoPorts"
        #expect(try fastPath.guardPorts(Self.ranges(sample.family)) == .applied)

        for port: UInt16 in 20_000...20_099 where port != 20_050 {
            try scanner.send(Frame.rtp(), to: .init(ends.boxLAN.address, port))
        }
        try scanner.send(Frame.rtp(sequence: 2), to: .init(ends.boxLAN.address, 20_050))
        #expect(bound.receive()?.bytes == Frame.rtp(sequence: 2))
        // A flow needs no socket behind it.
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        try scanner.send(Frame.rtp(sequence: 3), to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == Frame.rtp(sequence: 3))
        #expect(try topology.phone.run { networkFaults() } == [:])
        #expect(try topology.box.run { networkFaults() } == [:])
        #expect(fastPath.totals().interfaces["lan0"]?.droppedClosedPort == 99)

        // Outside of the ranges all is as ever, and inside once they are given up.
        try scanner.send(Frame.rtp(), to: .init(ends.boxLAN.address, 20_100))
        #expect(try Self.faults(in: topology.phone, reach: 1, of: unreachable) == [unreachable: 1])
        #expect(try topology.box.run { networkFaults() } == [noPorts: 1])
        #expect(try fastPath.guardPorts([]) == .applied)
        try scanner.send(Frame.rtp(), to: .init(ends.boxLAN.address, 20_001))
        #expect(try Self.faults(in: topology.phone, reach: 2, of: unreachable) == [unreachable: 2])
        #expect(fastPath.totals().sum.droppedClosedPort == 99)
    }

    /// Waits a second at most.
    private static func faults(in namespace: Namespace, reach count: Int, of name: String) throws -> [String: Int] {
        for _ in 0..<100 where try namespace.run({ networkFaults()[name] ?? 0 }) < count { usleep(10_000) }
        return try namespace.run { networkFaults() }
    }
}
