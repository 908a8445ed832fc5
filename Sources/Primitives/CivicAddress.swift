/// A place as people write it, in the elements of RFC 5139 §3.1 that addresses in the United States use; nil and empty
/// say that nothing is known.
package struct CivicAddress: Hashable, Sendable {
    /// ISO 3166-1, two capital letters.
    package var country: String
    /// A1; in the United States two capital letters.
    package var state: String?
    /// A2
    package var county: String?
    /// A3
    package var city: String?
    /// PRD, the N of "N Main St".
    package var preDirection: String?
    /// RD, the name alone.
    package var street: String?
    /// STS, the St of "Main St".
    package var streetType: String?
    /// POD, the NW of "Main St NW".
    package var postDirection: String?
    /// HNO
    package var houseNumber: String?
    /// HNS, the ½ of "12½".
    package var houseNumberSuffix: String?
    /// LMK
    package var landmark: String?
    /// LOC, whatever else helps to find the place.
    package var detail: String?
    /// NAM, who is there.
    package var name: String?
    /// PC
    package var postalCode: String?
    /// UNIT, with its word: "Suite 210".
    package var unit: String?
    /// BLD, FLR and ROOM.
    package var place: PlaceDetail

    package init(country: String = "US", place: PlaceDetail = PlaceDetail()) {
        self.country = country
        self.place = place
    }

    /// `12½ N Main St NW`; nil without a street.
    package var streetLine: String? {
        guard let street else { return nil }
        let number = (houseNumber ?? "") + (houseNumberSuffix ?? "")
        return [number.isEmpty ? nil : number, preDirection, street, streetType, postDirection]
            .compactMap { $0 }.joined(separator: " ")
    }

    /// What is missing of a dispatchable location (47 CFR 9.3: the validated street address, and what else it takes to
    /// find the caller), in words; empty when nothing is.
    package var missingElements: [String] {
        var missing: [String] = []
        if street == nil { missing.append("street") }
        if houseNumber == nil { missing.append("house number") }
        if city == nil { missing.append("city") }
        if state == nil { missing.append("state") }
        if postalCode == nil { missing.append("postal code") }
        if place.floor == nil, place.room == nil, unit == nil { missing.append("floor, room or unit") }
        return missing
    }
}

extension CivicAddress: CustomStringConvertible {
    /// On one line, from the street to the country: what a notice, a record and a person are told.
    package var description: String {
        let parts: [String?] = [
            name, streetLine, place.building.map { "building \($0)" }, place.floor.map { "floor \($0)" }, unit,
            place.room.map { "room \($0)" }, landmark, detail, city,
            [state, postalCode].compactMap { $0 }.joined(separator: " "), country == "US" ? nil : country,
        ]
        return parts.compactMap { $0 }.filter { !$0.isEmpty }.joined(separator: ", ")
    }
}

/// Where inside a site: what a subnet or a station adds to the address.
package struct PlaceDetail: Hashable, Sendable {
    package var building: String?
    package var floor: String?
    package var room: String?

    package init(building: String? = nil, floor: String? = nil, room: String? = nil) {
        self.building = building
        self.floor = floor
        self.room = room
    }

    package var isEmpty: Bool { building == nil && floor == nil && room == nil }

    /// The finer place: in another building the floor, on another floor the room is no longer that of the coarser one.
    package func refined(by finer: PlaceDetail) -> PlaceDetail {
        let isElsewhere = finer.building != nil && finer.building != building
        let isOnOtherFloor = isElsewhere || finer.floor != nil && finer.floor != floor
        return PlaceDetail(
            building: finer.building ?? building, floor: finer.floor ?? (isElsewhere ? nil : floor),
            room: finer.room ?? (isOnOtherFloor ? nil : room))
    }
}

/// Where somebody is who calls for help: one value for the carrier, the notice and the record, so that all say the
/// same (47 CFR 9.3, "MLTS notification").
package struct DispatchableLocation: Hashable, Sendable, CustomStringConvertible {
    package var site: String
    package var address: CivicAddress
    /// Nothing says that the caller is at this site: it is where callers are who are nowhere else.
    package var isAssumed: Bool

    /// What is missing where the site is only assumed.
    package static let siteProof = "proof of the site"

    package init(site: String, address: CivicAddress, isAssumed: Bool = false) {
        self.site = site
        self.address = address
        self.isAssumed = isAssumed
    }

    /// What is missing for somebody to be found, in words; empty when nothing is.
    package var missingElements: [String] { (isAssumed ? [Self.siteProof] : []) + address.missingElements }

    /// Enough for somebody to be found.
    package var isComplete: Bool { missingElements.isEmpty }

    /// The address, or the site's name while it has none.
    package var description: String {
        let text = address.description
        return text.isEmpty ? "site \(site), address unknown" : text
    }
}
