import MediaEngine
import MediaFormats
import Primitives
import Testing

@Suite("Source learning: RTP bleed and inject")
struct LearningTests {
    @Test("the address in the description is relayed at once, each way, RTP and RTCP, others are passed up")
    func atOnce() throws {
        var engine = try Bench().engine
        let others = engine.flowCount
        let phone = try engine.openLeg(realm: lan, streamCount: 1, at: .zero)
        let carrier = try engine.openLeg(realm: wan, streamCount: 1, at: .zero)
        engine.setRemote(phone, stream: 0, RemoteMedia(rtp: try at("192.168.50.20:4000")), at: .zero)
        engine.setRemote(
            carrier, stream: 0, RemoteMedia(rtp: try at("198.51.100.9:30000"), rtcp: try at("198.51.100.8:7")),
            at: .zero)
        engine.connect(phone, carrier, at: .zero)
        var flows: [TransportAddress: MediaFlow] = [:]
        while let output = engine.nextOutput() {
            if case .applyFlow(let flow) = output { flows[flow.local] = flow }
        }
        let near = try #require(engine.localAddress(of: phone, stream: 0))
        let far = try #require(engine.localAddress(of: carrier, stream: 0))
        let nearRTCP = TransportAddress(near.address, near.port + 1)
        let farRTCP = TransportAddress(far.address, far.port + 1)
        #expect(flows.count == 4)
        #expect(engine.flowCount == others + 4)
        engine.disconnect(phone, at: .zero)
        #expect(engine.flowCount == others)
        engine.connect(phone, carrier, at: .zero)
        #expect(engine.flowCount == others + 4)
        engine.closeLeg(phone, at: .zero)
        engine.closeLeg(carrier, at: .zero)
        #expect(engine.flowCount == others)
        #expect(
            flows[near]
                == MediaFlow(
                    local: near, kind: .rtp, acceptedSource: try at("192.168.50.20:4000"), wrongSource: .pass,
                    rewrittenSource: far, rewrittenDestination: try at("198.51.100.9:30000"),
                    trafficClass: .set(.expeditedForwarding)))
        #expect(
            flows[farRTCP]
                == MediaFlow(
                    local: farRTCP, kind: .rtcp, acceptedSource: try at("198.51.100.8:7"), wrongSource: .pass,
                    rewrittenSource: nearRTCP, rewrittenDestination: try at("192.168.50.20:4001"),
                    trafficClass: .set(.expeditedForwarding)))
    }

    @Test("the first packet from the described address is forwarded and closes the window")
    func described() throws {
        var bench = try Bench()
        let outputs = try bench.toPhonePort(rtp(1), from: "192.168.50.20:4000", at: seconds(0.1))
        #expect(outputs.forwarded == [rtp(1)])
        #expect(outputs.flows.map(\.wrongSource) == [.drop])
        for number in 2..<20 {
            let attack = try bench.toPhonePort(rtp(UInt16(number)), from: "192.168.50.20:6666", at: seconds(0.2))
            #expect(attack.forwarded.isEmpty && attack.flows.isEmpty)
        }
    }

    @Test("another port of the described address is learned after three packets in sequence, and sent to")
    func otherPort() throws {
        var bench = try Bench(inKernel: false)
        #expect(try bench.toPhonePort(rtp(65_534), from: "192.168.50.20:5000", at: seconds(0.1)).isEmpty)
        #expect(try bench.toPhonePort(rtp(65_535), from: "192.168.50.20:5000", at: seconds(0.12)).isEmpty)
        let outputs = try bench.toPhonePort(rtp(0), from: "192.168.50.20:5000", at: seconds(0.14))
        #expect(outputs.events == [.learned(bench.phone, stream: 0, source: try at("192.168.50.20:5000"))])
        #expect(outputs.forwarded == [rtp(0)])
        let flows = Dictionary(uniqueKeysWithValues: outputs.flows.map { ($0.local, $0) })
        #expect(flows[bench.phoneLocal]?.acceptedSource == (try at("192.168.50.20:5000")))
        #expect(flows[bench.phoneLocal]?.wrongSource == .pass)
        #expect(flows[bench.carrierLocal]?.rewrittenDestination == (try at("192.168.50.20:5000")))
        // The window ends: locked.
        let end = bench.pass(to: seconds(3))
        #expect(end.flows.contains { $0.local == bench.phoneLocal && $0.wrongSource == .drop })
    }

    @Test("the described address wins inside the window even after another was learned, for good")
    func describedWins() throws {
        var bench = try Bench(inKernel: false)
        for number in 1...3 {
            _ = try bench.toPhonePort(rtp(UInt16(number)), from: "192.168.50.20:666", at: seconds(0.1))
        }
        let outputs = try bench.toPhonePort(rtp(9, ssrc: 5), from: "192.168.50.20:4000", at: seconds(2.9))
        #expect(outputs.events == [.learned(bench.phone, stream: 0, source: bench.phoneRTP)])
        #expect(outputs.forwarded == [rtp(9, ssrc: 5)])
        #expect(outputs.flows.contains { $0.local == bench.phoneLocal && $0.wrongSource == .drop })
        for number in 10...20 {
            let attack = try bench.toPhonePort(rtp(UInt16(number)), from: "192.168.50.20:666", at: seconds(2.95))
            #expect(attack.forwarded.isEmpty && attack.flows.isEmpty)
        }
    }

    @Test("what was learned gives way to a better source inside the window, never to one as good")
    func ranks() throws {
        var bench = try Bench(natAddress: IPAddress.v4(0xC000_0263), inKernel: false)
        func burst(_ source: String, ssrc: UInt32) throws -> [Output] {
            try (1...6).flatMap { try bench.toPhonePort(rtp($0, ssrc: ssrc), from: source, at: seconds(1)) }
        }
        let first = try burst("192.0.2.99:1024", ssrc: 1)
        #expect(first.events == [.learned(bench.phone, stream: 0, source: try at("192.0.2.99:1024"))])
        let rival = try burst("192.0.2.99:2048", ssrc: 2)
        #expect(rival.forwarded.isEmpty && rival.flows.isEmpty)
        let better = try burst("192.168.50.20:5000", ssrc: 3)
        #expect(better.events == [.learned(bench.phone, stream: 0, source: try at("192.168.50.20:5000"))])
        for source in ["192.0.2.99:1024", "192.168.50.20:6000"] {
            let outputs = try burst(source, ssrc: 4)
            #expect(outputs.forwarded.isEmpty && outputs.flows.isEmpty)
        }
    }

    struct Refusal: Sendable {
        let name: String
        let packets: [[UInt8]]
        var source = "192.168.50.20:5000"
        var nat: IPAddress?
        var time = 0.5
    }

    static let refusals: [Refusal] = [
        Refusal(name: "two packets only", packets: [rtp(1), rtp(2)]),
        Refusal(name: "SSRC changes", packets: [rtp(1, ssrc: 1), rtp(2, ssrc: 2), rtp(3, ssrc: 3), rtp(4, ssrc: 4)]),
        Refusal(name: "the same packet again and again", packets: [rtp(1), rtp(1), rtp(1), rtp(1), rtp(1)]),
        Refusal(name: "sequence jumps", packets: [rtp(1), rtp(1_000), rtp(5_000), rtp(20_000)]),
        Refusal(name: "sequence runs backwards", packets: [rtp(9), rtp(8), rtp(7), rtp(6)]),
        Refusal(name: "not RTP", packets: Array(repeating: Array("GET / HTTP/1.0".utf8), count: 5)),
        Refusal(
            name: "STUN",
            packets: Array(repeating: [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42] + .init(repeating: 7, count: 12), count: 5)),
        Refusal(
            name: "DTLS hello", packets: Array(repeating: [22, 254, 255] + .init(repeating: 0, count: 40), count: 5)),
        Refusal(name: "RTCP at the RTP port", packets: Array(repeating: rtcpReport, count: 5)),
        Refusal(name: "too short", packets: Array(repeating: [0x80, 0, 0, 1], count: 5)),
        Refusal(name: "empty", packets: Array(repeating: [], count: 5)),
        Refusal(name: "padding beyond the packet", packets: (1...5).map { [0xA0] + rtp($0)[1..<12] + [200] }),
        Refusal(
            name: "payload type of RTCP", packets: (1...5).map { rtp($0, payloadType: 72) }),
        Refusal(name: "another host", packets: (1...9).map { rtp($0) }, source: "192.168.50.66:4000"),
        Refusal(
            name: "another host, although NAT is expected elsewhere", packets: (1...9).map { rtp($0) },
            source: "192.168.50.66:4000", nat: IPAddress.v4(0xC000_0263)),
        Refusal(name: "after the window", packets: (1...9).map { rtp($0) }, time: 3.001),
    ]

    @Test("is not fooled by", arguments: refusals)
    func refuses(_ sample: Refusal) throws {
        var bench = try Bench(natAddress: sample.nat, inKernel: false)
        _ = bench.pass(to: seconds(sample.time - 0.001))
        for packet in sample.packets {
            let outputs = try bench.toPhonePort(packet, from: sample.source, at: seconds(sample.time))
            #expect(outputs.forwarded.isEmpty, "\(sample.name)")
            #expect(outputs.flows.isEmpty, "\(sample.name)")
            for event in outputs.events {
                #expect(event == .wrongSource(bench.phone, stream: 0, source: try at(sample.source)))
            }
        }
        // The real phone is still heard.
        let real = try bench.toPhonePort(rtp(1, ssrc: 77), from: "192.168.50.20:4000", at: seconds(sample.time))
        #expect(real.forwarded == [rtp(1, ssrc: 77)], "\(sample.name)")
    }

    @Test("behind NAT media is learned from where the signalling comes from, and from nowhere else")
    func nat() throws {
        var bench = try Bench(natAddress: IPAddress.v4(0xC000_0263), inKernel: false, phoneRTP: "10.1.2.3:4000")
        for number in 1...9 {
            #expect(
                try bench.toPhonePort(rtp(UInt16(number)), from: "192.0.2.98:1024", at: seconds(0.1)).forwarded.isEmpty)
        }
        var learned: [MediaEvent] = []
        for number in 1...3 {
            learned += try bench.toPhonePort(rtp(UInt16(number)), from: "192.0.2.99:1024", at: seconds(0.2)).events
        }
        #expect(learned == [.learned(bench.phone, stream: 0, source: try at("192.0.2.99:1024"))])
        // RTCP follows to the same host: first guessed beside, then learned with any port.
        let rtcpLocal = TransportAddress(bench.phoneLocal.address, bench.phoneLocal.port + 1)
        bench.engine.handle(
            .datagram(local: rtcpLocal, source: try at("192.0.2.99:9999"), bytes: rtcpReport), at: seconds(2))
        let rtcp = bench.drain()
        #expect(rtcp.forwarded == [rtcpReport])
        #expect(rtcp.flows.contains { $0.rewrittenDestination == TransportAddress(IPAddress.v4(0xC000_0263), 9_999) })
        bench.engine.handle(
            .datagram(local: rtcpLocal, source: try at("192.0.2.98:9999"), bytes: rtcpReport), at: seconds(2))
        #expect(bench.drain().forwarded.isEmpty)
    }

    @Test("an attacker who only wants the echo gets nothing: ES2025-01, packets to every port all through the call")
    func spray() throws {
        var bench = try Bench(inKernel: false)
        var wrong = 0
        for millisecond in stride(from: 1, to: 10_000, by: 20) {
            let time = seconds(Double(millisecond) / 1_000)
            let number = UInt16(truncatingIfNeeded: millisecond)
            let attack = try bench.toPhonePort(rtp(number, ssrc: 666), from: "192.168.50.66:5004", at: time)
            wrong += attack.events.count
            #expect(attack.forwarded.isEmpty && attack.flows.isEmpty)
            bench.engine.handle(
                .datagram(local: bench.carrierLocal, source: try at("203.0.113.66:5004"), bytes: rtp(number)), at: time)
            let far = bench.drain()
            #expect(far.forwarded.isEmpty && far.flows.isEmpty)
            wrong += far.events.count
            _ = bench.pass(to: time)
        }
        #expect(wrong == 2)  // one event per source, not one per packet
        #expect(bench.engine.statistics(of: bench.phone)[0].rtp.wrongSource == 500)
    }

    @Test("many sources are counted, not remembered")
    func manySources() throws {
        var bench = try Bench(inKernel: false)
        var events = 0
        for port in 1_000..<3_000 {
            events += try bench.toPhonePort(rtp(1), from: "192.168.50.66:\(port)", at: seconds(0.1)).events.count
        }
        #expect(events == 4)
        #expect(bench.engine.statistics(of: bench.phone)[0].rtp.wrongSource == 2_000)
    }

    @Test("while the kernel relays, a candidate is accepted only when the kernel has not heard the described address")
    func kernelDecides() throws {
        var bench = try Bench()
        for number in 1...2 {
            _ = try bench.toPhonePort(rtp(UInt16(number)), from: "192.168.50.20:5000", at: seconds(0.1))
        }
        let asked = try bench.toPhonePort(rtp(3), from: "192.168.50.20:5000", at: seconds(0.14))
        #expect(asked == [.readCounters(local: bench.phoneLocal)])
        bench.engine.handle(.counters(local: bench.phoneLocal, .init()), at: seconds(0.14))
        #expect(bench.drain().events == [.learned(bench.phone, stream: 0, source: try at("192.168.50.20:5000"))])
    }

    @Test("a candidate is refused and the source locked when the kernel has heard the described address")
    func kernelRefuses() throws {
        var bench = try Bench()
        for number in 1...3 {
            _ = try bench.toPhonePort(rtp(UInt16(number)), from: "192.168.50.20:5000", at: seconds(0.14))
        }
        bench.engine.handle(
            .counters(local: bench.phoneLocal, .init(packets: 4, bytes: 688, lastArrival: seconds(0.13))),
            at: seconds(0.14))
        let outputs = bench.drain()
        #expect(outputs.events.isEmpty)
        #expect(outputs.flows.map(\.acceptedSource) == [bench.phoneRTP])
        #expect(outputs.flows.map(\.wrongSource) == [.drop])
        for number in 4...9 {
            #expect(
                try bench.toPhonePort(rtp(UInt16(number)), from: "192.168.50.20:5000", at: seconds(0.2)).forwarded
                    .isEmpty)
        }
    }

    @Test("a kernel that does not answer is not waited for")
    func kernelSilent() throws {
        var bench = try Bench()
        for number in 1...3 {
            _ = try bench.toPhonePort(rtp(UInt16(number)), from: "192.168.50.20:5000", at: seconds(0.1))
        }
        let outputs = bench.pass(to: seconds(0.3))
        #expect(outputs.events == [.learned(bench.phone, stream: 0, source: try at("192.168.50.20:5000"))])
    }

    @Test("the window ends by itself: the described address is locked although nothing came")
    func windowEnds() throws {
        var bench = try Bench()
        let outputs = bench.pass(to: seconds(3))
        #expect(
            Set(outputs.flows.filter { $0.kind == .rtp }.map(\.local)) == [bench.phoneLocal, bench.carrierLocal])
        #expect(outputs.flows.allSatisfy { $0.wrongSource == .drop })
    }

    @Test("a caller that sends only once it is answered still has a window then")
    func lateCaller() throws {
        var bench = try Bench(inKernel: false)
        var engine = bench.engine
        let caller = try engine.openLeg(realm: lan, streamCount: 1, at: .zero)
        let called = try engine.openLeg(realm: wan, streamCount: 1, at: .zero)
        engine.setRemote(caller, stream: 0, RemoteMedia(rtp: bench.phoneRTP), at: .zero)
        engine.setRemote(called, stream: 0, RemoteMedia(rtp: bench.carrierRTP), at: .zero)
        engine.connect(caller, called, answered: false, at: .zero)
        engine.advance(to: seconds(30))
        engine.connect(caller, called, answered: true, at: seconds(30))
        let local = try #require(engine.localAddress(of: caller, stream: 0))
        engine.handle(.flowApplied(local: local, inKernel: false), at: seconds(30))
        for number in 1...3 {
            engine.handle(
                .datagram(local: local, source: try at("192.168.50.20:5000"), bytes: rtp(UInt16(number))),
                at: seconds(31))
        }
        bench.engine = engine
        #expect(bench.drain().events.contains(.learned(caller, stream: 0, source: try at("192.168.50.20:5000"))))
    }

    @Test("new signalling with the same address opens nothing; with another address it does, and the port stays")
    func reinvite() throws {
        var bench = try Bench(inKernel: false)
        _ = try bench.toPhonePort(rtp(1), from: "192.168.50.20:4000", at: seconds(1))
        bench.engine.setRemote(bench.phone, stream: 0, RemoteMedia(rtp: bench.phoneRTP), at: seconds(10))
        bench.engine.connect(bench.phone, bench.carrier, at: seconds(10))
        #expect(bench.drain().flows.allSatisfy { $0.local != bench.phoneLocal })
        for number in 1...5 {
            #expect(
                try bench.toPhonePort(rtp(UInt16(number)), from: "192.168.50.20:5000", at: seconds(10.1)).forwarded
                    .isEmpty)
        }
        // Another address: RTP from the former one is wrong from now on.
        let next = try at("192.168.50.21:7000")
        bench.engine.setRemote(bench.phone, stream: 0, RemoteMedia(rtp: next), at: seconds(20))
        let flows = bench.drain().flows
        #expect(flows.contains { $0.local == bench.phoneLocal && $0.acceptedSource == next && $0.wrongSource == .pass })
        #expect(flows.contains { $0.local == bench.carrierLocal && $0.rewrittenDestination == next })
        #expect(bench.engine.localAddress(of: bench.phone, stream: 0) == bench.phoneLocal)
        #expect(try bench.toPhonePort(rtp(2), from: "192.168.50.20:4000", at: seconds(20.1)).forwarded.isEmpty)
        #expect(try bench.toPhonePort(rtp(2), from: "192.168.50.21:7000", at: seconds(20.1)).forwarded.count == 1)
    }

    @Test("a second 183 with another address, then the 200: our ports never change")
    func secondProgress() throws {
        var bench = try Bench()
        for (index, address) in ["198.51.100.10:4", "198.51.100.11:6", "198.51.100.10:4"].enumerated() {
            bench.engine.setRemote(
                bench.carrier, stream: 0, RemoteMedia(rtp: try at(address)), at: seconds(Double(index)))
            bench.engine.connect(bench.phone, bench.carrier, at: seconds(Double(index)))
            #expect(bench.engine.localAddress(of: bench.carrier, stream: 0) == bench.carrierLocal)
            #expect(bench.engine.localAddress(of: bench.phone, stream: 0) == bench.phoneLocal)
            let flows = bench.drain().flows
            #expect(flows.contains { $0.local == bench.phoneLocal && $0.rewrittenDestination == (try? at(address)) })
        }
    }
}
