import Primitives

/// Reads each table into its type. What is wrong is reported and left out, so that the rest is still checked.
struct SectionDecoder {
    let root: TOMLTable
    let fileOfTable: [String: String]
    let findings: Findings
    let readSecret: ConfigurationParser.SecretReader

    var system: SystemConfiguration?
    var realms: [RealmConfiguration] = []
    var stations: [StationConfiguration] = []
    var trunks: [TrunkConfiguration] = []
    /// nil where the element was wrong, so that indexes are those of the file.
    var routes: [RouteConfiguration?] = []
    var numbers: [NumberConfiguration] = []
    var calls = CallsConfiguration()
    var media = MediaConfiguration()
    var sites: [SiteConfiguration] = []
    var emergency = EmergencyConfiguration()
    var notify = NotifyConfiguration()
    var qos = QoSConfiguration()
    var signalling = SignallingConfiguration()
    var shield = ShieldConfiguration()
    var log = LogConfiguration()

    /// What is declared, also when its table has errors: a reference to it is no error of its own.
    var realmNames: [String] = []
    var stationNames: [String] = []
    var trunkNames: [String] = []
    var siteNames: [String] = []
    /// Realms whose `role` is `stations`: the default for a station when there is exactly one.
    var stationRealms: [String] = []

    init(
        root: TOMLTable, fileOfTable: [String: String], findings: Findings,
        readSecret: @escaping ConfigurationParser.SecretReader
    ) {
        self.root = root
        self.fileOfTable = fileOfTable
        self.findings = findings
        self.readSecret = readSecret
    }

    /// nil when a table that must be there is missing.
    var configuration: BoxConfiguration? {
        guard let system else { return nil }
        return BoxConfiguration(
            system: system, realms: realms, stations: stations, trunks: trunks, routes: routes.compactMap { $0 },
            numbers: numbers, sites: sites, emergency: emergency, calls: calls, media: media, qos: qos,
            signalling: signalling, shield: shield, notify: notify, log: log)
    }

    /// `isComplete` is false when a file could not be read: then nothing is missing for sure.
    mutating func decode(isComplete: Bool) {
        for entry in root.entries where !ConfigurationParser.tables.contains(entry.key) {
            findings.error(
                TOMLKeyPath(entry.key),
                "unknown table\(Suggestion.text(for: entry.key, among: ConfigurationParser.tables)); allowed: "
                    + ConfigurationParser.tables.joined(separator: ", "))
        }
        if isComplete {
            for key in ["system", "realms"] where root[key] == nil {
                findings.error(
                    TOMLKeyPath(key), "missing; no file has the table [\(key == "system" ? key : "realms.NAME")]")
            }
        }
        if let reader = section("system") { decodeSystem(reader) }
        // Says which numbers stations cannot have.
        if let reader = section("emergency") { emergency.read(reader) }
        if let reader = section("realms") { decodeRealms(reader) }
        if let reader = section("stations") { decodeStations(reader, isComplete: isComplete) }
        if let reader = section("trunks") { decodeTrunks(reader) }
        decodeRoutes()
        if let reader = section("numbers") { decodeNumbers(reader) }
        if let reader = section("sites") { decodeSites(reader) }
        if let reader = section("notify") { decodeNotify(reader) }
        if let reader = section("calls") { decodeCalls(reader) }
        if let reader = section("media") { decodeMedia(reader) }
        if let reader = section("qos") { qos.read(reader) }
        if let reader = section("signalling") { signalling.read(reader) }
        if let reader = section("shield") { shield.read(reader) }
        if let reader = section("log") { decodeLog(reader) }
    }

    private func section(_ key: String) -> TableReader? {
        let top = TableReader(table: root, path: TOMLKeyPath(), file: fileOfTable[key] ?? "", findings: findings)
        return top.subtable(key)
    }

    // MARK: Single tables

    private mutating func decodeSystem(_ reader: TableReader) {
        reader.allow(["name", "domain", "user-agent", "digest-algorithms", "production"])
        let name = reader.requiredValue("name", "a host name, as \"detroit-7\"") { Text.isHostName($0) ? $0 : nil }
        let domain = reader.requiredValue("domain", "a domain, as \"branch.example\", or an IP address") { text in
            Text.isHostName(text) || IPAddress(text) != nil ? text : nil
        }
        let userAgent = reader.value("user-agent", "printable ASCII of at most 64 characters; \"\" sends none") {
            text in
            text.utf8.count <= 64 && text.utf8.allSatisfy { (0x20...0x7E).contains($0) } ? text : nil
        }
        let algorithms = reader.choices("digest-algorithms", SystemConfiguration.DigestAlgorithm.self)
        let isProduction = reader.boolean("production")
        guard let name, let domain else { return }
        system = SystemConfiguration(
            name: name, domain: domain, userAgent: userAgent ?? SystemConfiguration.userAgentDefault,
            digestAlgorithms: algorithms ?? SystemConfiguration.DigestAlgorithm.allCases,
            isProduction: isProduction ?? false)
    }

