import Primitives

/// Follows the RTP packets of one flow (RFC 3550 §6.4.1, A.1, A.3, A.8) where the kernel does not relay it.
///
/// Step for step what `BPF/quality.h` does in the kernel; a test feeds both the same packets. Keep the two the same.
package struct StreamMonitor: Hashable, Sendable {
    /// Theirs: RFC 3550 A.1.
    private enum SpecificationConstants {
        static let dropoutMax: UInt16 = 3_000
        static let misorderMax: UInt16 = 100
    }

    private var seen: UInt64 = 0
    private var lastArrival: MonotonicTime?
    private var source: UInt32 = 0
    /// Extended by the count of cycles.
    private var first: UInt32 = 0
    private var highest: UInt32 = 0
    /// The sequence number that would confirm a jump.
    private var jump: UInt16?
    private var expectedBefore: UInt64 = 0
    private var transit: UInt32 = 0
    /// In sixteenths of a tick.
    private var jitter: UInt32 = 0
    /// Of the packet that `transit` belongs to.
    private var payloadType: UInt8?
    private var eventTimestamp: UInt32?
    private var clockTicks: UInt32 = 0
    private var counts = MediaQuality()

    package init() {}

    /// RTP clock ticks in 2^32 ns, as the kernel takes it: what remains of a product in 64 bits needs no division.
    package static func clockTicks(_ clockRate: UInt32) -> UInt32 {
        UInt32(clamping: (UInt64(clockRate) << 32 + 500_000_000) / 1_000_000_000)
    }

    /// One RTP packet of the flow; others are ignored. `clockRate` in Hz, nil when unknown.
    package mutating func observe(
        _ packet: Span<UInt8>, at now: MonotonicTime, clockRate: UInt32?, eventPayloadType: UInt8?
    ) {
        guard packet.count >= RTPHeader.fixedByteCount else { return }
        if let lastArrival, now > lastArrival { counts.longestGap = max(counts.longestGap, now - lastArrival) }
        lastArrival = now
        guard followSequence(packet.word16(at: 2), of: packet.word32(at: 8)) else { return }
        let type = packet[1] & 0x7F
        if type == eventPayloadType {
            countEvent(packet.word32(at: 4))
        } else if let clockRate, clockRate > 0 {
            followTime(
                type, packet.word32(at: 4), UInt64(bitPattern: now.nanoseconds), ticks: Self.clockTicks(clockRate))
        }
    }

    package var quality: MediaQuality {
        var quality = counts
        if counts.received > 0 { quality.expected = expectedBefore &+ UInt64(highest &- first &+ 1) }
        quality.jitter = Self.jitter(jitter, clockTicks: clockTicks)
        return quality
    }

    /// From sixteenths of a tick (RFC 3550 A.8); nil when the clock rate is unknown.
    package static func jitter(_ sixteenths: UInt32, clockTicks: UInt32) -> Duration? {
        clockTicks == 0 ? nil : .nanoseconds(Int64(UInt64(sixteenths) << 28 / UInt64(clockTicks)))
    }

    /// The runs before this packet are over.
    private mutating func beginRun(_ source: UInt32, at first: UInt32) {
        if counts.received > 0 { expectedBefore &+= UInt64(highest &- self.first &+ 1) }
        self.source = source
        self.first = first
        highest = first
        seen = 1
        jump = nil
        payloadType = nil
    }

    /// false: the packet says nothing about time, as a duplicate or not yet believed.
    private mutating func followSequence(_ sequence: UInt16, of source: UInt32) -> Bool {
        let step = sequence &- UInt16(truncatingIfNeeded: highest)
        let extended = 1 << 16 | UInt32(sequence)
        if counts.received == 0 || source != self.source {
            if counts.received > 0 { counts.sourceChanges += 1 }
            beginRun(source, at: extended)
        } else if step != 0, step < SpecificationConstants.dropoutMax {
            highest &+= UInt32(step)
            seen = step < 64 ? seen << UInt64(step) | 1 : 1
        } else {
            let age = 0 &- step
            if age > SpecificationConstants.misorderMax {
                // The second in a row means it: the sender began anew.
                guard jump == sequence else {
                    jump = sequence &+ 1
                    return false
                }
                beginRun(source, at: extended - 1)
                highest &+= 1
                seen = 3
                counts.received += 1  // the one that announced it
                counts.restarts += 1
            } else if age < 64, seen >> UInt64(age) & 1 == 1 {
                counts.received += 1
                counts.duplicates += 1
                return false
            } else {
                if age < 64 { seen |= 1 << UInt64(age) }
                counts.reordered += 1
                // Overtaken by what we took for the first.
                first = min(first, highest &- UInt32(age))
            }
        }
        counts.received += 1
        return true
    }

    /// One per event: all its packets carry its timestamp, and the further segments of a long one follow without a
    /// gap (RFC 4733 §2.5.1.2, §2.5.1.3).
    private mutating func countEvent(_ timestamp: UInt32) {
        if let eventTimestamp {
            let age = Int32(bitPattern: timestamp &- eventTimestamp)
            guard age > 0 else { return }
            if age != 0xFFFF { counts.events += 1 }
        } else {
            counts.events += 1
        }
        eventTimestamp = timestamp
    }

    private mutating func followTime(_ type: UInt8, _ timestamp: UInt32, _ nanoseconds: UInt64, ticks: UInt32) {
        let transit = UInt32(truncatingIfNeeded: (nanoseconds &* UInt64(ticks)) >> 32) &- timestamp
        if ticks != clockTicks {
            clockTicks = ticks
            jitter = 0
        } else if type == payloadType {
            let distance = Int32(bitPattern: transit &- self.transit).magnitude
            // More than a second is a new beginning of the timestamps, not jitter.
            if distance < ticks >> 2 { jitter = jitter &+ distance &- ((jitter &+ 8) >> 4) }
        }
        self.transit = transit
        payloadType = type
    }
}
