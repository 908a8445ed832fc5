import Primitives

/// Identifies a call for help for ever, also over restarts: it names the record.
package struct EmergencyCallID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: String

    package init(rawValue: String) { self.rawValue = rawValue }

    package var description: String { rawValue }
}

/// Who asks for help, as far as the box knows.
package struct EmergencyCaller: Equatable, Sendable {
    /// The station's user; nil for a phone we do not know.
    package var station: String?
    /// The number the called side sees when nothing else is decided: the station's own, or what the phone claims.
    package var number: String
    package var displayName: String?
    package var source: TransportAddress

    package init(station: String?, number: String, displayName: String? = nil, source: TransportAddress) {
        self.station = station
        self.number = number
        self.displayName = displayName
        self.source = source
    }
}

/// The plan made for one call: what its INVITE carries, and the order in which trunks are asked.
package struct EmergencyDispatch: Equatable, Sendable {
    package var id: EmergencyCallID
    package var number: EmergencyNumber
    /// nil: no site is configured.
    package var site: String?
    /// Asked first, in this order; all others follow.
    package var trunks: [String]

    package init(id: EmergencyCallID, number: EmergencyNumber, site: String?, trunks: [String]) {
        self.id = id
        self.number = number
        self.site = site
        self.trunks = trunks
    }
}
