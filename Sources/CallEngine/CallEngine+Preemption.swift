import EmergencyCalling
import MediaEngine
import Primitives
import SIPEngine
import SignallingFormats

// What is full makes room for a call for help: the youngest ordinary call goes (RFC 4411, RFC 4412 §4).
extension CallEngine {
    /// RFC 4411 §5: within the network, by something that is not RSVP.
    static let preemptionReason = "preemption;cause=5;text=\"Network Preemption\""

    /// Ends the youngest call that is not for help and that `isInTheWay`; false: there is none.
    private mutating func preempt(for call: Call, _ isInTheWay: (Call) -> Bool, at now: MonotonicTime) -> Bool {
        let victims = calls.values.filter { !$0.isEnding && $0.mayBePreempted && isInTheWay($0) }
        guard let victim = victims.map(\.id).max() else { return false }
        withCall(victim, at: now) { engine, call in
            engine.transition(
                &call, .released(.preempted, goneSide: nil, reason: Self.preemptionReason), at: now)
        }
        counters.preemptions += 1
        emitAfterTransmission(.callPreempted(victim, by: call.id))
        if let emergency = call.emergency { emergencies.preempted(emergency.id, call: "\(victim)") }
        return true
    }

    /// A media leg for a call of any kind; one for help takes the ports of the youngest ordinary one.
    mutating func openMedia(
        for call: Call, _ side: CallSide, realm: RealmID, streamCount: Int, at now: MonotonicTime
    ) -> MediaLegID? {
        guard call.isForHelp else {
            return openMedia(for: call.id, side, realm: realm, streamCount: streamCount, at: now)
        }
        repeat {
            if let leg = try? media.openLeg(realm: realm, streamCount: streamCount, isUrgent: true, at: now) {
                mediaOwners[leg] = (call.id, side)
                media.markEmergency(leg, at: now)
                return leg
            }
        } while call.emergency?.number != .test && preempt(for: call, { $0.usesMedia(of: realm) }, at: now)
        emitAfterTransmission(.mediaPortsExhausted(realm))
        return nil
    }

    /// A trunk whose last channel an ordinary call has.
    mutating func makeRoom(on trunk: String, for call: Call, at now: MonotonicTime) {
        guard call.emergency?.number == .emergency, let maximum = trunks[trunk]?.settings.callsMax,
            calls.values.count(where: { !$0.isEnding && $0.uses(trunk: trunk) }) >= maximum
        else { return }
        _ = preempt(for: call, { $0.uses(trunk: trunk) }, at: now)
    }
}

extension Call {
    /// A call for help, its test, or help that calls back: no limit is for it.
    var isForHelp: Bool { emergency != nil || isCallback }

    var mayBePreempted: Bool { !isCallback && emergency?.number != .emergency }

    func usesMedia(of realm: RealmID) -> Bool {
        (callerMedia != nil && callerPeer.realm == realm)
            || attempts.contains { $0.media != nil && $0.target.peer.realm == realm }
    }

    func uses(trunk name: String) -> Bool {
        callerPeer.trunkName == name
            || attempts.contains { $0.target.peer.trunkName == name && ($0.isOpen || $0.state == .answered) }
    }
}