    private mutating func decodeCalls(_ reader: TableReader) {
        reader.allow(["maximum", "ring-timeout", "session-expires", "session-expires-min"])
        calls.maximum = reader.integer("maximum", in: 1...10_000) ?? calls.maximum
        calls.ringTimeout = reader.duration("ring-timeout", in: .seconds(5)...(.seconds(3_600))) ?? calls.ringTimeout
        // RFC 4028 §4: an interval below 90 seconds is not allowed.
        let sessions: ClosedRange<Duration> = .seconds(90)...(.seconds(86_400))
        calls.sessionExpires = reader.duration("session-expires", in: sessions) ?? calls.sessionExpires
        calls.sessionExpiresMin = reader.duration("session-expires-min", in: sessions) ?? calls.sessionExpiresMin
    }

    private mutating func decodeMedia(_ reader: TableReader) {
        reader.allow(["learning-window", "inactivity-timeout", "silence-event"])
        media.learningWindow =
            reader.duration("learning-window", in: .zero...(.seconds(60))) ?? media.learningWindow
        media.inactivityTimeout =
            reader.duration("inactivity-timeout", in: .seconds(5)...(.seconds(86_400))) ?? media.inactivityTimeout
        media.silenceEvent =
            reader.duration("silence-event", in: .milliseconds(500)...(.seconds(3_600))) ?? media.silenceEvent
    }

    private mutating func decodeLog(_ reader: TableReader) {
        reader.allow(["level"])
        log.level = reader.choice("level") ?? log.level
    }

    // MARK: Named tables

    private mutating func decodeRealms(_ reader: TableReader) {
        for (name, realm) in reader.subtables("a table [realms.NAME]") {
            realmNames.append(name)
            checkName(name, at: realm)
            realm.allow([
                "interface", "address", "sip-port", "transports", "media-ports", "datapath", "role",
            ])
            let interface = realm.requiredValue("interface", "a Linux interface of 1 to 15 characters, as \"lan0\"") {
                Text.isInterfaceName($0) ? $0 : nil
            }
            let address = realm.requiredValue("address", "an IPv4 or IPv6 address, as \"192.0.2.1\"") { IPAddress($0) }
            let ports = realm.requiredValue("media-ports", "two ports from 1024 on, even to odd, as \"20000-29999\"") {
                Text.portRange($0)
            }
            let mediaPorts = ports.flatMap { decodePairs($0, realm) }
            realm.require("role", "\"stations\" or \"trunks\"")
            let role = realm.choice("role", RealmConfiguration.Role.self)
            let sipPort = realm.integer("sip-port", in: 1...65_535).map { UInt16($0) }
            let transports = realm.choices("transports", RealmConfiguration.Transport.self)
            let datapath = realm.choice("datapath", RealmConfiguration.Datapath.self)
            if role == .stations { stationRealms.append(name) }
            guard let interface, let address, let mediaPorts, let role else { continue }
            realms.append(
                RealmConfiguration(
                    name: name, interface: interface, address: address,
                    sipPort: sipPort ?? RealmConfiguration.sipPortDefault,
                    transports: transports ?? RealmConfiguration.Transport.allCases, mediaPorts: mediaPorts,
                    datapath: datapath ?? .auto, role: role))
        }
    }

    /// The range cut to whole pairs of an even port and the odd one above it.
    private func decodePairs(_ ports: ClosedRange<UInt16>, _ realm: TableReader) -> ClosedRange<UInt16>? {
        let (first, last) = (ports.lowerBound, ports.upperBound)
        guard first % 2 == 0 else {
            realm.reject(
                "media-ports",
                "the first port must be even, because RTP takes even ports: \(quoted("\(first + 1)-\(last)"))")
            return nil
        }
        guard last > first else {
            realm.reject("media-ports", "a pair of ports is needed at least, as \"\(first)-\(first + 1)\"")
            return nil
        }
        guard last % 2 == 1 else {
            findings.warning(
                realm.path + "media-ports",
                "the last port \(last) is even, its odd partner is outside: \(quoted("\(first)-\(last - 1)")) is used")
            return last - 1 > first ? first...(last - 1) : nil
        }
        return ports
    }

