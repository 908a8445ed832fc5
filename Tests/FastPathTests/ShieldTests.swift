import CFastPath
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

/// Each verdict of the shield by BPF_PROG_RUN at both entry points; the box's SIP address is that of lan0, port 5060.
@Suite("Shield, packet by packet", .serialized, .enabled(if: isRoot, "BPF needs root"))
struct ShieldTests {
    typealias Hook = FixtureTests.Hook

    enum Verdict: Sendable {
        case passed, blocked, unusual, notSIP, closedPort

        var path: WritableKeyPath<FastPathOutcomes, UInt64>? {
            switch self {
            case .passed: nil
            case .blocked: \.droppedBlocked
            case .unusual: \.droppedUnusual
            case .notSIP: \.droppedNotSIP
            case .closedPort: \.droppedClosedPort
            }
        }
    }

    /// What stands in front of the sender; prefixes are written by its address.
    enum Standing: Sendable {
        case none, blocked, blockedByPrefix, expiredBlock, allowedInBlockedPrefix, blockedInAllowedPrefix
        case stationInBlockedPrefix, station, trunk
    }

    struct Fixture: Sendable {
        var name: String
        var families: [IPAddress.Family] = [.v4, .v6]
        var standing = Standing.none
        /// Changes a request to the SIP port.
        var input: @Sendable (inout Frame) -> Void = { _ in }
        var verdict = Verdict.passed
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let fixture: Fixture
        let family: IPAddress.Family
        let hook: Hook
        var testDescription: String { "\(fixture.name), \(family.rawValue), \(hook.rawValue)" }
    }

