import Primitives

/// What the tables for calls for help name, and what collides with their numbers.
extension ConfigurationValidator {
    func checkEmergency() {
        let path = TOMLKeyPath("emergency")
        checkTrunkNames(decoded.emergency.trunks, at: path + "trunks")
        if decoded.trunkNames.isEmpty, !decoded.stationNames.isEmpty {
            findings.warning(
                TOMLKeyPath("stations"), "there are phones but no trunk: a call to 911 would reach nobody")
        }
        if let name = decoded.emergency.defaultSite, !decoded.siteNames.contains(name) {
            unknown("site", name, among: decoded.siteNames, at: path + "default-site")
        } else if decoded.emergency.defaultSite == nil, decoded.siteNames.count > 1 {
            findings.warning(
                TOMLKeyPath("sites"),
                "there are several and no emergency.default-site: a caller nothing places counts as at "
                    + "\(quoted(decoded.siteNames.sorted()[0]))")
        }
        for (index, number) in decoded.emergency.numbers.enumerated() where number != "112" {
            findings.warning(
                (path + "numbers").element(index),
                "from a source the shield blocks only 911 and 112 are heard, not \(number)")
        }
        for station in decoded.stations {
            guard let site = station.site, !decoded.siteNames.contains(site) else { continue }
            unknown("site", site, among: decoded.siteNames, at: TOMLKeyPath("stations", station.name, "site"))
        }
        checkSites()
    }

    private func checkSites() {
        var elins: [String: String] = [:]
        var owners: [IPRange: String] = [:]
        for site in decoded.sites {
            let path = TOMLKeyPath("sites", site.name)
            checkTrunkNames(site.trunks, at: path + "trunks")
            for (index, elin) in site.elins.enumerated() {
                if let other = elins[elin], other != site.name {
                    findings.error((path + "elins").element(index), "\(elin) is one of site \(quoted(other)), too")
                }
                elins[elin] = site.name
            }
            for (index, network) in site.networks.enumerated() {
                if let other = owners[network] {
                    findings.error(
                        (path + "networks").element(index), "\(network) is that of site \(quoted(other)), too")
                }
                owners[network] = site.name
            }
            let missing = site.address.missingElements.filter { $0 != "floor, room or unit" }
            if !missing.isEmpty {
                findings.warning(
                    path + "address", "nobody would be found by it: \(missing.joined(separator: ", ")) missing")
            }
        }
    }

    private func checkTrunkNames(_ trunks: [String], at path: TOMLKeyPath) {
        for (position, trunk) in trunks.enumerated() {
            if !decoded.trunkNames.contains(trunk) {
                unknown("trunk", trunk, among: decoded.trunkNames, at: path.element(position))
            } else if trunks[..<position].contains(trunk) {
                findings.warning(path.element(position), "trunk \(quoted(trunk)) is given twice")
            }
        }
    }

    /// A pattern for calls for help alone would never be asked; one that takes them among others is worth a word.
    func checkEmergencyNumbers(in pattern: DialPattern, at path: TOMLKeyPath) {
        let text = quoted(pattern.description)
        let plan = decoded.emergency.numberPlan
        if let number = ["911", "933"].first(where: { pattern.matches($0) }) {
            findings.error(
                path,
                "\(text) would also take \(number): emergency calls and their test calls never go by a route; use a "
                    + "pattern that cannot match it, as \"9NXXXXXX\"")
        } else if plan.number(dialled: pattern.description) != nil {
            findings.error(
                path, "\(text) is an emergency number: such calls never go by a route, so this one is never taken")
        } else if let number = plan.numbers.keys.sorted().first(where: { pattern.matches($0) }) {
            findings.warning(path, "\(text) also matches \(number), which is an emergency call and goes another way")
        }
    }
}
