import Primitives

/// `[trunks.NAME]`: one carrier, or one of its gateways.
package struct TrunkConfiguration: Equatable, Sendable {
    /// `auto` is UDP, and TCP for what does not fit into a datagram of the path (RFC 3261 §18.1.1).
    package enum Transport: String, CaseIterable, Sendable { case auto, udp, tcp }

    /// What we say about PRACK towards this trunk (RFC 3262).
    package enum ReliableProvisional: String, CaseIterable, Sendable { case off, supported, required }

    /// Digest user name and password (RFC 7616).
    package struct Credentials: Equatable, Sendable {
        package var username: String
        package var password: Secret

        package init(username: String, password: Secret) {
            self.username = username
            self.password = password
        }
    }

    /// We register at the carrier as `sip:<username>@<domain>`.
    package struct Registration: Equatable, Sendable {
        package static let expiresDefault = Duration.seconds(3_600)

        package var credentials: Credentials
        package var registrar: TransportAddress
        package var domain: String
        package var expires: Duration

        package init(
            credentials: Credentials, registrar: TransportAddress, domain: String, expires: Duration = expiresDefault
        ) {
            self.credentials = credentials
            self.registrar = registrar
            self.domain = domain
            self.expires = expires
        }
    }

    /// OPTIONS ping: down after `failures` in a row, up after `successes` in a row.
    package struct Health: Equatable, Sendable {
        package var interval: Duration
        package var timeout: Duration
        package var failures: Int
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

    package static let attemptTimeoutDefault = Duration.seconds(4)

    package var name: String
    /// A realm with role `trunks`.
    package var realm: String
    package var peer: TransportAddress
    package var transport: Transport
    /// Calls from these addresses are this trunk's; at least one.
    package var sources: [IPPrefix]
    package var registration: Registration?
    /// For challenges to INVITE; the registration's unless given. nil: we cannot answer a challenge.
    package var authentication: Credentials?
    /// nil: switched off, the trunk counts as up.
    package var health: Health?
    /// Per attempt, until a provisional response other than 100, or a final one.
    package var attemptTimeout: Duration
    /// nil: no limit of its own.
    package var callsMax: Int?
    package var reliableProvisional: ReliableProvisional
    /// RTP payload type of telephone-event on this leg, 96...127; nil: as negotiated.
    package var telephoneEvent: UInt8?
    package var emergency: TrunkEmergencyConfiguration

    package init(
        name: String, realm: String, peer: TransportAddress, transport: Transport = .auto, sources: [IPPrefix]? = nil,
        registration: Registration? = nil, authentication: Credentials? = nil, health: Health? = Health(),
        attemptTimeout: Duration = attemptTimeoutDefault, callsMax: Int? = nil,
        reliableProvisional: ReliableProvisional = .supported, telephoneEvent: UInt8? = nil,
        emergency: TrunkEmergencyConfiguration = .init()
    ) {
        self.name = name
        self.realm = realm
        self.peer = peer
        self.transport = transport
        self.sources =
            sources ?? IPPrefix(address: peer.address, bitLength: peer.address.bitCount).map { [$0] } ?? []
        self.registration = registration
        self.authentication = authentication ?? registration?.credentials
        self.health = health
        self.attemptTimeout = attemptTimeout
        self.callsMax = callsMax
        self.reliableProvisional = reliableProvisional
        self.telephoneEvent = telephoneEvent
        self.emergency = emergency
    }

    /// Whether a request from this address belongs to the trunk.
    package func accepts(from address: IPAddress) -> Bool { sources.contains { $0.contains(address) } }
}
