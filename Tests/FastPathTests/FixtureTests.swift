import CFastPath
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

/// One packet in, one packet out, through BPF_PROG_RUN at both entry points; the expected bytes are built from values,
/// with checksums computed over the whole packet.
@Suite("Relay program, packet by packet", .serialized, .enabled(if: isRoot, "BPF needs root"))
struct FixtureTests {
    /// `ring` is the same core in user space: it sees frames, as XDP does.
    enum Hook: String, Sendable, CaseIterable {
        case xdp, tc, ring
        static let programs: [Hook] = [.xdp, .tc]
    }
    enum End: Hashable, Sendable { case relayed, passed, dropped }

    /// What is counted at the interface.
    enum Outcome: Sendable {
        case relayed, droppedWrongSource, droppedMalformed, passedWrongSource, passedUnusual, passedTimeToLive
        case passedNoRoute, passedNoNeighbour, passedTooLarge, passedForeignInterface

        var path: WritableKeyPath<FastPathOutcomes, UInt64> {
            switch self {
            case .relayed: \.relayed
            case .droppedWrongSource: \.droppedWrongSource
            case .droppedMalformed: \.droppedMalformed
            case .passedWrongSource: \.passedWrongSource
            case .passedUnusual: \.passedUnusual
            case .passedTimeToLive: \.passedTimeToLive
            case .passedNoRoute: \.passedNoRoute
            case .passedNoNeighbour: \.passedNoNeighbour
            case .passedTooLarge: \.passedTooLarge
            case .passedForeignInterface: \.passedForeignInterface
            }
        }
    }

    struct Fixture: Sendable {
        var name: String
        var families: [IPAddress.Family] = [.v4, .v6]
        var hooks = Hook.allCases
        /// Changes the flow phone → carrier.
        var flow: @Sendable (inout MediaFlow) -> Void = { _ in }
        /// Changes the packet of that flow.
        var input: @Sendable (inout Frame) -> Void = { _ in }
        /// Changes what is expected: the input, readdressed, with one hop less.
        var output: @Sendable (inout Frame) -> Void = { _ in }
        /// The tag wan0 sends with; 0 for none.
        var egressTag: UInt16 = 0
        /// Leaves in the other family.
        var translated = false
        var hairpin = false
        var wanKnown = true
        var end = End.relayed
        /// nil: not counted, since no flow is concerned.
        var outcome: Outcome? = .relayed
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let fixture: Fixture
        let family: IPAddress.Family
        let hook: Hook
        var testDescription: String { "\(fixture.name), \(family.rawValue), \(hook.rawValue)" }
    }

    static let mapping: @Sendable (inout MediaFlow) -> Void = {
        $0.payloadTypes = [
            .init(from: 96, to: 101), .init(from: 97, to: 18), .init(from: 98, to: 8), .init(from: 0, to: 1),
        ]
    }

