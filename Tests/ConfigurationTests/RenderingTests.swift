import Configuration
import Primitives
import Testing

@Suite("Rendering and difference")
struct RenderingTests {
    static let rich =
        Sample.text + """
            [stations."a+b"]
            password = "quote \\" backslash \\\\ tab-less é"
            display-name = "Réception \\"2\\""
            contacts-max = 1
            [trunks.carrier-b]
            realm = "wan"
            peer = "203.0.113.129:5080"
            transport = "tcp"
            sources = ["203.0.113.128/29", "198.51.100.64/26"]
            registration = { username = "box7", password = "p1-long-enough", domain = "carrier.example", expires = 600 }
            health = { enabled = false }
            attempt-timeout = "2500ms"
            calls-max = 60
            reliable-provisional = "required"
            telephone-event = 101
            emergency-location = "pidf"
            emergency-number = "caller"
            emergency-uri = "service"
            emergency-priority = false
            resource-priority = "esnet.1"
            psap-trusted = true
            [stations.desk]
            password = "correct-horse"
            site = "plant"
            building = "B"
            floor = "2"
            room = "210"
            [sites.office]
            [sites.plant]
            networks = ["192.168.10.1-192.168.10.254", "2001:db8::/64", "192.168.20.0/24"]
            trunks = ["carrier-b", "carrier-a"]
            psap = "+13135550911"
            elins = ["+13135550142", "+13135550143"]
            contacts = "desk"
            [sites.plant.address]
            house-number = "123"
            street = "Manufacturing"
            street-type = "Dr"
            city = "Industrial City"
            state = "MI"
            postal-code = "48001-1234"
            building = "Building \\"A\\" & annex"
            [[sites.plant.subnets]]
            networks = "192.168.10.128-192.168.10.191"
            building = "C"
            [[sites.plant.subnets]]
            networks = ["192.168.20.64/26"]
            floor = "3"
            [emergency]
            trunks = "carrier-b"
            default-site = "plant"
            outside-prefixes = ["8", "*9"]
            numbers = []
            callback-window = "45m"
            [log]
            level = "debug"

            """

    @Test("what is rendered reads as the same value", arguments: [Sample.text, rich])
    func roundTrip(_ text: String) throws {
        let box = try #require(Sample.parse(text).configuration)
        let rendered = box.rendered(secrets: .revealed)
        let outcome = Sample.parse(rendered)
        #expect(outcome.errors == [])
        #expect(outcome.configuration == box)
        #expect(outcome.configuration?.rendered(secrets: .revealed) == rendered)
    }

