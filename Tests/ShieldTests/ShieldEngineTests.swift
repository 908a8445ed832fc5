import Primitives
import Testing

@testable import Shield

@Suite("Shield policy")
struct ShieldEngineTests {
    static let scanner = IPAddress("198.51.100.66")!
    static let scannerPrefix = IPPrefix("198.51.100.66/32")!

    static func seconds(_ seconds: Int64) -> MonotonicTime { .zero + .seconds(seconds) }

    static func policy(_ change: (inout ShieldPolicy) -> Void = { _ in }) -> ShieldPolicy {
        var policy = ShieldPolicy(
            scoreLimit: 10, scoreWindow: .seconds(60), blockTime: .seconds(300), blockTimeMax: .seconds(1_000),
            scanners: ["friendly-scanner"], trunks: ["carrier-a": [IPPrefix("203.0.113.0/29")!]])
        change(&policy)
        return policy
    }

    static func drain(_ shield: inout ShieldEngine) -> [ShieldEngine.Output] {
        var outputs: [ShieldEngine.Output] = []
        while let output = shield.nextOutput() { outputs.append(output) }
        return outputs
    }

    static func blocked(
        _ prefix: IPPrefix, until: MonotonicTime, for time: Duration, _ reason: String, _ repetition: Int
    )
        -> [ShieldEngine.Output]
    {
        [.block(prefix, until: until), .event(.blocked(prefix, for: time, reason: reason, repetition: repetition))]
    }

    // MARK: Scores

    struct Series: Sendable, CustomTestStringConvertible {
        let name: String
        let offence: Offence
        /// So many, one every `gap` seconds.
        let count: Int
        let gap: Int64
        /// By the last one.
        let blocks: Bool
        var testDescription: String { name }
    }

    static let series: [Series] = [
        .init(name: "one scanner", offence: .scanner("friendly-scanner"), count: 1, gap: 1, blocks: true),
        .init(name: "four failed authentications", offence: .authenticationFailed, count: 4, gap: 1, blocks: false),
        .init(name: "six failed authentications", offence: .authenticationFailed, count: 6, gap: 1, blocks: true),
        .init(
            name: "a phone with a wrong password", offence: .authenticationFailed, count: 500, gap: 30, blocks: false),
        .init(name: "a patient guesser", offence: .authenticationFailed, count: 60, gap: 10, blocks: true),
        .init(name: "eleven unknown users at once", offence: .unknownUser, count: 5, gap: 0, blocks: true),
        .init(name: "nine malformed messages", offence: .malformed, count: 9, gap: 0, blocks: false),
        .init(name: "ten malformed messages", offence: .malformed, count: 10, gap: 0, blocks: true),
        .init(name: "a stranger on a trunk's realm", offence: .notATrunk, count: 10, gap: 0, blocks: true),
        .init(name: "excess twice", offence: .excess(9_999), count: 2, gap: 1, blocks: false),
        .init(name: "excess three times", offence: .excess(9_999), count: 3, gap: 1, blocks: true),
    ]

    @Test("blocks when enough points come together in time", arguments: series)
    func scores(_ sample: Series) {
        var shield = ShieldEngine(policy: Self.policy())
        for index in 0..<sample.count {
            shield.note(sample.offence, from: Self.scanner, at: Self.seconds(Int64(index) * sample.gap)) { _ in [] }
        }
        #expect(shield.isBlocked(Self.scanner) == sample.blocks)
        #expect(Self.drain(&shield).isEmpty != sample.blocks)
        #expect(!shield.isBlocked(IPAddress("198.51.100.67")!), "nobody else is blamed")
    }

