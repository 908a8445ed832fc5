import MediaEngine
import MediaFormats
import Primitives
import Testing

@Suite("Relaying, hold, forks, counters")
struct RelayTests {
    @Test("payload types are mapped in the kernel's flow and on packets through the socket, the marker kept")
    func payloadTypes() throws {
        var bench = try Bench(inKernel: false)
        let mapping = MediaFlow.PayloadTypeMapping(from: 96, to: 101)
        bench.engine.setPayloadTypes(from: bench.phone, to: bench.carrier, stream: 0, [mapping])
        #expect(bench.drain().flows.map(\.payloadTypes) == [[mapping]])
        var event = rtp(1, payloadType: 96)
        event[1] |= 0x80
        var expected = event
        expected[1] = 0x80 | 101
        #expect(try bench.toPhonePort(event, from: "192.168.50.20:4000", at: .zero).forwarded == [expected])
        #expect(try bench.toPhonePort(rtp(2), from: "192.168.50.20:4000", at: .zero).forwarded == [rtp(2)])
    }

    @Test("a packet that should have met the kernel is forwarded, and the flow applied again once a second")
    func reapply() throws {
        var bench = try Bench()
        _ = try bench.toPhonePort(rtp(1), from: "192.168.50.20:4000", at: .zero)
        var applied = 0
        for number in 1...100 {
            let time = seconds(Double(number) / 50)
            let outputs = try bench.toPhonePort(rtp(UInt16(number)), from: "192.168.50.20:4000", at: time)
            #expect(outputs.forwarded.count == 1)
            applied += outputs.flows.count
        }
        #expect(applied == 2)
        bench.engine.handle(.flowApplied(local: bench.phoneLocal, inKernel: false), at: seconds(2))
        #expect(try bench.toPhonePort(rtp(200), from: "192.168.50.20:4000", at: seconds(9)).flows.isEmpty)
    }

    @Test("mixed families: the flow says so, whoever applies it decides")
    func mixedFamilies() throws {
        var bench = try Bench(carrierRTP: "[2001:db8::9]:30000")
        let outputs = try bench.toPhonePort(rtp(1), from: "192.168.50.20:4000", at: .zero)
        #expect(outputs.contains(.forward(rtp(1), from: bench.carrierLocal, to: bench.carrierRTP)))
    }

    struct Hold: Sendable {
        let name: String
        let sends: Bool
        let receives: Bool
        let toCarrier: Bool
        let toPhone: Bool
    }

    @Test(
        "the phone holds",
        arguments: [
            Hold(name: "sendonly", sends: true, receives: false, toCarrier: true, toPhone: false),
            Hold(name: "inactive", sends: false, receives: false, toCarrier: false, toPhone: false),
            Hold(name: "recvonly", sends: false, receives: true, toCarrier: false, toPhone: true),
        ])
    func hold(_ sample: Hold) throws {
        var bench = try Bench()
        bench.engine.setRemote(
            bench.phone, stream: 0,
            RemoteMedia(rtp: bench.phoneRTP, sends: sample.sends, receives: sample.receives), at: seconds(1))
        let outputs = bench.drain()
        let expected = [sample.toCarrier ? nil : bench.phoneLocal, sample.toPhone ? nil : bench.carrierLocal]
        #expect(Set(outputs.removed) == Set(expected.compactMap { $0 }))
        // RTCP goes on, and nobody is missed.
        #expect(outputs.flows.isEmpty)
        // Resume: the same flows as before, without learning anew.
        bench.engine.setRemote(bench.phone, stream: 0, RemoteMedia(rtp: bench.phoneRTP), at: seconds(2))
        #expect(Set(bench.drain().flows.map(\.local)) == Set(outputs.removed))
    }

    @Test("c=0.0.0.0 is hold; the address from before stays")
    func oldHold() throws {
        var bench = try Bench()
        bench.engine.setRemote(bench.phone, stream: 0, RemoteMedia(rtp: try at("0.0.0.0:4000")), at: seconds(1))
        #expect(bench.drain().removed == [bench.carrierLocal])
        bench.engine.setRemote(bench.phone, stream: 0, RemoteMedia(rtp: bench.phoneRTP), at: seconds(2))
        let flows = bench.drain().flows
        #expect(flows.map(\.local) == [bench.carrierLocal])
        #expect(flows.map(\.rewrittenDestination) == [bench.phoneRTP])
    }

