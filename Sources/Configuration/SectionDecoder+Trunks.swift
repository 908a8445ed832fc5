import Primitives

/// Trunks and the routes that lead to them.
extension SectionDecoder {
    mutating func decodeTrunks(_ reader: TableReader) {
        for (name, trunk) in reader.subtables("a table [trunks.NAME]") {
            trunkNames.append(name)
            checkName(name, at: trunk)
            trunk.allow(
                [
                    "realm", "peer", "transport", "sources", "registration", "authentication", "health",
                    "attempt-timeout", "calls-max", "reliable-provisional", "telephone-event",
                ] + TrunkEmergencyConfiguration.keys)
            let realm = trunk.requiredValue("realm", "the name of a realm with the role \"trunks\"") { $0 }
            trunk.require("peer", Self.hostAllowed)
            let peer = decodeHost(trunk, "peer")
            let transport = trunk.choice("transport", TrunkConfiguration.Transport.self)
            let sources = decodeSources(trunk)
            let registration = trunk.subtable("registration").flatMap { decodeRegistration($0, peer: peer) }
            let authentication = trunk.subtable("authentication").flatMap { reader in
                reader.allow(["username", "password", "password-file"])
                return decodeCredentials(reader)
            }
            let health = decodeHealth(trunk)
            let attemptTimeout = trunk.duration("attempt-timeout", in: .milliseconds(500)...(.seconds(60)))
            let callsMax = trunk.integer("calls-max", in: 1...10_000)
            let reliable = trunk.choice("reliable-provisional", TrunkConfiguration.ReliableProvisional.self)
            let telephoneEvent = trunk.integer("telephone-event", in: 96...127).map { UInt8($0) }
            let emergency = TrunkEmergencyConfiguration(trunk)
            guard let realm, let peer else { continue }
            trunks.append(
                TrunkConfiguration(
                    name: name, realm: realm, peer: peer, transport: transport ?? .auto, sources: sources,
                    registration: registration, authentication: authentication, health: health,
                    attemptTimeout: attemptTimeout ?? TrunkConfiguration.attemptTimeoutDefault, callsMax: callsMax,
                    reliableProvisional: reliable ?? .supported, telephoneEvent: telephoneEvent, emergency: emergency))
        }
    }

    private static let hostAllowed = "an IP address, with a port if it is not 5060, as \"203.0.113.10:5080\""

    private func decodeHost(_ reader: TableReader, _ key: String) -> TransportAddress? {
        guard let text = reader.string(key, Self.hostAllowed) else { return nil }
        if let address = IPAddress(text) { return TransportAddress(address, 5_060) }
        if let address = TransportAddress(text), address.port > 0 { return address }
        let host = text.prefix { $0 != ":" }
        if Text.isHostName(String(host)), !host.allSatisfy({ $0.isNumber || $0 == "." }) {
            reader.reject(
                key, "\(quoted(text)) is a name, and names are not looked up yet; expected \(Self.hostAllowed)")
        } else {
            reader.reject(key, "\(quoted(text)) is not allowed; expected \(Self.hostAllowed)")
        }
        return nil
    }

    private func decodeSources(_ trunk: TableReader) -> [IPPrefix]? {
        let allowed = "a list of address prefixes, as [\"203.0.113.0/29\"]"
        guard let texts = trunk.strings("sources", allowed) else { return nil }
        var sources: [IPPrefix] = []
        for (index, text) in texts.enumerated() {
            let path = (trunk.path + "sources").element(index)
            guard let prefix = IPPrefix(text) else {
                findings.error(path, "\(quoted(text)) is not allowed; expected \(allowed)")
                continue
            }
            if let written = text.split(separator: "/").first.flatMap({ IPAddress($0) }), written != prefix.address {
                findings.warning(path, "\(quoted(text)) has bits beyond its length; \(quoted("\(prefix)")) is used")
            }
            if sources.contains(prefix) { findings.warning(path, "\(quoted(text)) is given twice") }
            sources.append(prefix)
        }
        return sources.isEmpty ? nil : sources
    }

