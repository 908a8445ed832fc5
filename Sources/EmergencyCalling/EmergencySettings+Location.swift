import Primitives

/// Where a caller is.
extension EmergencySettings {
    /// The narrowest range of all sites and their subnets, else the station's assigned site, else the default, else the
    /// first by name: never none where there is one.
    package func site(ofStation station: String?, at source: IPAddress?) -> EmergencySite? {
        placedSite(ofStation: station, at: source) ?? assumedSite
    }

    private var assumedSite: EmergencySite? {
        defaultSite.flatMap { sites[$0] } ?? sites.min { $0.key < $1.key }?.value
    }

    /// nil where neither the address nor the station's table says it.
    private func placedSite(ofStation station: String?, at source: IPAddress?) -> EmergencySite? {
        var best: (range: IPRange, site: EmergencySite)?
        if let source {
            for site in sites.values {
                for range in site.networks + site.subnets.flatMap(\.networks) where range.contains(source) {
                    guard let other = best else {
                        best = (range, site)
                        continue
                    }
                    if range.isNarrower(than: other.range)
                        || !other.range.isNarrower(than: range) && site.name < other.site.name
                    {
                        best = (range, site)
                    }
                }
            }
        }
        if let best { return best.site }
        return station.flatMap { stations[$0]?.site }.flatMap { sites[$0] }
    }

    /// The site's address, refined by the narrowest subnet and then by the station's own table, unless that speaks of
    /// another site than the one the phone is at. nil: no site is configured.
    package func location(ofStation station: String?, at source: IPAddress?) -> DispatchableLocation? {
        let placed = placedSite(ofStation: station, at: source)
        guard let site = placed ?? assumedSite else { return nil }
        var address = site.address
        if let source, let subnet = site.subnet(of: source) { address.place = address.place.refined(by: subnet.place) }
        if let own = station.flatMap({ stations[$0] }), own.site == nil || own.site == site.name {
            address.place = address.place.refined(by: own.place)
        }
        // A single site without ranges is where everybody is.
        let isAssumed = placed == nil && (sites.count > 1 || !site.networks.isEmpty)
        return DispatchableLocation(site: site.name, address: address, isAssumed: isAssumed)
    }
}

extension EmergencySite {
    func subnet(of source: IPAddress) -> Subnet? {
        var best: (range: IPRange, subnet: Subnet)?
        for subnet in subnets {
            for range in subnet.networks where range.contains(source) {
                if best.map({ range.isNarrower(than: $0.range) }) ?? true { best = (range, subnet) }
            }
        }
        return best?.subnet
    }
}
