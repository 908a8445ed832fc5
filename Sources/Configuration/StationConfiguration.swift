import Primitives

/// `[stations.NAME]`: one phone, that is one address of record `sip:NAME@<system.domain>`.
package struct StationConfiguration: Equatable, Sendable {
    package static let contactsMaxDefault = 4

    /// User part of the address of record, and the digest user name.
    package var name: String
    /// The realm it registers from; a realm with role `stations`.
    package var realm: String
    package var password: Secret
    package var displayName: String?
    /// E.164 with its `+`, shown to trunks (From, P-Asserted-Identity).
    package var number: String?
    /// How many contacts may be registered at once.
    package var contactsMax: Int
    /// Where it stands when its address does not say; nil: nowhere in particular.
    package var site: String?
    /// Where inside its site.
    package var place: PlaceDetail

    package init(
        name: String, realm: String, password: Secret, displayName: String? = nil, number: String? = nil,
        contactsMax: Int = contactsMaxDefault, site: String? = nil, place: PlaceDetail = PlaceDetail()
    ) {
        self.name = name
        self.realm = realm
        self.password = password
        self.displayName = displayName
        self.number = number
        self.contactsMax = contactsMax
        self.site = site
        self.place = place
    }
}

/// One entry of `[numbers]`: a number carriers call, and the stations it rings.
package struct NumberConfiguration: Equatable, Sendable {
    /// Without the leading `+`.
    package var digits: String
    /// All ring at once; at least one.
    package var stations: [String]

    package init(number: String, stations: [String]) {
        digits = Self.digits(of: number)
        self.stations = stations
    }

    /// The form numbers are compared in: the leading `+` removed.
    package static func digits(of number: String) -> String {
        number.hasPrefix("+") ? String(number.dropFirst()) : number
    }
}
