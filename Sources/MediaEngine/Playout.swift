import MediaFormats
import Primitives

/// Turns a playlist into RTP packets of 20 ms at their times.
///
/// Each packet is due a whole number of packet intervals after the first one, whatever happened between, so nothing
/// drifts. After the playlist there is silence, which keeps ways through NAT open and speakers listening.
package struct Playout: Sendable {
    package static let packetInterval = Duration.milliseconds(20)
    package static let samplesPerPacket = 160
    /// So many packets too late, the schedule begins anew from now: a listener's jitter buffer holds no more.
    private static let latePacketCountMax = 5

    package private(set) var packetCount = 0
    /// Repetitions heard to the end.
    package private(set) var repetitionCount = 0
    /// All repetitions are over; from here on it is silence.
    package private(set) var isFinished = false
    /// When the next packet is due.
    package private(set) var nextDeadline: MonotonicTime

    private var encoding: G711
    private var payloadType: UInt8
    private let ssrc: UInt32
    private var sequenceNumber: UInt16
    private var timestamp: UInt32
    /// A talkspurt begins (RFC 3551 §4.1).
    private var marker = true
    private var playlist: Playlist
    private var item = 0
    private var offset = 0
    /// Samples of the pause between two repetitions that are left.
    private var pauseLeft = 0

    /// `payloadType` is the number agreed for `encoding`.
    package init(
        _ playlist: Playlist, encoding: G711 = .muLaw, payloadType: UInt8? = nil, random: inout RandomSource,
        at now: MonotonicTime
    ) {
        self.playlist = playlist
        self.encoding = encoding
        self.payloadType = payloadType ?? encoding.payloadType
        ssrc = UInt32(truncatingIfNeeded: random.next())
        sequenceNumber = UInt16(truncatingIfNeeded: random.next())
        timestamp = UInt32(truncatingIfNeeded: random.next())
        nextDeadline = now
        begin()
    }

    /// Another playlist in the same stream, from the next packet on.
    package mutating func replace(_ playlist: Playlist) {
        self.playlist = playlist
        repetitionCount = 0
        isFinished = false
        begin()
    }

    package mutating func change(to encoding: G711, payloadType: UInt8? = nil) {
        self.encoding = encoding
        self.payloadType = payloadType ?? encoding.payloadType
    }

    private mutating func begin() {
        item = 0
        offset = 0
        pauseLeft = 0
        if playlist.sampleCount == 0 || playlist.repetitions.map({ $0 < 1 }) == true { isFinished = true }
    }

    /// The next packet, if it is due; nil otherwise.
    package mutating func nextPacket(at now: MonotonicTime) -> [UInt8]? {
        guard nextDeadline <= now else { return nil }
        let lateness = Int((now - nextDeadline).wholeNanoseconds / Self.packetInterval.wholeNanoseconds)
        if lateness > Self.latePacketCountMax { skip(lateness) }
        var datagram = RTPHeader(
            payloadType: payloadType, marker: marker, sequenceNumber: sequenceNumber, timestamp: timestamp, ssrc: ssrc
        ).datagram(payload: [])
        datagram.reserveCapacity(RTPHeader.fixedByteCount + Self.samplesPerPacket)
        for _ in 0..<Self.samplesPerPacket { datagram.append(nextSample()) }
        marker = false
        sequenceNumber &+= 1
        timestamp &+= UInt32(Self.samplesPerPacket)
        packetCount += 1
        nextDeadline = nextDeadline + Self.packetInterval
        return datagram
    }

    /// Nobody listens now (hold): the audio waits, the clock goes on.
    package mutating func hold(until now: MonotonicTime) {
        guard nextDeadline <= now else { return }
        skip(Int((now - nextDeadline).wholeNanoseconds / Self.packetInterval.wholeNanoseconds) + 1)
    }

    /// So many packet intervals pass without a packet; no audio is lost by it.
    private mutating func skip(_ count: Int) {
        timestamp &+= UInt32(truncatingIfNeeded: count * Self.samplesPerPacket)
        nextDeadline = nextDeadline + Self.packetInterval * count
        marker = true
    }

    private mutating func nextSample() -> UInt8 {
        while !isFinished {
            if pauseLeft > 0 {
                pauseLeft -= 1
                return encoding.silence
            }
            guard playlist.items.indices.contains(item) else {
                endRepetition()
                continue
            }
            guard offset < playlist.items[item].sampleCount else {
                item += 1
                offset = 0
                continue
            }
            offset += 1
            // The last sample ends the repetition at once, so that it is told with its packet.
            let sample = playlist.items[item].sample(at: offset - 1, encoding)
            if isAtEnd { endRepetition() }
            return sample
        }
        return encoding.silence
    }

    /// Nothing of this repetition is left.
    private var isAtEnd: Bool {
        offset >= playlist.items[item].sampleCount
            && playlist.items[(item + 1)...].allSatisfy { $0.sampleCount == 0 }
    }

    private mutating func endRepetition() {
        repetitionCount += 1
        item = 0
        offset = 0
        if let repetitions = playlist.repetitions, repetitionCount >= repetitions {
            isFinished = true
        } else {
            pauseLeft = playlist.pause.sampleCount
        }
    }
}

extension Playlist {
    /// Of one repetition, without the pause.
    package var sampleCount: Int { items.reduce(0) { $0 + $1.sampleCount } }
}

extension PlayoutItem {
    var sampleCount: Int {
        switch self {
        case .clip(let clip): clip.samples.count
        case .tone(_, let duration), .silence(let duration): duration.sampleCount
        }
    }

    func sample(at index: Int, _ encoding: G711) -> UInt8 {
        switch self {
        case .clip(let clip):
            encoding == .muLaw ? clip.samples[index] : encoding.encode(G711.muLaw.decode(clip.samples[index]))
        case .tone(let tone, _): encoding.encode(tone.sample(at: index))
        case .silence: encoding.silence
        }
    }
}
