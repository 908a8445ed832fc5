import Primitives

/// What is configured for calls for help. Empty, they are placed all the same.
package struct EmergencySettings: Equatable, Sendable {
    /// By name.
    package var sites: [String: EmergencySite]
    /// Of callers no address range and no station assignment places; nil: the first by name.
    package var defaultSite: String?
    /// Tried after the site's own, in this order; every other trunk follows.
    package var trunks: [String]
    /// Of one trunk, where its own limit is not shorter.
    package var attemptTimeout: Duration
    /// How long after its end a call for help may be called back.
    package var callbackWindow: Duration
    /// Where stations are, by user.
    package var stations: [String: EmergencyStation]
    /// What is a call for help.
    package var numbers: EmergencyNumberPlan

    package init(
        sites: [String: EmergencySite] = [:], defaultSite: String? = nil, trunks: [String] = [],
        attemptTimeout: Duration = .seconds(3), stations: [String: EmergencyStation] = [:],
        callbackWindow: Duration = .seconds(30 * 60), numbers: EmergencyNumberPlan = EmergencyNumberPlan()
    ) {
        self.sites = sites
        self.defaultSite = defaultSite
        self.trunks = trunks
        self.attemptTimeout = attemptTimeout
        self.stations = stations
        self.numbers = numbers
        self.callbackWindow = callbackWindow
    }
}

/// One of the places an office has.
package struct EmergencySite: Equatable, Sendable {
    /// Part of it, found by address.
    package struct Subnet: Equatable, Sendable {
        package var networks: [IPRange]
        package var place: PlaceDetail

        package init(networks: [IPRange], place: PlaceDetail) {
            self.networks = networks
            self.place = place
        }
    }

    package var name: String
    /// Callers with an address in here, or in a subnet, are at this site; the narrowest range of all sites decides.
    package var networks: [IPRange]
    package var address: CivicAddress
    /// Tried first, in this order.
    package var trunks: [String]
    /// What is asked for instead of 911; "911" where the carrier finds the PSAP.
    package var psap: String
    /// Numbers that stand for this place (emergency location identification numbers), each leased to a caller.
    package var elins: [String]
    /// Stations that ring, one after the other, when help calls back and the caller does not answer.
    package var contacts: [String]
    package var subnets: [Subnet]

    package init(
        name: String, networks: [IPRange] = [], address: CivicAddress = CivicAddress(), trunks: [String] = [],
        psap: String = "911", elins: [String] = [], contacts: [String] = [], subnets: [Subnet] = []
    ) {
        self.name = name
        self.networks = networks
        self.address = address
        self.trunks = trunks
        self.psap = psap
        self.elins = elins
        self.contacts = contacts
        self.subnets = subnets
    }
}

/// Where a station is, as far as its own table says.
package struct EmergencyStation: Equatable, Sendable {
    package var site: String?
    package var place: PlaceDetail

    package init(site: String? = nil, place: PlaceDetail = PlaceDetail()) {
        self.site = site
        self.place = place
    }
}

/// How calls for help go out by a trunk.
package struct EmergencyTrunk: Equatable, Sendable {
    /// The INVITE carries the caller's location as PIDF-LO (RFC 6442).
    package var carriesLocation: Bool
    /// The ELIN, where the call has one, is who calls.
    package var showsELIN: Bool
    /// `urn:service:sos` is asked for instead of a number (RFC 5031).
    package var usesServiceURN: Bool
    /// Value of Resource-Priority (RFC 4412, RFC 7135); nil sends none.
    package var resourcePriority: String?
    /// `Priority: emergency` is sent.
    package var sendsPriority: Bool
    /// `Priority: psap-callback` from here is believed (RFC 7090).
    package var isPSAPTrusted: Bool

    package init(
        carriesLocation: Bool = false, showsELIN: Bool = true, usesServiceURN: Bool = false,
        resourcePriority: String? = nil, sendsPriority: Bool = true, isPSAPTrusted: Bool = false
    ) {
        self.carriesLocation = carriesLocation
        self.showsELIN = showsELIN
        self.usesServiceURN = usesServiceURN
        self.resourcePriority = resourcePriority
        self.sendsPriority = sendsPriority
        self.isPSAPTrusted = isPSAPTrusted
    }
}