    @Test("a first description with c=0.0.0.0 or port of none relays nothing")
    func nowhere() throws {
        var bench = try Bench()
        bench.engine.setRemote(bench.carrier, stream: 0, nil, at: .zero)
        #expect(Set(bench.drain().removed.map(\.port)).count == 4)
        bench.engine.setRemote(bench.carrier, stream: 0, RemoteMedia(rtp: try at("0.0.0.0:4")), at: .zero)
        #expect(bench.drain().isEmpty)
        #expect(try bench.toPhonePort(rtp(1), from: "192.168.50.20:4000", at: .zero).forwarded.isEmpty)
    }

    @Test("forks: the caller goes from one leg to the next, its flow is changed in place, the former leg's goes")
    func forks() throws {
        var bench = try Bench()
        let other = try bench.engine.openLeg(realm: wan, streamCount: 1, at: .zero)
        bench.engine.setRemote(other, stream: 0, RemoteMedia(rtp: try at("198.51.100.77:8")), at: .zero)
        _ = bench.drain()
        bench.engine.connect(bench.phone, other, at: seconds(1))
        let outputs = bench.drain()
        let farRTCP = TransportAddress(wanAddress, bench.carrierLocal.port + 1)
        #expect(Set(outputs.removed) == [bench.carrierLocal, farRTCP])
        #expect(outputs.flows.contains { $0.local == bench.phoneLocal && $0.rewrittenDestination.port == 8 })
        bench.engine.closeLeg(bench.carrier, at: seconds(1))
        #expect(bench.drain().flows.isEmpty)
        bench.engine.disconnect(other, at: seconds(2))
        #expect(bench.drain().removed.count == 4)
        #expect(try bench.toPhonePort(rtp(1), from: "192.168.50.20:4000", at: seconds(2)).forwarded.isEmpty)
    }

    @Test("rtcp-mux on both legs: one flow each way carries both; on one leg RTCP finds the other's port")
    func mux() throws {
        var bench = try Bench()
        bench.engine.setRemote(bench.phone, stream: 0, RemoteMedia(rtp: bench.phoneRTP, rtcpMux: true), at: .zero)
        let one = bench.drain()
        #expect(one.removed.map(\.port) == [bench.phoneLocal.port + 1])
        #expect(one.flows.map(\.rewrittenDestination) == [bench.phoneRTP])  // the carrier's RTCP, to the one port
        bench.engine.setRemote(bench.carrier, stream: 0, RemoteMedia(rtp: bench.carrierRTP, rtcpMux: true), at: .zero)
        #expect(bench.drain().removed.map(\.port) == [bench.carrierLocal.port + 1])
        #expect(try bench.toPhonePort(rtcpReport, from: "192.168.50.20:4000", at: .zero).forwarded == [rtcpReport])
    }

    @Test("kernel and socket counters add up, over hold and over a kernel table that was lost")
    func counters() throws {
        var bench = try Bench()
        _ = try bench.toPhonePort(rtp(1), from: "192.168.50.20:4000", at: .zero)
        func feed(_ packets: UInt64, _ time: Double) {
            bench.engine.handle(
                .counters(
                    local: bench.phoneLocal,
                    .init(packets: packets, bytes: packets * 172, lastArrival: seconds(time))), at: seconds(time))
        }
        feed(100, 2)
        feed(150, 3)
        #expect(bench.engine.statistics(of: bench.phone)[0].rtp.packets == 151)
        feed(10, 4)  // began again
        #expect(bench.engine.statistics(of: bench.phone)[0].rtp.packets == 161)
        bench.engine.setRemote(
            bench.phone, stream: 0, RemoteMedia(rtp: bench.phoneRTP, sends: false, receives: false), at: seconds(5))
        feed(20, 5)  // the last word of the removed flow
        bench.engine.setRemote(bench.phone, stream: 0, RemoteMedia(rtp: bench.phoneRTP), at: seconds(6))
        feed(30, 7)  // more than before, and yet from zero
        let statistics = bench.engine.statistics(of: bench.phone)[0]
        #expect(statistics.rtp.packets == 1 + 150 + 20 + 30)
        #expect(statistics.rtp.lastArrival == seconds(7))
        #expect(statistics.source == bench.phoneRTP)
    }

