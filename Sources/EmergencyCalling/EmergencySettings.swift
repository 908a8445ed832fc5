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
    /// Where stations are, by user.
    package var stations: [String: EmergencyStation]

    package init(
        sites: [String: EmergencySite] = [:], defaultSite: String? = nil, trunks: [String] = [],
        attemptTimeout: Duration = .seconds(4), stations: [String: EmergencyStation] = [:]
    ) {
        self.sites = sites
        self.defaultSite = defaultSite
        self.trunks = trunks
        self.attemptTimeout = attemptTimeout
        self.stations = stations
    }
}

/// One of the places an office has.
package struct EmergencySite: Equatable, Sendable {
    package var name: String
    /// Callers with an address in here are at this site; the longest prefix of all sites decides.
    package var prefixes: [IPPrefix]
    /// Tried first, in this order.
    package var trunks: [String]

    package init(name: String, prefixes: [IPPrefix] = [], trunks: [String] = []) {
        self.name = name
        self.prefixes = prefixes
        self.trunks = trunks
    }
}

/// Where a station is, as far as its own table says.
package struct EmergencyStation: Equatable, Sendable {
    package var site: String?

    package init(site: String? = nil) { self.site = site }
}
