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
    /// Where the phone takes calls, so that an unregistered one can be called back.
    package var contact: CallbackContact?

    package init(
        station: String?, number: String, displayName: String? = nil, source: TransportAddress,
        contact: CallbackContact? = nil
    ) {
        self.station = station
        self.number = number
        self.displayName = displayName
        self.source = source
        self.contact = contact
    }
}

/// How a phone that never registered is reached: over the path its INVITE came.
package struct CallbackContact: Equatable, Sendable {
    package var realm: RealmID
    package var isTCP: Bool
    /// The URI of its Contact header.
    package var uri: String

    package init(realm: RealmID, isTCP: Bool, uri: String) {
        self.realm = realm
        self.isTCP = isTCP
        self.uri = uri
    }
}

/// The plan made for one call: what its INVITE carries, and the order in which trunks are asked.
package struct EmergencyDispatch: Equatable, Sendable {
    package var id: EmergencyCallID
    package var number: EmergencyNumber
    /// nil: no site is configured.
    package var site: String?
    /// Where the caller is; nil where the site is.
    package var location: DispatchableLocation?
    /// What the site's PSAP is called by; nil is as dialled.
    package var psap: String?
    /// Asked first, in this order; all others follow.
    package var trunks: [String]
    /// The calling number to show, leased to this caller; nil: the site has none, the caller's own is shown.
    package var elin: String?

    package init(
        id: EmergencyCallID, number: EmergencyNumber, site: String?, location: DispatchableLocation? = nil,
        psap: String? = nil, trunks: [String], elin: String? = nil
    ) {
        self.id = id
        self.number = number
        self.site = site
        self.location = location
        self.psap = psap
        self.trunks = trunks
        self.elin = elin
    }
}