    static let fixtures: [Fixture] = [
        // Relayed
        Fixture(name: "RTP"),
        Fixture(name: "marker", input: { $0.payload = Frame.rtp(marker: true) }),
        Fixture(name: "twelve bytes", input: { $0.payload = Frame.rtp(speech: 0) }),
        Fixture(name: "odd length", input: { $0.payload = Frame.rtp(speech: 33) }),
        Fixture(name: "1472 bytes", families: [.v4], input: { $0.payload = Frame.rtp(speech: 1460) }),
        Fixture(name: "1452 bytes", families: [.v6], input: { $0.payload = Frame.rtp(speech: 1440) }),
        Fixture(
            name: "padded frame",
            input: {
                $0.payload = Frame.rtp(speech: 0)
                $0.padding = [0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF, 0x11]
            }),
        Fixture(name: "no checksum", families: [.v4], input: { $0.checksum = .zero }),
        Fixture(name: "damaged checksum stays damaged", input: { $0.checksum = .damaged(by: 0x1234) }),
        Fixture(name: "no fragmentation flag", families: [.v4], input: { $0.fragment = 0 }),
        Fixture(name: "RTCP", flow: { $0.kind = .rtcp }, input: { $0.payload = Frame.rtcp() }),
        Fixture(
            name: "RTCP packet type 192, eight bytes", flow: { $0.kind = .rtcp },
            input: {
                $0.payload = Frame.rtcp(type: 192, byteCount: 8)
            }),
        Fixture(name: "RTCP packet type 223", flow: { $0.kind = .rtcp }, input: { $0.payload = Frame.rtcp(type: 223) }),
        Fixture(name: "two hops left", input: { $0.hops = 2 }),
        Fixture(
            name: "payload type mapped", flow: mapping, input: { $0.payload = Frame.rtp(type: 96) },
            output: {
                $0.payload = Frame.rtp(type: 101)
            }),
        Fixture(
            name: "payload type mapped, marker kept", flow: mapping,
            input: {
                $0.payload = Frame.rtp(type: 97, marker: true)
            }, output: { $0.payload = Frame.rtp(type: 18, marker: true) }),
        Fixture(
            name: "fourth mapping", flow: mapping, input: { $0.payload = Frame.rtp(type: 0) },
            output: {
                $0.payload = Frame.rtp(type: 1)
            }),
        Fixture(name: "payload type without mapping", flow: mapping, input: { $0.payload = Frame.rtp(type: 3) }),
        Fixture(
            name: "payload type mapped, no checksum", families: [.v4], flow: mapping,
            input: {
                $0.payload = Frame.rtp(type: 96)
                $0.checksum = .zero
            }, output: { $0.payload = Frame.rtp(type: 101) }),
        Fixture(name: "hairpin", hairpin: true),

        // Traffic class: DSCP as the flow says, ECN as it came
        Fixture(name: "class kept", input: { $0.trafficClass = 0x69 }, output: { $0.trafficClass = 0x69 }),
        Fixture(
            name: "class set", flow: { $0.trafficClass = .set(.expeditedForwarding) },
            input: { $0.trafficClass = 0 }, output: { $0.trafficClass = 0xB8 }),
        Fixture(
            name: "class cleared, ECN kept", flow: { $0.trafficClass = .set(DSCP(rawValue: 0)!) },
            input: { $0.trafficClass = 0xFF }, output: { $0.trafficClass = 0x03 }),
        Fixture(
            name: "class set, ECN kept, no checksum", families: [.v4],
            flow: { $0.trafficClass = .set(DSCP(rawValue: 63)!) },
            input: {
                $0.trafficClass = 0x02
                $0.checksum = .zero
            }, output: { $0.trafficClass = 0xFE }),
        Fixture(
            name: "class set, mapped, tag out", hooks: [.xdp, .ring],
            flow: {
                mapping(&$0)
                $0.trafficClass = .set(.classSelector3)
            },
            input: {
                $0.trafficClass = 0x01
                $0.payload = Frame.rtp(type: 96)
            },
            output: {
                $0.trafficClass = 0x61
                $0.payload = Frame.rtp(type: 101)
                $0.tags = [20]
            }, egressTag: 20),

        // A frame says nothing of its checksum: where it looks unfinished it is made anew. A buffer says it, and the
        // live tests see it done; here the helper takes it for finished, and rightly leaves it as wrong as it was.
        Fixture(
            name: "unfinished", hooks: [.xdp, .ring], input: { $0.checksum = .unfinished },
            output: {
                $0.checksum = .finished
            }),
        Fixture(
            name: "unfinished, odd", hooks: [.xdp, .ring],
            input: {
                $0.payload = Frame.rtp(speech: 33)
                $0.checksum = .unfinished
            }, output: { $0.checksum = .finished }),
        Fixture(
            name: "unfinished, mapped", hooks: [.xdp, .ring], flow: mapping,
            input: {
                $0.payload = Frame.rtp(type: 96)
                $0.checksum = .unfinished
            },
            output: {
                $0.payload = Frame.rtp(type: 101)
                $0.checksum = .finished
            }),
        Fixture(
            name: "unfinished, 1440 bytes", hooks: [.xdp, .ring],
            input: {
                $0.payload = Frame.rtp(speech: 1428)
                $0.checksum = .unfinished
            }, output: { $0.checksum = .finished }),

        // Tags, as XDP sees them
        Fixture(name: "tag out", hooks: [.xdp, .ring], output: { $0.tags = [20] }, egressTag: 20),
        Fixture(name: "tag in", hooks: [.xdp, .ring], input: { $0.tags = [10] }, output: { $0.tags = [] }),
        Fixture(
            name: "tag in and out, priority kept", hooks: [.xdp, .ring], input: { $0.tags = [0xA00A] },
            output: {
                $0.tags = [0xA014]
            }, egressTag: 20),
        Fixture(
            name: "tag in and out, hairpin", hooks: [.xdp, .ring], input: { $0.tags = [10] },
            output: { $0.tags = [20] }, egressTag: 20, hairpin: true),
        Fixture(
            name: "tag in, unfinished", hooks: [.xdp, .ring],
            input: {
                $0.tags = [10]
                $0.checksum = .unfinished
            },
            output: {
                $0.tags = []
                $0.checksum = .finished
            }),
        Fixture(
            name: "tag out, mapped", hooks: [.xdp, .ring], flow: mapping, input: { $0.payload = Frame.rtp(type: 96) },
            output: {
                $0.tags = [4094]
                $0.payload = Frame.rtp(type: 101)
            }, egressTag: 4094),
        Fixture(name: "two tags", hooks: [.xdp, .ring], input: { $0.tags = [10, 11] }, end: .passed, outcome: nil),

        // From one family to the other
        Fixture(name: "translated", translated: true),
        Fixture(name: "translated, twelve bytes", input: { $0.payload = Frame.rtp(speech: 0) }, translated: true),
        Fixture(name: "translated, odd length", input: { $0.payload = Frame.rtp(speech: 33) }, translated: true),
        Fixture(
            name: "translated, RTCP", flow: { $0.kind = .rtcp }, input: { $0.payload = Frame.rtcp() }, translated: true),
        Fixture(
            name: "translated, mapped", flow: mapping, input: { $0.payload = Frame.rtp(type: 96) },
            output: { $0.payload = Frame.rtp(type: 101) }, translated: true),
        Fixture(name: "translated, two hops left", input: { $0.hops = 2 }, translated: true),
        Fixture(
            name: "translated, last hop", input: { $0.hops = 1 }, translated: true, end: .passed,
            outcome: .passedTimeToLive),
        Fixture(
            name: "translated, class and ECN kept", input: { $0.trafficClass = 0xA7 },
            output: { $0.trafficClass = 0xA7 }, translated: true),
        Fixture(
            name: "translated, class set, ECN kept", flow: { $0.trafficClass = .set(.classSelector5) },
            input: { $0.trafficClass = 0x1B }, output: { $0.trafficClass = 0xA3 }, translated: true),
        Fixture(
            name: "translated, damaged checksum stays damaged", input: { $0.checksum = .damaged(by: 0x1234) },
            translated: true),
        Fixture(
            name: "translated, no checksum: made in a frame", families: [.v4], hooks: [.xdp, .ring],
            input: { $0.checksum = .zero }, output: { $0.checksum = .finished }, translated: true),
        Fixture(
            name: "translated, no checksum, odd, mapped", families: [.v4], hooks: [.xdp, .ring], flow: mapping,
            input: {
                $0.payload = Frame.rtp(type: 96, speech: 33)
                $0.checksum = .zero
            },
            output: {
                $0.payload = Frame.rtp(type: 101, speech: 33)
                $0.checksum = .finished
            }, translated: true),
        Fixture(
            name: "translated, no checksum: not in a buffer", families: [.v4], hooks: [.tc],
            input: { $0.checksum = .zero }, translated: true, end: .passed, outcome: .passedUnusual),
        Fixture(
            name: "translated, unfinished", hooks: [.xdp, .ring], input: { $0.checksum = .unfinished },
            output: { $0.checksum = .finished }, translated: true),
        Fixture(
            name: "translated, tag in", hooks: [.xdp, .ring], input: { $0.tags = [10] }, output: { $0.tags = [] },
            translated: true),
        Fixture(
            name: "translated, tag out", hooks: [.xdp, .ring], output: { $0.tags = [20] }, egressTag: 20,
            translated: true),
        Fixture(
            name: "translated, tag in and out, padded", hooks: [.xdp, .ring],
            input: {
                $0.tags = [0xA00A]
                $0.payload = Frame.rtp(speech: 0)
                $0.padding = [1, 2, 3]
            }, output: { $0.tags = [0xA014] }, egressTag: 20, translated: true),
        Fixture(
            name: "translated, grows to the limit", families: [.v4],
            input: { $0.payload = Frame.rtp(speech: 1440) }, translated: true),
        Fixture(
            name: "translated, grows beyond the limit", families: [.v4],
            input: { $0.payload = Frame.rtp(speech: 1441) }, translated: true, end: .passed, outcome: .passedTooLarge),
        Fixture(
            name: "translated, shrinks to the limit", families: [.v6],
            input: { $0.payload = Frame.rtp(speech: 1460) }, translated: true),
        Fixture(
            name: "translated, wrong port", input: { $0.source.port += 1 }, translated: true, end: .dropped,
            outcome: .droppedWrongSource),

        // Wrong source
        Fixture(name: "wrong port, drop", input: { $0.source.port += 1 }, end: .dropped, outcome: .droppedWrongSource),
        Fixture(
            name: "wrong port, pass", flow: { $0.wrongSource = .pass }, input: { $0.source.port += 1 }, end: .passed,
            outcome: .passedWrongSource),
        Fixture(
            name: "wrong address, drop", families: [.v4], input: { $0.source.address = .v4(0xC000_020B) },
            end: .dropped, outcome: .droppedWrongSource),
        Fixture(
            name: "wrong address, pass", families: [.v6], flow: { $0.wrongSource = .pass },
            input: {
                $0.source.address = .v6(0x2001_0db8_0001_0001, 0xA)
            }, end: .passed, outcome: .passedWrongSource),
        Fixture(
            name: "wrong source, not even media, pass", flow: { $0.wrongSource = .pass },
            input: {
                $0.source.port += 1
                $0.payload = [1]
            }, end: .passed, outcome: .passedWrongSource),

        // Not media
        Fixture(name: "empty", input: { $0.payload = [] }, end: .dropped, outcome: .droppedMalformed),
        Fixture(
            name: "eleven bytes", input: { $0.payload = Array(Frame.rtp().prefix(11)) }, end: .dropped,
            outcome: .droppedMalformed),
        Fixture(
            name: "eleven bytes and padding",
            input: {
                $0.payload = Array(Frame.rtp().prefix(11))
                $0.padding = [UInt8](repeating: 0, count: 20)
            }, end: .dropped, outcome: .droppedMalformed),
        Fixture(name: "version 1", input: { $0.payload[0] = 0x40 }, end: .dropped, outcome: .droppedMalformed),
        Fixture(name: "version 3", input: { $0.payload[0] = 0xC0 }, end: .dropped, outcome: .droppedMalformed),
        Fixture(
            name: "STUN",
            input: {
                $0.payload = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42] + [UInt8](repeating: 7, count: 12)
            }, end: .dropped, outcome: .droppedMalformed),
        Fixture(
            name: "RTCP packet type 191", flow: { $0.kind = .rtcp }, input: { $0.payload = Frame.rtcp(type: 191) },
            end: .dropped, outcome: .droppedMalformed),
        Fixture(
            name: "RTCP packet type 224", flow: { $0.kind = .rtcp }, input: { $0.payload = Frame.rtcp(type: 224) },
            end: .dropped, outcome: .droppedMalformed),
        Fixture(
            name: "RTCP, seven bytes", flow: { $0.kind = .rtcp }, input: { $0.payload = Frame.rtcp(byteCount: 7) },
            end: .dropped, outcome: .droppedMalformed),
        Fixture(name: "RTP on an RTCP flow", flow: { $0.kind = .rtcp }, end: .dropped, outcome: .droppedMalformed),

