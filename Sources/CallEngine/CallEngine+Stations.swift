import Primitives
import SIPEngine
import SignallingFormats

// Stations: REGISTER, bindings that come and go, changed settings.
extension CallEngine {
    mutating func handleRegister(
        _ request: SIPRequest, _ transaction: ServerTransactionID, from path: TransportPath, at now: MonotonicTime
    ) {
        guard case .stations = source(of: path) else { return respond(request, transaction, 403, at: now) }
        let unsupported = (request.require + request.headers.values(.proxyRequire))
            .filter { $0.lowercased() != "outbound" }
        if !unsupported.isEmpty {
            return refuse(
                request, transaction,
                Refusal(statusCode: 420, headers: [(.unsupported, unsupported.joined(separator: ", "))]), at: now)
        }
        // The registrar's own domain, whoever asks (RFC 3261 §10.3, step 1).
        guard let uri = request.requestURI.sip, !uri.isSecure, isOurs(uri.host, realm: path.realm) else {
            return respond(request, transaction, request.requestURI.sip == nil ? 416 : 404, at: now)
        }
        switch authenticate(request, from: path, at: now) {
        case .refused(let response): transactions.respond(response, to: transaction, at: now)
        case .authenticated(let user):
            // Nobody registers for another (step 4); the same answer as for a wrong password.
            guard Self.user(of: request.to?.uri) == user, let host = request.to?.uri.sip?.host,
                isOurs(host, realm: path.realm), let station = settings.stations[user]
            else { return respond(request, transaction, 403, at: now) }
            let before = registrar.bindings(for: user)
            var response = registrar.handle(
                request, from: path, user: user, contactsMax: station.contactsMax, at: now)
            if !settings.userAgent.isEmpty { response.headers.append(.server, settings.userAgent) }
            transactions.respond(response, to: transaction, at: now)
            noteBindings(of: user, before: before, reason: .requested, at: now)
        }
    }

    /// Events for bindings that are new or gone.
    mutating func noteBindings(
        of user: String, before: [Registrar.Binding], reason: CallEvent.UnregistrationReason, at now: MonotonicTime
    ) {
        let after = registrar.bindings(for: user)
        for binding in after where !before.contains(where: { $0.contact == binding.contact && $0.path == binding.path })
        {
            emit(
                .stationRegistered(
                    user: user, contact: binding.contact.text, source: binding.path.remote,
                    expires: binding.expires - now))
        }
        for binding in before where !after.contains(where: { $0.contact == binding.contact }) {
            emit(.stationUnregistered(user: user, contact: binding.contact.text, reason: reason))
        }
    }

    /// Bindings whose time is over.
    mutating func advanceRegistrar(to now: MonotonicTime) {
        registrar.advance(to: now)
        while let output = registrar.nextOutput() {
            switch output {
            case .expired(let user, let binding):
                emit(.stationUnregistered(user: user, contact: binding.contact.text, reason: .expired))
            }
        }
    }

    // MARK: What changes under us

    mutating func reconfigureStations(from old: CallEngineSettings, at now: MonotonicTime) {
        for (user, station) in old.stations where settings.stations[user]?.realm != station.realm {
            let before = registrar.bindings(for: user)
            registrar.removeAll(for: user)
            noteBindings(of: user, before: before, reason: .removed, at: now)
        }
    }

    mutating func reconfigureTrunks(from old: CallEngineSettings, at now: MonotonicTime) {
        for (name, trunk) in trunks where settings.trunks[name] != trunk.settings {
            if let changed = settings.trunks[name], changed.realm == trunk.settings.realm {
                changeTrunk(name, to: changed, at: now)
            } else {
                removeTrunk(name, at: now)
            }
        }
        for (name, trunk) in settings.trunks where trunks[name] == nil { addTrunk(name, trunk, at: now) }
    }

    /// A connection is gone: bindings on it are unreachable, dialogs look for another way.
    mutating func connectionClosed(_ path: TransportPath, at now: MonotonicTime) {
        let before = settings.stations.keys.map { ($0, registrar.bindings(for: $0)) }
            .filter { $0.1.contains { $0.path == path } }
        transactions.handle(.transportFailed(path, reason: "connection closed"), at: now)
        registrar.connectionClosed(path)
        for (user, bindings) in before {
            noteBindings(of: user, before: bindings, reason: .connectionClosed, at: now)
        }
        guard let connection = path.connection else { return }
        for id in Array(calls.keys) {
            withCall(id, at: now) { engine, call in
                for index in call.forks.indices {
                    for side in CallSide.allCases where call.forks[index][side].nextHop.connection == connection {
                        call.forks[index][side].nextHop = engine.otherWay(call.forks[index][side])
                    }
                }
            }
        }
    }

    /// Where a leg's requests go when its connection is gone: the station's newest binding, or a new connection.
    private func otherWay(_ leg: CallLeg) -> NextHop {
        if case .station(let user, _) = leg.peer, let binding = registrar.bindings(for: user).last {
            return NextHop(binding.path)
        }
        return NextHop(realm: leg.nextHop.realm, remote: leg.nextHop.remote, policy: leg.nextHop.policy)
    }

    // MARK: Restart

    /// Grows with every binding made, refreshed or lost; composition then writes them down.
    package var bindingsVersion: UInt64 {
        registrar.counters.registrations &+ registrar.counters.removals &+ registrar.counters.expirations
    }

    /// All bindings, to outlive a restart.
    package func exportBindings(at now: MonotonicTime) -> [Registrar.ExportedBinding] { registrar.export(at: now) }

    /// Takes over bindings of an earlier life, of stations that are still configured where they were. Those over TCP
    /// are left out: their connections are gone.
    package mutating func restoreBindings(_ bindings: [Registrar.ExportedBinding], at now: MonotonicTime) {
        registrar.import(
            bindings.filter { settings.stations[$0.user]?.realm == $0.binding.path.realm }, at: now)
    }
}
