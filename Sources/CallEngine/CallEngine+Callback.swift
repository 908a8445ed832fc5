import EmergencyCalling
import Primitives
import SIPEngine
import SignallingFormats

// Help calls back: the phone that dialled 911 rings, then those who are to be told; no limit, no number table and
// nobody else stands in between (RFC 6881, RFC 7090).
extension CallEngine {
    /// Who is to ring for a call from a trunk; nil when it is no callback, or nobody can be reached.
    func callbackPlan(
        _ request: SIPRequest, from trunk: CallEngineSettings.Trunk, user: String, at now: MonotonicTime
    ) -> [[Target]]? {
        guard !emergencies.leases.leases.isEmpty,
            let number = DialledNumber.normalized(calledUser(request, trunk: trunk, user: user))
        else { return nil }
        var leases = emergencies.leases.callers(of: number, at: now)
        if leases.isEmpty, Self.isMarkedAsCallback(request), trunk.emergency.isPSAPTrusted {
            let users = DialledNumber.lookUp(number, in: settings.numbers) ?? []
            leases = users.compactMap { emergencies.leases.lease(ofStation: $0, at: now) }
        }
        guard let first = leases.first else { return nil }
        let site = first.site.flatMap { settings.emergency.sites[$0] }
        var plan = leases.map { callbackTargets($0) }
        for contact in site?.contacts ?? [] where !leases.contains(where: { $0.caller.station == contact }) {
            plan.append(stationTargets(contact))
        }
        plan.removeAll(where: \.isEmpty)
        return plan.isEmpty ? nil : plan
    }

    /// RFC 7090 §5. Said by whom, is another question.
    static func isMarkedAsCallback(_ request: SIPRequest) -> Bool {
        request.headers.first(.priority)?.lowercased() == "psap-callback"
    }

    /// All contacts of the station, and the phone itself where it is none of them.
    private func callbackTargets(_ lease: CallbackLease) -> [Target] {
        let caller = lease.caller
        var targets = caller.station.map(stationTargets) ?? []
        guard let contact = caller.contact, let uri = URI(contact.uri),
            settings.realms[contact.realm] != nil,
            !targets.contains(where: { $0.nextHop.remote == caller.source || $0.requestURI.text == uri.text })
        else { return targets }
        // A phone does not listen where its TCP connection came from.
        let listener = uri.sip?.host.address.map { TransportAddress($0, uri.sip?.port ?? 5060) }
        let user = caller.station ?? caller.number
        let station =
            caller.station.flatMap { settings.stations[$0] }
            ?? CallEngineSettings.Station(realm: contact.realm, password: "")
        targets.append(
            Target(
                peer: .station(user: user, station), number: user, requestURI: uri,
                nextHop: NextHop(
                    realm: contact.realm, remote: contact.isTCP ? listener ?? caller.source : caller.source,
                    policy: contact.isTCP ? .tcp : .automatic)))
        return targets
    }

    private func stationTargets(_ user: String) -> [Target] {
        guard let station = settings.stations[user] else { return [] }
        return registrar.bindings(for: user).prefix(Limits.branchCountMax).map { binding in
            Target(
                peer: .station(user: user, station), number: user, requestURI: binding.contact,
                nextHop: NextHop(binding.path))
        }
    }

    /// Nobody of these answered yet: the next ones ring as well, and whoever rings goes on ringing.
    mutating func widenCallback(_ call: inout Call, at now: MonotonicTime) {
        startNextGroup(&call, at: now)
        guard call.state == .proceeding else { return }
        timers.start(.ring(call.id), at: now + callbackPatience(call))
    }

    /// How long those who ring have for themselves.
    func callbackPatience(_ call: Call) -> Duration {
        call.plan.isEmpty ? settings.calls.ringTimeout : Limits.callbackRingDuration
    }

    /// Who asked for help is not to put it on hold (RFC 6881); help itself may.
    func isForbiddenHold(_ offer: SessionDescription, _ call: Call, _ side: CallSide) -> Bool {
        let isCaller = call.isCallback ? side == .callee : call.emergency != nil && side == .caller
        return isCaller && (offer.isHold || offer.media.allSatisfy(\.isRejected))
    }

    static let holdRefusal = Refusal(statusCode: 488, reason: "No hold on a call for help")

    /// No INVITE for help leaves in test mode, by whatever way it got here: a route may make 911 of another number.
    func reasonToBlock(_ target: Target, of call: Call, at now: MonotonicTime) -> String? {
        guard target.peer.trunkName != nil,
            call.emergency?.number == .emergency
                || settings.emergency.numbers.number(dialled: target.number) == .emergency,
            emergencies.reasonToBlock(.emergency, at: now) != nil
        else { return nil }
        return "Test mode: 911 blocked"
    }

    /// Whether a station is in a call for help, or help talks to it: then nobody else may ring there.
    func isInEmergencyCall(_ user: String) -> Bool {
        calls.values.contains { call in
            guard call.isForHelp, !call.isEnding else { return false }
            if call.isCallback {
                return call.attempts.contains { $0.state == .answered && $0.target.peer.isStation(user) }
            }
            return call.emergency?.number == .emergency && call.callerPeer.isStation(user)
        }
    }
}

extension Peer {
    func isStation(_ user: String) -> Bool {
        guard case .station(user, _) = self else { return false }
        return true
    }
}
