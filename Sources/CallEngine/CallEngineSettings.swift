import EmergencyCalling
import MediaEngine
import Primitives
import SIPEngine

/// What the call engine is told to do; plain values, replaced as a whole by `CallEngine.reconfigure`.
package struct CallEngineSettings: Equatable, Sendable {
    /// Who lives on one side of the box.
    package enum RealmRole: String, Hashable, Sendable, CaseIterable { case stations, trunks }

    /// One side of the box: where we listen and which ports media may use.
    package struct Realm: Equatable, Sendable {
        package var role: RealmRole
        /// Our SIP address and port: Via sent-by, Contact, and the host in URIs we build.
        package var endpoint: TransportAddress
        package var usesUDP: Bool
        package var usesTCP: Bool
        /// RTP on even ports of this range, RTCP on the next.
        package var mediaPorts: ClosedRange<UInt16>

        package init(
            role: RealmRole, endpoint: TransportAddress, usesUDP: Bool = true, usesTCP: Bool = true,
            mediaPorts: ClosedRange<UInt16>
        ) {
            self.role = role
            self.endpoint = endpoint
            self.usesUDP = usesUDP
            self.usesTCP = usesTCP
            self.mediaPorts = mediaPorts
        }
    }

    /// Whether provisional responses are made reliable on a leg (RFC 3262).
    package enum ReliableProvisional: String, Hashable, Sendable, CaseIterable { case off, supported, required }

    /// A phone: the address of record `sip:<user>@<domain>`; the key in `stations` is the user.
    package struct Station: Equatable, Sendable {
        package var realm: RealmID
        package var password: String
        package var displayName: String?
        /// What trunks see as calling number (E.164).
        package var number: String?
        package var contactsMax: Int
        package var reliableProvisional: ReliableProvisional

        package init(
            realm: RealmID, password: String, displayName: String? = nil, number: String? = nil, contactsMax: Int = 4,
            reliableProvisional: ReliableProvisional = .supported
        ) {
            self.realm = realm
            self.password = password
            self.displayName = displayName
            self.number = number
            self.contactsMax = contactsMax
            self.reliableProvisional = reliableProvisional
        }
    }

    package struct Credentials: Equatable, Sendable {
        package var username: String
        package var password: String

        package init(username: String, password: String) {
            self.username = username
            self.password = password
        }
    }

    package enum TrunkTransport: String, Hashable, Sendable, CaseIterable {
        /// UDP, TCP when the request is too large for one datagram.
        case automatic
        case udp
        case tcp
    }

    /// How we register with a carrier.
    package struct TrunkRegistration: Equatable, Sendable {
        package var credentials: Credentials
        package var registrar: TransportAddress
        /// Host of the address of record and of the Request-URI; nil means the registrar's address.
        package var domain: String?
        package var expires: Duration

        package init(
            credentials: Credentials, registrar: TransportAddress, domain: String? = nil,
            expires: Duration = .seconds(3600)
        ) {
            self.credentials = credentials
            self.registrar = registrar
            self.domain = domain
            self.expires = expires
        }
    }

    /// OPTIONS ping of a trunk and its hysteresis.
    package struct TrunkHealth: Equatable, Sendable {
        package var interval: Duration
        package var timeout: Duration
        /// So many failures in a row take the trunk down.
        package var failures: Int
        /// So many answers in a row bring it up again.
        package var successes: Int

        package init(
            interval: Duration = .seconds(10), timeout: Duration = .seconds(2), failures: Int = 3, successes: Int = 2
        ) {
            self.interval = interval
            self.timeout = timeout
            self.failures = failures
            self.successes = successes
        }
    }

    /// A carrier's gateway; the key in `trunks` is its name.
    package struct Trunk: Equatable, Sendable {
        package var realm: RealmID
        package var peer: TransportAddress
        package var transport: TrunkTransport
        /// Requests are accepted from these; empty means from the peer's address.
        package var sources: [IPPrefix]
        package var registration: TrunkRegistration?
        /// For 401 and 407; nil means the registration's, if any.
        package var authentication: Credentials?
        /// nil switches the ping off: the trunk then counts as up.
        package var health: TrunkHealth?
        /// Until a provisional other than 100 or a final response, then the next trunk is tried.
        package var attemptTimeout: Duration
        package var callsMax: Int?
        package var reliableProvisional: ReliableProvisional
        /// The payload type of telephone-event on this leg; nil leaves what the other leg uses.
        package var telephoneEvent: UInt8?
        package var emergency: EmergencyTrunk

        package init(
            realm: RealmID, peer: TransportAddress, transport: TrunkTransport = .automatic, sources: [IPPrefix] = [],
            registration: TrunkRegistration? = nil, authentication: Credentials? = nil,
            health: TrunkHealth? = TrunkHealth(), attemptTimeout: Duration = .seconds(4), callsMax: Int? = nil,
            reliableProvisional: ReliableProvisional = .supported, telephoneEvent: UInt8? = nil,
            emergency: EmergencyTrunk = EmergencyTrunk()
        ) {
            self.realm = realm
            self.peer = peer
            self.transport = transport
            self.sources = sources
            self.registration = registration
            self.authentication = authentication
            self.health = health
            self.attemptTimeout = attemptTimeout
            self.callsMax = callsMax
            self.reliableProvisional = reliableProvisional
            self.telephoneEvent = telephoneEvent
            self.emergency = emergency
        }

        /// Whether a request from here belongs to this trunk.
        package func accepts(_ source: IPAddress) -> Bool {
            sources.isEmpty ? source == peer.address : sources.contains { $0.contains(source) }
        }
    }

    /// Station to trunk: the first route whose pattern matches the dialled digits is taken.
    package struct Route: Equatable, Sendable {
        package var pattern: DialPattern
        /// So many leading characters are removed, then `prepend` is put in front.
        package var strip: Int
        package var prepend: String
        /// Tried in this order.
        package var trunks: [String]

        package init(pattern: DialPattern, strip: Int = 0, prepend: String = "", trunks: [String]) {
            self.pattern = pattern
            self.strip = strip
            self.prepend = prepend
            self.trunks = trunks
        }
    }

    package struct Calls: Equatable, Sendable {
        /// Simultaneous calls; one more gets 503.
        package var maximum: Int
        /// Media flows of all calls together; a call that would need more gets 503, unless it is an emergency call.
        package var mediaFlowCountMax: Int
        package var ringTimeout: Duration
        /// RFC 4028.
        package var sessionExpires: Duration
        package var sessionExpiresMin: Duration

        package init(
            maximum: Int = 120, mediaFlowCountMax: Int = 4_000, ringTimeout: Duration = .seconds(180),
            sessionExpires: Duration = .seconds(1800),
            sessionExpiresMin: Duration = .seconds(90)
        ) {
            self.maximum = maximum
            self.mediaFlowCountMax = mediaFlowCountMax
            self.ringTimeout = ringTimeout
            self.sessionExpires = sessionExpires
            self.sessionExpiresMin = sessionExpiresMin
        }
    }

    /// SIP domain and digest realm of the stations.
    package var domain: String
    /// Value of Server and User-Agent; empty sends none.
    package var userAgent: String
    /// What stations are challenged with, in this order (RFC 8760 §2.4).
    package var digestAlgorithms: [DigestAlgorithm]
    package var realms: [RealmID: Realm]
    package var stations: [String: Station]
    package var trunks: [String: Trunk]
    package var routes: [Route]
    /// Called number (E.164 with leading `+`) to the stations that ring.
    package var numbers: [String: [String]]
    package var emergency: EmergencySettings
    package var calls: Calls
    package var media: MediaSettings
    /// Challenge every request of a station, also from a path that has registered.
    package var challengesEveryRequest: Bool

    package init(
        domain: String, userAgent: String = "Cresset", digestAlgorithms: [DigestAlgorithm] = [.sha256, .md5],
        realms: [RealmID: Realm], stations: [String: Station] = [:],
        trunks: [String: Trunk] = [:], routes: [Route] = [], numbers: [String: [String]] = [:],
        emergency: EmergencySettings = EmergencySettings(), calls: Calls = Calls(),
        media: MediaSettings = MediaSettings(),
        challengesEveryRequest: Bool = false
    ) {
        self.domain = domain
        self.userAgent = userAgent
        self.digestAlgorithms = digestAlgorithms
        self.realms = realms
        self.stations = stations
        self.trunks = trunks
        self.routes = routes
        self.numbers = numbers
        self.emergency = emergency
        self.calls = calls
        self.media = media
        self.challengesEveryRequest = challengesEveryRequest
    }
}
