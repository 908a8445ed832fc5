import Glibc
import MediaEngine
import MediaFormats
import Primitives
import Testing

@Suite("Playing clips and tones")
struct PlayoutTests {
    /// A clip whose bytes tell where they stand in it.
    static func clip(_ count: Int, from first: UInt8 = 0) -> AudioClip {
        AudioClip(samples: (0..<count).map { UInt8(truncatingIfNeeded: Int(first) + $0) })
    }

    /// All packets until the time, each fetched when it is due.
    static func packets(_ playout: inout Playout, until end: MonotonicTime) -> [(MonotonicTime, [UInt8])] {
        var packets: [(MonotonicTime, [UInt8])] = []
        while playout.nextDeadline <= end {
            let time = playout.nextDeadline
            while let packet = playout.nextPacket(at: time) { packets.append((time, packet)) }
        }
        return packets
    }

    static func payload(_ packets: [(MonotonicTime, [UInt8])]) -> [UInt8] { packets.flatMap { $0.1.dropFirst(12) } }

    @Test("clips, silence and repetitions follow one another sample by sample, numbered and timed as RTP")
    func order() throws {
        var random = RandomSource(seed: 4)
        let first = Self.clip(250)
        let second = Self.clip(90, from: 100)
        var playout = Playout(
            Playlist(
                [.clip(first), .silence(.milliseconds(5)), .clip(second)], repetitions: 2, pause: .milliseconds(10)),
            random: &random, at: seconds(1))
        let packets = Self.packets(&playout, until: seconds(2))
        let once = first.samples + [UInt8](repeating: 0xFF, count: 40) + second.samples
        let expected = once + [UInt8](repeating: 0xFF, count: 80) + once
        #expect(Array(Self.payload(packets).prefix(expected.count)) == expected)
        #expect(Self.payload(packets).dropFirst(expected.count).allSatisfy { $0 == 0xFF })
        #expect(packets.count == 51)
        #expect(playout.isFinished && playout.repetitionCount == 2)
        let headers = try packets.map { try RTPHeader(parsing: $0.1.span) }
        #expect(headers.map(\.marker) == [true] + [Bool](repeating: false, count: 50))
        for (index, header) in headers.enumerated() {
            #expect(header.payloadType == 0 && header.ssrc == headers[0].ssrc)
            #expect(header.sequenceNumber == headers[0].sequenceNumber &+ UInt16(index))
            #expect(header.timestamp == headers[0].timestamp &+ UInt32(160 * index))
            #expect(packets[index].0 == seconds(1) + .milliseconds(20 * index))
        }
    }

    @Test("A-law is made from the clip's μ-law; a clip without end is played until something else comes")
    func laws() throws {
        var random = RandomSource(seed: 4)
        let clip = Self.clip(256)
        var playout = Playout(
            Playlist([.clip(clip)], repetitions: nil, pause: .zero), encoding: .aLaw, random: &random, at: .zero)
        let packets = Self.packets(&playout, until: seconds(1))
        let heard = Self.payload(packets)
        #expect(packets.allSatisfy { $0.1[1] & 0x7F == 8 })
        for (index, byte) in heard.enumerated() {
            let meant = G711.muLaw.decode(clip.samples[index % 256])
            // A-law steps are at most a sixteenth of the value apart, or 16.
            #expect(abs(Int(G711.aLaw.decode(byte)) - Int(meant)) <= max(16, abs(Int(meant)) / 16))
        }
        #expect(!playout.isFinished && playout.repetitionCount == 51 * 160 / 256)
    }

    @Test("G.711 as the standard's tables have it, and each code keeps its value")
    func g711() {
        // ITU-T G.711 tables 1a and 2a, scaled to sixteen bits; RFC 3551 §4.5.14.
        #expect([0xFF, 0x80, 0x00, 0x7F].map { G711.muLaw.decode($0) } == [0, 32_124, -32_124, 0])
        #expect([0xD5, 0x55, 0xAA, 0x2A].map { G711.aLaw.decode($0) } == [8, -8, 32_256, -32_256])
        #expect([0, 32_767, -32_768].map { G711.muLaw.encode($0) } == [0xFF, 0x80, 0x00])
        #expect([0, 32_767, -32_768].map { G711.aLaw.encode($0) } == [0xD5, 0xAA, 0x2A])
        for law in G711.allCases {
            for code in UInt8.min...UInt8.max where !(law == .muLaw && code == 0x7F) {  // negative zero
                #expect(law.encode(law.decode(code)) == code, "\(law) \(code)")
            }
        }
    }

