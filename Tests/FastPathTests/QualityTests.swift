import CFastPath
import CNamespaces
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

/// One packet of a stream and when it comes.
private struct Arrival {
    var sequenceNumber: UInt16
    var timestamp: UInt32
    var ssrc: UInt32 = 0xDEAD_BEEF
    var payloadType: UInt8 = 0
    var milliseconds: Double

    var bytes: [UInt8] {
        RTPHeader(payloadType: payloadType, sequenceNumber: sequenceNumber, timestamp: timestamp, ssrc: ssrc)
            .datagram(payload: [UInt8](repeating: 0xD5, count: 4))
    }
}

/// The same packets to the program's code and to ours.
private struct Pair {
    static let eventPayloadType: UInt8 = 101
    var kernel = relay_quality()
    var monitor = StreamMonitor()
    var clockRate: UInt32 = 8_000

    mutating func observe(_ arrival: Arrival) {
        let nanoseconds = UInt64(arrival.milliseconds * 1_000_000)
        let bytes = arrival.bytes
        withUnsafeMutablePointer(to: &kernel) {  // borrowed for the call only
            quality_observe_rtp(
                $0, StreamMonitor.clockTicks(clockRate), Self.eventPayloadType, bytes, nanoseconds)
        }
        monitor.observe(
            bytes.span, at: MonotonicTime(nanoseconds: Int64(nanoseconds)), clockRate: clockRate,
            eventPayloadType: Self.eventPayloadType)
    }
}

@Suite("Quality of a stream: the program's code and ours")
struct QualityArithmeticTests {
    /// A sender of 20 ms packets and what a bad network and a strange peer make of them.
    private struct Network {
        var random: RandomSource
        var sequenceNumber: UInt16
        var timestamp: UInt32
        var ssrc: UInt32 = 1
        var clock = 1_000_000.0  // ms
        var held: [Arrival] = []

        init(seed: UInt64) {
            random = RandomSource(seed: seed)
            sequenceNumber = UInt16.random(in: 0...UInt16.max, using: &random)
            timestamp = UInt32.random(in: 0...UInt32.max, using: &random)
        }

        mutating func next() -> [Arrival] {
            clock += 20
            sequenceNumber &+= 1
            timestamp &+= 160
            var packet = Arrival(
                sequenceNumber: sequenceNumber, timestamp: timestamp, ssrc: ssrc,
                milliseconds: clock + Double.random(in: 0..<15, using: &random))
            var arrivals: [Arrival] = []
            switch Int.random(in: 0..<200, using: &random) {
            case 0..<8: break  // lost
            case 8..<14: held.append(packet)
            case 14..<18: arrivals = [packet, packet]
            case 18: sequenceNumber &+= UInt16.random(in: 0...UInt16.max, using: &random)
            case 19: ssrc &+= 1
            case 20: timestamp &+= UInt32.random(in: 0...UInt32.max, using: &random)
            case 21..<30:
                packet.payloadType = Pair.eventPayloadType
                packet.timestamp &-= 160 * UInt32.random(in: 0..<3, using: &random)
                arrivals = [packet]
            case 30..<34:
                packet.payloadType = 13
                arrivals = [packet]
            default: arrivals = [packet]
            }
            if !held.isEmpty, Int.random(in: 0..<6, using: &random) == 0 { arrivals += [held.removeFirst()] }
            for index in arrivals.indices { arrivals[index].milliseconds = packet.milliseconds }
            return arrivals
        }
    }

    @Test("agree on 20 000 packets of a bad network", arguments: [1, 2, 3, 4] as [UInt64])
    func agree(_ seed: UInt64) {
        var network = Network(seed: seed)
        var pair = Pair()
        for step in 0..<20_000 {
            for arrival in network.next() { pair.observe(arrival) }
            let kernel = MediaQuality(pair.kernel.stream)
            guard kernel == pair.monitor.quality else {
                Issue.record("step \(step): \(kernel) ≠ \(pair.monitor.quality)")
                return
            }
        }
        let quality = pair.monitor.quality
        #expect(quality.lost > 100 && quality.duplicates > 100 && quality.reordered > 100 && quality.events > 100)
        #expect(quality.restarts > 10 && quality.sourceChanges > 10)
    }

    struct Sample: Sendable, CustomTestStringConvertible {
        var testDescription: String
        /// Sequence numbers in order of arrival, 20 ms apart.
        var sequence: [UInt16]
        var lost: UInt64 = 0
        var duplicates: UInt64 = 0
        var reordered: UInt64 = 0
        var restarts: UInt64 = 0
        var expected: UInt64
    }

