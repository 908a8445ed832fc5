import Primitives
import SIPEngine
import SignallingFormats

// Our own registrations with carriers.
extension CallEngine {
    func makeRegistration(
        _ registration: CallEngineSettings.TrunkRegistration, of trunk: CallEngineSettings.Trunk,
        random: RandomSource
    ) -> RegistrationClient {
        let address = registration.registrar
        let host =
            registration.domain.flatMap { SIPHost($0) } ?? .address(address.address)
        let port = registration.domain == nil && address.port != 5060 ? address.port : nil
        let credentials = registration.credentials
        return RegistrationClient(
            settings: RegistrationClient.Settings(
                registrar: .sip(SIPURI(host: host, port: port)),
                addressOfRecord: .sip(SIPURI(user: credentials.username, host: host, port: port)),
                contact: contact(
                    user: credentials.username, realm: trunk.realm, transport: trunk.transport == .tcp ? .tcp : .udp),
                username: credentials.username, password: credentials.password,
                expires: Int(clamping: registration.expires.wholeSeconds)),
            hash: hash, random: random)
    }

    var registrationDeadline: MonotonicTime? {
        trunks.values.compactMap { $0.registration?.nextDeadline }.min()
    }

    mutating func startRegistration(_ name: String, at now: MonotonicTime) {
        trunks[name]?.registration?.handle(.start, at: now)
        drainRegistration(name, at: now)
    }

    mutating func advanceRegistrations(to now: MonotonicTime) {
        for name in Array(trunks.keys) {
            guard let deadline = trunks[name]?.registration?.nextDeadline, deadline <= now else { continue }
            trunks[name]?.registration?.advance(to: now)
            drainRegistration(name, at: now)
        }
    }

    private mutating func drainRegistration(_ name: String, at now: MonotonicTime) {
        while let output = trunks[name]?.registration?.nextOutput() {
            switch output {
            case .send(let request):
                guard let trunk = trunks[name], let sent = sendRegister(request, of: trunk, at: now) else { return }
                trunks[name]?.registering = sent
            case .changed(let state):
                switch state {
                case .registered(let until): emit(.trunkRegistered(name, expires: until - now))
                case .failed(let reason, _): emit(.trunkRegistrationFailed(name, reason: reason))
                case .idle: emit(.trunkUnregistered(name))
                case .registering, .unregistering: break
                }
            }
        }
    }

    mutating func registrationAnswered(
        _ name: String, _ transaction: ClientTransactionID, _ response: SIPResponse, at now: MonotonicTime
    ) {
        guard response.statusCode >= 200 else { return }
        if let trunk = leavingTrunks.removeValue(forKey: transaction) {
            return leave(trunk, after: response, at: now)
        }
        guard trunks[name]?.registering == transaction else { return }
        trunks[name]?.registration?.handle(.response(response), at: now)
        drainRegistration(name, at: now)
    }

    mutating func registrationFailed(
        _ name: String, _ transaction: ClientTransactionID, reason: String, at now: MonotonicTime
    ) {
        guard leavingTrunks.removeValue(forKey: transaction) == nil, trunks[name]?.registering == transaction
        else { return }
        trunks[name]?.registration?.handle(.failed(reason: reason), at: now)
        drainRegistration(name, at: now)
    }

    /// Takes back the registration of a trunk that goes, or goes elsewhere; a challenge is still answered.
    mutating func leave(_ name: String, at now: MonotonicTime) {
        unregister(name, at: now)
        guard let trunk = trunks[name], trunk.registration?.state == .unregistering, let sent = trunk.registering
        else { return }
        leavingTrunks[sent] = trunk
    }

    private mutating func leave(_ trunk: Trunk, after response: SIPResponse, at now: MonotonicTime) {
        var trunk = trunk
        trunk.registration?.handle(.response(response), at: now)
        while let output = trunk.registration?.nextOutput() {
            switch output {
            case .send(let request):
                guard let sent = sendRegister(request, of: trunk, at: now) else { return }
                leavingTrunks[sent] = trunk
            case .changed(.idle): emit(.trunkUnregistered(trunk.name))
            case .changed: break
            }
        }
    }

    private mutating func sendRegister(
        _ request: SIPRequest, of trunk: Trunk, at now: MonotonicTime
    ) -> ClientTransactionID? {
        guard let registration = trunk.settings.registration else { return nil }
        var request = request
        if !settings.userAgent.isEmpty { request.headers.append(.userAgent, settings.userAgent) }
        let hop = NextHop(
            realm: trunk.settings.realm, remote: registration.registrar,
            policy: Trunk.policy(trunk.settings.transport))
        let transaction = transactions.send(request, to: hop, at: now)
        clientOwners[transaction] = .registration(trunk: trunk.name)
        return transaction
    }

    /// Takes a registration back.
    mutating func unregister(_ name: String, at now: MonotonicTime) {
        guard trunks[name]?.registration?.isRegistered == true else { return }
        trunks[name]?.registration?.handle(.stop, at: now)
        drainRegistration(name, at: now)
    }

    mutating func unregisterAll(at now: MonotonicTime) {
        for name in trunks.keys.sorted() { unregister(name, at: now) }
    }

    func registrationStatus(_ trunk: Trunk, at now: MonotonicTime) -> TrunkStatus.Registration {
        switch trunk.registration?.state {
        case nil: .none
        case .registered(let until)?: .registered(expiresIn: until - now)
        case .failed(let reason, _)?: .failed(reason: reason)
        case .idle?, .registering?, .unregistering?: .trying
        }
    }
}
