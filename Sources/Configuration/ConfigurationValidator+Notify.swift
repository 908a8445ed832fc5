import Primitives

extension ConfigurationValidator {
    private typealias Contact = NotifyConfiguration.Contact

    func checkNotify() {
        for contact in decoded.notify.contacts {
            let path = TOMLKeyPath("notify", "contacts", contact.name)
            check(contact, path)
            for (index, site) in contact.sites.enumerated() where !decoded.siteNames.contains(site) {
                unknown("site", site, among: decoded.siteNames, at: (path + "sites").element(index))
            }
        }
        for site in decoded.sites {
            let path = TOMLKeyPath("sites", site.name, "contacts")
            for (index, station) in site.contacts.enumerated() where !decoded.stationNames.contains(station) {
                unknown("station", station, among: decoded.stationNames, at: path.element(index))
            }
        }
    }

    private func check(_ contact: Contact, _ path: TOMLKeyPath) {
        switch contact.way {
        case .station(let name):
            if !decoded.stationNames.contains(name) {
                unknown("station", name, among: decoded.stationNames, at: path + "station")
            }
        case .number(_, let trunks):
            for (index, trunk) in trunks.enumerated() where !decoded.trunkNames.contains(trunk) {
                unknown("trunk", trunk, among: decoded.trunkNames, at: (path + "trunks").element(index))
            }
            if decoded.trunkNames.isEmpty {
                findings.warning(path + "number", "there is no trunk to call it by")
            }
        case .paging(_, let realm), .multicast(_, let realm):
            guard decoded.realmNames.contains(realm) else {
                return unknown("realm", realm, among: decoded.realmNames, at: path + "realm")
            }
            guard let realm = decoded.realms.first(where: { $0.name == realm }) else { return }
            if case .multicast(let group, _) = contact.way, group.address.family != realm.address.family {
                findings.error(
                    path + "multicast",
                    "\(group) cannot be reached from realm \(quoted(realm.name)), whose address is \(realm.address): "
                        + "the IP versions differ")
            }
        case .email:
            // A broken table has been reported for itself.
            if decoded.notify.smtp == nil, !decoded.hasTable("notify", "smtp") {
                findings.error(path + "email", "no mail can be sent without [notify.smtp], the server that takes it")
            }
        case .webhook: break
        }
    }
}

extension BoxConfiguration {
    /// What is wrong where nobody would see or hear of a 911 call (47 CFR 9.16(b)(2)); nil when somebody would.
    ///
    /// Advice, no finding: it has no place in a file, and a box without phones or carriers needs nobody.
    package var notifyAdvice: String? {
        guard let station = stations.first, !trunks.isEmpty else { return nil }
        let contacts = notifyContacts
        if contacts.isEmpty {
            return "nobody would be told of a 911 call, which 47 CFR 9.16(b)(2) asks for; name somebody, as "
                + "[notify.contacts.front-desk] with station = \"\(station.name)\""
        }
        let isMailOnly = contacts.allSatisfy { if case .email = $0.way { true } else { false } }
        guard isMailOnly else { return nil }
        return
            "only e-mail tells of a 911 call, and a mailbox that nobody reads is no notice; add a station, a page or a "
            + "webhook to [notify.contacts]"
    }
}

extension SectionDecoder {
    /// Whether the table is written down, right or wrong.
    func hasTable(_ outer: String, _ inner: String) -> Bool {
        guard case .table(let table)? = root[outer]?.value else { return false }
        return table[inner] != nil
    }
}