        // For the stack
        Fixture(name: "other port", input: { $0.destination.port += 2 }, end: .passed, outcome: nil),
        Fixture(
            name: "other address", families: [.v4], input: { $0.destination.address = .v4(0xC000_0263) }, end: .passed,
            outcome: nil),
        Fixture(name: "first fragment", families: [.v4], input: { $0.fragment = 0x2000 }, end: .passed, outcome: nil),
        Fixture(name: "later fragment", families: [.v4], input: { $0.fragment = 0x0010 }, end: .passed, outcome: nil),
        Fixture(
            name: "IPv4 options", families: [.v4], input: { $0.options = [1, 1, 1, 0] }, end: .passed, outcome: nil),
        Fixture(
            name: "IPv6 extension header", families: [.v6],
            input: {
                $0.extensionHeader = [17, 0, 1, 4, 0, 0, 0, 0]
            }, end: .passed, outcome: nil),
        Fixture(
            name: "multicast frame", input: { $0.destinationMAC = MAC("01:00:5e:00:00:01") }, end: .passed, outcome: nil
        ),
        Fixture(
            name: "IPv6 without checksum", families: [.v6], input: { $0.checksum = .zero }, end: .passed,
            outcome: .passedUnusual),
        Fixture(
            name: "UDP longer than IP", input: { $0.udpByteCountError = 1 }, end: .passed, outcome: .passedUnusual),
        Fixture(
            name: "UDP shorter than IP", input: { $0.udpByteCountError = -1 }, end: .passed, outcome: .passedUnusual),
        Fixture(name: "last hop", input: { $0.hops = 1 }, end: .passed, outcome: .passedTimeToLive),
        Fixture(name: "no hop", input: { $0.hops = 0 }, end: .passed, outcome: .passedTimeToLive),
        Fixture(
            name: "unknown neighbour", families: [.v4], flow: { $0.rewrittenDestination.address = .v4(0xC633_644D) },
            end: .passed, outcome: .passedNoNeighbour),
        Fixture(
            name: "unknown neighbour", families: [.v6],
            flow: {
                $0.rewrittenDestination.address = .v6(0x2001_0db8_0002_0000, 0x4D)
            }, end: .passed, outcome: .passedNoNeighbour),
        Fixture(
            name: "no route", families: [.v4], flow: { $0.rewrittenDestination.address = .v4(0xCB00_7105) },
            end: .passed, outcome: .passedNoRoute),
        Fixture(
            name: "no route", families: [.v6],
            flow: { $0.rewrittenDestination.address = .v6(0x2001_0db8_0009_0000, 5) },
            end: .passed, outcome: .passedNoRoute),
        Fixture(
            name: "to ourselves", families: [.v4], flow: { $0.rewrittenDestination.address = .v4(0xC633_6401) },
            end: .passed, outcome: .passedNoRoute),
        Fixture(
            name: "too large for the way out", input: { $0.payload = Frame.rtp(speech: 1500) }, end: .passed,
            outcome: .passedTooLarge),
        Fixture(name: "way out not in the set", wanKnown: false, end: .passed, outcome: .passedForeignInterface),
    ]

    static let cases: [Case] = fixtures.flatMap { fixture in
        fixture.families.flatMap { family in
            fixture.hooks.map { Case(fixture: fixture, family: family, hook: $0) }
        }
    }

    nonisolated(unsafe) static let bench = Result { try Bench() }

    @Test("relays, passes or drops, byte for byte", arguments: cases)
    func fixture(_ sample: Case) throws {
        let bench = try Self.bench.get()
        let fixture = sample.fixture
        let ends = Topology.Ends(sample.family)

        var rows = [relay_interface(index: bench.lan0, transmit_index: bench.lan0, vlan: fixture.egressTag, zero: 0)]
        if fixture.wanKnown {
            rows.append(
                relay_interface(index: bench.wan0, transmit_index: bench.wan0, vlan: fixture.egressTag, zero: 0))
        }
        try bench.setRows(rows)
        var flow = ends.outward
        if fixture.hairpin {
            flow.rewrittenSource = .init(ends.boxLAN.address, 20002)
            flow.rewrittenDestination = .init(ends.phone.address, 4002)
        }
        if fixture.translated {
            let other = Topology.Ends(sample.family == .v4 ? .v6 : .v4)
            (flow.rewrittenSource, flow.rewrittenDestination) = (other.boxWAN, other.carrier)
        }
        fixture.flow(&flow)
        #expect(try bench.apply(flow, to: sample.hook) == .applied)
        defer { bench.remove(flow.local) }
        let totalsBefore = bench.totals(of: sample.hook)

        var input = Frame(
            destinationMAC: Topology.lan0, sourceMAC: Topology.lan, source: ends.phone, destination: ends.boxLAN,
            payload: Frame.rtp())
        fixture.input(&input)
        var expected = input
        (expected.source, expected.destination) = (flow.rewrittenSource, flow.rewrittenDestination)
        expected.destinationMAC = fixture.hairpin ? Topology.lan : Topology.wan
        expected.sourceMAC = fixture.hairpin ? Topology.lan0 : Topology.wan0
        expected.hops = input.hops &- 1
        if fixture.translated {
            expected.padding = input.padding
            (expected.identification, expected.fragment, expected.flowLabel) = (0, 0x4000, 0)
        }
        fixture.output(&expected)

        let packet = input.bytes
        let (end, output) = try bench.run(packet, sample.hook)
        #expect(end == fixture.end)
        switch fixture.end {
        case .relayed: #expect(output == expected.bytes)
        case .passed: #expect(output == packet)
        case .dropped: break
        }
        try expectCounters(sample, flow, payloadByteCount: input.payload.count, totalsBefore)
    }

    /// Exactly one outcome was counted, and the flow's counters agree with it.
    private func expectCounters(
        _ sample: Case, _ flow: MediaFlow, payloadByteCount: Int, _ totalsBefore: FastPathOutcomes
    ) throws {
        let bench = try Self.bench.get()
        var totals = totalsBefore
        if let outcome = sample.fixture.outcome {
            totals[keyPath: outcome.path] += 1
        }
        #expect(bench.totals(of: sample.hook) == totals)

        var counters = try #require(bench.counters(of: flow.local, sample.hook))
        if sample.fixture.end == .relayed {
            var now = timespec()
            clock_gettime(CLOCK_MONOTONIC, &now)
            let arrival = try #require(counters.lastArrival)
            let age = MonotonicTime(nanoseconds: Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)) - arrival
            #expect((.zero ... .seconds(10)).contains(age))
            counters.lastArrival = nil
        }
        let relayed = sample.fixture.end == .relayed
        // Media of the right source counts for its quality, whichever way it goes on.
        let isRead: Bool =
            switch sample.fixture.outcome {
            case .relayed, .passedTimeToLive, .passedNoRoute, .passedNoNeighbour, .passedTooLarge,
                .passedForeignInterface:
                flow.kind == .rtp
            case .passedUnusual: sample.fixture.translated  // found out late: no checksum to translate
            case .droppedWrongSource, .droppedMalformed, .passedWrongSource, nil: false
            }
        #expect(counters.quality == (isRead ? MediaQuality(received: 1, expected: 1) : MediaQuality()))
        (counters.quality, counters.reports) = (MediaQuality(), MediaReports())
        let isWrongSource = [.droppedWrongSource, .passedWrongSource].contains(sample.fixture.outcome)
        #expect(
            counters
                == MediaFlowCounters(
                    packets: relayed ? 1 : 0, bytes: relayed ? UInt64(payloadByteCount) : 0,
                    wrongSource: isWrongSource ? 1 : 0,
                    malformed: sample.fixture.outcome == .droppedMalformed ? 1 : 0))
    }
}
