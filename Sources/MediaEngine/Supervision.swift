import MediaFormats
import Primitives

// Who should send and does not. The kernel relays without telling, so the deadline is counted from the latest
// arrival known, and before anything is said its counters are read.

extension MediaEngine {
    /// The side should send: answered, it said it would, and the other side listens.
    private func isExpected(_ leg: MediaLegID) -> Bool {
        guard let state = legs[leg], state.isAnswered, let peer = state.peer.flatMap({ legs[$0] }) else { return false }
        let (own, other) = (state.streams, peer.streams)
        return (0..<min(own.count, other.count)).contains { index in
            own[index].rtp.accepted != nil && own[index].remote?.sends == true && other[index].remote?.receives == true
        }
    }

    /// Starts or stops waiting for this side, after anything changed.
    mutating func supervise(_ leg: MediaLegID, at now: MonotonicTime) {
        guard let state = legs[leg] else { return }
        let isExpected = isExpected(leg)
        guard isExpected != (state.expectedSince != nil) else { return }
        legs[leg]?.expectedSince = isExpected ? now : nil
        legs[leg]?.isSilent = false
        legs[leg]?.isConfirmingSilence = false
        if isExpected {
            timers.start(.silence(leg), at: now + settings.silenceEvent)
        } else {
            timers.stop(.silence(leg))
        }
        // The inactivity timer belongs to the pair, and checks itself whether both are still expected.
        guard isExpected, let peer = state.peer, legs[peer]?.expectedSince != nil else { return }
        timers.start(.inactivity(min(leg, peer)), at: now + settings.inactivityTimeout)
        legs[min(leg, peer)]?.isConfirmingInactivity = false
    }

    /// A packet came, or counters; a silent side may be back.
    mutating func noteArrival(_ leg: MediaLegID, at now: MonotonicTime) {
        guard let state = legs[leg], state.isSilent || state.isConfirmingSilence,
            let last = state.lastArrival(includingRTCP: false), now - last < settings.silenceEvent
        else { return }
        legs[leg]?.isSilent = false
        legs[leg]?.isConfirmingSilence = false
        timers.start(.silence(leg), at: last + settings.silenceEvent)
        if state.isSilent { outputs.append(.event(.resumed(leg))) }
    }

    mutating func checkSilence(_ leg: MediaLegID, at now: MonotonicTime) {
        guard let state = legs[leg], let since = state.expectedSince else { return }
        let last = max(since, state.lastArrival(includingRTCP: false) ?? since)
        if !state.isSilent, now - last < settings.silenceEvent {
            legs[leg]?.isConfirmingSilence = false
            timers.start(.silence(leg), at: last + settings.silenceEvent)
        } else if state.isSilent {
            readCounters(leg)
            timers.start(.silence(leg), at: now + Limits.silencePoll)
        } else if !state.isConfirmingSilence, readCounters(leg) {
            legs[leg]?.isConfirmingSilence = true
            timers.start(.silence(leg), at: now + Limits.counterReplyMax)
        } else {
            legs[leg]?.isConfirmingSilence = false
            legs[leg]?.isSilent = true
            outputs.append(.event(.silent(leg, for: now - last)))
            timers.start(.silence(leg), at: now + Limits.silencePoll)
        }
    }

    mutating func checkInactivity(_ leg: MediaLegID, at now: MonotonicTime) {
        guard let state = legs[leg], let since = state.expectedSince, let peer = state.peer,
            leg < peer, let other = legs[peer], let otherSince = other.expectedSince
        else { return }  // held or taken apart: supervise starts the timer again
        let last = [since, otherSince, state.lastArrival(includingRTCP: true), other.lastArrival(includingRTCP: true)]
            .compactMap { $0 }.reduce(since) { max($0, $1) }
        if now - last < settings.inactivityTimeout {
            legs[leg]?.isConfirmingInactivity = false
            timers.start(.inactivity(leg), at: last + settings.inactivityTimeout)
        } else if !state.isConfirmingInactivity,
            readCounters(leg, isRTCPToo: true) || readCounters(peer, isRTCPToo: true)
        {
            readCounters(peer, isRTCPToo: true)
            legs[leg]?.isConfirmingInactivity = true
            timers.start(.inactivity(leg), at: now + Limits.counterReplyMax)
        } else {
            legs[leg]?.isConfirmingInactivity = false
            outputs.append(.event(.inactive(leg, peer)))
        }
    }

    /// true: the kernel was asked, wait for its answer.
    @discardableResult
    private mutating func readCounters(_ leg: MediaLegID, isRTCPToo: Bool = false) -> Bool {
        var isAsked = false
        for stream in legs[leg]?.streams ?? [] {
            for endpoint in isRTCPToo ? [stream.rtp, stream.rtcp] : [stream.rtp] where endpoint.mayBypass {
                outputs.append(.readCounters(local: endpoint.local))
                isAsked = true
            }
        }
        return isAsked
    }
}