    @Test("the end of a leg waits for the kernel's last counters, but not for ever")
    func closed() throws {
        var bench = try Bench()
        let rtcp = TransportAddress(lanAddress, bench.phoneLocal.port + 1)
        bench.engine.closeLeg(bench.phone, at: seconds(5))
        let outputs = bench.drain()
        #expect(outputs.events.isEmpty)
        #expect(outputs.removed.count == 4)
        bench.engine.handle(.counters(local: bench.phoneLocal, .init(packets: 9)), at: seconds(5))
        bench.engine.handle(.counters(local: rtcp, .init(packets: 1)), at: seconds(5))
        let events = bench.drain().events
        guard case .closed(bench.phone, let statistics) = try #require(events.first) else {
            Issue.record("\(events)")
            return
        }
        #expect(statistics.map(\.rtp.packets) == [9])
        #expect(statistics.map(\.rtcp.packets) == [1])
        bench.engine.closeLeg(bench.carrier, at: seconds(5))
        let rest = bench.pass(to: seconds(6))
        #expect(rest.events.count == 1)
        #expect(bench.engine.nextDeadline == nil)
    }

    @Test("both legs of a call ended in one go wait for their own last counters")
    func closedTogether() throws {
        var bench = try Bench()
        bench.engine.closeLeg(bench.phone, at: seconds(5))
        bench.engine.closeLeg(bench.carrier, at: seconds(5))
        let outputs = bench.drain()
        #expect(outputs.events.isEmpty)
        for local in outputs.removed {
            let packets: UInt64 = local == bench.phoneLocal ? 200 : local == bench.carrierLocal ? 300 : 1
            bench.engine.handle(.counters(local: local, .init(packets: packets)), at: seconds(5))
        }
        var packets: [MediaLegID: [UInt64]] = [:]
        for case .closed(let leg, let statistics) in bench.drain().events {
            packets[leg] = statistics.flatMap { [$0.rtp.packets, $0.rtcp.packets] }
        }
        #expect(packets == [bench.phone: [200, 1], bench.carrier: [300, 1]])
    }
}

@Suite("Silence and dead calls")
struct SupervisionTests {
    /// The kernel answers every question: what it last heard from whom.
    static func pass(
        _ bench: inout Bench, to end: MonotonicTime, heard: [TransportAddress: (UInt64, MonotonicTime)] = [:]
    ) -> [MediaEvent] {
        var events: [MediaEvent] = []
        while true {
            let outputs = bench.drain()
            events += outputs.events
            let now = bench.engine.nextDeadline.map { min($0, end) } ?? end
            for local in outputs.reads {
                let (packets, arrival) = heard[local] ?? (0, .zero)
                bench.engine.handle(
                    .counters(local: local, .init(packets: packets, lastArrival: packets > 0 ? arrival : nil)), at: now)
            }
            guard let deadline = bench.engine.nextDeadline, deadline <= end else { break }
            bench.engine.advance(to: deadline)
        }
        return events + bench.drain().events
    }

    static func isSilence(_ event: MediaEvent, of leg: MediaLegID) -> Bool {
        if case .silent(leg, _) = event { return true }
        return false
    }

