import Primitives

/// `[sites.NAME]`: one of the places an office has, for calls for help.
package struct SiteConfiguration: Equatable, Sendable {
    /// Part of a site, found by address: an entry of `subnets`.
    package struct Subnet: Equatable, Sendable {
        package var networks: [IPRange]
        package var place: PlaceDetail

        package init(networks: [IPRange], place: PlaceDetail) {
            self.networks = networks
            self.place = place
        }
    }

    package static let psapDefault = "911"

    package var name: String
    /// Callers with an address in here are at this site; of all sites the narrowest range decides.
    package var networks: [IPRange]
    package var address: CivicAddress
    /// Tried first, in this order.
    package var trunks: [String]
    /// What the carrier is asked for: 911, or the ten-digit number of the PSAP.
    package var psap: String
    /// Emergency location identification numbers: E.164, ours, known to the carrier as being at this site.
    package var elins: [String]
    /// Who is told, and rung when a call back finds nobody.
    package var contacts: [String]
    package var subnets: [Subnet]

    package init(
        name: String, networks: [IPRange] = [], address: CivicAddress = CivicAddress(), trunks: [String] = [],
        psap: String = psapDefault, elins: [String] = [], contacts: [String] = [], subnets: [Subnet] = []
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

extension SiteConfiguration {
    /// Every key of an address, with what it stands for.
    private typealias Element = (key: String, element: WritableKeyPath<CivicAddress, String?>)

    /// Every key of an address, with what it stands for.
    private static var elements: [Element] {
        [
            ("name", \.name), ("house-number", \.houseNumber), ("house-number-suffix", \.houseNumberSuffix),
            ("pre-direction", \.preDirection), ("street", \.street), ("street-type", \.streetType),
            ("post-direction", \.postDirection), ("building", \.place.building), ("floor", \.place.floor),
            ("unit", \.unit), ("room", \.place.room), ("landmark", \.landmark), ("detail", \.detail),
            ("city", \.city), ("county", \.county), ("state", \.state), ("postal-code", \.postalCode),
        ]
    }

    init(name: String, _ reader: TableReader) {
        self.init(name: name)
        reader.allow(["networks", "address", "trunks", "psap", "elins", "contacts", "subnets"])
        networks = Self.networks(reader) ?? []
        if let inner = reader.subtable("address") { address = Self.address(inner) }
        trunks = reader.strings("trunks", "a trunk or a list of trunks", single: true) ?? []
        psap =
            reader.value("psap", "\"911\", or the number of the PSAP, as \"+13135550911\"") {
                Text.isCalledNumber($0) ? $0 : nil
            } ?? psap
        elins =
            reader.texts("elins", "a list of E.164 numbers, as [\"+13135550142\"]", isAllowed: Text.isE164) ?? []
        contacts = reader.strings("contacts", "a contact or a list of contacts", single: true) ?? []
        subnets = reader.tables("subnets", "[[sites.\(name).subnets]] with two brackets for each subnet").map {
            reader in
            reader.allow(["networks"] + PlaceDetail.keys)
            reader.require("networks", Self.networksAllowed)
            let place = PlaceDetail(reader)
            if place.isEmpty {
                reader.findings.error(reader.path, "says nothing; give it a building, a floor or a room")
            }
            return Subnet(networks: Self.networks(reader) ?? [], place: place)
        }
    }

    private static let networksAllowed = "a list of networks, as [\"192.168.10.0/24\", \"192.168.20.1-192.168.20.99\"]"

    private static func networks(_ reader: TableReader) -> [IPRange]? {
        guard let texts = reader.strings("networks", networksAllowed, single: true) else { return nil }
        return texts.enumerated().compactMap { index, text in
            if let range = IPRange(text) { return range }
            reader.findings.error(
                (reader.path + "networks").element(index), "\(quoted(text)) is not allowed; expected \(networksAllowed)"
            )
            return nil
        }
    }

    private static func address(_ reader: TableReader) -> CivicAddress {
        var address = CivicAddress()
        reader.allow(elements.map(\.key) + ["country"])
        for (key, element) in elements {
            address[keyPath: element] = reader.value(key, Text.placeAllowed) { Text.isDisplayName($0) ? $0 : nil }
        }
        address.country =
            reader.value("country", "two capital letters (ISO 3166-1), as \"US\"") {
                Text.isCapitals($0, count: 2) ? $0 : nil
            } ?? address.country
        guard address.country == "US" else { return address }
        if let state = address.state, !Text.isCapitals(state, count: 2) {
            reader.reject("state", "\(quoted(state)) is not allowed; expected two capital letters, as \"MI\"")
        }
        if let code = address.postalCode, !Text.isZIPCode(code) {
            reader.reject(
                "postal-code", "\(quoted(code)) is not allowed; expected a ZIP code, as \"48201\" or \"48201-1234\"")
        }
        return address
    }

    var rendered: RenderedTable {
        var table = RenderedTable("[sites.\(TOMLText.key(name))]")
        if !networks.isEmpty { table.add("networks", TOMLText.array(networks.map(\.description))) }
        var inner = RenderedTable("")
        for (key, element) in Self.elements { if let text = address[keyPath: element] { inner.add(key, text: text) } }
        inner.add("country", text: address.country)
        table.add("address", inner)
        if !trunks.isEmpty { table.add("trunks", TOMLText.array(trunks)) }
        table.add("psap", text: psap)
        if !elins.isEmpty { table.add("elins", TOMLText.array(elins)) }
        if !contacts.isEmpty { table.add("contacts", TOMLText.array(contacts)) }
        if !subnets.isEmpty {
            table.add(
                "subnets",
                subnets.map { subnet in
                    var inner = RenderedTable("")
                    inner.add("networks", TOMLText.array(subnet.networks.map(\.description)))
                    subnet.place.render(to: &inner)
                    return inner
                })
        }
        return table
    }
}

extension BoxConfiguration {
    /// Where a station is by the tables alone, whatever address it will call from; nil where no site is configured.
    package func assignedLocation(of station: StationConfiguration) -> DispatchableLocation? {
        let assigned = station.site ?? emergency.defaultSite
        guard let site = assigned.flatMap({ site(named: $0) }) ?? sites.first else { return nil }
        var address = site.address
        address.place = address.place.refined(by: station.place)
        return DispatchableLocation(site: site.name, address: address)
    }
}

extension PlaceDetail {
    static let keys = ["building", "floor", "room"]

    /// The keys of a station or a subnet that say where it is.
    init(_ reader: TableReader) {
        func text(_ key: String) -> String? {
            reader.value(key, Text.placeAllowed) { Text.isDisplayName($0) ? $0 : nil }
        }
        self.init(building: text("building"), floor: text("floor"), room: text("room"))
    }

    func render(to table: inout RenderedTable) {
        if let building { table.add("building", text: building) }
        if let floor { table.add("floor", text: floor) }
        if let room { table.add("room", text: room) }
    }
}
