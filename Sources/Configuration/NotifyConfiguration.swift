import Primitives

/// `[notify]`: who is told of a call for help, and how (47 CFR 9.16(b)(2)).
package struct NotifyConfiguration: Equatable, Sendable {
    /// One person, room or mailbox.
    package struct Contact: Equatable, Sendable {
        package enum Way: Equatable, Sendable {
            case station(String)
            /// Over the first of the trunks, the next with each further try; empty: those of `[emergency]`, then all.
            case number(String, trunks: [String])
            /// A paging adapter, by its SIP URI.
            case paging(String, realm: String)
            case multicast(TransportAddress, realm: String)
            case email([String])
            case webhook(Webhook)
        }

        package var name: String
        package var way: Way
        /// 1 to 9.
        package var level: Int
        /// Empty: all.
        package var sites: [String]

        package init(name: String, way: Way, level: Int = 1, sites: [String] = []) {
            self.name = name
            self.way = way
            self.level = level
            self.sites = sites
        }
    }

    package struct Webhook: Equatable, Sendable {
        package var url: String
        /// Signs every request; nil: unsigned.
        package var secret: Secret?
        /// PEM certificates to believe in instead of the system's.
        package var authorities: Secret?

        package init(url: String, secret: Secret? = nil, authorities: Secret? = nil) {
            self.url = url
            self.secret = secret
            self.authorities = authorities
        }
    }

    /// The mail server that takes our mail.
    package struct SMTP: Equatable, Sendable {
        package enum Security: String, CaseIterable, Sendable {
            case startTLS = "starttls"
            case implicit
            case off
        }

        /// A host name or an address.
        package var server: String
        package var port: UInt16
        package var security: Security
        package var from: String
        package var credentials: TrunkConfiguration.Credentials?
        package var authorities: Secret?
    }

    /// By name.
    package var contacts: [Contact]
    package var smtp: SMTP?
    package var escalationAfter: Duration
    package var tries: Int
    package var retryAfter: Duration
    /// What the called person presses.
    package var key: Character
    /// How often a person or room hears it.
    package var repetitions: Int
    /// 933 is told like 911.
    package var tests: Bool

    package init(
        contacts: [Contact] = [], smtp: SMTP? = nil, escalationAfter: Duration = .seconds(60), tries: Int = 5,
        retryAfter: Duration = .seconds(2), key: Character = "1", repetitions: Int = 3, tests: Bool = false
    ) {
        self.contacts = contacts
        self.smtp = smtp
        self.escalationAfter = escalationAfter
        self.tries = tries
        self.retryAfter = retryAfter
        self.key = key
        self.repetitions = repetitions
        self.tests = tests
    }
}

extension BoxConfiguration {
    /// Those of `[notify.contacts]`, and the stations that sites name as their contacts, told by telephone at once.
    package var notifyContacts: [NotifyConfiguration.Contact] {
        var contacts = notify.contacts
        for site in sites {
            for station in site.contacts {
                let isNamed = notify.contacts.contains { contact in
                    contact.way == .station(station) && (contact.sites.isEmpty || contact.sites.contains(site.name))
                }
                guard !isNamed else { continue }
                contacts.append(.init(name: "\(site.name)/\(station)", way: .station(station), sites: [site.name]))
            }
        }
        return contacts
    }
}

extension SectionDecoder {
    private static let ways = ["station", "number", "paging", "multicast", "email", "webhook"]

    mutating func decodeNotify(_ reader: TableReader) {
        reader.allow(["escalation-after", "tries", "retry-after", "key", "repetitions", "tests", "smtp", "contacts"])
        notify.escalationAfter =
            reader.duration("escalation-after", in: .seconds(5)...(.seconds(3_600))) ?? notify.escalationAfter
        notify.tries = reader.integer("tries", in: 1...20) ?? notify.tries
        notify.retryAfter =
            reader.duration("retry-after", in: .milliseconds(100)...(.seconds(600))) ?? notify.retryAfter
        notify.key =
            reader.value("key", "one of 0 to 9, * and #") { text in
                text.count == 1 && "0123456789*#".contains(text) ? text.first : nil
            } ?? notify.key
        notify.repetitions = reader.integer("repetitions", in: 1...20) ?? notify.repetitions
        notify.tests = reader.boolean("tests") ?? notify.tests
        if let smtp = reader.subtable("smtp") { decodeSMTP(smtp) }
        guard let contacts = reader.subtable("contacts", "tables [notify.contacts.NAME]") else { return }
        for (name, contact) in contacts.subtables("a table [notify.contacts.NAME]") { decodeContact(name, contact) }
    }

