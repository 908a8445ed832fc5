import MediaEngine
import MediaFormats
import Primitives
import Testing

@Suite("Quality of relayed streams")
struct QualityTests {
    private func packet(_ sequenceNumber: UInt16, payloadType: UInt8 = 0) -> [UInt8] {
        RTPHeader(
            payloadType: payloadType, sequenceNumber: sequenceNumber, timestamp: UInt32(sequenceNumber) * 160, ssrc: 7
        ).datagram(payload: [1, 2, 3, 4])
    }

    @Test("counts what the sockets relay: loss, order, events, jitter")
    func sockets() throws {
        var bench = try Bench(inKernel: false)
        bench.engine.setPayloadTypes(
            from: bench.phone, to: bench.carrier, stream: 0, [],
            format: StreamFormat(codec: "pcmu", clockRate: 8_000, eventPayloadType: 101))
        for flow in bench.drain().flows {
            #expect(flow.clockRate == 8_000 && flow.eventPayloadType == 101)
            bench.engine.handle(.flowApplied(local: flow.local, inKernel: false), at: .zero)
        }
        for (step, number) in ([1, 2, 4, 3, 3, 6] as [UInt16]).enumerated() {
            _ = try bench.toPhonePort(packet(number), from: "192.168.50.20:4000", at: seconds(1 + 0.02 * Double(step)))
        }
        for number in [7, 8] as [UInt16] {
            _ = try bench.toPhonePort(
                packet(number, payloadType: 101), from: "192.168.50.20:4000", at: seconds(1.1 + 0.02 * Double(number)))
        }
        _ = try bench.toPhonePort(packet(9), from: "192.168.50.99:4000", at: seconds(2))
        let stream = try #require(bench.engine.statistics(of: bench.phone).first)
        #expect(stream.format?.codec == "pcmu")
        #expect(stream.quality.received == 8 && stream.quality.expected == 8 && stream.quality.lost == 1)
        #expect(stream.quality.duplicates == 1 && stream.quality.reordered == 1 && stream.quality.events == 2)
        #expect(stream.quality.longestGap == .milliseconds(140))
        let jitter = try #require(stream.quality.jitter)
        #expect(jitter > .zero && jitter < .milliseconds(20))
        let other = try #require(bench.engine.statistics(of: bench.carrier).first)
        #expect(other.quality == MediaQuality())
    }

    @Test("leaves a flow of the kernel to the kernel, and adds up what both counted")
    func kernel() throws {
        var bench = try Bench()
        _ = try bench.toPhonePort(packet(1), from: "192.168.50.20:4000", at: seconds(1))
        bench.engine.handle(
            .counters(
                local: bench.phoneLocal,
                .init(
                    packets: 50, lastArrival: seconds(2),
                    quality: MediaQuality(received: 50, expected: 52, jitter: .milliseconds(3)))), at: seconds(2))
        #expect(bench.engine.statistics(of: bench.phone).first?.quality.lost == 2)
        #expect(bench.engine.statistics(of: bench.phone).first?.quality.received == 50)
        // The kernel gives the flow up: from now on it is ours.
        bench.engine.handle(.flowApplied(local: bench.phoneLocal, inKernel: false), at: seconds(3))
        for number in [60, 61, 63] as [UInt16] {
            _ = try bench.toPhonePort(packet(number), from: "192.168.50.20:4000", at: seconds(3))
        }
        let quality = try #require(bench.engine.statistics(of: bench.phone).first?.quality)
        #expect(quality.received == 53 && quality.lost == 3)
    }

    @Test("finds the round trip in RTCP that the sockets relay")
    func roundTrip() throws {
        var bench = try Bench(inKernel: false)
        func send(_ packet: RTCPPacket, toCarrierPort: Bool, at time: MonotonicTime) {
            var writer = ByteWriter(capacity: 64)
            packet.render(into: &writer)
            let (local, remote) =
                toCarrierPort ? (bench.carrierLocal, bench.carrierRTP) : (bench.phoneLocal, bench.phoneRTP)
            bench.engine.handle(
                .datagram(
                    local: TransportAddress(local.address, local.port + 1),
                    source: TransportAddress(remote.address, remote.port + 1), bytes: writer.bytes), at: time)
            _ = bench.drain()
        }
        send(
            .senderReport(
                ssrc: 7, ntpTime: 0x1122_3344_5566_7788, rtpTime: 0, packetCount: 0, byteCount: 0, reports: [],
                extensionData: []), toCarrierPort: false, at: seconds(1))
        let block = RTCPReportBlock(
            ssrc: 7, fractionLost: 26, cumulativeLost: 4, lastSenderReport: 0x3344_5566,
            delaySinceLastSenderReport: 0x8000)
        send(.receiverReport(ssrc: 9, reports: [block], extensionData: []), toCarrierPort: true, at: seconds(1.54))
        let carrier = try #require(bench.engine.statistics(of: bench.carrier).first?.reports)
        #expect(carrier.roundTrip == .init(.milliseconds(40)))
        #expect(carrier.farEnd == block)
        #expect(bench.engine.statistics(of: bench.phone).first?.reports.senderReports == 1)
    }
}