    private mutating func decodeStations(_ reader: TableReader, isComplete: Bool) {
        for (name, station) in reader.subtables("a table [stations.NAME]") {
            stationNames.append(name)
            if emergency.numberPlan.number(dialled: name) != nil {
                findings.error(
                    station.path,
                    "\(name) is an emergency number: a station of that name would take calls for help; rename it")
            } else if !Text.isUserName(name) {
                findings.error(station.path, "a station's name is \(Text.userNameAllowed)")
            }
            station.allow(
                ["realm", "password", "password-file", "display-name", "number", "contacts-max", "site"]
                    + PlaceDetail.keys)
            let password = decodePassword(station)
            if let password, password.revealed.utf8.count < 8 {
                findings.warning(
                    station.path + (password.file == nil ? "password" : "password-file"),
                    "the password is shorter than 8 characters; it is guessed within minutes")
            }
            let displayName = station.value("display-name", "text of 1 to 64 characters on one line") {
                Text.isDisplayName($0) ? $0 : nil
            }
            let number = station.value("number", "an E.164 number, as \"+13135550101\"") { Text.isE164($0) ? $0 : nil }
            let contactsMax = station.integer("contacts-max", in: 1...32)
            let site = station.string("site", "the name of a site")
            let place = PlaceDetail(station)
            var realm = station.string("realm")
            if !station.has("realm") {
                if stationRealms.count == 1 {
                    realm = stationRealms.first
                } else if isComplete, !realmNames.isEmpty, !stationRealms.isEmpty {
                    findings.error(
                        station.path + "realm",
                        "missing; several realms have the role \"stations\", expected one of "
                            + stationRealms.map(quoted).joined(separator: ", "))
                }
            }
            guard let realm, let password else { continue }
            stations.append(
                StationConfiguration(
                    name: name, realm: realm, password: password, displayName: displayName, number: number,
                    contactsMax: contactsMax ?? StationConfiguration.contactsMaxDefault, site: site, place: place))
        }
    }

    /// Each entry is a number, and a station or a list of stations.
    private mutating func decodeNumbers(_ reader: TableReader) {
        reader.allowAnyKey()
        var first: [String: String] = [:]
        for entry in reader.table.entries {
            let path = reader.path + entry.key
            let digits = NumberConfiguration.digits(of: entry.key)
            guard Text.isCalledNumber(entry.key) else {
                findings.error(
                    path, "a called number is 2 to 20 digits with an optional leading +, as \"+13135550101\"")
                continue
            }
            if emergency.numberPlan.number(dialled: digits) != nil {
                findings.error(path, "\(digits) is an emergency number and cannot be routed to a station")
                continue
            }
            if let other = first[digits] {
                findings.error(path, "is the same number as \(quoted(other)); a leading + makes no difference")
                continue
            }
            first[digits] = entry.key
            if let stations = reader.strings(entry.key, "a station or a list of stations", single: true) {
                numbers.append(NumberConfiguration(number: entry.key, stations: stations))
            }
        }
    }

    private mutating func decodeSites(_ reader: TableReader) {
        for (name, site) in reader.subtables("a table [sites.NAME]") {
            siteNames.append(name)
            checkName(name, at: site)
            sites.append(SiteConfiguration(name: name, site))
        }
    }

    func checkName(_ name: String, at reader: TableReader) {
        guard !Text.isElementName(name) else { return }
        findings.error(reader.path, "a name here is 1 to 32 characters of a-z, 0-9 and '-'")
    }

    // MARK: Passwords

    /// From `password` or `password-file`, exactly one of them; or by the name of another key.
    func decodePassword(_ reader: TableReader, key: String = "password") -> Secret? {
        let allowed = "1 to 128 characters on one line"
        let fileKey = "\(key)-file"
        if reader.has(key), reader.has(fileKey) {
            findings.error(reader.path + fileKey, "\(quoted(key)) is given, too; keep one of them")
            return nil
        }
        if reader.has(key) {
            guard let text = reader.string(key) else { return nil }
            guard Text.isPassword(text) else {
                reader.reject(key, "not allowed; expected \(allowed)")
                return nil
            }
            return Secret(text)
        }
        guard reader.has(fileKey) else {
            findings.error(
                reader.path + key, "missing; expected \(quoted(key)), or \(quoted(fileKey)) with a path")
            return nil
        }
        let path = reader.value(fileKey, "a path below the configuration directory, as \"secrets/2001\"") {
            Text.isRelativePath($0) ? $0 : nil
        }
        guard let path else { return nil }
        switch readSecret(path) {
        case .failure(let error):
            reader.reject(fileKey, error.message)
            return nil
        case .success(var bytes):
            if bytes.last == 0x0A { bytes.removeLast() }
            if bytes.last == 0x0D { bytes.removeLast() }
            guard let text = String(validating: bytes, as: UTF8.self), Text.isPassword(text) else {
                reader.reject(fileKey, "\(path) does not hold a \(key); expected \(allowed)")
                return nil
            }
            return Secret(text, file: path)
        }
    }
}