    static let request = Array("OPTIONS sip:box SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10\r\n\r\n".utf8)
    static let stun: [UInt8] = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42] + [UInt8](repeating: 7, count: 12)

    static func payload(_ bytes: [UInt8]) -> @Sendable (inout Frame) -> Void { { $0.payload = bytes } }
    static func payload(_ text: String) -> @Sendable (inout Frame) -> Void { payload(Array(text.utf8)) }
    static func port(_ port: UInt16) -> @Sendable (inout Frame) -> Void { { $0.destination.port = port } }

    static let fixtures: [Fixture] = [
        // Signalling and what passes for it
        Fixture(name: "request"),
        Fixture(name: "response", input: payload("SIP/2.0 200 OK\r\n\r\n")),
        Fixture(name: "method of another standard", input: payload("x-y. sip:a SIP/2.0\r\n\r\n")),
        Fixture(name: "line ends before the message", input: payload("\r\n\r\nOPTIONS sip:box SIP/2.0\r\n\r\n")),
        Fixture(name: "CRLF keepalive", input: payload("\r\n\r\n")),
        Fixture(name: "zeros as keepalive", input: payload([0, 0, 0, 0])),
        Fixture(name: "nothing as keepalive", input: payload([])),
        Fixture(name: "STUN", input: payload(stun)),
        Fixture(name: "first fragment", families: [.v4], input: { $0.fragment = 0x2000 }),
        Fixture(name: "later fragment", families: [.v4], input: { $0.fragment = 0x0010 }),

        // What is not
        Fixture(name: "short", input: payload("OPTIONS sip:bo"), verdict: .notSIP),
        Fixture(name: "RTP", input: payload(Frame.rtp()), verdict: .notSIP),
        Fixture(name: "many zeros", input: payload([UInt8](repeating: 0, count: 40)), verdict: .notSIP),
        Fixture(
            name: "STUN without its cookie", input: payload([0, 1] + [UInt8](repeating: 7, count: 30)), verdict: .notSIP
        ),
        Fixture(name: "STUN, cut off", input: payload(Array(stun.prefix(19))), verdict: .notSIP),
        Fixture(name: "a letter and rubbish", input: payload([0x41, 0, 0] + stun), verdict: .notSIP),
        Fixture(name: "rubbish of a station", standing: .station, input: payload(Frame.rtp()), verdict: .notSIP),
        Fixture(name: "UDP longer than IP", input: { $0.udpByteCountError = 1 }, verdict: .unusual),
        Fixture(name: "UDP shorter than IP", input: { $0.udpByteCountError = -1 }, verdict: .unusual),
        Fixture(name: "IPv4 options", families: [.v4], input: { $0.options = [1, 1, 1, 0] }, verdict: .unusual),
        Fixture(
            name: "IPv4 options of a trunk", families: [.v4], standing: .trunk, input: { $0.options = [1, 1, 1, 0] }),
        Fixture(
            name: "IPv6 options", families: [.v6], input: { $0.extensionHeader = [17, 0, 1, 4, 0, 0, 0, 0] },
            verdict: .unusual),

        // Lists
        Fixture(name: "blocked", standing: .blocked, verdict: .blocked),
        Fixture(name: "blocked prefix", standing: .blockedByPrefix, verdict: .blocked),
        Fixture(name: "blocked, other port", standing: .blocked, input: port(22), verdict: .blocked),
        Fixture(
            name: "blocked, other address", standing: .blocked,
            input: {
                $0.destination = Topology.Ends($0.source.address.family).boxWAN
            }, verdict: .blocked),
        Fixture(
            name: "blocked, later fragment", families: [.v4], standing: .blocked, input: { $0.fragment = 0x10 },
            verdict: .blocked),
        Fixture(name: "blocked, rubbish", standing: .blocked, input: payload([1]), verdict: .blocked),
        Fixture(name: "block has expired", standing: .expiredBlock),
        Fixture(name: "allowed inside a blocked prefix", standing: .allowedInBlockedPrefix),
        Fixture(name: "blocked inside an allowed prefix", standing: .blockedInAllowedPrefix, verdict: .blocked),
        Fixture(name: "station inside a blocked prefix", standing: .stationInBlockedPrefix, verdict: .blocked),

        // Silence
        Fixture(name: "closed port", input: port(5061), verdict: .closedPort),
        Fixture(name: "closed port, asked by a station", standing: .station, input: port(5061)),
        Fixture(name: "DHCP", families: [.v4], input: port(68)),
        Fixture(name: "DHCPv6", families: [.v6], input: port(546)),
        Fixture(
            name: "address without signalling",
            input: {
                $0.destination = Topology.Ends($0.source.address.family).boxWAN
            }),
    ]

    static let cases: [Case] = fixtures.flatMap { fixture in
        fixture.families.flatMap { family in Hook.programs.map { Case(fixture: fixture, family: family, hook: $0) } }
    }

    nonisolated(unsafe) static let bench = Result { try FixtureTests.Bench() }

    static func rules(
        silent: Bool = true, source: ShieldRules.Rate = .init(perSecond: 0, burst: 1),
        station: ShieldRules.Rate = .init(perSecond: 0, burst: 1),
        unknown: ShieldRules.Rate = .init(perSecond: 0, burst: 1)
    ) -> ShieldRules {
        ShieldRules(
            endpoints: IPAddress.Family.allCases.map { family in
                .init(
                    address: TransportAddress(Topology.Ends(family).boxLAN.address, 5060), usesUDP: true, usesTCP: true,
                    isSilent: silent, hearsEmergencies: true)
            }, source: source, station: station, unknown: unknown)
    }

    static func frame(_ family: IPAddress.Family) -> Frame {
        let ends = Topology.Ends(family)
        return Frame(
            destinationMAC: Topology.lan0, sourceMAC: Topology.lan, source: ends.phone,
            destination: TransportAddress(ends.boxLAN.address, 5060), payload: request)
    }

    /// Applies what a case needs, and takes it back.
    static func with<Value>(
        _ standing: Standing, of address: IPAddress, _ fastPath: FastPath, _ body: () throws -> Value
    ) throws -> Value {
        let host = try #require(IPPrefix(address: address, bitLength: address.bitCount))
        let net = try #require(IPPrefix(address: address, bitLength: address.bitCount - 8))
        defer { for prefix in [host, net] { _ = (fastPath.unblock(prefix), fastPath.disallow(prefix)) } }
        let past = MonotonicTime(nanoseconds: 1)
        let results: [FastPathResult] =
            switch standing {
            case .none: []
            case .blocked: [try fastPath.block(host, until: nil)]
            case .blockedByPrefix: [try fastPath.block(net, until: MonotonicTime(nanoseconds: .max))]
            case .expiredBlock: [try fastPath.block(host, until: past)]
            case .allowedInBlockedPrefix: [try fastPath.block(net, until: nil), try fastPath.allow(host, as: .allowed)]
            case .blockedInAllowedPrefix: [try fastPath.block(host, until: nil), try fastPath.allow(net, as: .allowed)]
            case .stationInBlockedPrefix: [try fastPath.block(net, until: nil), try fastPath.allow(host, as: .station)]
            case .station: [try fastPath.allow(host, as: .station)]
            case .trunk: [try fastPath.allow(net, as: .trunk)]
            }
        #expect(results.allSatisfy { $0 == .applied })
        return try body()
    }

    @Test("passes or drops, for a reason that is counted", arguments: cases)
    func fixture(_ sample: Case) throws {
        let bench = try Self.bench.get()
        #expect(try bench.fastPath.setShield(Self.rules()) == .applied)
        var input = Self.frame(sample.family)
        sample.fixture.input(&input)
        // Where the SIP port must be open: the shield says nothing of what the stack would answer there.
        try Self.with(sample.fixture.standing, of: input.source.address, bench.fastPath) { () throws in
            var totals = bench.fastPath.totals().sum
            if let path = sample.fixture.verdict.path { totals[keyPath: path] += 1 }
            let action = try Self.run(input.bytes, sample.hook, bench)
            #expect(action == (sample.fixture.verdict == .passed ? .passed : .dropped))
            #expect(bench.fastPath.totals().sum == totals)
        }
    }

    @Test("of IPv6 fragments the first is counted, the others pass", arguments: Hook.programs)
    func fragments(_ hook: Hook) throws {
        let bench = try Self.bench.get()
        #expect(try bench.fastPath.setShield(Self.rules(source: .init(perSecond: 1, burst: 1))) == .applied)
        var input = Self.frame(.v6)
        input.source = Self.fresh(.v6)
        let fragment = { (offset: UInt8) in
            input.extensionHeader = [17, 0, 0, offset << 3 | 1, 0, 0, 0, 7]
            var bytes = input.bytes
            bytes[14 + 6] = 44  // next header: fragment
            return bytes
        }
        #expect(try Self.run(fragment(0), hook, bench) == .passed)
        #expect(try Self.run(fragment(0), hook, bench) == .dropped)
        #expect(try Self.run(fragment(1), hook, bench) == .passed)
    }

    @Test("does nothing while it is switched off", arguments: Hook.programs)
    func off(_ hook: Hook) throws {
        let bench = try Self.bench.get()
        #expect(try bench.fastPath.setShield(nil) == .applied)
        var input = Self.frame(.v4)
        input.payload = Frame.rtp()
        try Self.with(.blocked, of: input.source.address, bench.fastPath) { () throws in
            #expect(try Self.run(input.bytes, hook, bench) == .passed)
        }
    }

    static let help: [[UInt8]] = [
        "INVITE sip:911@192.0.2.1 SIP/2.0", "INVITE sip:9-911@box SIP/2.0\r\nVia", "INVITE tel:+911 SIP/2.0\r\nVia: xy",
        "INVITE urn:service:sos SIP/2.0\r\n", "INVITE URN:SERVICE:SOS.fire SIP/2", "INVITE sips:112@box SIP/2.0\r\nVia",
    ].map { Array($0.utf8) }

    @Test("whoever asks for help passes, blocked or not, whatever is exhausted", arguments: Hook.programs)
    func emergency(_ hook: Hook) throws {
        let bench = try Self.bench.get()
        let rules = Self.rules(source: .init(perSecond: 1, burst: 1))
        #expect(try bench.fastPath.setShield(rules) == .applied)
        for family in IPAddress.Family.allCases {
            var input = Self.frame(family)
            input.source = Self.fresh(family)
            #expect(try Self.run(input.bytes, hook, bench) == .passed)
            #expect(try Self.run(input.bytes, hook, bench) == .dropped, "the bucket is empty")
            for standing in [Standing.none, .blocked] {
                try Self.with(standing, of: input.source.address, bench.fastPath) { () throws in
                    // Forty tokens are there at first, for both hooks.
                    for payload in family == .v4 ? Self.help : [Self.help[0]] {
                        input.payload = payload
                        #expect(
                            try Self.run(input.bytes, hook, bench) == .passed,
                            "\(String(decoding: payload, as: UTF8.self))")
                    }
                    input.payload = Array("INVITE sip:2001@192.0.2.911 SIP/2.0\r\n".utf8)
                    #expect(try Self.run(input.bytes, hook, bench) == .dropped, "a host is no number")
                    input.payload = Array("OPTIONS sip:911@192.0.2.1 SIP/2.0\r\n".utf8)
                    #expect(try Self.run(input.bytes, hook, bench) == .dropped, "no call")
                }
            }
        }
        // Over TCP cressetd hears a blocked source's call for help, and nothing else; a new connection takes a token.
        var connection = Self.frame(.v4)
        connection.source = Self.fresh(.v4)
        try Self.with(.blocked, of: connection.source.address, bench.fastPath) { () throws in
            #expect(try Self.run(connection.bytes(tcpFlags: 0x02), hook, bench) == .passed)
            #expect(try Self.run(connection.bytes(tcpFlags: 0x02), hook, bench) == .dropped, "the bucket is empty")
        }
        guard hook == Hook.programs.last else { return }
        // A forged flood of them has an end, too.
        var flood = Self.frame(.v4)
        flood.payload = Self.help[0]
        let passed = try (0..<100).count { _ in
            flood.source = Self.fresh(.v4)
            return try Self.with(.blocked, of: flood.source.address, bench.fastPath) { () throws in
                try Self.run(flood.bytes, hook, bench) == .passed
            }
        }
        #expect((1...60).contains(passed))
    }

    // MARK: Rates

    @Test("a source has its burst, then its rate; another has its own", arguments: Hook.programs)
    func sourceRate(_ hook: Hook) throws {
        let bench = try Self.bench.get()
        // One token an hour: none comes back during the test.
        let rules = Self.rules(source: .init(perSecond: 1, burst: 5))
        #expect(try bench.fastPath.setShield(rules) == .applied)
        for family in IPAddress.Family.allCases {
            var input = Self.frame(family)
            input.source = Self.fresh(family)
            let before = bench.fastPath.totals().sum.droppedSourceRate
            for _ in 0..<5 { #expect(try Self.run(input.bytes, hook, bench) == .passed) }
            for _ in 0..<3 { #expect(try Self.run(input.bytes, hook, bench) == .dropped) }
            #expect(bench.fastPath.totals().sum.droppedSourceRate == before + 3)
            let limited = bench.fastPath.limitedSources().filter { $0.source == Self.bucket(of: input.source.address) }
            #expect(limited.map(\.dropped) == [3])
            if family == .v6 {
                // Another address of the same /64 shares its bucket.
                guard case .v6(let high, _) = input.source.address else { continue }
                input.source.address = .v6(high, 0x99)
                #expect(try Self.run(input.bytes, hook, bench) == .dropped)
            }
            input.source = Self.fresh(family)
            #expect(try Self.run(input.bytes, hook, bench) == .passed)
        }
    }

    @Test("new connections count as datagrams do; other segments do not", arguments: Hook.programs)
    func connections(_ hook: Hook) throws {
        let bench = try Self.bench.get()
        #expect(
            try bench.fastPath.setShield(Self.rules(silent: false, source: .init(perSecond: 1, burst: 2))) == .applied)
        for family in IPAddress.Family.allCases {
            var input = Self.frame(family)
            input.source = Self.fresh(family)
            #expect(try Self.run(input.bytes(tcpFlags: 0x02), hook, bench) == .passed)
            #expect(try Self.run(input.bytes, hook, bench) == .passed)
            #expect(try Self.run(input.bytes(tcpFlags: 0x02), hook, bench) == .dropped)
            #expect(try Self.run(input.bytes(tcpFlags: 0x12), hook, bench) == .passed)
            #expect(try Self.run(input.bytes(tcpFlags: 0x10), hook, bench) == .passed)
            input.destination.port = 22
            #expect(try Self.run(input.bytes(tcpFlags: 0x02), hook, bench) == .passed)
        }
    }

    @Test(
        "unknown sources share a bucket, which stations and trunks do not touch; a trunk's responses have no limit",
        arguments: Hook.programs)
    func reserve(_ hook: Hook) throws {
        let bench = try Self.bench.get()
        let rules = Self.rules(
            source: .init(perSecond: 1, burst: 3), station: .init(perSecond: 1, burst: 4),
            unknown: .init(perSecond: 1, burst: 6))
        #expect(try bench.fastPath.setShield(rules) == .applied)
        var flood = Self.frame(.v4)
        let before = bench.fastPath.totals().sum
        // Until the bucket of the interface is empty, whatever an earlier test left in it.
        var passed = 0
        for _ in 0..<40 {
            flood.source = Self.fresh(.v4)
            if try Self.run(flood.bytes, hook, bench) == .passed { passed += 1 }
        }
        #expect(passed <= 6)
        #expect(bench.fastPath.totals().sum.droppedUnknownRate == before.droppedUnknownRate + 40 - UInt64(passed))

        var station = Self.frame(.v4)
        station.source = Self.fresh(.v4)
        try Self.with(.station, of: station.source.address, bench.fastPath) { () throws in
            for _ in 0..<4 { #expect(try Self.run(station.bytes, hook, bench) == .passed) }
            #expect(try Self.run(station.bytes, hook, bench) == .dropped, "a station has a limit, too")
        }
        var trunk = Self.frame(.v6)
        trunk.source = Self.fresh(.v6)
        try Self.with(.trunk, of: trunk.source.address, bench.fastPath) { () throws in
            for _ in 0..<4 { #expect(try Self.run(trunk.bytes, hook, bench) == .passed) }
            #expect(try Self.run(trunk.bytes, hook, bench) == .dropped, "its address may be forged")
            trunk.payload = Array("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.10\r\n\r\n".utf8)
            for _ in 0..<50 { #expect(try Self.run(trunk.bytes, hook, bench) == .passed) }
        }
        try Self.with(.allowedInBlockedPrefix, of: trunk.source.address, bench.fastPath) { () throws in
            trunk.payload = Self.request
            for _ in 0..<50 { #expect(try Self.run(trunk.bytes, hook, bench) == .passed) }
        }
    }

    @Test("closed TCP ports are silent, open ones are not", arguments: Hook.programs)
    func silence(_ hook: Hook) throws {
        let bench = try Self.bench.get()
        #expect(try bench.fastPath.setShield(Self.rules()) == .applied)
        var input = Self.frame(.v4)
        input.destination.port = 8080
        #expect(try Self.run(input.bytes(tcpFlags: 0x02), hook, bench) == .dropped)
        #expect(try Self.run(input.bytes(tcpFlags: 0x10), hook, bench) == .dropped)
        let descriptor = try bench.topology.box.run { try Self.listen(at: 8080) }
        defer { close(descriptor) }
        #expect(try Self.run(input.bytes(tcpFlags: 0x02), hook, bench) == .passed)
    }

    @Test("blocks tell how much they stopped, and end", arguments: Hook.programs)
    func blocks(_ hook: Hook) throws {
        let bench = try Self.bench.get()
        #expect(try bench.fastPath.setShield(Self.rules()) == .applied)
        let input = Self.frame(.v4)
        let prefix = try #require(IPPrefix("192.0.2.8/29"))
        #expect(try bench.fastPath.block(prefix, until: nil) == .applied)
        #expect(try Self.run(input.bytes, hook, bench) == .dropped)
        #expect(try bench.fastPath.block(prefix, until: MonotonicTime(nanoseconds: .max)) == .applied)
        #expect(try Self.run(input.bytes, hook, bench) == .dropped)
        #expect(bench.fastPath.blockedPackets(of: prefix) == 2, "a new time keeps the count")
        #expect(bench.fastPath.blockedPackets(of: try #require(IPPrefix("192.0.2.10/32"))) == nil)
        #expect(bench.fastPath.unblock(prefix))
        #expect(!bench.fastPath.unblock(prefix))
        #expect(try Self.run(input.bytes, hook, bench) == .passed)
    }

    @Test("takes sixteen endpoints, refuses a seventeenth, and needs an interface")
    func limits() throws {
        let bench = try Self.bench.get()
        var rules = Self.rules()
        rules.endpoints = [ShieldRules.Endpoint](repeating: rules.endpoints[0], count: 16)
        #expect(try bench.fastPath.setShield(rules) == .applied)
        rules.endpoints.append(rules.endpoints[0])
        #expect(try bench.fastPath.setShield(rules) == .unsupported(.tableFull))
        let detached = try FastPath(interfaces: [])
        #expect(try detached.setShield(rules) == .unsupported(.notAttached))
        #expect(try detached.block(try #require(IPPrefix("192.0.2.0/24")), until: nil) == .unsupported(.notAttached))
    }

    // MARK: Helpers

    nonisolated(unsafe) private static var freshCount: UInt32 = 0

    /// A source no test has used; in IPv6 of a /64 of its own.
    static func fresh(_ family: IPAddress.Family) -> TransportAddress {
        freshCount += 1
        return TransportAddress(
            family == .v4 ? .v4(0x0A00_0000 + freshCount << 8) : .v6(0x2001_0db8_7777_0000 + UInt64(freshCount), 5),
            5060)
    }

    static func bucket(of address: IPAddress) -> IPAddress {
        guard case .v6(let high, _) = address else { return address }
        return .v6(high, 0)
    }

    static func listen(at port: UInt16) throws -> CInt {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0, Glibc.listen(descriptor, 4) == 0 else { throw SetupError("listen: \(errno)") }
        return descriptor
    }

    /// In the namespace of the box; the packet itself is never changed.
    static func run(_ packet: [UInt8], _ hook: Hook, _ bench: FixtureTests.Bench) throws -> FixtureTests.End {
        let program = try #require(bench.fastPath.program)
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
        case (.xdp, XDP_PASS.rawValue), (.tc, UInt32.max): return .passed
        default: return .relayed
        }
    }
}

extension Frame {
    /// The same addresses and ports, but a TCP segment with these flags and nothing in it.
    func bytes(tcpFlags: UInt8) -> [UInt8] {
        var frame = self
        frame.payload = [UInt8](repeating: 0, count: 12)  // with the UDP header it is as long as a TCP header
        var bytes = frame.bytes
        let network = 14
        bytes[network + (source.address.family == .v4 ? 9 : 6)] = 6
        bytes[network + (source.address.family == .v4 ? 20 : 40) + 12] = 5 << 4
        bytes[network + (source.address.family == .v4 ? 20 : 40) + 13] = tcpFlags
        return bytes
    }
}
