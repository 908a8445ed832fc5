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
            case .send(var request):
                guard let trunk = trunks[name], let registration = trunk.settings.registration else { return }
                if !settings.userAgent.isEmpty { request.headers.append(.userAgent, settings.userAgent) }
                let hop = NextHop(
                    realm: trunk.settings.realm, remote: registration.registrar,
                    policy: Trunk.policy(trunk.settings.transport))
                let transaction = transactions.send(request, to: hop, at: now)
                clientOwners[transaction] = .registration(trunk: name)
                trunks[name]?.registering = transaction
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
        guard response.statusCode >= 200, trunks[name]?.registering == transaction else { return }
        trunks[name]?.registration?.handle(.response(response), at: now)
        drainRegistration(name, at: now)
    }

    mutating func registrationFailed(
        _ name: String, _ transaction: ClientTransactionID, reason: String, at now: MonotonicTime
    ) {
        guard trunks[name]?.registering == transaction else { return }
        trunks[name]?.registration?.handle(.failed(reason: reason), at: now)
        drainRegistration(name, at: now)
    }

    /// Takes a registration back; the answer is not waited for when the trunk goes.
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
