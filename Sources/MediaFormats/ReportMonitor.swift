import Primitives

/// Follows the RTCP of one peer (RFC 3550 §6.4) where the kernel does not relay it; as `BPF/quality.h` in the kernel.
package struct ReportMonitor: Hashable, Sendable {
    /// A sender report of this peer that passed, by the middle of its NTP time.
    private struct Passed: Hashable, Sendable {
        var time: UInt32
        var at: MonotonicTime
    }

    private static let passedCountMax = 2

    private var passed: [Passed] = []
    package private(set) var reports = MediaReports()

    package init() {}

    /// One compound packet of this peer. `opposite` follows the peer the stream goes to, whose sender reports this peer
    /// names. What a compound begins with counts (RFC 3550 §6.1), and the first block in it; what is no RTCP is ignored.
    package mutating func observe(_ compound: Span<UInt8>, opposite: ReportMonitor?, at now: MonotonicTime) {
        guard let packets = try? RTCPPacket.parseCompound(compound), let first = packets.first else { return }
        switch first {
        case .senderReport(_, let ntpTime, _, _, _, let blocks, _):
            reports.senderReports += 1
            if passed.count >= Self.passedCountMax { passed.removeFirst() }
            passed.append(Passed(time: UInt32(truncatingIfNeeded: ntpTime >> 16), at: now))
            if let block = blocks.first { read(block, opposite, at: now) }
        case .receiverReport(_, let blocks, _):
            if let block = blocks.first { read(block, opposite, at: now) }
        case .sourceDescription, .bye, .application, .other:
            break
        }
    }

    private mutating func read(_ block: RTCPReportBlock, _ opposite: ReportMonitor?, at now: MonotonicTime) {
        reports.receptions += 1
        reports.farEnd = block
        guard block.lastSenderReport != 0,
            let report = opposite?.passed.first(where: { $0.time == block.lastSenderReport })
        else { return }
        let delay = Duration.nanoseconds(Int64((UInt64(block.delaySinceLastSenderReport) * 1_000_000_000) >> 16))
        let roundTrip = now - report.at - delay
        guard roundTrip >= .zero else { return }
        let latest = MediaReports.RoundTrip(roundTrip)
        reports.roundTrip = reports.roundTrip.map { $0 + latest } ?? latest
    }
}