    private mutating func decodeSMTP(_ reader: TableReader) {
        reader.allow(["server", "port", "tls", "from", "username", "password", "password-file", "ca-file"])
        let server = reader.requiredValue("server", "a host name or an address, as \"mail.example.com\"") { text in
            Text.isHostName(text) || IPAddress(text) != nil ? text : nil
        }
        let security = reader.choice("tls", NotifyConfiguration.SMTP.Security.self) ?? .startTLS
        let port = reader.integer("port", in: 1...65_535) ?? (security == .implicit ? 465 : 587)
        let from = reader.requiredValue("from", "a mail address, as \"box@example.com\"") { Text.mailAddress($0) }
        var credentials: TrunkConfiguration.Credentials?
        if reader.has("username") || reader.has("password") || reader.has("password-file") {
            let username = reader.requiredValue("username", "1 to 128 characters") { Text.isPassword($0) ? $0 : nil }
            if let username, let password = decodePassword(reader) {
                credentials = .init(username: username, password: password)
            }
            if security == .off {
                findings.warning(
                    reader.path + "tls", "\"off\" sends the password in the clear; \"starttls\" is the default")
            }
        } else if security == .off {
            findings.warning(reader.path + "tls", "\"off\" sends mail in the clear; \"starttls\" is the default")
        }
        let authorities = decodeFile("ca-file", reader)
        guard let server, let from else { return }
        notify.smtp = .init(
            server: server, port: UInt16(port), security: security, from: from, credentials: credentials,
            authorities: authorities)
    }

    private mutating func decodeContact(_ name: String, _ reader: TableReader) {
        checkName(name, at: reader)
        reader.allow(
            Self.ways + ["trunks", "realm", "secret", "secret-file", "ca-file", "level", "sites"])
        let level = reader.integer("level", in: 1...9) ?? 1
        let sites = reader.strings("sites", "a site or a list of sites", single: true) ?? []
        let given = Self.ways.filter { reader.has($0) }
        guard let way = given.first, given.count == 1 else {
            findings.error(
                reader.path,
                given.isEmpty
                    ? "says nothing to reach it by; expected one of " + Self.ways.map(quoted).joined(separator: ", ")
                    : "\(given.map(quoted).joined(separator: " and ")) are given; make a contact of each")
            return
        }
        for (key, ways) in [
            ("trunks", ["number"]), ("realm", ["paging", "multicast"]), ("secret", ["webhook"]),
            ("secret-file", ["webhook"]), ("ca-file", ["webhook"]),
        ] where reader.has(key) && !ways.contains(way) {
            reader.reject(key, "has no meaning beside \(quoted(way))")
        }
        guard let decoded = decodeWay(way, reader) else { return }
        notify.contacts.append(.init(name: name, way: decoded, level: level, sites: sites))
    }