    @Test("a repetition is blocked for twice as long, up to the maximum, and forgotten after it")
    func repetition() throws {
        var shield = ShieldEngine(policy: Self.policy())
        var now = Self.seconds(0)
        for (number, time) in [300, 600, 1_000, 1_000].enumerated() {
            shield.note(.scanner("x"), from: Self.scanner, at: now) { _ in [] }
            #expect(
                Self.drain(&shield)
                    == Self.blocked(
                        Self.scannerPrefix, until: now + .seconds(time), for: .seconds(time), "scanner x", number + 1))
            now = now + .seconds(time)
            #expect(shield.nextDeadline == now)
            shield.note(.scanner("x"), from: Self.scanner, at: now) { _ in [] }
            #expect(Self.drain(&shield) == [], "what was still under way does not prolong it")
            shield.advance(to: now)
            #expect(Self.drain(&shield) == [.unblock(Self.scannerPrefix), .event(.blockEnded(Self.scannerPrefix))])
            #expect(!shield.isBlocked(Self.scanner))
        }
        now = now + .seconds(1_001)
        shield.note(.scanner("x"), from: Self.scanner, at: now) { _ in [] }
        #expect(
            Self.drain(&shield)
                == Self.blocked(Self.scannerPrefix, until: now + .seconds(300), for: .seconds(300), "scanner x", 1))
    }

    @Test("an IPv6 source is its /64")
    func prefix64() {
        var shield = ShieldEngine(policy: Self.policy())
        for host in 1...5 {
            shield.note(.unknownUser, from: IPAddress("2001:db8:9::\(host)")!, at: .zero) { _ in [] }
        }
        #expect(shield.blocked.map(\.prefix) == [IPPrefix("2001:db8:9::/64")!])
        #expect(shield.isBlocked(IPAddress("2001:db8:9::ffff")!))
        #expect(!shield.isBlocked(IPAddress("2001:db8:a::1")!))
    }

    // MARK: What is never blocked automatically

    struct Protected: Sendable, CustomTestStringConvertible {
        let name: String
        let source: String
        let change: @Sendable (inout ShieldPolicy) -> Void
        let uses: [Protection]
        let expected: [Protection]
        var testDescription: String { name }
    }

    static let protected: [Protected] = [
        .init(name: "trunk", source: "203.0.113.3", change: { _ in }, uses: [], expected: [.trunk("carrier-a")]),
        .init(
            name: "station", source: "192.168.50.9", change: { _ in }, uses: [.station("2001")],
            expected: [.station("2001")]),
        .init(
            name: "emergency call", source: "192.168.50.9", change: { _ in }, uses: [.emergencyCall("7")],
            expected: [.emergencyCall("7")]),
        .init(
            name: "console", source: "192.0.2.8", change: { $0.consoles = [IPPrefix("192.0.2.0/24")!] }, uses: [],
            expected: [.console(IPPrefix("192.0.2.0/24")!)]),
        .init(
            name: "allowed", source: "192.0.2.8", change: { $0.allowed = [IPPrefix("192.0.2.0/24")!] }, uses: [],
            expected: [.allowed(IPPrefix("192.0.2.0/24")!)]),
    ]

    @Test("refuses to block what is protected, and says so once", arguments: protected)
    func refusal(_ sample: Protected) throws {
        let source = try #require(IPAddress(sample.source))
        var shield = ShieldEngine(policy: Self.policy(sample.change))
        for second in 0..<100 {
            shield.note(.scanner("x"), from: source, at: Self.seconds(Int64(second))) { _ in sample.uses }
        }
        #expect(
            Self.drain(&shield)
                == [
                    .event(
                        .blockRefused(IPPrefix(source: source), reason: "scanner x", protections: sample.expected))
                ])
        #expect(!shield.isBlocked(source))
        #expect(shield.counters.refusedBlocks == 100)
        shield.note(.scanner("x"), from: source, at: Self.seconds(301)) { _ in sample.uses }
        #expect(Self.drain(&shield).count == 1, "after the block time it is said again")
    }

    @Test("does nothing while it is switched off, and ends what it did")
    func off() {
        var shield = ShieldEngine(policy: Self.policy())
        shield.note(.scanner("x"), from: Self.scanner, at: .zero) { _ in [] }
        _ = Self.drain(&shield)
        shield.reconfigure(Self.policy { $0.isOn = false })
        #expect(Self.drain(&shield) == [.unblock(Self.scannerPrefix)])
        shield.note(.scanner("x"), from: Self.scanner, at: .zero) { _ in [] }
        #expect(Self.drain(&shield) == [])
        #expect(shield.admits(Self.scanner, at: .zero) == true)
    }

    @Test("a source that becomes a trunk is blocked no longer")
    func becomesTrunk() {
        var shield = ShieldEngine(policy: Self.policy())
        shield.note(.scanner("x"), from: Self.scanner, at: .zero) { _ in [] }
        _ = Self.drain(&shield)
        shield.reconfigure(Self.policy { $0.trunks["carrier-b"] = [Self.scannerPrefix] })
        #expect(Self.drain(&shield) == [.standingsChanged, .unblock(Self.scannerPrefix)])
    }

    @Test("a source that proves to be a station is blocked no longer")
    func becomesStation() {
        var shield = ShieldEngine(policy: Self.policy())
        shield.note(.scanner("x"), from: Self.scanner, at: .zero) { _ in [] }
        _ = Self.drain(&shield)
        shield.noteStations([(Self.scanner, Self.seconds(60))], at: Self.seconds(1))
        #expect(
            Self.drain(&shield)
                == [.unblock(Self.scannerPrefix), .event(.blockEnded(Self.scannerPrefix)), .standingsChanged])
        #expect(!shield.isBlocked(Self.scanner) && shield.nextDeadline == nil)
    }

    @Test("who called for help is served for an hour, whoever blocked him")
    func emergency() {
        var shield = ShieldEngine(policy: Self.policy())
        shield.note(.scanner("x"), from: Self.scanner, at: .zero) { _ in [] }
        #expect(OrderTests.carryOut(OrderTests.order(.block), &shield) == .success([]))
        #expect(shield.isBlocked(Self.scanner))
        #expect(shield.admits(Self.scanner, at: .zero) == false)
        #expect(shield.admits(Self.scanner, hearsEmergencies: true, at: .zero) == true, "so that he can ask")
        shield.noteEmergency(Self.scanner, at: .zero)
        #expect(!shield.isBlocked(Self.scanner))
        #expect(shield.standings[Self.scannerPrefix] == .allowed)
        shield.advance(to: Self.seconds(3_600))
        #expect(shield.isBlocked(Self.scanner) && shield.standings[Self.scannerPrefix] == nil)
    }

    // MARK: Bounds

    @Test("remembers so many sources and blocks so many, whatever comes")
    func bounds() {
        var shield = ShieldEngine(policy: Self.policy())
        for number in 0..<UInt32(20_000) {
            shield.note(.scanner("x"), from: .v4(0x0A00_0000 + number), at: .zero) { _ in [] }
        }
        #expect(shield.sources.count == ShieldEngine.Limits.sourceCountMax)
        #expect(shield.blocked.count == ShieldEngine.Limits.blockCountMax)
        let full = Self.drain(&shield).filter { $0 == .event(.tableFull(maximum: ShieldEngine.Limits.blockCountMax)) }
        #expect(full.count == 1)
        shield.advance(to: Self.seconds(300))
        #expect(shield.blocked.isEmpty)
        shield.note(.scanner("x"), from: .v4(0x0B00_0000), at: Self.seconds(9_999)) { _ in [] }
        #expect(shield.isBlocked(.v4(0x0B00_0000)), "old ones have made room")
    }

    // MARK: Standings

    @Test("each prefix carries the highest standing of all that contain it")
    func standings() {
        var shield = ShieldEngine(
            policy: Self.policy {
                $0.allowed = [IPPrefix("192.0.2.0/24")!]
                $0.trunks["carrier-b"] = [IPPrefix("192.0.2.16/28")!]
            })
        let registered = ["192.168.50.9", "203.0.113.2", "192.0.2.9"].map {
            (address: IPAddress($0)!, expires: Self.seconds(60))
        }
        shield.noteStations(registered, at: .zero)
        #expect(Self.drain(&shield) == [.standingsChanged])
        #expect(
            shield.standings
                == [
                    IPPrefix("192.0.2.0/24")!: .allowed, IPPrefix("192.0.2.16/28")!: .allowed,
                    IPPrefix("203.0.113.0/29")!: .trunk, IPPrefix("203.0.113.2/32")!: .trunk,
                    IPPrefix("192.168.50.9/32")!: .station, IPPrefix("192.0.2.9/32")!: .allowed,
                ])
        // A station is known for a day after its registration, and no longer.
        shield.noteStations([], at: Self.seconds(86_459))
        #expect(Self.drain(&shield) == [])
        shield.noteStations([], at: Self.seconds(86_460))
        #expect(Self.drain(&shield) == [.standingsChanged])
        #expect(shield.standing(of: IPAddress("192.168.50.9")!) == .unknown)
    }

    @Test("a User-Agent gives a scanner away, however it is written")
    func scanners() {
        let shield = ShieldEngine(policy: Self.policy())
        #expect(shield.scanner(inUserAgent: "Friendly-Scanner v2") == "friendly-scanner")
        #expect(shield.scanner(inUserAgent: "Acme Phone 7") == nil)
    }

    // MARK: Without the kernel

    @Test("a source has its burst and its rate, all unknown ones share another, and stations are apart")
    func admission() throws {
        var shield = ShieldEngine(
            policy: Self.policy {
                ($0.sourceRate, $0.sourceBurst) = (10, 3)
                ($0.unknownRate, $0.unknownBurst) = (10, 5)
            })
        func taken(_ source: String, _ now: MonotonicTime) -> Int {
            (0..<10).count { _ in shield.admits(IPAddress(source)!, at: now) }
        }
        #expect(taken("198.51.100.1", .zero) == 3)
        #expect(taken("198.51.100.2", .zero) == 2, "the common bucket is empty")
        #expect(taken("203.0.113.1", .zero) == 10, "a trunk is not limited")
        shield.noteStations([(IPAddress("192.168.50.9")!, Self.seconds(60))], at: .zero)
        #expect(taken("192.168.50.9", .zero) == 10, "nor is a station")
        #expect(taken("198.51.100.1", .zero + .milliseconds(100)) == 1)
        #expect(shield.counters.refusedRate == 7 + 8 + 9)
        shield.note(.scanner("x"), from: Self.scanner, at: .zero) { _ in [] }
        #expect(taken("198.51.100.66", Self.seconds(100)) == 0)
        #expect(shield.counters.refusedBlocked == 10)
    }
}
