import EmergencyCalling
import Primitives
import SIPEngine
import SignallingFormats

// A call for help goes past authentication, capacity and the dial plan: recognised first, refused for nothing that is
// ours to decide, and offered to every trunk there is (47 CFR 9.16(a), (b)(1)).
extension CallEngine {
    func emergencyNumber(of request: SIPRequest) -> EmergencyNumber? {
        settings.emergency.numbers.number(askedBy: request)
    }

    /// The INVITE of a phone that asks for help, registered or not.
    mutating func handleEmergencyInvite(
        _ request: SIPRequest, _ transaction: ServerTransactionID, from path: TransportPath, at now: MonotonicTime
    ) {
        guard let fromTag = request.from?.tag, !fromTag.isEmpty else {
            return respond(request, transaction, 400, reason: "From tag missing", at: now)
        }
        guard request.contacts.first != nil else {
            return respond(request, transaction, 400, reason: "Contact missing", at: now)
        }
        if isShuttingDown { return respond(request, transaction, 503, reason: "Shutting down", at: now) }
        let offer: SessionDescription?
        switch initialOffer(of: request) {
        case .none: offer = nil
        case .offer(let description): offer = description
        case .refused(let refusal): return refuse(request, transaction, refusal, at: now)
        }
        startEmergencyCall(
            request, transaction, from: path, peer: emergencyCaller(request, from: path), offer: offer,
            number: .emergency, at: now)
    }

    /// Also for 933, once its caller has been admitted like any other.
    mutating func startEmergencyCall(
        _ request: SIPRequest, _ transaction: ServerTransactionID, from path: TransportPath, peer: Peer,
        offer: SessionDescription?, number: EmergencyNumber, at now: MonotonicTime
    ) {
        if let reason = emergencies.reasonToBlock(number, at: now) {
            return block(request, transaction, from: path, peer: peer, reason: reason, at: now)
        }
        let dispatch = emergencies.begin(
            number, dialled: Self.user(of: request.requestURI) ?? number.dialString,
            by: emergencyCaller(request, peer, path), at: now)
        let plan = emergencyPlan(dispatch, askedFor: request.requestURI)
        guard !plan.isEmpty else {
            emergencies.ended(
                dispatch.id, ending: "no trunk is configured", packetsFromCaller: 0, packetsFromCallee: 0, at: now)
            return refuseCall(
                request, transaction, from: path, dialled: number.dialString, 503, reason: "No trunk is configured",
                at: now)
        }
        startCall(
            request, transaction, from: path, peer: peer, offer: offer, dialled: number.dialString, plan: plan,
            emergency: dispatch, at: now)
    }

    /// Whose phone it is: that of the station registered from here, else of the one it claims to be, so that the
    /// called side has a number to call back; else a stranger's.
    private func emergencyCaller(_ request: SIPRequest, from path: TransportPath) -> Peer {
        let claimed = Self.user(of: request.from?.uri) ?? ""
        let here = settings.stations.filter { user, station in
            station.realm == path.realm && registrar.bindings(for: user).contains { $0.path == path }
        }
        if let station = here[claimed] { return .station(user: claimed, station) }
        if let first = here.min(by: { $0.key < $1.key }) { return .station(user: first.key, first.value) }
        if let station = settings.stations[claimed], station.realm == path.realm {
            return .station(user: claimed, station)
        }
        let name = DialledNumber.normalized(claimed) ?? "unregistered"
        return .station(user: name, CallEngineSettings.Station(realm: path.realm, password: ""))
    }

    private func emergencyCaller(_ request: SIPRequest, _ peer: Peer, _ path: TransportPath) -> EmergencyCaller {
        guard case .station(let user, let station) = peer else {
            return EmergencyCaller(
                station: nil, number: Self.user(of: request.from?.uri) ?? "", source: path.remote)
        }
        return EmergencyCaller(
            station: settings.stations[user] == nil ? nil : user, number: station.number ?? user,
            displayName: station.displayName ?? request.from?.displayName, source: path.remote,
            contact: request.contacts.first.map {
                CallbackContact(realm: path.realm, isTCP: path.transport != .udp, uri: $0.uri.text)
            })
    }