    private func decodeWay(_ way: String, _ reader: TableReader) -> NotifyConfiguration.Contact.Way? {
        switch way {
        case "station": return reader.string(way).map { .station($0) }
        case "number":
            let number = reader.value(way, "a number as the trunk takes it, as \"+13135550101\"") {
                Text.isCalledNumber($0) ? $0 : nil
            }
            if let number, emergency.numberPlan.number(dialled: number) != nil {
                reader.reject(way, "\(number) is an emergency number; a contact is somebody here to be told")
                return nil
            }
            let trunks = reader.strings("trunks", "a trunk or a list of trunks", single: true) ?? []
            return number.map { .number($0, trunks: trunks) }
        case "paging":
            let uri = reader.value(way, "a SIP URI with an address, as \"sip:all@192.0.2.60\"") { Text.pagingURI($0) }
            reader.require("realm", "the realm of the paging adapter")
            guard let uri, let realm = reader.string("realm") else { return nil }
            return .paging(uri, realm: realm)
        case "multicast":
            let group = reader.value(way, "a multicast address and port, as \"239.255.10.1:5004\"") { text in
                TransportAddress(text).flatMap { $0.address.isMulticast && $0.port >= 1_024 ? $0 : nil }
            }
            reader.require("realm", "the realm of the speakers")
            guard let group, let realm = reader.string("realm") else { return nil }
            return .multicast(group, realm: realm)
        case "email":
            guard let texts = reader.strings(way, "a mail address or a list of them", single: true) else { return nil }
            for (index, text) in texts.enumerated() where Text.mailAddress(text) == nil {
                findings.error(
                    (reader.path + way).element(index),
                    "\(quoted(text)) is no mail address; expected one as \"security@example.com\"")
            }
            return .email(texts)
        default: return decodeWebhook(reader)
        }
    }

    private func decodeWebhook(_ reader: TableReader) -> NotifyConfiguration.Contact.Way? {
        let url = reader.value("webhook", "a URL as \"https://sms.example.com/send\"") { Text.webhookURL($0) }
        var secret: Secret?
        if reader.has("secret") || reader.has("secret-file") {
            secret = decodePassword(reader, key: "secret")
        } else {
            findings.warning(
                reader.path, "no \"secret-file\": whoever receives the request cannot know that it comes from this box")
        }
        if let url, url.hasPrefix("http://") {
            findings.warning(
                reader.path + "webhook", "\"http://\" sends who needs help, and where, in the clear; use \"https://\"")
        }
        let authorities = decodeFile("ca-file", reader)
        return url.map { .webhook(.init(url: $0, secret: secret, authorities: authorities)) }
    }

    /// A file of PEM certificates below the configuration directory.
    private func decodeFile(_ key: String, _ reader: TableReader) -> Secret? {
        let path = reader.value(key, "a path below the configuration directory, as \"tls/office-ca.pem\"") {
            Text.isRelativePath($0) ? $0 : nil
        }
        guard let path else { return nil }
        switch readSecret(path) {
        case .failure(let error): reader.reject(key, error.message)
        case .success(let bytes):
            let text = String(validating: bytes, as: UTF8.self)
            if let text, text.contains("-----BEGIN CERTIFICATE-----") { return Secret(text, file: path) }
            reader.reject(key, "\(path) holds no PEM certificate")
        }
        return nil
    }
}

extension Text {
    /// What can be written between angle brackets without quoting (RFC 5321 §4.1.2, without quoted strings).
    static func mailAddress(_ text: String) -> String? {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, text.utf8.count <= 254, (1...64).contains(parts[0].utf8.count),
            isHostName(String(parts[1]))
        else { return nil }
        let isPlain = parts[0].utf8.allSatisfy { byte in
            (0x21...0x7E).contains(byte) && !"\"(),:;<>@[\\]".utf8.contains(byte)
        }
        return isPlain ? text : nil
    }

    static func webhookURL(_ text: String) -> String? {
        guard text.hasPrefix("https://") || text.hasPrefix("http://"), text.utf8.count <= 1_024 else { return nil }
        let rest = text.drop { $0 != "/" }.dropFirst(2)
        return rest.first.map { $0 != "/" } ?? false && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
            ? text : nil
    }

    /// `sip:USER@ADDRESS[:PORT]`: names are not resolved.
    static func pagingURI(_ text: String) -> String? {
        guard text.hasPrefix("sip:") else { return nil }
        let parts = text.dropFirst(4).split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, isUserName(String(parts[0])),
            IPAddress(String(parts[1])) ?? TransportAddress(String(parts[1]))?.address != nil
        else { return nil }
        return text
    }
}
