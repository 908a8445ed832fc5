import Primitives

/// Checks what single keys cannot know: references between tables, overlaps, contradictions, oddities.
struct ConfigurationValidator {
    let decoded: SectionDecoder
    let findings: Findings

    init(_ decoded: SectionDecoder, _ findings: Findings) {
        self.decoded = decoded
        self.findings = findings
    }

    func validate() {
        checkRealms()
        checkSharedAddresses()
        checkStations()
        checkTrunks()
        checkTrunkSources()
        checkEmergency()
        checkNotify()
        checkRoutes()
        checkNumbers()
        checkTimers()
    }

    // MARK: Realms

    private func path(_ realm: RealmConfiguration, _ key: String) -> TOMLKeyPath {
        TOMLKeyPath("realms", realm.name, key)
    }

    private func checkRealms() {
        if !decoded.realmNames.isEmpty, decoded.stationRealms.isEmpty,
            decoded.realms.count == decoded.realmNames.count
        {
            findings.error(
                TOMLKeyPath("realms"),
                "no realm has role = \"stations\", so no phone could register; give one that role")
        }
        for realm in decoded.realms {
            if let oddity = Self.oddity(of: realm.address) {
                findings.error(path(realm, "address"), "\(realm.address) is \(oddity); expected our own address")
            }
            let pairs = (realm.mediaPorts.count) / 2
            if pairs < decoded.calls.maximum {
                findings.warning(
                    path(realm, "media-ports"),
                    "holds \(pairs) pairs of ports, but calls.maximum is \(decoded.calls.maximum)")
            }
        }
    }

    private static func oddity(of address: IPAddress) -> String? {
        if address.isUnspecified { return "the unspecified address" }
        if address.isMulticast { return "a multicast address" }
        if case .v6(let high, let low) = address {
            if high >> 54 == 0x3FA { return "a link-local address, which would need its interface" }
            if high == 0, low >> 32 == 0xFFFF { return "an IPv4 address written as IPv6" }
        }
        return address == .v4(.max) ? "the broadcast address" : nil
    }

    private func checkSharedAddresses() {
        for (index, realm) in decoded.realms.enumerated() {
            for other in decoded.realms[index...] where other.address == realm.address {
                if other.mediaPorts.contains(realm.sipPort) || realm.mediaPorts.contains(other.sipPort) {
                    let blamed = other.mediaPorts.contains(realm.sipPort) ? realm : other
                    findings.error(
                        path(blamed, "sip-port"),
                        "\(blamed.sipPort) lies within the media-ports of \(realm.address); move one of them")
                }
                guard other.name != realm.name else { continue }
                if other.mediaPorts.overlaps(realm.mediaPorts) {
                    findings.error(
                        path(other, "media-ports"),
                        "overlap those of realm \(quoted(realm.name)), which has the same address")
                }
                if other.sipPort == realm.sipPort, !Set(other.transports).isDisjoint(with: realm.transports) {
                    findings.error(
                        path(other, "sip-port"),
                        "\(other.sipPort) is used by realm \(quoted(realm.name)) on the same address")
                }
            }
        }
    }

    /// Whether the realm exists and has the role; reports it when not.
    private func checkRealm(_ name: String, role: RealmConfiguration.Role, at path: TOMLKeyPath) -> RealmConfiguration?
    {
        guard decoded.realmNames.contains(name) else {
            unknown("realm", name, among: decoded.realmNames, at: path)
            return nil
        }
        guard let realm = decoded.realms.first(where: { $0.name == name }) else { return nil }
        guard realm.role == role else {
            findings.error(
                path,
                "realm \(quoted(name)) has the role \"\(realm.role.rawValue)\"; one with the role "
                    + "\"\(role.rawValue)\" is needed")
            return nil
        }
        return realm
    }

    func unknown(_ what: String, _ name: String, among names: [String], at path: TOMLKeyPath) {
        let allowed = names.isEmpty ? "there is none" : "there are: " + names.sorted().joined(separator: ", ")
        findings.error(
            path, "no \(what) is named \(quoted(name))\(Suggestion.text(for: name, among: names)); \(allowed)")
    }

    // MARK: Stations and numbers

    private func checkStations() {
        var owners: [String: String] = [:]
        for station in decoded.stations {
            let path = TOMLKeyPath("stations", station.name)
            _ = checkRealm(station.realm, role: .stations, at: path + "realm")
            guard let number = station.number else { continue }
            if let owner = owners[number] {
                findings.error(path + "number", "\(number) is the number of station \(quoted(owner)), too")
            } else {
                owners[number] = station.name
            }
        }
    }

    private func checkNumbers() {
        guard case .table(let table)? = decoded.root["numbers"]?.value else { return }
        let numbers = Dictionary(decoded.numbers.map { ($0.digits, $0) }, uniquingKeysWith: { first, _ in first })
        let names = Set(decoded.stationNames)
        for entry in table.entries {
            guard let number = numbers[NumberConfiguration.digits(of: entry.key)] else { continue }
            let path = TOMLKeyPath("numbers", entry.key)
            for (index, station) in number.stations.enumerated() {
                if !names.contains(station) {
                    unknown("station", station, among: decoded.stationNames, at: path.element(index))
                } else if number.stations[..<index].contains(station) {
                    findings.warning(path.element(index), "station \(quoted(station)) is given twice")
                }
            }
        }
    }

    // MARK: Trunks

