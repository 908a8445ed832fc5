import Primitives

/// One table as canonical TOML: its header and its keys with their values, in the order of the documentation.
struct RenderedTable: Equatable {
    /// `[realms.lan]` or `[[routes]]`.
    let header: String
    private(set) var entries: [Entry] = []

    struct Entry: Equatable {
        let key: String
        let value: String
        /// Shown instead of the value where people read: passwords are masked.
        let shown: String
        /// What makes it equal to another: for a password file also what it holds.
        let identity: String

        init(_ key: String, _ value: String, shown: String? = nil, identity: String? = nil) {
            self.key = key
            self.value = value
            self.shown = shown ?? value
            self.identity = identity ?? value
        }
    }

    init(_ header: String) { self.header = header }

    mutating func add(_ key: String, _ value: String) { entries.append(Entry(key, value)) }
    mutating func add(_ key: String, text: String) { add(key, TOMLText.string(text)) }
    mutating func add(_ key: String, _ duration: Duration) { add(key, text: DurationText.render(duration)) }
    mutating func add(_ key: String, _ number: some BinaryInteger) { add(key, "\(number)") }

    mutating func add(_ entry: Entry) { entries.append(entry) }

    mutating func add(_ secret: Secret, key: String = "password") {
        let password = TOMLText.string(secret.revealed)
        if let file = secret.file {
            entries.append(Entry("\(key)-file", TOMLText.string(file), identity: "\(file) \(password)"))
        } else {
            entries.append(Entry(key, password, shown: TOMLText.string(Secret.mask)))
        }
    }

    /// An inline table.
    mutating func add(_ key: String, _ inner: RenderedTable) {
        entries.append(
            Entry(key, inner.inline(\.value), shown: inner.inline(\.shown), identity: inner.inline(\.identity)))
    }

    /// A list of inline tables, which hold no password.
    mutating func add(_ key: String, _ list: [RenderedTable]) {
        add(key, "[" + list.map { $0.inline(\.value) }.joined(separator: ", ") + "]")
    }

    private func inline(_ value: (Entry) -> String) -> String {
        "{ " + entries.map { "\($0.key) = \(value($0))" }.joined(separator: ", ") + " }"
    }
}

/// Writes a configuration back as TOML: read again, it gives the same configuration.
extension BoxConfiguration {
    /// Whether passwords given in the text are written, or dots in their place.
    package enum SecretRendering: Sendable { case revealed, masked }

    /// The whole configuration as one TOML text, in canonical order, every default spelled out.
    package func rendered(secrets: SecretRendering) -> String {
        var tables = [system.rendered]
        tables += realms.map(\.rendered)
        tables += stations.map(\.rendered)
        tables += trunks.map(\.rendered)
        tables += routes.map(\.rendered)
        if !numbers.isEmpty { tables.append(renderedNumbers) }
        tables += sites.map(\.rendered)
        tables += [emergency.rendered, emergency.proof.rendered, notify.rendered]
        tables += notify.contacts.map(\.rendered)
        tables += [
            calls.rendered, media.rendered, qos.rendered, signalling.rendered, shield.rendered,
            log.rendered,
        ]
        return tables.map { table in
            table.header + "\n"
                + table.entries.map { entry in
                    "\(entry.key) = \(secrets == .revealed ? entry.value : entry.shown)\n"
                }.joined()
        }.joined(separator: "\n")
    }

    var renderedNumbers: RenderedTable {
        var table = RenderedTable("[numbers]")
        for number in numbers { table.add(TOMLText.string("+" + number.digits), TOMLText.array(number.stations)) }
        return table
    }
}

extension SystemConfiguration {
    var rendered: RenderedTable {
        var table = RenderedTable("[system]")
        table.add("name", text: name)
        table.add("domain", text: domain)
        table.add("user-agent", text: userAgent)
        table.add("digest-algorithms", TOMLText.array(digestAlgorithms.map(\.rawValue)))
        table.add("production", isProduction ? "true" : "false")
        return table
    }
}

extension RealmConfiguration {
    var rendered: RenderedTable {
        var table = RenderedTable("[realms.\(TOMLText.key(name))]")
        table.add("interface", text: interface)
        table.add("address", text: "\(address)")
        table.add("sip-port", sipPort)
        table.add("transports", TOMLText.array(transports.map(\.rawValue)))
        table.add("media-ports", text: "\(mediaPorts.lowerBound)-\(mediaPorts.upperBound)")
        table.add("datapath", text: datapath.rawValue)
        table.add("role", text: role.rawValue)
        return table
    }
}

extension StationConfiguration {
    var rendered: RenderedTable {
        var table = RenderedTable("[stations.\(TOMLText.key(name))]")
        table.add("realm", text: realm)
        table.add(password)
        if let displayName { table.add("display-name", text: displayName) }
        if let number { table.add("number", text: number) }
        table.add("contacts-max", contactsMax)
        if let site { table.add("site", text: site) }
        place.render(to: &table)
        return table
    }
}

extension TrunkConfiguration {
    var rendered: RenderedTable {
        var table = RenderedTable("[trunks.\(TOMLText.key(name))]")
        table.add("realm", text: realm)
        table.add("peer", text: "\(peer)")
        table.add("transport", text: transport.rawValue)
        table.add("sources", TOMLText.array(sources.map { "\($0)" }))
        if let registration {
            var inner = registration.credentials.rendered
            inner.add("registrar", text: "\(registration.registrar)")
            inner.add("domain", text: registration.domain)
            inner.add("expires", registration.expires.wholeSeconds)
            table.add("registration", inner)
        }
        if let authentication { table.add("authentication", authentication.rendered) }
        table.add("health", Self.rendered(health))
        table.add("attempt-timeout", attemptTimeout)
        if let callsMax { table.add("calls-max", callsMax) }
        table.add("reliable-provisional", text: reliableProvisional.rawValue)
        if let telephoneEvent { table.add("telephone-event", telephoneEvent) }
        emergency.render(to: &table)
        return table
    }

    private static func rendered(_ health: Health?) -> RenderedTable {
        var inner = RenderedTable("")
        guard let health else {
            inner.add("enabled", "false")
            return inner
        }
        inner.add("interval", health.interval)
        inner.add("timeout", health.timeout)
        inner.add("failures", health.failures)
        inner.add("successes", health.successes)
        return inner
    }
}

extension TrunkConfiguration.Credentials {
    fileprivate var rendered: RenderedTable {
        var table = RenderedTable("")
        table.add("username", text: username)
        table.add(password)
        return table
    }
}

extension RouteConfiguration {
    var rendered: RenderedTable {
        var table = RenderedTable("[[routes]]")
        table.add("pattern", text: pattern.description)
        table.add("strip", strip)
        table.add("prepend", text: prepend)
        table.add("trunks", TOMLText.array(trunks))
        return table
    }
}

extension CallsConfiguration {
    var rendered: RenderedTable {
        var table = RenderedTable("[calls]")
        table.add("maximum", maximum)
        table.add("ring-timeout", ringTimeout)
        table.add("session-expires", sessionExpires)
        table.add("session-expires-min", sessionExpiresMin)
        return table
    }
}

extension MediaConfiguration {
    var rendered: RenderedTable {
        var table = RenderedTable("[media]")
        table.add("learning-window", learningWindow)
        table.add("inactivity-timeout", inactivityTimeout)
        table.add("silence-event", silenceEvent)
        return table
    }
}

extension LogConfiguration {
    var rendered: RenderedTable {
        var table = RenderedTable("[log]")
        table.add("level", text: level.rawValue)
        return table
    }
}