    @Test("three seconds without a packet from one side names the side, once; a packet names it again")
    func silence() throws {
        var bench = try Bench(inKernel: false)
        for millisecond in stride(from: 0, through: 4_000, by: 20) {
            let time = seconds(Double(millisecond) / 1_000)
            _ = try bench.toPhonePort(rtp(UInt16(millisecond / 20)), from: "192.168.50.20:4000", at: time)
            let events = bench.pass(to: time).events
            #expect(
                events == (millisecond == 3_000 ? [.silent(bench.carrier, for: .seconds(3))] : []), "\(millisecond)")
        }
        bench.engine.handle(
            .datagram(local: bench.carrierLocal, source: bench.carrierRTP, bytes: rtp(1)), at: seconds(4))
        #expect(bench.drain().events == [.resumed(bench.carrier)])
    }

    @Test("the kernel is asked before anybody is called silent")
    func kernelAsked() throws {
        var bench = try Bench()
        let heard = [
            bench.phoneLocal: (UInt64(100), seconds(2.9)), bench.carrierLocal: (UInt64(100), seconds(2.5)),
        ]
        #expect(Self.pass(&bench, to: seconds(5.4), heard: heard).isEmpty)
        let events = Self.pass(&bench, to: seconds(6.2), heard: heard)
        #expect(events.count == 2)
        #expect(events.contains { Self.isSilence($0, of: bench.phone) })
        let back = Self.pass(
            &bench, to: seconds(8),
            heard: [bench.phoneLocal: (UInt64(101), seconds(7)), bench.carrierLocal: (UInt64(100), seconds(2.5))])
        #expect(back == [.resumed(bench.phone)])
    }

    @Test("both sides silent for a minute: the call is dead, said once")
    func inactive() throws {
        var bench = try Bench(inKernel: false)
        let events = Self.pass(&bench, to: seconds(300))
        #expect(events.filter { $0 == .inactive(bench.phone, bench.carrier) }.count == 1)
        #expect(events.filter { Self.isSilence($0, of: bench.phone) }.count == 1)
    }

    @Test("one side is enough to keep the call, and RTCP too")
    func activeEnough() throws {
        for isRTCP in [false, true] {
            var bench = try Bench(inKernel: false)
            var events: [MediaEvent] = []
            for second in stride(from: 0, through: 200, by: 5) {
                let local = TransportAddress(lanAddress, bench.phoneLocal.port + (isRTCP ? 1 : 0))
                let source = TransportAddress(bench.phoneRTP.address, bench.phoneRTP.port + (isRTCP ? 1 : 0))
                let bytes = isRTCP ? rtcpReport : rtp(UInt16(second))
                bench.engine.handle(
                    .datagram(local: local, source: source, bytes: bytes), at: seconds(Double(second)))
                events += Self.pass(&bench, to: seconds(Double(second)))
            }
            #expect(!events.contains(.inactive(bench.phone, bench.carrier)))
        }
    }

    @Test("nobody is missed: before the answer, on hold, taken apart, rejected", arguments: 0..<4)
    func notExpected(_ reason: Int) throws {
        var bench = try Bench(inKernel: false)
        switch reason {
        case 0:
            bench.engine.disconnect(bench.phone, at: .zero)
            bench.engine.connect(bench.phone, bench.carrier, answered: false, at: .zero)
        case 1:
            bench.engine.setRemote(
                bench.phone, stream: 0, RemoteMedia(rtp: bench.phoneRTP, sends: false, receives: false), at: .zero)
        case 2: bench.engine.disconnect(bench.phone, at: .zero)
        default: bench.engine.setRemote(bench.carrier, stream: 0, nil, at: .zero)
        }
        #expect(Self.pass(&bench, to: seconds(600)).isEmpty)
    }

    @Test("a held call is not ended for want of music, a resumed one is watched again")
    func heldThenResumed() throws {
        var bench = try Bench(inKernel: false)
        bench.engine.setRemote(
            bench.phone, stream: 0, RemoteMedia(rtp: bench.phoneRTP, sends: true, receives: false), at: seconds(1))
        let held = Self.pass(&bench, to: seconds(600))
        #expect(held.count == 1 && Self.isSilence(held[0], of: bench.phone))
        bench.engine.setRemote(bench.phone, stream: 0, RemoteMedia(rtp: bench.phoneRTP), at: seconds(600))
        bench.engine.connect(bench.phone, bench.carrier, at: seconds(600))
        let resumed = Self.pass(&bench, to: seconds(700))
        #expect(resumed.filter { $0 == .inactive(bench.phone, bench.carrier) }.count == 1)
    }

    @Test("a thousand legs cost one reading each per three seconds, and no timer is left when they are gone")
    func thousand() throws {
        var engine = MediaEngine(
            realms: [lan: MediaRealm(address: lanAddress, ports: 20_000...29_999)], settings: .init(),
            random: RandomSource(seed: 3))
        var legs: [MediaLegID] = []
        for index in 0..<1_000 {
            let leg = try engine.openLeg(realm: lan, streamCount: 1, at: .zero)
            let remote = TransportAddress(IPAddress.v4(0xC000_0201), UInt16(1_024 + index * 2))
            engine.setRemote(leg, stream: 0, RemoteMedia(rtp: remote), at: .zero)
            if let previous = legs.last, index % 2 == 1 { engine.connect(previous, leg, at: .zero) }
            legs.append(leg)
        }
        engine.advance(to: seconds(2))
        var reads = 0
        while engine.nextOutput() != nil {}
        for second in 3...62 {
            engine.advance(to: seconds(Double(second)))
            while let output = engine.nextOutput() {
                guard case .readCounters(let local) = output else { continue }
                reads += 1
                engine.handle(
                    .counters(local: local, .init(packets: UInt64(second), lastArrival: seconds(Double(second)))),
                    at: seconds(Double(second)))
            }
        }
        #expect((1_000...40_000).contains(reads))
        for leg in legs { engine.closeLeg(leg, at: seconds(70)) }
        engine.advance(to: seconds(71))
        #expect(engine.nextDeadline == nil)
    }
}