    private func checkTrunks() {
        let used = Set(
            decoded.routes.flatMap { $0?.trunks ?? [] } + decoded.emergency.trunks + decoded.sites.flatMap(\.trunks))
        for trunk in decoded.trunks {
            let path = TOMLKeyPath("trunks", trunk.name)
            if let realm = checkRealm(trunk.realm, role: .trunks, at: path + "realm") {
                checkTrunkAddresses(trunk, in: realm, path)
            }
            if !used.contains(trunk.name), !decoded.routes.contains(where: { $0 == nil }) {
                findings.warning(path, "no route uses this trunk; it only takes calls, and 911 when others fail")
            }
            if trunk.attemptTimeout >= decoded.calls.ringTimeout {
                findings.error(
                    path + "attempt-timeout",
                    "\(DurationText.render(trunk.attemptTimeout)) is not shorter than calls.ring-timeout "
                        + "(\(DurationText.render(decoded.calls.ringTimeout)))")
            }
            if let callsMax = trunk.callsMax, callsMax > decoded.calls.maximum {
                findings.warning(
                    path + "calls-max", "\(callsMax) is more than calls.maximum (\(decoded.calls.maximum))")
            }
        }
    }

    private func checkTrunkAddresses(_ trunk: TrunkConfiguration, in realm: RealmConfiguration, _ path: TOMLKeyPath) {
        let realmText = "realm \(quoted(realm.name)), whose address is \(realm.address)"
        for (key, address) in [("peer", trunk.peer), ("registration", trunk.registration?.registrar)] {
            guard let address else { continue }
            if let oddity = Self.oddity(of: address.address) {
                findings.error(path + key, "\(address.address) is \(oddity)")
            } else if address.address.family != realm.address.family {
                findings.error(path + key, "\(address) cannot be reached from \(realmText): the IP versions differ")
            } else if address == TransportAddress(realm.address, realm.sipPort) {
                findings.error(path + key, "\(address) is ourselves: calls would come back")
            }
        }
        switch trunk.transport {
        case .auto: break
        case .udp where realm.transports.contains(.udp), .tcp where realm.transports.contains(.tcp): break
        case .udp, .tcp:
            findings.error(
                path + "transport", "\(trunk.transport.rawValue) is not among the transports of \(realmText)")
        }
        for (index, source) in trunk.sources.enumerated() {
            let sourcePath = (path + "sources").element(index)
            if source.address.family != realm.address.family {
                guard source.address != trunk.peer.address else { continue }  // said of the peer
                findings.error(sourcePath, "\(source) never arrives in \(realmText): the IP versions differ")
            } else if source.bitLength == 0 {
                findings.warning(sourcePath, "\(source) accepts calls from anyone on the Internet")
            }
        }
    }

    /// A call from an address that two trunks claim cannot be told apart.
    private func checkTrunkSources() {
        for (index, trunk) in decoded.trunks.enumerated() {
            for other in decoded.trunks[(index + 1)...] where other.realm == trunk.realm {
                for (position, source) in other.sources.enumerated() {
                    let clash = trunk.sources.first { $0.contains(source.address) || source.contains($0.address) }
                    guard let clash else { continue }
                    findings.warning(
                        (TOMLKeyPath("trunks", other.name) + "sources").element(position),
                        "\(source) overlaps \(clash) of trunk \(quoted(trunk.name)), which takes those calls")
                }
            }
        }
    }

    // MARK: Routes

    private func checkRoutes() {
        var first: [String: Int] = [:]
        for (index, route) in decoded.routes.enumerated() {
            guard let route else { continue }
            let path = TOMLKeyPath("routes").element(index)
            checkPattern(route.pattern, at: path + "pattern")
            if let earlier = first[route.pattern.description] {
                findings.warning(
                    path + "pattern",
                    "\(quoted(route.pattern.description)) is the pattern of routes[\(earlier + 1)], too, which matches first"
                )
            } else {
                first[route.pattern.description] = index
            }
            checkStrip(route, at: path)
            for (position, trunk) in route.trunks.enumerated() {
                let trunkPath = (path + "trunks").element(position)
                if !decoded.trunkNames.contains(trunk) {
                    unknown("trunk", trunk, among: decoded.trunkNames, at: trunkPath)
                } else if route.trunks[..<position].contains(trunk) {
                    findings.warning(trunkPath, "trunk \(quoted(trunk)) is given twice")
                }
            }
        }
    }

    private func checkPattern(_ pattern: DialPattern, at path: TOMLKeyPath) {
        let text = quoted(pattern.description)
        checkEmergencyNumbers(in: pattern, at: path)
        if let station = decoded.stationNames.sorted().first(where: { pattern.matches($0) }) {
            findings.warning(path, "\(text) also matches station \(quoted(station)), which rings instead")
        }
    }

    private func checkStrip(_ route: RouteConfiguration, at path: TOMLKeyPath) {
        let shortest = route.pattern.lengthMin
        if route.strip > shortest {
            findings.error(
                path + "strip", "\(route.strip) is more than the \(shortest) characters of the shortest number")
        } else if route.strip == shortest, route.prepend.isEmpty {
            findings.error(path + "strip", "nothing would be left of a number of \(shortest) characters")
        }
    }

    // MARK: Timers

    private func checkTimers() {
        let (calls, media) = (decoded.calls, decoded.media)
        if calls.sessionExpiresMin > calls.sessionExpires {
            findings.error(
                TOMLKeyPath("calls", "session-expires-min"),
                "\(DurationText.render(calls.sessionExpiresMin)) is more than session-expires "
                    + "(\(DurationText.render(calls.sessionExpires)))")
        }
        if media.silenceEvent > media.inactivityTimeout {
            findings.error(
                TOMLKeyPath("media", "silence-event"),
                "\(DurationText.render(media.silenceEvent)) is more than inactivity-timeout "
                    + "(\(DurationText.render(media.inactivityTimeout))), so the event would never come")
        }
    }
}