    static let samples: [Sample] = [
        Sample(testDescription: "complete", sequence: Array(100..<150), expected: 50),
        Sample(testDescription: "one lost", sequence: [1, 2, 4, 5], lost: 1, expected: 5),
        Sample(testDescription: "over the wrap", sequence: [65_534, 65_535, 0, 1], expected: 4),
        Sample(testDescription: "lost at the wrap", sequence: [65_534, 1], lost: 2, expected: 4),
        Sample(testDescription: "overtaken", sequence: [1, 3, 2, 4], reordered: 1, expected: 4),
        Sample(testDescription: "overtaken at the wrap", sequence: [65_535, 1, 0], reordered: 1, expected: 3),
        Sample(testDescription: "overtaken at the start", sequence: [5, 4, 6], reordered: 1, expected: 3),
        Sample(testDescription: "twice", sequence: [1, 2, 2, 3, 3], duplicates: 2, expected: 3),
        Sample(testDescription: "twice, late", sequence: [1, 2, 3, 1], duplicates: 1, expected: 3),
        Sample(
            testDescription: "twice and lost: one does not make up for the other", sequence: [1, 2, 2, 4], lost: 1,
            duplicates: 1, expected: 4),
        Sample(
            testDescription: "2999 on", sequence: [1, 3_000], lost: 2_998, expected: 3_000),
        Sample(testDescription: "3000 on, once: a stray", sequence: [1, 3_001, 2, 3], expected: 3),
        Sample(
            testDescription: "began anew", sequence: [1, 2, 40_000, 40_001, 40_002], restarts: 1, expected: 5),
        Sample(
            testDescription: "hundred behind", sequence: [200, 201, 101], lost: 98, reordered: 1, expected: 101),
    ]

    @Test("counts by extended sequence numbers (RFC 3550 A.1, A.3)", arguments: samples)
    func sequences(_ sample: Sample) {
        var pair = Pair()
        for (index, number) in sample.sequence.enumerated() {
            pair.observe(Arrival(sequenceNumber: number, timestamp: 0, milliseconds: 1_000 + 20 * Double(index)))
        }
        let quality = pair.monitor.quality
        #expect(quality == MediaQuality(pair.kernel.stream))
        #expect(quality.lost == sample.lost)
        #expect(quality.duplicates == sample.duplicates)
        #expect(quality.reordered == sample.reordered)
        #expect(quality.restarts == sample.restarts)
        #expect(quality.expected == sample.expected)
        #expect(quality.longestGap == (sample.sequence.count > 1 ? .milliseconds(20) : .zero))
    }

    /// The formula of RFC 3550 §6.4.1, in floating point and in milliseconds.
    @Test("measures jitter", arguments: [8_000, 16_000, 48_000, 90_000] as [UInt32])
    func jitter(_ clockRate: UInt32) throws {
        var pair = Pair(clockRate: clockRate)
        var random = RandomSource(seed: UInt64(clockRate))
        var (expected, before) = (0.0, 0.0)
        for number in 0..<500 {
            let delay = Double.random(in: 0..<12, using: &random)
            pair.observe(
                Arrival(
                    sequenceNumber: UInt16(number), timestamp: UInt32(number) &* clockRate / 50,
                    milliseconds: 5_000 + 20 * Double(number) + delay))
            if number > 0 { expected += (abs(delay - before) - expected) / 16 }
            before = delay
        }
        let jitter = try #require(pair.monitor.quality.jitter)
        #expect(MediaQuality(pair.kernel.stream).jitter == jitter)
        #expect(abs(Double(jitter.wholeNanoseconds) / 1e6 - expected) < 0.15)
        #expect(expected > 2)
    }

    @Test("takes neither events, nor comfort noise, nor a new timestamp for jitter")
    func undisturbed() {
        var pair = Pair()
        var sequenceNumber: UInt16 = 0
        func send(_ timestamp: UInt32, _ payloadType: UInt8 = 0, at milliseconds: Double) {
            sequenceNumber += 1
            pair.observe(
                Arrival(
                    sequenceNumber: sequenceNumber, timestamp: timestamp, payloadType: payloadType,
                    milliseconds: milliseconds))
        }
        for number in 0..<10 { send(UInt32(number) * 160, at: 1_000 + 20 * Double(number)) }
        for number in 10..<20 { send(1_600, Pair.eventPayloadType, at: 1_000 + 20 * Double(number)) }
        for number in 20..<25 { send(UInt32(number) * 160, at: 1_000 + 20 * Double(number)) }
        send(77, 13, at: 1_507)
        for number in 26..<30 { send(UInt32(number) * 160, at: 1_000 + 20 * Double(number)) }
        for number in 30..<40 { send(3_000_000_000 + UInt32(number) * 160, at: 1_000 + 20 * Double(number)) }
        #expect(pair.monitor.quality.jitter == .zero)
        #expect(MediaQuality(pair.kernel.stream).jitter == .zero)
        #expect(pair.monitor.quality.events == 1)
    }

