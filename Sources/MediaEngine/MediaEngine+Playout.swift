import MediaFormats
import Primitives

/// What is played to a leg.
struct LegPlayout: Sendable {
    let stream: Int
    var playout: Playout
    var keys = KeyReader()
    /// telephone-event as this side may number it.
    var eventPayloadTypes: [UInt8]
    var toldRepetitionCount = 0
    var isEndTold = false
}

// Announcements and tones: a leg hears the box instead of its peer. What such a leg sends is read here, so its flow
// leaves the kernel for as long, and its peer's flow ends; both come back when the playing stops.
extension MediaEngine {
    /// Plays to the peer of one stream, from now on; replaces what was played before, in the same RTP stream.
    ///
    /// `encoding` and `payloadType` are what was agreed for that direction, `eventPayloadTypes` the numbers under which
    /// the peer may send telephone-event. A leg that is connected hears its peer again after `stopPlaying`.
    package mutating func play(
        _ playlist: Playlist, to leg: MediaLegID, stream: Int = 0, encoding: G711, payloadType: UInt8? = nil,
        eventPayloadTypes: [UInt8] = [], at now: MonotonicTime
    ) {
        guard let streams = legs[leg]?.streams, streams.indices.contains(stream) else { return }
        guard playouts[leg] == nil else {
            changeEncoding(to: encoding, payloadType: payloadType, eventPayloadTypes: eventPayloadTypes, of: leg)
            return replacePlaylist(playlist, to: leg)
        }
        playouts[leg] = LegPlayout(
            stream: stream,
            playout: Playout(playlist, encoding: encoding, payloadType: payloadType, random: &random, at: now),
            eventPayloadTypes: eventPayloadTypes)
        refresh(leg, at: now)
        timers.start(.playout(leg), at: now)
    }

    /// Plays something else from the next packet on; nothing happens to a leg nothing is played to.
    package mutating func replacePlaylist(_ playlist: Playlist, to leg: MediaLegID) {
        playouts[leg]?.playout.replace(playlist)
        playouts[leg]?.toldRepetitionCount = 0
        playouts[leg]?.isEndTold = false
    }

    /// The peer wants it otherwise from now on.
    package mutating func changeEncoding(
        to encoding: G711, payloadType: UInt8? = nil, eventPayloadTypes: [UInt8], of leg: MediaLegID
    ) {
        playouts[leg]?.playout.change(to: encoding, payloadType: payloadType)
        playouts[leg]?.eventPayloadTypes = eventPayloadTypes
    }

    /// What the packets of a leg's peer hold, where no other leg is connected.
    package mutating func setFormat(_ format: StreamFormat, of leg: MediaLegID, stream: Int) {
        guard let streams = legs[leg]?.streams, streams.indices.contains(stream) else { return }
        legs[leg]?.streams[stream].format = format
    }

    /// The leg hears its peer again, if it has one.
    package mutating func stopPlaying(to leg: MediaLegID, at now: MonotonicTime) {
        guard endPlayout(leg) else { return }
        refresh(leg, at: now)
    }

    /// Packets sent to this leg by what is played; 0 when nothing is.
    package func playedPacketCount(of leg: MediaLegID) -> Int { playouts[leg]?.playout.packetCount ?? 0 }

    @discardableResult
    mutating func endPlayout(_ leg: MediaLegID) -> Bool {
        timers.stop(.playout(leg))
        return playouts.removeValue(forKey: leg) != nil
    }

    /// The packets that are due, and when the next one is.
    mutating func playNext(_ leg: MediaLegID, at now: MonotonicTime) {
        guard var state = playouts[leg], let streams = legs[leg]?.streams, streams.indices.contains(state.stream) else {
            return
        }
        let rtp = streams[state.stream].rtp
        if let destination = rtp.accepted, streams[state.stream].remote?.receives == true {
            while let packet = state.playout.nextPacket(at: now) {
                outputs.append(.play(packet, from: rtp.local, to: destination))
            }
        } else {
            state.playout.hold(until: now)
        }
        if state.playout.repetitionCount > state.toldRepetitionCount {
            state.toldRepetitionCount = state.playout.repetitionCount
            outputs.append(.event(.played(leg, times: state.toldRepetitionCount)))
        }
        if state.playout.isFinished, !state.isEndTold {
            state.isEndTold = true
            outputs.append(.event(.playedOut(leg)))
        }
        timers.start(.playout(leg), at: state.playout.nextDeadline)
        playouts[leg] = state
    }

    // MARK: What whoever is played to sends

    /// What this leg sends is for us: something is played to it, or to its peer, which must not hear it.
    func isHeardHere(_ leg: MediaLegID) -> Bool {
        guard !playouts.isEmpty else { return false }
        return playouts[leg] != nil || legs[leg]?.peer.map { playouts[$0] != nil } == true
    }

    mutating func readKeys(_ bytes: [UInt8], _ key: EndpointKey) {
        guard let state = playouts[key.leg], state.stream == key.stream,
            let pressed = playouts[key.leg]?.keys.key(in: bytes.span, eventPayloadTypes: state.eventPayloadTypes)
        else { return }
        outputs.append(.event(.key(key.leg, pressed)))
    }
}
