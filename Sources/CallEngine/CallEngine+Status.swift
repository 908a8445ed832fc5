import MediaEngine
import Primitives
import SIPEngine
import SignallingFormats

// What `cresset status` and `cresset calls` show.
extension CallEngine {
    package func status(at now: MonotonicTime) -> CallEngineStatus {
        CallEngineStatus(
            activeCalls: activeCallCount, callsMax: settings.calls.maximum,
            stations: settings.stations.keys.sorted().compactMap { stationStatus($0, at: now) },
            trunks: trunks.keys.sorted().compactMap { trunkStatus($0, at: now) },
            counters: counterList)
    }

    package func calls(at now: MonotonicTime) -> [CallStatus] {
        (calls.values.map { status(of: $0, at: now) } + announcements.values.map { status(of: $0, at: now) })
            .sorted { $0.id < $1.id }
    }

    private func status(of call: AnnouncementCall, at now: MonotonicTime) -> CallStatus {
        let isOpen = call.isMediaOpen
        return CallStatus(
            id: call.callID,
            phase: call.state == .ending
                ? .ending : call.state == .answered ? .answered : call.hasRung ? .ringing : .trying,
            caller: CallParty(.none, number: call.request.callingNumber ?? "cresset"), callee: call.party,
            dialled: call.request.target.number, start: call.start, answer: call.answer, attempts: [],
            fromCaller: CallMediaCounters(
                packets: UInt64(isOpen ? media.playedPacketCount(of: call.media) : call.playedPackets)),
            fromCallee: isOpen ? CallMediaCounters(media.statistics(of: call.media)) : call.fromCallee,
            callerMedia: [], calleeMedia: localAddresses(of: call.media), announcement: call.request.id)
    }

    private func status(of call: Call, at now: MonotonicTime) -> CallStatus {
        let calleeLeg = calleeLeg(of: call)
        let counted = liveCounters(of: call)
        return CallStatus(
            id: call.id, phase: phase(of: call), caller: call.callerParty, callee: call.callee,
            dialled: call.dialled, start: call.start, answer: call.answer,
            attempts: call.attempts.map { $0.summary(at: now) },
            fromCaller: counted.fromCaller, fromCallee: counted.fromCallee,
            callerMedia: call.callerMedia.map(localAddresses) ?? [],
            calleeMedia: calleeLeg.map(localAddresses) ?? [])
    }

    private func phase(of call: Call) -> CallStatus.Phase {
        switch call.state {
        case .proceeding: call.hasRung ? .ringing : .trying
        case .answered(let fork), .confirmed(let fork):
            call.forks[fork.rawValue].heldBy.isEmpty ? .answered : .held
        case .ending: .ending
        }
    }

    private func calleeLeg(of call: Call) -> MediaLegID? {
        call.attempts.first { $0.state == .answered }?.media ?? call.attempts.last?.media
    }

    /// What both sides have sent so far.
    func liveCounters(of call: Call) -> (fromCaller: CallMediaCounters, fromCallee: CallMediaCounters) {
        (liveCounters(call.callerMedia, call.fromCaller), liveCounters(calleeLeg(of: call), call.fromCallee))
    }

    private func liveCounters(_ leg: MediaLegID?, _ past: CallMediaCounters) -> CallMediaCounters {
        leg.map { past + CallMediaCounters(media.statistics(of: $0)) } ?? past
    }

    private func stationStatus(_ user: String, at now: MonotonicTime) -> StationStatus? {
        guard let station = settings.stations[user] else { return nil }
        return StationStatus(
            user: user, realm: station.realm,
            contacts: registrar.bindings(for: user).map { binding in
                StationStatus.Contact(
                    uri: binding.contact.text, source: binding.path.remote,
                    transport: binding.path.transport.text.lowercased(), expiresIn: binding.expires - now)
            })
    }

    private func trunkStatus(_ name: String, at now: MonotonicTime) -> TrunkStatus? {
        guard let trunk = trunks[name] else { return nil }
        return TrunkStatus(
            name: name, realm: trunk.settings.realm, peer: trunk.settings.peer,
            health: trunk.health.isDown ? .down : trunk.health.isChecked ? .up : .unchecked,
            registration: registrationStatus(trunk, at: now), calls: callCount(ofTrunk: name),
            callsMax: trunk.settings.callsMax, roundTrip: trunk.roundTrip)
    }

    /// The tables that are not empty, for tests that look for leaks; registrations are none.
    package var leftovers: [String] {
        var names: [String] = []
        if !calls.isEmpty { names.append("calls \(calls.keys.sorted())") }
        if !dialogs.isEmpty { names.append("dialogs") }
        if !serverOwners.isEmpty { names.append("server transactions") }
        if !clientOwners.isEmpty { names.append("client transactions") }
        if !mediaOwners.isEmpty { names.append("media legs") }
        if !leavingTrunks.isEmpty { names.append("leaving trunks") }
        if !announcements.isEmpty { names.append("announcements") }
        if !announcementDialogs.isEmpty || !announcementMedia.isEmpty { names.append("what announcements had") }
        if activeCallCount != 0 { names.append("active calls \(activeCallCount)") }
        if !transactions.isEmpty { names.append("transaction layer") }
        return names
    }

    private var counterList: [CallEngineStatus.Counter] {
        [
            .init("calls-admitted", counters.callsAdmitted), .init("calls-answered", counters.callsAnswered),
            .init("calls-refused", counters.callsRefused), .init("capacity-refusals", counters.capacityRefusals),
            .init("preemptions", counters.preemptions), .init("psap-callbacks", counters.callbacks),
            .init("emergencies-blocked", counters.emergenciesBlocked),
            .init("unknown-sources", counters.unknownSources), .init("malformed-messages", counters.malformed),
            .init("challenges", counters.challenges),
            .init("authentication-failures", counters.authenticationFailures),
            .init("unknown-dialogs", counters.unknownDialogs),
            .init("loops", counters.loops), .init("glare", counters.glare),
            .init("headers-withheld", counters.headersWithheld), .init("stray-answers", counters.strayAnswers),
        ] + transactions.counters.all.map { .init("sip-" + $0.name, $0.value) }
    }
}