    @Test("counts an event once, however many packets, and long ones by their first segment (RFC 4733 §2.5.1)")
    func events() {
        var pair = Pair()
        var sequenceNumber: UInt16 = 0
        // Digit, digit with a lost beginning, digit whose packets overtake each other, three segments of a long one.
        let segment: UInt32 = 0xFFFF
        for timestamp in [160, 160, 160, 160, 3_200, 6_400, 9_600, 6_400, 9_600, 12_800] as [UInt32]
            + [12_800 + segment, 12_800 + segment, 12_800 + 2 * segment]
        {
            sequenceNumber += 1
            pair.observe(
                Arrival(
                    sequenceNumber: sequenceNumber, timestamp: timestamp, payloadType: Pair.eventPayloadType,
                    milliseconds: 1_000 + 20 * Double(sequenceNumber)))
        }
        #expect(pair.monitor.quality.events == 5)
        #expect(MediaQuality(pair.kernel.stream).events == 5)
    }
}

@Suite("What RTCP tells: the program's code and ours")
struct ReportArithmeticTests {
    @Test("agree on reports of two sides, with any delays and names", arguments: [1, 2] as [UInt64])
    func agree(_ seed: UInt64) {
        var random = RandomSource(seed: seed)
        var kernel = [relay_quality(), relay_quality()]
        var monitors = [ReportMonitor(), ReportMonitor()]
        var names: [[UInt32]] = [[0], [0]]
        var nanoseconds: UInt64 = 5_000_000_000
        for _ in 0..<3_000 {
            nanoseconds += UInt64.random(in: 1...3_000_000_000, using: &random)
            let side = Int.random(in: 0...1, using: &random)
            var blocks: [RTCPReportBlock] = []
            if Bool.random(using: &random) {
                blocks.append(
                    RTCPReportBlock(
                        ssrc: 7, fractionLost: UInt8.random(in: 0...255, using: &random),
                        cumulativeLost: Int32.random(in: -8_388_608...8_388_607, using: &random),
                        highestSequenceNumber: 9, jitter: 3,
                        lastSenderReport: names[1 - side].suffix(3).randomElement(using: &random) ?? 0,
                        delaySinceLastSenderReport: UInt32.random(in: 0..<200_000, using: &random)))
            }
            let ntpTime = UInt64.random(in: 0...UInt64.max, using: &random)
            let isSender = Bool.random(using: &random)
            if isSender { names[side].append(UInt32(truncatingIfNeeded: ntpTime >> 16)) }
            let packet: RTCPPacket =
                isSender
                ? .senderReport(
                    ssrc: 1, ntpTime: ntpTime, rtpTime: 0, packetCount: 0, byteCount: 0, reports: blocks,
                    extensionData: [])
                : .receiverReport(ssrc: 1, reports: blocks, extensionData: [])
            var writer = ByteWriter(capacity: 64)
            packet.render(into: &writer)
            let bytes = writer.bytes
            var (own, other) = (kernel[side], kernel[1 - side])
            quality_observe_rtcp(&own, &other, bytes, UInt32(bytes.count), nanoseconds)
            kernel[side] = own
            monitors[side].observe(
                bytes.span, opposite: monitors[1 - side], at: MonotonicTime(nanoseconds: Int64(nanoseconds)))
        }
        for side in 0...1 {
            let (kernel, ours) = (MediaReports(kernel[side].reports), monitors[side].reports)
            #expect(kernel.senderReports == ours.senderReports && kernel.receptions == ours.receptions)
            #expect(kernel.roundTrip?.sum == ours.roundTrip?.sum && kernel.roundTrip?.count == ours.roundTrip?.count)
            #expect((ours.roundTrip?.count ?? 0) > 50)
            #expect(kernel.farEnd?.cumulativeLost == ours.farEnd?.cumulativeLost)
            #expect(kernel.farEnd?.fractionLost == ours.farEnd?.fractionLost)
        }
    }
}

