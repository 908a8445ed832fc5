import CallEngine
import Configuration
import EmergencyCalling
import MediaEngine
import Primitives
import SIPEngine

extension CallEngineSettings {
    /// The part of the configuration that the call engine acts on.
    package init(_ configuration: BoxConfiguration) {
        self.init(
            domain: configuration.system.domain,
            userAgent: configuration.system.userAgent,
            digestAlgorithms: configuration.system.digestAlgorithms.compactMap {
                DigestAlgorithm(rawValue: $0.rawValue)
            },
            realms: [RealmID: Realm](
                uniqueKeysWithValues: configuration.realms.map { (RealmID($0.name), Realm($0)) }),
            stations: [String: Station](
                uniqueKeysWithValues: configuration.stations.map { ($0.name, Station($0)) }),
            trunks: [String: Trunk](uniqueKeysWithValues: configuration.trunks.map { ($0.name, Trunk($0)) }),
            routes: configuration.routes.map {
                Route(pattern: $0.pattern, strip: $0.strip, prepend: $0.prepend, trunks: $0.trunks)
            },
            numbers: [String: [String]](
                configuration.numbers.map { ("+" + $0.digits, $0.stations) }, uniquingKeysWith: { first, _ in first }),
            emergency: EmergencySettings(configuration),
            calls: Calls(
                maximum: configuration.calls.maximum,
                mediaFlowCountMax: configuration.calls.mediaFlowCountMax, ringTimeout: configuration.calls.ringTimeout,
                sessionExpires: configuration.calls.sessionExpires,
                sessionExpiresMin: configuration.calls.sessionExpiresMin),
            media: MediaSettings(
                learningWindow: configuration.media.learningWindow,
                inactivityTimeout: configuration.media.inactivityTimeout,
                silenceEvent: configuration.media.silenceEvent,
                trafficClass: configuration.qos.media, emergencyTrafficClass: configuration.qos.emergency))
    }
}

extension CallEngineSettings.Realm {
    fileprivate init(_ realm: RealmConfiguration) {
        self.init(
            role: realm.role == .stations ? .stations : .trunks,
            endpoint: TransportAddress(realm.address, realm.sipPort),
            usesUDP: realm.transports.contains(.udp), usesTCP: realm.transports.contains(.tcp),
            mediaPorts: realm.mediaPorts)
    }
}

extension CallEngineSettings.Station {
    fileprivate init(_ station: StationConfiguration) {
        self.init(
            realm: RealmID(station.realm), password: station.password.revealed, displayName: station.displayName,
            number: station.number, contactsMax: station.contactsMax)
    }
}

extension CallEngineSettings.Trunk {
    fileprivate init(_ trunk: TrunkConfiguration) {
        self.init(
            realm: RealmID(trunk.realm), peer: trunk.peer,
            transport: .init(trunk.transport),
            sources: trunk.sources,
            registration: trunk.registration.map {
                .init(
                    credentials: .init($0.credentials), registrar: $0.registrar, domain: $0.domain, expires: $0.expires)
            },
            authentication: trunk.authentication.map { .init($0) },
            health: trunk.health.map {
                .init(interval: $0.interval, timeout: $0.timeout, failures: $0.failures, successes: $0.successes)
            },
            attemptTimeout: trunk.attemptTimeout, callsMax: trunk.callsMax,
            reliableProvisional: .init(trunk.reliableProvisional),
            telephoneEvent: trunk.telephoneEvent, emergency: .init(trunk.emergency))
    }
}

extension CallEngineSettings.Credentials {
    fileprivate init(_ credentials: TrunkConfiguration.Credentials) {
        self.init(username: credentials.username, password: credentials.password.revealed)
    }
}

extension CallEngineSettings.TrunkTransport {
    fileprivate init(_ transport: TrunkConfiguration.Transport) {
        self =
            switch transport {
            case .auto: .automatic
            case .udp: .udp
            case .tcp: .tcp
            }
    }
}

extension CallEngineSettings.ReliableProvisional {
    fileprivate init(_ policy: TrunkConfiguration.ReliableProvisional) {
        self =
            switch policy {
            case .off: .off
            case .supported: .supported
            case .required: .required
            }
    }
}