    /// Test mode: no trunk hears of it, the caller and everybody to be told do.
    private mutating func block(
        _ request: SIPRequest, _ transaction: ServerTransactionID, from path: TransportPath, peer: Peer,
        reason: String, at now: MonotonicTime
    ) {
        counters.emergenciesBlocked += 1
        let caller = emergencyCaller(request, peer, path)
        var response = makeResponse(to: request, 503, "Test mode: 911 blocked")
        response.headers.append(.warning, "399 \(host(on: path.realm)) \"test mode: 911 blocked, no help is called\"")
        transactions.respond(response, to: transaction, at: now)
        emitAfterTransmission(
            .emergencyBlocked(
                caller: CallParty(peer.kind, number: caller.number), source: path.remote, reason: reason))
        emergencies.block(
            dialled: Self.user(of: request.requestURI) ?? EmergencyNumber.emergency.dialString, by: caller,
            reason: reason, at: now)
    }

    /// The trunks set aside for it in their order, then all others by name; those that are down last. No trunk is too
    /// full.
    private func emergencyPlan(_ dispatch: EmergencyDispatch, askedFor uri: URI) -> [[Target]] {
        var preferred: [String] = []
        for name in dispatch.trunks where !preferred.contains(name) { preferred.append(name) }
        let others = trunks.keys.filter { !preferred.contains($0) }.sorted()
        let all = (preferred + others).compactMap { trunks[$0] }
        return (all.filter { !$0.health.isDown } + all.filter(\.health.isDown)).map { trunk in
            [emergencyTarget(dispatch, trunk, askedFor: uri)]
        }
    }

    /// Whether this trunk, slow as it is, is the last one to be asked for help: it said 100, and nobody else is left. Then
    /// only the caller gives up. If others are left, it is asked once more after them.
    static func isLastHope(_ call: inout Call, _ index: Int) -> Bool {
        guard call.emergency != nil, call.attempts[index].isHeard else { return false }
        if call.plan.isEmpty { return true }
        let target = call.attempts[index].target
        if call.attempts.count(where: { $0.target.peer.trunkName == target.peer.trunkName }) == 1 {
            call.plan.append([target])
        }
        return false
    }

    /// What became of a trunk that was asked for help.
    mutating func noteEmergencyAttempt(_ call: Call, _ index: Int, at now: MonotonicTime) {
        guard let emergency = call.emergency, let trunk = call.attempts[index].target.peer.trunkName else { return }
        emergencies.attemptEnded(
            emergency.id, trunk: trunk, outcome: call.attempts[index].outcome.text, at: now)
    }

    /// Media packets so far of a call that lasts; as of the last `refreshMediaCounters`.
    package func emergencyPackets(of id: EmergencyCallID) -> (fromCaller: UInt64, fromCalled: UInt64)? {
        guard let call = calls.values.first(where: { $0.emergency?.id == id }) else { return nil }
        let counted = liveCounters(of: call)
        return (counted.fromCaller.packets, counted.fromCallee.packets)
    }

    // MARK: For composition

    package var callbackLeases: [CallbackLease] { emergencies.leases.leases }

    /// Leases of an earlier life.
    package mutating func restoreLeases(_ leases: [CallbackLease], at now: MonotonicTime) {
        emergencies.restoreLeases(leases, at: now)
    }

    /// Somebody dialled 911 and the call is not over.
    package var hasEmergencyCall: Bool {
        calls.values.contains { $0.emergency?.number == .emergency && !$0.isEnding }
    }

    package var testMode: EmergencyTestMode { emergencies.testMode }

    /// What the configuration's path and the environment say now.
    package mutating func setTestModeSigns(_ signs: [String]) { emergencies.setTestModeSigns(signs) }

    /// nil disarms.
    package mutating func armTestMode(_ armed: EmergencyTestMode.Armed?) { emergencies.armTestMode(armed) }

    /// Calls for help that are not over; they take nobody's place.
    var activeEmergencyCallCount: Int { calls.values.count { $0.isForHelp && !$0.isEnding } }
}
