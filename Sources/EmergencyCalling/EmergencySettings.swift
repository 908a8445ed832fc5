import Primitives

/// What is configured for calls for help. Empty, they are placed all the same.
package struct EmergencySettings: Equatable, Sendable {
    /// By name.
    package var sites: [String: EmergencySite]
    /// Of callers no address range and no station assignment places.
    package var defaultSite: String?
    /// Tried after the site's own, in this order; every other trunk follows.
    package var trunks: [String]
    /// Of one trunk, where its own limit is not shorter.
    package var attemptTimeout: Duration
    /// How long after its end a call for help may be called back.
    package var callbackWindow: Duration
    /// Where stations are, by user.
    package var stations: [String: EmergencyStation]

    package init(
        sites: [String: EmergencySite] = [:], defaultSite: String? = nil, trunks: [String] = [],
        attemptTimeout: Duration = .seconds(4), stations: [String: EmergencyStation] = [:],
        callbackWindow: Duration = .seconds(30 * 60)
    ) {
        self.sites = sites
        self.defaultSite = defaultSite
        self.trunks = trunks
        self.attemptTimeout = attemptTimeout
        self.stations = stations
        self.callbackWindow = callbackWindow
    }
}

/// One of the places an office has.
package struct EmergencySite: Equatable, Sendable {
    package var name: String
    /// Callers with an address in here are at this site; the longest prefix of all sites decides.
    package var prefixes: [IPPrefix]
    /// Tried first, in this order.
    package var trunks: [String]
    /// Numbers that stand for this place (emergency location identification numbers), each leased to a caller.
    package var elins: [String]
    /// Stations that ring, one after the other, when help calls back and the caller does not answer.
    package var contacts: [String]

    package init(
        name: String, prefixes: [IPPrefix] = [], trunks: [String] = [], elins: [String] = [], contacts: [String] = []
    ) {
        self.name = name
        self.prefixes = prefixes
        self.trunks = trunks
        self.elins = elins
        self.contacts = contacts
    }
}

/// Where a station is, as far as its own table says.
package struct EmergencyStation: Equatable, Sendable {
    package var site: String?

    package init(site: String? = nil) { self.site = site }
}
