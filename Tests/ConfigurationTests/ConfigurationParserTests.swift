import Configuration
import Primitives
import Testing

@Suite("Configuration")
struct ConfigurationParserTests {
    @Test("fills in defaults")
    func defaults() throws {
        let outcome = Sample.parse(Sample.text)
        #expect(outcome.issues == [])
        let box = try #require(outcome.configuration)
        let pattern = try DialPattern(parsing: "9NXXXXXX")
        let expected = BoxConfiguration(
            system: .init(name: "detroit-7", domain: "branch.example", userAgent: "Cresset"),
            realms: [
                .init(
                    name: "lan", interface: "lan0", address: .v4(0xC0A8_3201), sipPort: 5060, transports: [.udp, .tcp],
                    mediaPorts: 20_000...29_999, datapath: .auto, role: .stations),
                .init(
                    name: "wan", interface: "wan0", address: .v4(0xC633_6407), sipPort: 5060, transports: [.udp, .tcp],
                    mediaPorts: 30_000...39_999, datapath: .auto, role: .trunks),
            ],
            stations: [
                .init(
                    name: "2001", realm: "lan", password: Secret("correct-horse"), number: "+13135550101",
                    contactsMax: 4)
            ],
            trunks: [
                .init(
                    name: "carrier-a", realm: "wan", peer: TransportAddress(.v4(0xCB00_710A), 5060), transport: .auto,
                    sources: [try #require(IPPrefix("203.0.113.10/32"))], health: .init(),
                    attemptTimeout: .seconds(4), reliableProvisional: .supported)
            ],
            routes: [.init(pattern: pattern, strip: 1, prepend: "+1313", trunks: ["carrier-a"])],
            numbers: [.init(number: "+13135550101", stations: ["2001"])],
            calls: .init(
                maximum: 120, ringTimeout: .seconds(180), sessionExpires: .seconds(1800),
                sessionExpiresMin: .seconds(90)),
            media: .init(learningWindow: .seconds(3), inactivityTimeout: .seconds(60), silenceEvent: .seconds(3)),
            log: .init(level: .info))
        #expect(box == expected)
    }

    @Test("reads every key")
    func everyKey() throws {
        let text =
            Sample.text + """
                [trunks.carrier-b]
                realm = "wan"
                peer = "203.0.113.129:5080"
                transport = "tcp"
                sources = ["203.0.113.128/29", "198.51.100.64/26"]
                registration = { username = "box7", password = "p1-long-enough", registrar = "203.0.113.130", domain = "carrier.example", expires = 600 }
                authentication = { username = "box8", password = "p2-long-enough" }
                health = { enabled = true, interval = "30s", timeout = "500ms", failures = 5, successes = 1 }
                attempt-timeout = "2500ms"
                calls-max = 60
                reliable-provisional = "required"
                telephone-event = 101
                [calls]
                maximum = 10
                ring-timeout = "2m"
                session-expires = "1h"
                session-expires-min = "120s"
                [media]
                learning-window = "0s"
                inactivity-timeout = "30s"
                silence-event = "5s"
                [log]
                level = "debug"

                """
        let box = try #require(Sample.parse(text).configuration)
        let trunk = try #require(box.trunk(named: "carrier-b"))
        #expect(trunk.peer == TransportAddress("203.0.113.129:5080"))
        #expect(trunk.transport == .tcp)
        #expect(trunk.sources.map(\.description) == ["203.0.113.128/29", "198.51.100.64/26"])
        let registration = try #require(trunk.registration)
        #expect(registration.registrar == TransportAddress("203.0.113.130:5060"))
        #expect(registration.credentials == .init(username: "box7", password: Secret("p1-long-enough")))
        #expect(registration.domain == "carrier.example")
        #expect(registration.expires == .seconds(600))
        #expect(trunk.authentication == .init(username: "box8", password: Secret("p2-long-enough")))
        #expect(
            trunk.health == .init(interval: .seconds(30), timeout: .milliseconds(500), failures: 5, successes: 1))
        #expect(trunk.attemptTimeout == .milliseconds(2_500))
        #expect(trunk.callsMax == 60)
        #expect(trunk.reliableProvisional == .required)
        #expect(trunk.telephoneEvent == 101)
        #expect(box.calls.maximum == 10)
        #expect(box.calls.ringTimeout == .seconds(120))
        #expect(box.calls.sessionExpires == .seconds(3_600))
        #expect(box.calls.sessionExpiresMin == .seconds(120))
        #expect(
            box.media == .init(learningWindow: .zero, inactivityTimeout: .seconds(30), silenceEvent: .seconds(5)))
        #expect(box.log.level == .debug)
    }

    @Test("gives a registration's credentials to calls, and takes the peer as registrar")
    func registrationDefaults() throws {
        let text = Sample.replacing(
            #"peer = "203.0.113.10""#,
            with: "peer = \"203.0.113.10\"\nregistration = { username = \"box7\", password = \"p1\" }")
        let trunk = try #require(Sample.parse(text).configuration?.trunk(named: "carrier-a"))
        #expect(trunk.authentication == .init(username: "box7", password: Secret("p1")))
        #expect(trunk.registration?.registrar == trunk.peer)
        #expect(trunk.registration?.domain == "203.0.113.10")
        #expect(trunk.registration?.expires == .seconds(3_600))
    }

    @Test("switches health off")
    func healthOff() throws {
        let text = Sample.replacing(
            #"peer = "203.0.113.10""#, with: "peer = \"203.0.113.10\"\nhealth = { enabled = false }")
        #expect(try #require(Sample.parse(text).configuration).trunks.first?.health == nil)
    }

    @Test("takes IPv6 throughout")
    func version6() throws {
        let text = Sample.text.replacing("198.51.100.7", with: "2001:db8::7")
            .replacing("203.0.113.10", with: "[2001:db8:1::10]:5080")
        let trunk = try #require(Sample.parse(text).configuration?.trunks.first)
        #expect(trunk.peer == TransportAddress("[2001:db8:1::10]:5080"))
        #expect(trunk.accepts(from: try #require(IPAddress("2001:db8:1::10"))))
        #expect(!trunk.accepts(from: try #require(IPAddress("2001:db8:1::11"))))
    }

    @Test("cuts media ports to whole pairs, and says so")
    func evenEnd() throws {
        let outcome = Sample.parse(Sample.replacing("20000-29999", with: "20000-29998"))
        #expect(outcome.configuration?.realm(named: "lan")?.mediaPorts == 20_000...29_997)
        #expect(
            outcome.issues.map(\.description) == [
                "box.toml:8:1: warning: realms.lan.media-ports: the last port 29998 is even, its odd partner is outside: "
                    + "\"20000-29997\" is used"
            ])
    }

    @Test("finds routes and numbers")
    func lookups() throws {
        let box = try #require(Sample.parse(Sample.text).configuration)
        #expect(box.route(forDialled: "95550101")?.number == "+13135550101")
        #expect(box.route(forDialled: "911") == nil)
        #expect(box.stations(forNumber: "13135550101") == ["2001"])
        #expect(box.stations(forNumber: "+13135550101") == ["2001"])
        #expect(box.stations(forNumber: "+13135550199") == nil)
    }

    @Test("reports all findings of all files, in order; a syntax error in one hides none of another")
    func severalFiles() {
        let outcome = ConfigurationParser.parse(files: [
            .init(name: "b.toml", bytes: Array("[system]\nname = \"x\"\ndomian = \"y\"\n[log]\nlevel = 3\n".utf8)),
            .init(name: "a.toml", bytes: Array("[realms.lan\n".utf8)),
            .init(name: "c.toml", bytes: Array("[trunks.t]\nrealm = \"nowhere\"\npeer = \"192.0.2.1\"\n[log]\n".utf8)),
        ])
        #expect(outcome.configuration == nil)
        #expect(
            outcome.issues.map(\.description) == [
                "a.toml:1:12: error: the line ends here, but ']' must close a table name",
                "b.toml:1:2: error: system.domain: missing; expected a domain, as \"branch.example\", or an IP address",
                "b.toml:3:1: error: system.domian: unknown key; did you mean \"domain\"?; allowed here: name, domain, "
                    + "user-agent, digest-algorithms, production",
                "b.toml:5:9: error: log.level: expected one of \"error\", \"warning\", \"notice\", \"info\", \"debug\", "
                    + "found an integer",
                "c.toml:4:2: error: log: is in b.toml, too; each table lives in exactly one file: move it there",
            ])
    }

    @Test("needs a system and realms")
    func nothing() {
        #expect(
            ConfigurationParser.parse(files: [], directory: "/etc/cresset").issues.map(\.description) == [
                "/etc/cresset: error: system: missing; no file has the table [system]",
                "/etc/cresset: error: realms: missing; no file has the table [realms.NAME]",
            ])
    }

    @Test("never shows a password")
    func secrets() throws {
        let secret = Secret("correct-horse")
        var dumped = ""
        dump(secret, to: &dumped)
        for text in ["\(secret)", secret.debugDescription, "\([secret])", dumped, String(reflecting: secret)] {
            #expect(!text.contains("horse"))
        }
        let box = try #require(Sample.parse(Sample.text).configuration)
        #expect(!"\(box)".contains("horse"))
        #expect(!box.rendered(secrets: .masked).contains("horse"))
        for wrong in ["correct-horse", "[\"correct-horse\"]", "\"correct-horse\\q\"", "\"correct-horse\\n\""] {
            let issues = Sample.parse(Sample.replacing("\"correct-horse\"", with: wrong)).errors
            #expect(!issues.isEmpty)
            #expect(!issues.contains { $0.description.contains("horse") })
        }
    }
}

@Suite("A large branch")
struct LargeConfigurationTests {
    @Test("a thousand stations with a number each are read, checked, rendered and compared")
    func large() throws {
        var text = Sample.text
        for index in 20_000..<21_000 { text += "\"+13135\(index)0\" = \"\(index)\"\n" }
        for index in 20_000..<21_000 { text += "[stations.\(index)]\npassword = \"correct-horse-\(index)\"\n" }
        let outcome = Sample.parse(text)
        #expect(outcome.issues == [])
        let box = try #require(outcome.configuration)
        #expect(box.stations.count == 1_001)
        #expect(Sample.parse(box.rendered(secrets: .revealed)).configuration == box)
        #expect(box.difference(from: try #require(Sample.parse(Sample.text).configuration)).count == 2_000)
    }
}
