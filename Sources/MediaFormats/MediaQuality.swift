import Primitives

/// How the RTP of one flow arrived (RFC 3550 §6.4.1, A.3); sums over all SSRCs and restarts.
package struct MediaQuality: Hashable, Sendable {
    /// Packets, duplicates included.
    package var received: UInt64
    /// By extended sequence numbers, from the first to the highest of each run.
    package var expected: UInt64
    /// A sequence number that had come before, among the last 64.
    package var duplicates: UInt64
    /// Behind one with a higher sequence number.
    package var reordered: UInt64
    /// Interarrival jitter as it stands (RFC 3550 §6.4.1); nil while the clock rate is unknown.
    package var jitter: Duration?
    /// The longest time between two packets; zero before the second.
    package var longestGap: Duration
    /// Telephone-events, each counted once (RFC 4733); DTMF, and tones where a peer sends those so.
    package var events: UInt64
    /// SSRCs that took over from another one.
    package var sourceChanges: UInt64
    /// Jumps of the sequence within one SSRC: the sender began anew.
    package var restarts: UInt64

    package init(
        received: UInt64 = 0, expected: UInt64 = 0, duplicates: UInt64 = 0, reordered: UInt64 = 0,
        jitter: Duration? = nil, longestGap: Duration = .zero, events: UInt64 = 0, sourceChanges: UInt64 = 0,
        restarts: UInt64 = 0
    ) {
        self.received = received
        self.expected = expected
        self.duplicates = duplicates
        self.reordered = reordered
        self.jitter = jitter
        self.longestGap = longestGap
        self.events = events
        self.sourceChanges = sourceChanges
        self.restarts = restarts
    }

    /// Packets that did not come; those that came twice do not make up for them, unlike in RFC 3550 A.3.
    package var lost: UInt64 {
        let distinct = received &- min(received, duplicates)
        return expected > distinct ? expected - distinct : 0
    }

    /// 0...100; 0 before the first packet.
    package var lossPercent: Double { expected == 0 ? 0 : Double(lost) * 100 / Double(expected) }

    /// Sums of two spans of one flow; the jitter is the right one's, if it has any.
    package static func + (left: Self, right: Self) -> Self {
        MediaQuality(
            received: left.received &+ right.received, expected: left.expected &+ right.expected,
            duplicates: left.duplicates &+ right.duplicates, reordered: left.reordered &+ right.reordered,
            jitter: right.jitter ?? left.jitter, longestGap: max(left.longestGap, right.longestGap),
            events: left.events &+ right.events, sourceChanges: left.sourceChanges &+ right.sourceChanges,
            restarts: left.restarts &+ right.restarts)
    }
}

/// What the RTCP of one peer told on its way through us (RFC 3550 §6.4).
package struct MediaReports: Hashable, Sendable {
    /// Between us and this peer: from a sender report that passed towards it to its report that names it (LSR), less the
    /// time it took to answer (DLSR).
    package struct RoundTrip: Hashable, Sendable {
        package var count: UInt64
        package var latest: Duration
        package var minimum: Duration
        package var maximum: Duration
        package var sum: Duration

        package init(count: UInt64, latest: Duration, minimum: Duration, maximum: Duration, sum: Duration) {
            self.count = count
            self.latest = latest
            self.minimum = minimum
            self.maximum = maximum
            self.sum = sum
        }

        package init(_ duration: Duration) {
            self.init(count: 1, latest: duration, minimum: duration, maximum: duration, sum: duration)
        }

        package var mean: Duration { count == 0 ? .zero : .nanoseconds(sum.wholeNanoseconds / Int64(clamping: count)) }

        package static func + (left: Self, right: Self) -> Self {
            RoundTrip(
                count: left.count &+ right.count, latest: right.latest, minimum: min(left.minimum, right.minimum),
                maximum: max(left.maximum, right.maximum), sum: left.sum + right.sum)
        }
    }

    package var senderReports: UInt64
    /// Reports with a reception report block.
    package var receptions: UInt64
    package var roundTrip: RoundTrip?
    /// The latest block: how this peer receives the stream sent to it.
    package var farEnd: RTCPReportBlock?

    package init(
        senderReports: UInt64 = 0, receptions: UInt64 = 0, roundTrip: RoundTrip? = nil, farEnd: RTCPReportBlock? = nil
    ) {
        self.senderReports = senderReports
        self.receptions = receptions
        self.roundTrip = roundTrip
        self.farEnd = farEnd
    }

    /// Sums; where only one can stand, the right one's, if it has any.
    package static func + (left: Self, right: Self) -> Self {
        let roundTrip: RoundTrip? =
            switch (left.roundTrip, right.roundTrip) {
            case (let left?, let right?): left + right
            case (let left, let right): right ?? left
            }
        return MediaReports(
            senderReports: left.senderReports &+ right.senderReports, receptions: left.receptions &+ right.receptions,
            roundTrip: roundTrip, farEnd: right.farEnd ?? left.farEnd)
    }
}
