import Primitives

/// Everything the directory of TOML files says, checked and with defaults filled in.
///
/// Realms, stations, trunks, numbers and sites are sorted by name, so that two directories which say the same are equal;
/// routes keep their order, because the first match wins.
package struct BoxConfiguration: Equatable, Sendable {
    package var system: SystemConfiguration
    package var realms: [RealmConfiguration]
    package var stations: [StationConfiguration]
    package var trunks: [TrunkConfiguration]
    package var routes: [RouteConfiguration]
    package var numbers: [NumberConfiguration]
    package var sites: [SiteConfiguration]
    package var emergency: EmergencyConfiguration
    package var notify: NotifyConfiguration
    package var calls: CallsConfiguration
    package var media: MediaConfiguration
    package var qos: QoSConfiguration
    package var signalling: SignallingConfiguration
    package var shield: ShieldConfiguration
    package var log: LogConfiguration

    package init(
        system: SystemConfiguration, realms: [RealmConfiguration] = [], stations: [StationConfiguration] = [],
        trunks: [TrunkConfiguration] = [], routes: [RouteConfiguration] = [], numbers: [NumberConfiguration] = [],
        sites: [SiteConfiguration] = [], emergency: EmergencyConfiguration = .init(),
        calls: CallsConfiguration = .init(),
        media: MediaConfiguration = .init(), qos: QoSConfiguration = .init(),
        signalling: SignallingConfiguration = .init(),
        shield: ShieldConfiguration = .init(), notify: NotifyConfiguration = .init(), log: LogConfiguration = .init()
    ) {
        self.system = system
        self.realms = realms.sorted { $0.name < $1.name }
        self.stations = stations.sorted { $0.name < $1.name }
        self.trunks = trunks.sorted { $0.name < $1.name }
        self.routes = routes
        self.numbers = numbers.sorted { $0.digits < $1.digits }
        self.sites = sites.sorted { $0.name < $1.name }
        self.emergency = emergency
        self.calls = calls
        self.media = media
        self.qos = qos
        self.signalling = signalling
        self.shield = shield
        self.notify = notify
        self.notify.contacts.sort { $0.name < $1.name }
        self.log = log
    }

    package func realm(named name: String) -> RealmConfiguration? { realms.first { $0.name == name } }
    package func station(named name: String) -> StationConfiguration? { stations.first { $0.name == name } }
    package func site(named name: String) -> SiteConfiguration? { sites.first { $0.name == name } }
    package func trunk(named name: String) -> TrunkConfiguration? { trunks.first { $0.name == name } }

    /// The first route whose pattern matches what the station dialled, and the number to send; nil when none does.
    package func route(forDialled digits: String) -> (route: RouteConfiguration, number: String)? {
        guard let route = routes.first(where: { $0.pattern.matches(digits) }) else { return nil }
        return (route, route.transformed(digits))
    }

    /// The stations a call from a trunk to `number` rings; a leading `+` is optional. nil when nobody has it.
    package func stations(forNumber number: String) -> [String]? {
        let digits = NumberConfiguration.digits(of: number)
        return numbers.first { $0.digits == digits }?.stations
    }
}

/// `[system]`: who this box is.
package struct SystemConfiguration: Equatable, Sendable {
    /// What stations may be challenged with (RFC 8760); the strongest is offered first.
    package enum DigestAlgorithm: String, CaseIterable, Sendable {
        case sha256 = "SHA-256"
        case md5 = "MD5"
    }

    package static let userAgentDefault = "Cresset"

    /// Host name in logs and status.
    package var name: String
    /// SIP domain and digest realm of the stations.
    package var domain: String
    /// Value of the Server and User-Agent headers; empty sends none.
    package var userAgent: String
    /// Without repetition, strongest first. Only MD5 for phones that read no challenge but the first one.
    package var digestAlgorithms: [DigestAlgorithm]
    /// People may dial 911 here: the box does not start in test mode.
    package var isProduction: Bool

    package init(
        name: String, domain: String, userAgent: String = userAgentDefault,
        digestAlgorithms: [DigestAlgorithm] = DigestAlgorithm.allCases, isProduction: Bool = false
    ) {
        self.name = name
        self.domain = domain
        self.userAgent = userAgent
        self.digestAlgorithms = digestAlgorithms
        self.isProduction = isProduction
    }
}

/// `[calls]`: limits and timers of every call.
package struct CallsConfiguration: Equatable, Sendable {
    /// Simultaneous calls.
    package var maximum: Int
    /// How long a call may ring.
    package var ringTimeout: Duration
    /// Session-Expires we ask for (RFC 4028 §4).
    package var sessionExpires: Duration
    /// Min-SE we insist on (RFC 4028 §5).
    package var sessionExpiresMin: Duration

    package init(
        maximum: Int = 120, ringTimeout: Duration = .seconds(180), sessionExpires: Duration = .seconds(1_800),
        sessionExpiresMin: Duration = .seconds(90)
    ) {
        self.maximum = maximum
        self.ringTimeout = ringTimeout
        self.sessionExpires = sessionExpires
        self.sessionExpiresMin = sessionExpiresMin
    }
}

extension CallsConfiguration {
    /// Media flows that calls may have together: RTP and RTCP both ways for each, and never less than a table of 4 000.
    package var mediaFlowCountMax: Int { max(4_000, maximum * 4) }
}

/// `[media]`: source learning and silence.
package struct MediaConfiguration: Equatable, Sendable {
    /// How long after an offer or answer another source address may be learned.
    package var learningWindow: Duration
    /// Both directions silent for this long ends the call.
    package var inactivityTimeout: Duration
    /// One side silent for this long is an event that names the side.
    package var silenceEvent: Duration

    package init(
        learningWindow: Duration = .seconds(3), inactivityTimeout: Duration = .seconds(60),
        silenceEvent: Duration = .seconds(3)
    ) {
        self.learningWindow = learningWindow
        self.inactivityTimeout = inactivityTimeout
        self.silenceEvent = silenceEvent
    }
}

/// `[log]`: how much is said.
package struct LogConfiguration: Equatable, Sendable {
    package enum Level: String, CaseIterable, Sendable { case error, warning, notice, info, debug }

    package var level: Level

    package init(level: Level = .info) { self.level = level }
}
