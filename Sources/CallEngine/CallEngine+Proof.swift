import EmergencyCalling
import Primitives
import SignallingFormats

/// A call of the box's own that stands for a caller's: from which place.
package struct EmergencyProof: Equatable, Sendable {
    /// nil: from nowhere in particular.
    package var site: String?

    package init(site: String?) { self.site = site }
}

// 933 placed by the box itself: an announcement to the calls' side, a call with a record to the emergency engine.
extension CallEngine {
    /// nil for an ordinary announcement.
    mutating func beginProof(_ request: inout AnnouncementRequest, at now: MonotonicTime) -> EmergencyDispatch? {
        guard let proof = request.proof else { return nil }
        var source = TransportAddress(.v4(0), 0)
        var showsELIN = true
        if case .number(_, let name) = request.target, let trunk = trunks[name] {
            source = settings.realms[trunk.settings.realm]?.endpoint ?? source
            showsELIN = trunk.settings.emergency.showsELIN
        }
        let dispatch = emergencies.beginProof(site: proof.site, source: source, at: now)
        if showsELIN, request.callingNumber == nil { request.callingNumber = dispatch.elin }
        return dispatch
    }

    /// As a caller's 933 would be asked for by these trunks.
    func proofTargets(_ proof: EmergencyDispatch?, _ targets: [Target]) -> [Target] {
        guard let proof else { return targets }
        return targets.map { target in
            guard let trunk = target.peer.trunkName.flatMap({ trunks[$0] }) else { return target }
            return emergencyTarget(proof, trunk, askedFor: target.requestURI)
        }
    }

    mutating func proofStarted(_ proof: EmergencyDispatch, _ target: Target, at now: MonotonicTime) {
        guard let trunk = target.peer.trunkName else { return }
        emergencies.attemptStarted(proof.id, trunk: trunk, at: now)
    }

    mutating func proofRings(_ call: AnnouncementCall, at now: MonotonicTime) {
        guard let proof = call.proof, let trunk = call.branches.first?.target.peer.trunkName else { return }
        emergencies.ringing(proof.id, trunk: trunk, at: now)
    }

    mutating func proofAnswered(_ call: AnnouncementCall, _ statusCode: Int, at now: MonotonicTime) {
        guard let proof = call.proof, let trunk = call.branches.first?.target.peer.trunkName else { return }
        emergencies.attemptEnded(proof.id, trunk: trunk, outcome: "\(statusCode)", at: now)
        emergencies.answered(proof.id, at: now)
    }

    mutating func proofFailed(_ call: inout AnnouncementCall, _ outcome: String, at now: MonotonicTime) {
        guard let proof = call.proof, let trunk = call.branches.first?.target.peer.trunkName else { return }
        emergencies.attemptEnded(proof.id, trunk: trunk, outcome: outcome, at: now)
        call.ending = "not answered"
    }

    /// It never became a call.
    mutating func endProof(_ proof: EmergencyDispatch?, refused reason: String, at now: MonotonicTime) {
        guard let proof else { return }
        emergencies.ended(proof.id, ending: reason, packetsFromCaller: 0, packetsFromCallee: 0, at: now)
    }

    /// All is counted.
    mutating func endProof(_ call: AnnouncementCall) {
        guard let proof = call.proof else { return }
        emergencies.ended(
            proof.id, ending: call.ending, packetsFromCaller: UInt64(call.playedPackets),
            packetsFromCallee: call.fromCallee.packets, at: call.end ?? call.start)
    }
}

extension AnnouncementEnd {
    /// For the record of a proof.
    var text: String {
        switch self {
        case .acknowledged, .played, .stopped, .timedOut: "hung up by the box"
        case .hungUp: "hung up by the called side"
        case .shutdown: "the box was stopped"
        }
    }
}