    private func decodeRegistration(
        _ reader: TableReader, peer: TransportAddress?
    ) -> TrunkConfiguration.Registration? {
        reader.allow(["username", "password", "password-file", "registrar", "domain", "expires"])
        let credentials = decodeCredentials(reader)
        let given = decodeHost(reader, "registrar")
        let domain = reader.value("domain", "the carrier's domain, as \"carrier.example\", or an IP address") { text in
            Text.isHostName(text) || IPAddress(text) != nil ? text : nil
        }
        let expires = reader.integer("expires", in: 60...86_400)
        guard let credentials, let registrar = given ?? peer else { return nil }
        return TrunkConfiguration.Registration(
            credentials: credentials, registrar: registrar, domain: domain ?? registrar.address.uriHost,
            expires: expires.map { .seconds($0) } ?? TrunkConfiguration.Registration.expiresDefault)
    }

    private func decodeCredentials(_ reader: TableReader) -> TrunkConfiguration.Credentials? {
        let username = reader.requiredValue("username", Text.userNameAllowed) { Text.isUserName($0) ? $0 : nil }
        let password = decodePassword(reader)
        guard let username, let password else { return nil }
        return TrunkConfiguration.Credentials(username: username, password: password)
    }

    private func decodeHealth(_ trunk: TableReader) -> TrunkConfiguration.Health? {
        var health = TrunkConfiguration.Health()
        guard let reader = trunk.subtable("health") else { return health }
        reader.allow(["enabled", "interval", "timeout", "failures", "successes"])
        health.interval = reader.duration("interval", in: .seconds(1)...(.seconds(3_600))) ?? health.interval
        health.timeout = reader.duration("timeout", in: .milliseconds(100)...(.seconds(60))) ?? health.timeout
        health.failures = reader.integer("failures", in: 1...100) ?? health.failures
        health.successes = reader.integer("successes", in: 1...100) ?? health.successes
        if health.timeout > health.interval {
            findings.error(
                reader.path + (reader.has("timeout") ? "timeout" : "interval"),
                "the timeout (\(DurationText.render(health.timeout))) is longer than the interval "
                    + "(\(DurationText.render(health.interval)))")
        }
        return reader.boolean("enabled") == false ? nil : health
    }

    // MARK: Routes

    mutating func decodeRoutes() {
        guard let entry = root["routes"] else { return }
        let path = TOMLKeyPath("routes")
        let file = fileOfTable["routes"] ?? ""
        guard case .array(let array) = entry.value else {
            findings.error(path, "expected [[routes]] with two brackets for each route, found \(entry.value.kind)")
            routes.append(nil)
            return
        }
        for (index, element) in array.elements.enumerated() {
            let elementPath = path.element(index)
            findings.note(elementPath, .init(file: file, position: element.position))
            guard case .table(let table) = element.value else {
                findings.error(elementPath, "expected a table, found \(element.value.kind)")
                routes.append(nil)
                continue
            }
            routes.append(decodeRoute(TableReader(table: table, path: elementPath, file: file, findings: findings)))
        }
    }

    private func decodeRoute(_ reader: TableReader) -> RouteConfiguration? {
        reader.allow(["pattern", "strip", "prepend", "trunks"])
        reader.require("pattern", "what stations dial, as \"9NXXXXXX\"")
        var pattern: DialPattern?
        if let text = reader.string("pattern") {
            do throws(DialPattern.ParseError) {
                pattern = try DialPattern(parsing: text)
            } catch {
                reader.reject("pattern", error.description)
            }
        }
        let strip = reader.integer("strip", in: 0...20)
        let prepend = reader.value("prepend", "up to 20 digits, '*' or '#', with an optional leading '+'") {
            Text.isPrepend($0) ? $0 : nil
        }
        reader.require("trunks", "a list of trunks, tried in order")
        let trunks = reader.strings("trunks", "a list of trunks, tried in order", single: true)
        guard let pattern, let trunks else { return nil }
        return RouteConfiguration(pattern: pattern, strip: strip ?? 0, prepend: prepend ?? "", trunks: trunks)
    }
}