@Suite("Quality of a flow, through BPF_PROG_RUN", .serialized, .enabled(if: isRoot, "BPF needs root"))
struct QualityProgramTests {
    final class Bench {
        let topology: Topology
        let fastPath: FastPath
        let program: RelayProgram
        let (lan0, wan0): (UInt32, UInt32)

        init() throws {
            topology = try Topology()
            fastPath = try topology.fastPath(.xdp)
            program = try #require(fastPath.program)
            (lan0, wan0) = (try topology.index("lan0"), try topology.index("wan0"))
        }

        /// One UDP payload from the flow's source to its address; through XDP or TC.
        func run(_ payload: [UInt8], of flow: MediaFlow, isOutward: Bool, isXDP: Bool) throws -> UInt32 {
            let packet = Frame(
                destinationMAC: isOutward ? Topology.lan0 : Topology.wan0,
                sourceMAC: isOutward ? Topology.lan : Topology.wan, source: flow.acceptedSource,
                destination: flow.local, payload: payload
            ).bytes
            var output = [UInt8](repeating: 0, count: 2048)
            var result = relay_run_result()
            let code = try topology.box.run {
                relay_run(
                    isXDP ? program.xdp : program.tc, isXDP, isOutward ? lan0 : wan0, 1, packet, UInt32(packet.count),
                    &output, UInt32(output.count), &result)
            }
            try #require(code == 0, "\(String(cString: strerror(-code)))")
            return result.action
        }
    }

    @Test("counts a sequence of packets", arguments: [IPAddress.Family.v4, .v6], [true, false])
    func stream(_ family: IPAddress.Family, isXDP: Bool) throws {
        let bench = try Bench()
        var flow = Topology.Ends(family).outward
        flow.clockRate = 8_000
        flow.eventPayloadType = 96
        flow.payloadTypes = [.init(from: 96, to: 101)]
        try #require(try bench.topology.apply(flow, to: bench.fastPath) == .applied)
        var ssrc: UInt32 = 7
        func send(_ sequenceNumber: UInt16, _ payloadType: UInt8 = 0, timestamp: UInt32? = nil) throws {
            let header = RTPHeader(
                payloadType: payloadType, sequenceNumber: sequenceNumber,
                timestamp: timestamp ?? UInt32(sequenceNumber) * 160, ssrc: ssrc)
            let action = try bench.run(
                header.datagram(payload: [1, 2, 3, 4]), of: flow, isOutward: true, isXDP: isXDP)
            try #require(action == (isXDP ? XDP_REDIRECT.rawValue : 7))
        }
        for number in 65_500...65_535 as ClosedRange<UInt16> { try send(number) }
        for number in [0, 1, 3, 2, 2, 6] as [UInt16] { try send(number) }  // 3 ahead of 2, 2 twice, 4 and 5 lost
        for number in 7...12 as ClosedRange<UInt16> { try send(number, 96, timestamp: 1_120) }
        for number in 13...14 as ClosedRange<UInt16> { try send(number, 96, timestamp: 8_000) }
        ssrc = 8
        for number in 900...902 as ClosedRange<UInt16> { try send(number) }
        for number in 30_000...30_002 as ClosedRange<UInt16> { try send(number) }
        let strangers = 3
        var stranger = flow
        stranger.acceptedSource.port += 1
        for _ in 0..<strangers { _ = try bench.run(Frame.rtp(), of: stranger, isOutward: true, isXDP: isXDP) }

        let counters = try #require(bench.fastPath.counters(for: flow.local))
        #expect(counters.wrongSource == UInt64(strangers))
        var quality = counters.quality
        let jitter = try #require(quality.jitter)
        #expect((.zero ... .milliseconds(200)).contains(jitter))
        #expect(quality.longestGap > .zero)
        (quality.jitter, quality.longestGap) = (nil, .zero)
        #expect(
            quality
                == MediaQuality(
                    received: counters.packets, expected: 51 + 6, duplicates: 1, reordered: 1, events: 2,
                    sourceChanges: 1, restarts: 1))
        #expect(quality.lost == 2)

