import MediaEngine
import MediaFormats
import Primitives
import Testing

@Suite("Ports of a leg")
struct PortTests {
    static func engine(_ ports: ClosedRange<UInt16>, seed: UInt64 = 7) -> MediaEngine {
        MediaEngine(
            realms: [lan: MediaRealm(address: lanAddress, ports: ports)], settings: .init(),
            random: RandomSource(seed: seed))
    }

    static func drain(_ engine: inout MediaEngine) -> [Output] {
        var outputs: [Output] = []
        while let output = engine.nextOutput() { outputs.append(output) }
        return outputs
    }

    struct Range: Sendable {
        let ports: ClosedRange<UInt16>
        let pairs: Int
    }

    @Test(
        "takes even and odd pairs that lie wholly in the range",
        arguments: [
            Range(ports: 20_000...20_009, pairs: 5), Range(ports: 20_000...20_008, pairs: 4),
            Range(ports: 20_001...20_008, pairs: 3), Range(ports: 20_001...20_002, pairs: 0),
            Range(ports: 65_530...65_535, pairs: 3), Range(ports: 0...3, pairs: 1), Range(ports: 9...9, pairs: 0),
        ])
    func range(_ sample: Range) throws {
        var engine = Self.engine(sample.ports)
        var seen: Set<UInt16> = []
        for _ in 0..<sample.pairs {
            let leg = try engine.openLeg(realm: lan, streamCount: 1, at: .zero)
            let local = try #require(engine.localAddress(of: leg, stream: 0))
            #expect(local.port % 2 == 0 && sample.ports.contains(local.port) && sample.ports.contains(local.port + 1))
            #expect(seen.insert(local.port).inserted)
        }
        #expect(throws: MediaError.portsExhausted(lan)) { try engine.openLeg(realm: lan, streamCount: 1, at: .zero) }
    }

    @Test("binds both ports, releases both, and lets them rest before they are used again")
    func quarantine() throws {
        var engine = Self.engine(20_000...20_001)
        let leg = try engine.openLeg(realm: lan, streamCount: 1, at: .zero)
        let rtp = TransportAddress(lanAddress, 20_000)
        let rtcp = TransportAddress(lanAddress, 20_001)
        #expect(Self.drain(&engine) == [.bind(rtp), .bind(rtcp)])
        engine.closeLeg(leg, at: seconds(1))
        let statistics = MediaStreamStatistics(local: rtp, source: nil, rtp: .init(), rtcp: .init())
        #expect(Self.drain(&engine) == [.release(rtp), .release(rtcp), .event(.closed(leg, [statistics]))])
        #expect(throws: MediaError.portsExhausted(lan)) {
            try engine.openLeg(realm: lan, streamCount: 1, at: seconds(10.9))
        }
        let next = try engine.openLeg(realm: lan, streamCount: 1, at: seconds(11))
        #expect(next != leg)
        #expect(engine.localAddress(of: next, stream: 0) == rtp)
        #expect(engine.localAddress(of: leg, stream: 0) == nil)
    }

    @Test("gives everything back when a leg with several streams does not fit")
    func exhaustionHalfWay() throws {
        var engine = Self.engine(20_000...20_003)
        #expect(throws: MediaError.portsExhausted(lan)) { try engine.openLeg(realm: lan, streamCount: 3, at: .zero) }
        #expect(Self.drain(&engine).isEmpty)
        _ = try engine.openLeg(realm: lan, streamCount: 2, at: .zero)
    }

    @Test("more streams come behind the ones there are, whose ports stay")
    func moreStreams() throws {
        var engine = Self.engine(20_000...20_009)
        let leg = try engine.openLeg(realm: lan, streamCount: 1, at: .zero)
        let first = engine.localAddress(of: leg, stream: 0)
        try engine.ensureStreams(leg, count: 3, at: .zero)
        try engine.ensureStreams(leg, count: 2, at: .zero)
        #expect(engine.streamCount(of: leg) == 3)
        #expect(engine.localAddress(of: leg, stream: 0) == first)
        #expect(Set((0..<3).compactMap { engine.localAddress(of: leg, stream: $0)?.port }).count == 3)
        #expect(throws: MediaError.tooManyStreams(17)) { try engine.ensureStreams(leg, count: 17, at: .zero) }
    }

    @Test("a port that cannot be bound fails the leg and rests for minutes")
    func bindFailure() throws {
        var engine = Self.engine(20_000...20_001)
        let leg = try engine.openLeg(realm: lan, streamCount: 1, at: .zero)
        _ = Self.drain(&engine)
        engine.handle(.bindFailed(local: TransportAddress(lanAddress, 20_001)), at: .zero)
        #expect(Self.drain(&engine) == [.event(.bindFailed(leg, stream: 0))])
        engine.closeLeg(leg, at: .zero)
        #expect(throws: MediaError.portsExhausted(lan)) {
            try engine.openLeg(realm: lan, streamCount: 1, at: seconds(299))
        }
        _ = try engine.openLeg(realm: lan, streamCount: 1, at: seconds(300))
    }

    @Test("an unknown realm is an error, an unknown leg is nothing")
    func unknown() throws {
        var engine = Self.engine(20_000...20_001)
        #expect(throws: MediaError.unknownRealm(wan)) { try engine.openLeg(realm: wan, streamCount: 1, at: .zero) }
        let nobody = MediaLegID(rawValue: 99)
        engine.setRemote(nobody, stream: 0, nil, at: .zero)
        engine.connect(nobody, nobody, at: .zero)
        engine.closeLeg(nobody, at: .zero)
        engine.handle(.datagram(local: try at("192.0.2.1:9"), source: try at("192.0.2.2:9"), bytes: rtp(1)), at: .zero)
        engine.handle(.counters(local: try at("192.0.2.1:9"), .init(packets: 1)), at: .zero)
        #expect(Self.drain(&engine).isEmpty)
        #expect(engine.unknownLocalCount == 1)
        #expect(engine.statistics(of: nobody).isEmpty)
    }

    @Test("a changed range keeps live legs and never hands out their ports, nor rested ones outside")
    func reconfigure() throws {
        var engine = Self.engine(20_000...20_003)
        let live = try engine.openLeg(realm: lan, streamCount: 1, at: .zero)
        let dead = try engine.openLeg(realm: lan, streamCount: 1, at: .zero)
        let livePort = try #require(engine.localAddress(of: live, stream: 0)?.port)
        engine.closeLeg(dead, at: .zero)
        engine.reconfigure(
            realms: [lan: MediaRealm(address: lanAddress, ports: livePort...(livePort + 1))], settings: .init(),
            at: seconds(1))
        #expect(engine.localAddress(of: live, stream: 0)?.port == livePort)
        #expect(throws: MediaError.portsExhausted(lan)) {
            try engine.openLeg(realm: lan, streamCount: 1, at: seconds(60))
        }
    }

    @Test("ports cannot be foretold: two seeds, two orders; thousands of legs, no pair twice")
    func random() throws {
        var orders: [[UInt16]] = []
        for seed in [UInt64(1), 2] {
            var engine = Self.engine(20_000...29_999, seed: seed)
            var ports: [UInt16] = []
            for _ in 0..<5_000 {
                let leg = try engine.openLeg(realm: lan, streamCount: 1, at: .zero)
                ports.append(try #require(engine.localAddress(of: leg, stream: 0)?.port))
            }
            #expect(Set(ports).count == 5_000)
            orders.append(ports)
        }
        #expect(orders[0] != orders[1])
    }
}