    @Test("renders canonically")
    func canonical() throws {
        let box = try #require(Sample.parse(Sample.text).configuration)
        #expect(
            box.rendered(secrets: .masked).hasPrefix(
                """
                [system]
                name = "detroit-7"
                domain = "branch.example"
                user-agent = "Cresset"
                digest-algorithms = ["SHA-256", "MD5"]
                production = false

                [realms.lan]
                interface = "lan0"
                address = "192.168.50.1"
                sip-port = 5060
                transports = ["udp", "tcp"]
                media-ports = "20000-29999"
                datapath = "auto"
                role = "stations"

                """))
        #expect(
            box.rendered(secrets: .masked).contains(
                """
                [stations.2001]
                realm = "lan"
                password = "••••"
                number = "+13135550101"
                contacts-max = 4

                [trunks.carrier-a]
                realm = "wan"
                peer = "203.0.113.10:5060"
                transport = "auto"
                sources = ["203.0.113.10/32"]
                health = { interval = "10s", timeout = "2s", failures = 3, successes = 2 }
                attempt-timeout = "4s"
                reliable-provisional = "supported"
                emergency-location = "none"
                emergency-number = "elin"
                emergency-uri = "number"
                emergency-priority = true
                psap-trusted = false

                [[routes]]
                pattern = "9NXXXXXX"
                strip = 1
                prepend = "+1313"
                trunks = ["carrier-a"]

                [numbers]
                "+13135550101" = ["2001"]

                """))
    }

    struct Change: Sendable, CustomTestStringConvertible {
        let old: String
        let new: String
        let lines: [String]
        init(_ old: String, _ new: String, _ lines: String...) { (self.old, self.new, self.lines) = (old, new, lines) }
        var testDescription: String { new }
    }

    static let changes: [Change] = [
        Change("detroit-7", "detroit-7"),
        Change("detroit-7", "detroit-8", "system: name \"detroit-7\" → \"detroit-8\""),
        Change(
            "20000-29999\"", "20000-24999\"\nsip-port = 5062",
            "realm lan: sip-port 5060 → 5062, media-ports \"20000-29999\" → \"20000-24999\""),
        Change(
            "[realms.wan]",
            "[realms.lab]\ninterface = \"x\"\naddress = \"192.0.2.1\"\nmedia-ports = \"2000-2999\"\n"
                + "role = \"trunks\"\n[realms.wan]", "realm lab: added"),
        Change("correct-horse", "correct-house", "station 2001: password changed"),
        Change(
            "number = \"+13135550101\"", "number = \"+13135550101\"\nfloor = \"2\"",
            "station 2001: floor none → \"2\""),
        Change("[numbers]", "[sites.plant]\npsap = \"911\"\n[numbers]", "site plant: added"),
        Change(
            "number = \"+13135550101\"", "display-name = \"Desk\"",
            "station 2001: number \"+13135550101\" → none, display-name none → \"Desk\""),
        Change(
            "[stations.2001]", "[stations.2000]\npassword = \"correct-horse\"\n[stations.2001]", "station 2000: added"),
        Change(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10\"\ncalls-max = 30\nhealth = { enabled = false }",
            "trunk carrier-a: health { interval = \"10s\", timeout = \"2s\", failures = 3, successes = 2 } → "
                + "{ enabled = false }, calls-max none → 30"),
        Change("strip = 1\n", "", "routes: changed (1)"),
        Change(
            "[[routes]]", "[[routes]]\npattern = \"0.\"\ntrunks = [\"carrier-a\"]\n[[routes]]",
            "routes: changed (1 → 2)"),
        Change(
            "\"+13135550101\" = \"2001\"", "\"+13135550102\" = \"2001\"",
            "number 13135550101: removed", "number 13135550102: added"),
        Change(
            "[numbers]",
            "[emergency]\ntrunks = \"carrier-a\"\n[calls]\nmaximum = 10\n[media]\nsilence-event = \"500ms\"\n[qos]\nmedia = \"preserve\"\nemergency = 44\n"
                + "[signalling]\nreceive = \"ring\"\n[shield]\nsilent = true\nallow = [\"192.0.2.0/24\"]\n"
                + "[log]\nlevel = \"error\"\n[numbers]",
            "emergency: trunks none → [\"carrier-a\"]", "calls: maximum 120 → 10",
            "media: silence-event \"3s\" → \"500ms\"",
            "qos: media \"EF\" → \"preserve\", emergency \"EF\" → \"VA\"", "signalling: receive \"socket\" → \"ring\"",
            "shield: silent false → true, allow none → [\"192.0.2.0/24\"]", "log: level \"info\" → \"error\""),
    ]

    @Test("says each change on one line, and back again", arguments: changes)
    func difference(_ sample: Change) throws {
        let old = try #require(Sample.parse(Sample.text).configuration)
        let new = try #require(Sample.parse(Sample.replacing(sample.old, with: sample.new)).configuration)
        #expect(new.difference(from: old).map(\.description) == sample.lines)
        #expect(old.difference(from: new).count == sample.lines.count)
        #expect(new.difference(from: new) == [])
    }

    @Test("gives typed changes, what goes before what comes")
    func typed() throws {
        let old = try #require(Sample.parse(Sample.text).configuration)
        var new = old
        new.stations = [StationConfiguration(name: "3001", realm: "lan", password: Secret("x"))]
        new.trunks[0].callsMax = 5
        #expect(
            new.difference(from: old) == [
                .station("2001", .removed), .station("3001", .added),
                .trunk("carrier-a", .changed([.init(key: "calls-max", before: nil, after: "5")])),
            ])
    }

    @Test("notices a password file that holds another password, and shows neither")
    func passwordFile() throws {
        var old = try #require(Sample.parse(Sample.text).configuration)
        var new = old
        old.stations[0].password = Secret("first-secret", file: "secrets/2001")
        new.stations[0].password = Secret("other-secret", file: "secrets/2001")
        new.trunks[0].authentication = .init(username: "box7", password: Secret("trunk-secret"))
        old.trunks[0].authentication = .init(username: "box7", password: Secret("carrier-secret"))
        #expect(
            new.difference(from: old).map(\.description) == [
                "station 2001: password-file changed", "trunk carrier-a: authentication changed",
            ])
    }
}
