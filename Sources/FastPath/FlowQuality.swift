import CFastPath
import MediaFormats

extension MediaQuality {
    /// As the kernel left it.
    init(_ stream: relay_stream_quality) {
        self.init()
        guard stream.received > 0 else { return }
        received = UInt64(stream.received)
        expected = UInt64(stream.expected_before) + UInt64(stream.highest &- stream.first &+ 1)
        duplicates = UInt64(stream.duplicates)
        reordered = UInt64(stream.reordered)
        jitter = StreamMonitor.jitter(stream.jitter, clockTicks: stream.clock_ticks)
        longestGap = .nanoseconds(Int64(clamping: stream.longest_gap))
        events = UInt64(stream.events)
        sourceChanges = UInt64(stream.source_changes)
        restarts = UInt64(stream.restarts)
    }
}

extension MediaReports {
    /// As the kernel left it.
    init(_ reports: relay_report_quality) {
        self.init()
        senderReports = UInt64(reports.sender_reports)
        receptions = UInt64(reports.receptions)
        if reports.round_trip_count > 0 {
            roundTrip = RoundTrip(
                count: UInt64(reports.round_trip_count), latest: .microseconds(Int64(reports.round_trip)),
                minimum: .microseconds(Int64(reports.round_trip_min)),
                maximum: .microseconds(Int64(reports.round_trip_max)),
                sum: .nanoseconds(Int64(clamping: reports.round_trip_sum)))
        }
        if reports.receptions > 0 {
            let lost = UInt32(bigEndian: reports.lost)
            farEnd = RTCPReportBlock(
                ssrc: UInt32(bigEndian: reports.ssrc), fractionLost: UInt8(lost >> 24),
                cumulativeLost: Int32(bitPattern: lost << 8) >> 8,  // 24 bits, signed
                highestSequenceNumber: UInt32(bigEndian: reports.highest), jitter: UInt32(bigEndian: reports.jitter))
        }
    }
}