    @Test("a late wake-up catches up by a few packets; after a long one the clock goes on and no audio is lost")
    func lateness() throws {
        var random = RandomSource(seed: 4)
        let clip = Self.clip(160 * 20)
        var playout = Playout(Playlist([.clip(clip)]), random: &random, at: .zero)
        var packets = Self.packets(&playout, until: .zero)
        while let packet = playout.nextPacket(at: .zero + .milliseconds(65)) { packets.append((.zero, packet)) }
        #expect(packets.count == 4)
        while let packet = playout.nextPacket(at: seconds(3)) { packets.append((seconds(3), packet)) }
        #expect(packets.count == 5)
        packets += Self.packets(&playout, until: seconds(4))
        #expect(Array(Self.payload(packets).prefix(clip.samples.count)) == clip.samples)
        let headers = try packets.map { try RTPHeader(parsing: $0.1.span) }
        #expect(headers[4].marker && headers[4].sequenceNumber == headers[3].sequenceNumber &+ 1)
        #expect(headers[4].timestamp == headers[0].timestamp &+ 150 * 160)
        #expect(packets[5].0 == .zero + .milliseconds(3_020))
    }

    @Test("tones have the frequencies, levels and cadence of the precise tone plan", arguments: CallTone.allCases)
    func tones(_ tone: CallTone) throws {
        var random = RandomSource(seed: 4)
        var playout = Playout(Playlist([.tone(tone, for: .seconds(6))]), random: &random, at: .zero)
        let samples = Self.payload(Self.packets(&playout, until: seconds(5.98))).map { Double(G711.muLaw.decode($0)) }
        let plan: (frequencies: [Double], level: Double, on: Double, off: Double) =
            switch tone {
            case .dial: ([350, 440], -13, 1, 0)
            case .ringback: ([440, 480], -19, 2, 4)
            case .busy: ([480, 620], -24, 0.5, 0.5)
            case .reorder: ([480, 620], -24, 0.25, 0.25)
            case .attention: ([1_000], -16, 0.5, 0.25)
            case .confirmation: ([350, 440], -13, 0.1, 0.1)
            }
        let on = Int(plan.on * 8_000)
        let period = on + Int(plan.off * 8_000)
        // Goertzel over one burst: the power in each frequency, 3.17 dBm0 for a sine of full scale.
        for frequency in plan.frequencies {
            let step = 2 * cos(2 * .pi * frequency / 8_000)
            var (before, last) = (0.0, 0.0)
            for sample in samples[0..<on] { (before, last) = (last, sample + step * last - before) }
            let amplitude = (last * last + before * before - step * last * before).squareRoot() * 2 / Double(on)
            let expected = 32_635 * pow(10, (plan.level - 3.17) / 20)
            #expect(abs(amplitude / expected - 1) < 0.05, "\(frequency) Hz: \(amplitude) of \(expected)")
        }
        for (index, sample) in samples.enumerated() where index % period >= on { #expect(sample == 0) }
    }

    @Test("a leg without peer is played to, and heard: keys, packets, then its counters")
    func announcement() throws {
        var bench = try Bench()
        let leg = try bench.engine.openLeg(realm: lan, streamCount: 1, at: .zero)
        let local = try #require(bench.engine.localAddress(of: leg, stream: 0))
        bench.engine.setRemote(leg, stream: 0, RemoteMedia(rtp: try at("192.168.50.21:4000")), at: .zero)
        _ = bench.drain()
        bench.engine.play(
            Playlist([.clip(Self.clip(320))], repetitions: 2, pause: .zero), to: leg, encoding: .muLaw,
            eventPayloadTypes: [101], at: .zero)
        var outputs = bench.pass(to: seconds(0.1))
        #expect(outputs.played.count == 6)
        #expect(outputs.flows.isEmpty)
        #expect(outputs.events == [.played(leg, times: 1), .played(leg, times: 2), .playedOut(leg)])
        for packet in Self.keyPress("5", timestamp: 800, from: 1) + Self.keyPress("1", timestamp: 1_600, from: 20) {
            bench.engine.handle(
                .datagram(local: local, source: try at("192.168.50.21:4000"), bytes: packet), at: seconds(0.1))
        }
        // A stranger's key presses are nobody's.
        for packet in Self.keyPress("9", timestamp: 3_000, from: 40) {
            bench.engine.handle(
                .datagram(local: local, source: try at("198.51.100.66:4000"), bytes: packet), at: seconds(0.2))
        }
        outputs = bench.drain()
        #expect(
            outputs.events.filter { $0 != .wrongSource(leg, stream: 0, source: try! at("198.51.100.66:4000")) }
                == [.key(leg, "5"), .key(leg, "1")])
        #expect(outputs.forwarded.isEmpty)
        bench.engine.closeLeg(leg, at: seconds(0.3))
        guard case .closed(leg, let statistics)? = bench.drain().events.last else {
            Issue.record("not closed")
            return
        }
        #expect(statistics[0].rtp.packets == 12)
        #expect(bench.engine.nextDeadline.map { $0 > seconds(0.3) } ?? true)
    }