        // Applied again it goes on; removed and applied it begins anew.
        flow.wrongSource = .pass
        try #require(try bench.topology.apply(flow, to: bench.fastPath) == .applied)
        #expect(bench.fastPath.counters(for: flow.local)?.quality.lost == 2)
        #expect(bench.fastPath.remove(flow.local)?.quality.lost == 2)
        try #require(try bench.topology.apply(flow, to: bench.fastPath) == .applied)
        #expect(bench.fastPath.counters(for: flow.local)?.quality == MediaQuality())
    }

    @Test("finds round trip and far-end loss in RTCP", arguments: [IPAddress.Family.v4, .v6], [true, false])
    func reports(_ family: IPAddress.Family, isXDP: Bool) throws {
        let bench = try Bench()
        let ends = Topology.Ends(family, offset: 1)
        var (outward, inward) = (ends.outward, ends.inward)
        (outward.kind, inward.kind) = (.rtcp, .rtcp)
        for flow in [outward, inward] {
            try #require(try bench.topology.apply(flow, to: bench.fastPath) == .applied)
        }
        let clock = ContinuousClock()
        func send(_ packet: RTCPPacket, isOutward: Bool) throws {
            var writer = ByteWriter(capacity: 64)
            packet.render(into: &writer)
            RTCPPacket.sourceDescription([]).render(into: &writer)
            let action = try bench.run(
                writer.bytes, of: isOutward ? outward : inward, isOutward: isOutward, isXDP: isXDP)
            try #require(action == (isXDP ? XDP_REDIRECT.rawValue : 7))
        }
        func senderReport(_ seconds: UInt64, _ reports: [RTCPReportBlock] = []) -> RTCPPacket {
            .senderReport(
                ssrc: 7, ntpTime: seconds << 32 | 0x8000_0000, rtpTime: 0, packetCount: 0, byteCount: 0,
                reports: reports, extensionData: [])
        }
        func block(_ lastReport: UInt32, delay: UInt32 = 0) -> RTCPReportBlock {
            RTCPReportBlock(
                ssrc: 7, fractionLost: 64, cumulativeLost: -3, highestSequenceNumber: 0x1_0002, jitter: 40,
                lastSenderReport: lastReport, delaySinceLastSenderReport: delay)
        }
        let start = clock.now
        try send(senderReport(0x1_0011), isOutward: true)
        let passed = clock.now
        try send(.receiverReport(ssrc: 9, reports: [block(0x0099_8000)], extensionData: []), isOutward: false)
        #expect(bench.fastPath.counters(for: inward.local)?.reports.roundTrip == nil, "a report nobody sent")
        let before = clock.now
        try send(.receiverReport(ssrc: 9, reports: [block(0x0011_8000)], extensionData: []), isOutward: false)
        let end = clock.now
        let carrier = try #require(bench.fastPath.counters(for: inward.local)?.reports)
        let roundTrip = try #require(carrier.roundTrip)
        #expect(roundTrip.count == 1)
        #expect(((before - passed - .microseconds(1))...(end - start)).contains(roundTrip.latest))
        #expect(carrier.receptions == 2)
        let farEnd = try #require(carrier.farEnd)
        #expect(farEnd.ssrc == 7 && farEnd.fractionLost == 64 && farEnd.cumulativeLost == -3)
        #expect(farEnd.highestSequenceNumber == 0x1_0002 && farEnd.jitter == 40)

        // In a sender report, too; the last two of the other side count; more delay than time is not believed.
        try send(senderReport(0x1_0016), isOutward: true)
        try send(senderReport(0x1_0020, [block(0x0011_8000)]), isOutward: false)
        try send(senderReport(0x1_0021, [block(0x0016_8000, delay: 65_536 * 600)]), isOutward: false)
        try send(senderReport(0x1_001B), isOutward: true)
        try send(senderReport(0x1_0022, [block(0x0011_8000)]), isOutward: false)
        let later = try #require(bench.fastPath.counters(for: inward.local)?.reports)
        #expect(later.roundTrip?.count == 2)
        #expect(later.senderReports == 3 && later.receptions == 5)
        #expect(bench.fastPath.counters(for: outward.local)?.reports.senderReports == 3)
    }

    @Test("reads nothing behind the end of a report", arguments: [true, false])
    func short(isXDP: Bool) throws {
        let bench = try Bench()
        var flow = Topology.Ends(.v4, offset: 1).outward
        flow.kind = .rtcp
        try #require(try bench.topology.apply(flow, to: bench.fastPath) == .applied)
        for (type, byteCount) in [(200, 8), (200, 27), (200, 51), (201, 8), (201, 31), (203, 60)] as [(UInt8, Int)] {
            var bytes = [UInt8](repeating: 0x55, count: byteCount)
            bytes.replaceSubrange(0..<4, with: [0x81, type, 0, 12])
            _ = try bench.run(bytes, of: flow, isOutward: true, isXDP: isXDP)
        }
        let counters = try #require(bench.fastPath.counters(for: flow.local))
        #expect(counters.packets == 6)
        #expect(counters.reports.receptions == 0)
        #expect(counters.reports.senderReports == 1, "a sender report whose block is cut off is still one")
    }
}
