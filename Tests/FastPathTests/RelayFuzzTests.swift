import CFastPath
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

/// The same mutated packets through the program (BPF_PROG_RUN, XDP) and through the ring's core: same verdicts, same
/// bytes, same counts. `make fuzz-relay N=10000000` asks for more of them than `make test` does.
@Suite("Both engines agree", .serialized, .enabled(if: isRoot, "BPF needs root"))
struct RelayFuzzTests {
    static let count = getenv("CRESSET_FUZZ_PACKETS").flatMap { Int(String(cString: $0)) } ?? 50_000
    static let seed = getenv("CRESSET_FUZZ_SEED").flatMap { UInt64(String(cString: $0)) } ?? 1

    /// Flows of all kinds, with packets that belong to them.
    static func samples() -> [(flow: MediaFlow, packets: [[UInt8]])] {
        var samples: [(MediaFlow, [[UInt8]])] = []
        for (number, family) in [IPAddress.Family.v4, .v6, .v4, .v6, .v4, .v6, .v4, .v6, .v4, .v6].enumerated() {
            let ends = Topology.Ends(family, offset: UInt16(number) * 2)
            let other = Topology.Ends(family == .v4 ? .v6 : .v4, offset: UInt16(number) * 2)
            var flow = ends.outward
            var payloads = [Frame.rtp(), Frame.rtp(type: 96, marker: true, speech: 33), Frame.rtp(speech: 0)]
            switch number / 2 {
            case 0: flow.payloadTypes = [.init(from: 96, to: 101), .init(from: 0, to: 8)]
            case 1:
                flow.kind = .rtcp
                payloads = [Frame.rtcp(), Frame.rtcp(type: 201, byteCount: 52), Frame.rtcp(byteCount: 8)]
            case 2:
                (flow.rewrittenSource, flow.rewrittenDestination) = (other.boxWAN, other.carrier)
                flow.trafficClass = .set(.expeditedForwarding)
            case 3:
                flow.wrongSource = .pass
                flow.rewrittenSource = .init(ends.boxLAN.address, 20_100)
                flow.rewrittenDestination = .init(ends.phone.address, 4100)
            default:
                (flow.clockRate, flow.eventPayloadType) = (8000, 96)
                payloads.append(Frame.rtp(speech: 1440))
            }
            var packets: [[UInt8]] = []
            for payload in payloads {
                for checksum in [Frame.Checksum.finished, .unfinished, .zero, .damaged(by: 7)] {
                    for tags in [[], [0xA00A as UInt16]] {
                        packets.append(
                            Frame(
                                destinationMAC: Topology.lan0, sourceMAC: Topology.lan, tags: tags,
                                source: ends.phone, destination: ends.boxLAN, payload: payload, checksum: checksum
                            ).bytes)
                    }
                }
            }
            samples.append((flow, packets))
        }
        return samples
    }

    /// Changes a few bytes, mostly of the headers, or the length; one packet in eight stays as it is.
    static func mutate(_ packet: inout [UInt8], _ random: inout SplitMix64) {
        let interesting: [UInt8] = [0, 1, 2, 0x45, 0x46, 0x60, 0x7F, 0x80, 0x81, 0xC8, 0xFF, 17, 44]
        var choices = random.next()
        for _ in 0..<(choices & 7) % 4 {
            choices = random.next()
            let range = choices & 3 == 0 ? packet.count : min(packet.count, 74)
            let place = Int(choices >> 8 & 0xFFFF) % range
            switch choices >> 4 & 3 {
            case 0: packet[place] = UInt8(truncatingIfNeeded: choices >> 32)
            case 1: packet[place] ^= 1 << UInt8(choices >> 32 & 7)
            case 2: packet[place] = interesting[Int(choices >> 32 & 0xFF) % interesting.count]
            default:
                if choices >> 32 & 1 == 0 {
                    packet.removeLast(min(packet.count - 14, Int(choices >> 40 & 0x3F)))
                } else {
                    for _ in 0..<Int(choices >> 40 & 0x1F) { packet.append(UInt8(truncatingIfNeeded: choices >> 48)) }
                }
            }
        }
    }

    /// Times of arrival differ, and all that is made of them.
    private static func withoutTimes(_ counters: MediaFlowCounters?) -> MediaFlowCounters? {
        guard var counters else { return nil }
        counters.lastArrival = nil
        counters.quality.jitter = nil
        counters.quality.longestGap = .zero
        counters.reports.roundTrip = nil
        return counters
    }

    @Test("on mutated packets: verdicts, bytes and counts")
    func agree() throws {
        let bench = try FixtureTests.Bench()
        let program = try #require(bench.fastPath.program)
        // A tag goes out on one side only, so that tags are taken, left and put.
        try bench.setRows([
            relay_interface(index: bench.lan0, transmit_index: bench.lan0, vlan: 0, zero: 0),
            relay_interface(index: bench.wan0, transmit_index: bench.wan0, vlan: 20, zero: 0),
        ])
        let samples = Self.samples()
        for (flow, _) in samples {
            #expect(try bench.apply(flow, to: .xdp) == .applied)
            #expect(try bench.apply(flow, to: .ring) == .applied)
        }
        let packets = samples.flatMap(\.packets)
        var random = SplitMix64(seed: Self.seed)
        let before = (bench.totals(of: .xdp), bench.totals(of: .ring))
        #expect(before.0 == before.1)
        var ends: [FixtureTests.End: Int] = [:]
        let outputs = (
            UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 4096),
            UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 4096)
        )
        defer {
            outputs.0.deallocate()
            outputs.1.deallocate()
        }
        try bench.topology.box.run {
            for number in 0..<Self.count {
                var packet = packets[Int(random.next() % UInt64(packets.count))]
                Self.mutate(&packet, &random)
                var result = relay_run_result()
                let code = relay_run(
                    program.xdp, true, bench.lan0, 1, packet, UInt32(packet.count), outputs.0.baseAddress,
                    UInt32(outputs.0.count), &result)
                try #require(code == 0, "packet \(number): \(String(cString: strerror(-code)))")
                let ring = try packet.withUnsafeBufferPointer { try bench.ring.run($0, at: bench.lan0, outputs.1) }
                let end: FixtureTests.End =
                    switch result.action {
                    case XDP_REDIRECT.rawValue: .relayed
                    case XDP_DROP.rawValue: .dropped
                    default: .passed
                    }
                ends[end, default: 0] += 1
                let isSame =
                    end == FixtureTests.Bench.end(ring.outcome)
                    && (end == .dropped
                        || result.byte_count == ring.byte_count
                            && memcmp(outputs.0.baseAddress!, outputs.1.baseAddress!, Int(ring.byte_count)) == 0)
                try #require(isSame, "packet \(number) of seed \(Self.seed): \(packet), outcome \(ring.outcome)")
            }
        }
        let totals = bench.totals(of: .ring)
        #expect(totals == bench.totals(of: .xdp))
        // Else the mutations would not reach far into the core.
        for end in [FixtureTests.End.relayed, .passed, .dropped] {
            #expect(ends[end, default: 0] > Self.count / 50, "\(ends)")
        }
        for (flow, _) in samples {
            #expect(
                Self.withoutTimes(bench.counters(of: flow.local, .xdp))
                    == Self.withoutTimes(bench.counters(of: flow.local, .ring)))
        }
        print("\(Self.count) packets through both engines, seed \(Self.seed): \(ends), \(totals)")
    }
}