    @Test("on hold the audio waits; it goes on where it stopped")
    func hold() throws {
        var bench = try Bench()
        let leg = try bench.engine.openLeg(realm: lan, streamCount: 1, at: .zero)
        let remote = RemoteMedia(rtp: try at("192.168.50.21:4000"))
        bench.engine.setRemote(leg, stream: 0, remote, at: .zero)
        let clip = Self.clip(160 * 10)
        bench.engine.play(Playlist([.clip(clip)]), to: leg, encoding: .muLaw, at: .zero)
        var heard = bench.pass(to: seconds(0.05)).played
        var held = remote
        held.receives = false
        bench.engine.setRemote(leg, stream: 0, held, at: seconds(0.05))
        #expect(bench.pass(to: seconds(5)).played.isEmpty)
        bench.engine.setRemote(leg, stream: 0, remote, at: seconds(5))
        heard += bench.pass(to: seconds(6)).played
        #expect(Array(heard.flatMap { $0.dropFirst(12) }.prefix(clip.samples.count)) == clip.samples)
    }

    @Test("a relayed leg that is played to leaves the kernel and comes back; no packet of it is lost or counted twice")
    func switching() throws {
        var bench = try Bench()
        var sent: UInt16 = 0
        var arrived = 0
        func phoneSends(_ count: Int, at time: MonotonicTime, inKernel: Bool) throws {
            for _ in 0..<count {
                sent += 1
                guard !inKernel else {
                    arrived += 1
                    continue
                }
                arrived += try bench.toPhonePort(rtp(sent), from: "192.168.50.20:4000", at: time).forwarded.count
            }
        }
        try phoneSends(100, at: seconds(1), inKernel: true)
        bench.engine.play(
            Playlist([.tone(.ringback, for: .seconds(60))]), to: bench.phone, encoding: .muLaw, at: seconds(1))
        var outputs = bench.drain()
        // The carrier's audio ends for the phone, the phone's goes on through user space.
        #expect(outputs.removed.contains(bench.carrierLocal) && outputs.removed.contains(bench.phoneLocal))
        #expect(outputs.flows.map(\.local) == [bench.phoneLocal])
        #expect(outputs.flows.allSatisfy { $0.staysInUserSpace })
        bench.engine.handle(
            .counters(local: bench.phoneLocal, MediaFlowCounters(packets: 100, bytes: 17_200)), at: seconds(1))
        bench.engine.handle(.counters(local: bench.carrierLocal, MediaFlowCounters()), at: seconds(1))
        bench.engine.handle(.flowApplied(local: bench.phoneLocal, inKernel: false), at: seconds(1))
        try phoneSends(50, at: seconds(1.5), inKernel: false)
        bench.engine.handle(
            .datagram(local: bench.carrierLocal, source: bench.carrierRTP, bytes: rtp(1)), at: seconds(1.5))
        #expect(bench.drain().forwarded.isEmpty)
        #expect(bench.pass(to: seconds(2)).played.count == 51)
        bench.engine.stopPlaying(to: bench.phone, at: seconds(2))
        outputs = bench.drain()
        #expect(outputs.removed.isEmpty)
        #expect(Set(outputs.flows.map(\.local)) == [bench.phoneLocal, bench.carrierLocal])
        #expect(outputs.flows.allSatisfy { !$0.staysInUserSpace })
        // A straggler that was already on its way to the socket.
        try phoneSends(1, at: seconds(2), inKernel: false)
        for local in [bench.phoneLocal, bench.carrierLocal] {
            bench.engine.handle(.flowApplied(local: local, inKernel: true), at: seconds(2))
        }
        try phoneSends(200, at: seconds(3), inKernel: true)
        bench.engine.handle(
            .counters(local: bench.phoneLocal, MediaFlowCounters(packets: 200, bytes: 34_400)), at: seconds(3))
        #expect(arrived == Int(sent))
        #expect(bench.engine.statistics(of: bench.phone)[0].rtp.packets == UInt64(sent))
        #expect(bench.pass(to: seconds(4)).played.isEmpty)
    }

    /// One key as phones send it: four packets while it is down, three at its end, one timestamp (RFC 4733 §2.5.1).
    static func keyPress(_ key: Character, timestamp: UInt32, from sequenceNumber: UInt16) -> [[UInt8]] {
        let code = UInt8(Array("0123456789*#ABCD").firstIndex(of: key) ?? 0)
        return (0..<6).map { index in
            let isEnd = index >= 3
            return RTPHeader(
                payloadType: 101, marker: index == 0, sequenceNumber: sequenceNumber + UInt16(index),
                timestamp: timestamp, ssrc: 0x2222_2222
            ).datagram(payload: [code, isEnd ? 0x8A : 0x0A, 0, UInt8(160)])
        }
    }
}

extension [Output] {
    var played: [[UInt8]] {
        compactMap { if case .play(let bytes, _, _) = $0 { bytes } else { nil } }
    }
}
