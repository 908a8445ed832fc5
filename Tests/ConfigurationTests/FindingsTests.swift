import Configuration
import Testing

@Suite("Findings")
struct FindingsTests {
    /// One change to the sample, and everything that is then said.
    struct Case: Sendable, CustomTestStringConvertible {
        let old: String
        let new: String
        let findings: [String]
        init(_ old: String, _ new: String, _ findings: String...) {
            (self.old, self.new, self.findings) = (old, new, findings)
        }
        var testDescription: String { new }
    }

    static let keys: [Case] = [
        .init(
            "name = \"detroit-7\"", "name = \"detroit 7\"",
            #"2:8: error: system.name: "detroit 7" is not allowed; expected a host name, as "detroit-7""#),
        .init(
            "name = \"detroit-7\"", "name = 7",
            #"2:8: error: system.name: expected a host name, as "detroit-7", found an integer"#),
        .init(
            "name = \"detroit-7\"", "",
            #"1:2: error: system.name: missing; expected a host name, as "detroit-7""#),
        .init(
            "[system]", "[system]\ndigest-algorithms = [\"MD5\", \"SHA-1\"]",
            #"2:29: error: system.digest-algorithms[2]: "SHA-1" is not allowed; expected one of "SHA-256", "MD5""#),
        .init(
            "[system]", "[system]\nuser-agent = \"a\\tb\"",
            "2:14: error: system.user-agent: \"a\tb\" is not allowed; expected printable ASCII of at most 64 characters; \"\" sends none"
        ),
        .init(
            "[realms.lan]", "[realms.LAN]",
            "5:9: error: realms.LAN: a name here is 1 to 32 characters of a-z, 0-9 and '-'"),
        .init(
            "interface = \"lan0\"", "interface = \"a-name-too-long-\"",
            #"6:13: error: realms.lan.interface: "a-name-too-long-" is not allowed; expected a Linux interface of 1 to 15 characters, as "lan0""#
        ),
        .init(
            "192.168.50.1", "192.168.50.256",
            #"7:11: error: realms.lan.address: "192.168.50.256" is not allowed; expected an IPv4 or IPv6 address, as "192.0.2.1""#
        ),
        .init(
            "address = \"192", "adress = \"192",
            #"5:9: error: realms.lan.address: missing; expected an IPv4 or IPv6 address, as "192.0.2.1""#,
            #"7:1: error: realms.lan.adress: unknown key; did you mean "address"?; allowed here: interface, address, sip-port, transports, media-ports, datapath, role"#
        ),
        .init(
            "role = \"stations\"", "role = \"station\"",
            #"9:8: error: realms.lan.role: "station" is not allowed; did you mean "stations"?; expected one of "stations", "trunks""#
        ),
        .init(
            "role = \"stations\"", "role = \"stations\"\nsip-port = \"5060\"",
            "10:12: error: realms.lan.sip-port: expected an integer from 1 to 65535, found a string; write 5060 without quotes"
        ),
        .init(
            "role = \"stations\"", "role = \"stations\"\nsip-port = 65536",
            "10:12: error: realms.lan.sip-port: 65536 is not allowed; expected an integer from 1 to 65535"),
        .init(
            "role = \"stations\"", "role = \"stations\"\ntransports = [\"udp\", \"tls\"]",
            #"10:22: error: realms.lan.transports[2]: "tls" is not allowed; expected one of "udp", "tcp""#),
        .init(
            "role = \"stations\"", "role = \"stations\"\ntransports = [\"udp\", \"udp\"]",
            #"10:22: error: realms.lan.transports[2]: "udp" is given twice"#),
        .init(
            "role = \"stations\"", "role = \"stations\"\ntransports = []",
            #"10:14: error: realms.lan.transports: the list is empty; expected a list of "udp", "tcp""#),
        .init(
            "20000-29999", "20001-29999",
            #"8:15: error: realms.lan.media-ports: the first port must be even, because RTP takes even ports: "20002-29999""#
        ),
        .init(
            "20000-29999", "29999-20000",
            #"8:15: error: realms.lan.media-ports: "29999-20000" is not allowed; expected two ports from 1024 on, even to odd, as "20000-29999""#
        ),
        .init(
            "20000-29999", "20000",
            #"8:15: error: realms.lan.media-ports: "20000" is not allowed; expected two ports from 1024 on, even to odd, as "20000-29999""#
        ),
        .init(
            "20000-29999", "20000-20000",
            #"8:15: error: realms.lan.media-ports: a pair of ports is needed at least, as "20000-20001""#),
        .init(
            "[stations.2001]", "[stations.911]",
            "17:11: error: stations.911: 911 is an emergency number: a station of that name would take calls for help; rename it",
            #"32:18: error: numbers."+13135550101"[1]: no station is named "2001"; there are: 911"#),
        .init(
            "password = \"correct-horse\"", "",
            #"17:11: error: stations.2001.password: missing; expected "password", or "password-file" with a path"#),
        .init(
            "password = \"correct-horse\"", "password = \"a\"\npassword-file = \"b\"",
            #"19:1: error: stations.2001.password-file: "password" is given, too; keep one of them"#),
        .init(
            "password = \"correct-horse\"", "password-file = \"../b\"",
            #"18:17: error: stations.2001.password-file: "../b" is not allowed; expected a path below the configuration directory, as "secrets/2001""#
        ),
        .init(
            "password = \"correct-horse\"", "password-file = \"b\"",
            "18:17: error: stations.2001.password-file: password files are not read here"),
        .init(
            "password = \"correct-horse\"", "password = \"correct\"",
            "18:1: warning: stations.2001.password: the password is shorter than 8 characters; it is guessed within minutes"
        ),
        .init(
            "number = \"+13135550101\"", "number = \"13135550101\"",
            #"19:10: error: stations.2001.number: "13135550101" is not allowed; expected an E.164 number, as "+13135550101""#
        ),
        .init(
            "number = \"+13135550101\"", "contacts-max = 0",
            "19:16: error: stations.2001.contacts-max: 0 is not allowed; expected an integer from 1 to 32"),
    ]

    static let trunkKeys: [Case] = [
        .init(
            "peer = \"203.0.113.10\"", "peer = \"sip.carrier.example\"",
            #"23:8: error: trunks.carrier-a.peer: "sip.carrier.example" is a name, and names are not looked up yet; expected an IP address, with a port if it is not 5060, as "203.0.113.10:5080""#
        ),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10:0\"",
            #"23:8: error: trunks.carrier-a.peer: "203.0.113.10:0" is not allowed; expected an IP address, with a port if it is not 5060, as "203.0.113.10:5080""#
        ),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10\"\nsources = [\"203.0.113.0/33\"]",
            #"24:12: error: trunks.carrier-a.sources[1]: "203.0.113.0/33" is not allowed; expected a list of address prefixes, as ["203.0.113.0/29"]"#
        ),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10\"\nsources = [\"203.0.113.9/29\"]",
            #"24:12: warning: trunks.carrier-a.sources[1]: "203.0.113.9/29" has bits beyond its length; "203.0.113.8/29" is used"#
        ),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10\"\nregistration = { user = \"x\", password = \"y\" }",
            "24:1: error: trunks.carrier-a.registration.username: missing; expected 1 to 64 characters of A-Z, a-z, 0-9 and '.', '_', '+', '-'",
            #"24:18: error: trunks.carrier-a.registration.user: unknown key; allowed here: username, password, password-file, registrar, domain, expires"#
        ),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10\"\nhealth = { interval = \"1s\" }",
            "24:12: error: trunks.carrier-a.health.interval: the timeout (2s) is longer than the interval (1s)"),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10\"\nhealth = { enabled = \"no\" }",
            "24:22: error: trunks.carrier-a.health.enabled: expected true or false, found a string"),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10\"\nattempt-timeout = 4",
            #"24:19: error: trunks.carrier-a.attempt-timeout: a duration needs a unit: "4s" for seconds; expected a duration from "500ms" to "60s", with the unit ms, s, m or h"#
        ),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10\"\nattempt-timeout = \"4 s\"",
            #"24:19: error: trunks.carrier-a.attempt-timeout: "4 s" is not allowed; expected a duration from "500ms" to "60s", with the unit ms, s, m or h"#
        ),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10\"\ntelephone-event = 95",
            "24:19: error: trunks.carrier-a.telephone-event: 95 is not allowed; expected an integer from 96 to 127"),
    ]

    static let routeKeys: [Case] = [
        .init(
            "[[routes]]", "[routes]",
            "25:2: error: routes: expected [[routes]] with two brackets for each route, found a table"),
        .init(
            "pattern = \"9NXXXXXX\"", "pattern = \"9nXXXXXX\"",
            "26:11: error: routes[1].pattern: 'n' at character 2 has no meaning; did you mean N?; allowed are 0-9, *, #, X (0-9), Z (1-9), N (2-9), [sets], a leading +, and a trailing . or !"
        ),
        .init(
            "prepend = \"+1313\"", "prepend = \"1-313\"",
            #"28:11: error: routes[1].prepend: "1-313" is not allowed; expected up to 20 digits, '*' or '#', with an optional leading '+'"#
        ),
        .init(
            "trunks = [\"carrier-a\"]", "trunks = [1]",
            "29:11: error: routes[1].trunks[1]: expected a list of trunks, tried in order, found an integer"),
        .init(
            "\"+13135550101\" = \"2001\"", "\"+1-313\" = \"2001\"",
            #"32:1: error: numbers."+1-313": a called number is 2 to 20 digits with an optional leading +, as "+13135550101""#
        ),
        .init(
            "\"+13135550101\" = \"2001\"", "\"933\" = \"2001\"",
            "32:1: error: numbers.933: 933 is an emergency number and cannot be routed to a station"),
        .init(
            "\"+13135550101\" = \"2001\"", "\"+1313\" = \"2001\"\n\"1313\" = \"2001\"",
            #"33:1: error: numbers.1313: is the same number as "+1313"; a leading + makes no difference"#),
        .init(
            "[system]", "[sytem]\n[log]\nlevel = \"loud\"\n[system]",
            #"1:2: error: sytem: unknown table; did you mean "system"?; allowed: system, realms, stations, trunks, routes, numbers, sites, emergency, notify, calls, media, qos, signalling, shield, log"#,
            #"3:9: error: log.level: "loud" is not allowed; expected one of "error", "warning", "notice", "info", "debug""#
        ),
    ]

    static let acrossTables: [Case] = [
        .init(
            "role = \"stations\"", "role = \"trunks\"",
            "5:2: error: realms: no realm has role = \"stations\", so no phone could register; give one that role"),
        .init(
            "role = \"trunks\"", "role = \"stations\"",
            #"17:11: error: stations.2001.realm: missing; several realms have the role "stations", expected one of "lan", "wan""#,
            #"22:1: error: trunks.carrier-a.realm: realm "wan" has the role "stations"; one with the role "trunks" is needed"#
        ),
        .init(
            "password = \"correct-horse\"", "password = \"correct-horse\"\nrealm = \"lam\"",
            #"19:1: error: stations.2001.realm: no realm is named "lam"; did you mean "lan"?; there are: lan, wan"#),
        .init(
            "password = \"correct-horse\"", "password = \"correct-horse\"\nrealm = \"wan\"",
            #"19:1: error: stations.2001.realm: realm "wan" has the role "trunks"; one with the role "stations" is needed"#
        ),
        .init(
            "[trunks.carrier-a]",
            "[stations.2002]\npassword = \"correct-horse\"\nnumber = \"+13135550101\"\n[trunks.carrier-a]",
            #"23:1: error: stations.2002.number: +13135550101 is the number of station "2001", too"#),
        .init(
            "198.51.100.7", "0.0.0.0",
            "13:1: error: realms.wan.address: 0.0.0.0 is the unspecified address; expected our own address"),
        .init(
            "198.51.100.7", "224.0.0.1",
            "13:1: error: realms.wan.address: 224.0.0.1 is a multicast address; expected our own address"),
        .init(
            "198.51.100.7", "2001:db8::7",
            #"23:1: error: trunks.carrier-a.peer: 203.0.113.10:5060 cannot be reached from realm "wan", whose address is 2001:db8::7: the IP versions differ"#
        ),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"198.51.100.7\"",
            "23:1: error: trunks.carrier-a.peer: 198.51.100.7:5060 is ourselves: calls would come back"),
        .init(
            "198.51.100.7", "192.168.50.1",
            #"11:9: error: realms.wan.sip-port: 5060 is used by realm "lan" on the same address"#),
        .init(
            "30000-39999", "4000-5999",
            "11:9: error: realms.wan.sip-port: 5060 lies within the media-ports of 198.51.100.7; move one of them"),
        .init(
            "30000-39999", "30000-30009",
            "14:1: warning: realms.wan.media-ports: holds 5 pairs of ports, but calls.maximum is 120"),
        .init(
            "realm = \"wan\"", "realm = \"wna\"",
            #"22:1: error: trunks.carrier-a.realm: no realm is named "wna"; did you mean "wan"?; there are: lan, wan"#),
        .init(
            "role = \"trunks\"\n",
            "role = \"trunks\"\ntransports = [\"tcp\"]\n[trunks.carrier-b]\nrealm = \"wan\"\npeer = \"203.0.113.20\"\ntransport = \"udp\"\n",
            "17:9: warning: trunks.carrier-b: no route uses this trunk; it only takes calls, and 911 when others fail",
            #"20:1: error: trunks.carrier-b.transport: udp is not among the transports of realm "wan", whose address is 198.51.100.7"#
        ),
        .init(
            "[[routes]]",
            "[trunks.carrier-b]\nrealm = \"wan\"\npeer = \"203.0.113.20\"\nsources = [\"203.0.113.0/24\", \"0.0.0.0/0\"]\n[[routes]]",
            "25:9: warning: trunks.carrier-b: no route uses this trunk; it only takes calls, and 911 when others fail",
            #"28:12: warning: trunks.carrier-b.sources[1]: 203.0.113.0/24 overlaps 203.0.113.10/32 of trunk "carrier-a", which takes those calls"#,
            "28:30: warning: trunks.carrier-b.sources[2]: 0.0.0.0/0 accepts calls from anyone on the Internet",
            #"28:30: warning: trunks.carrier-b.sources[2]: 0.0.0.0/0 overlaps 203.0.113.10/32 of trunk "carrier-a", which takes those calls"#
        ),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10\"\ncalls-max = 121",
            "24:1: warning: trunks.carrier-a.calls-max: 121 is more than calls.maximum (120)"),
        .init(
            "peer = \"203.0.113.10\"",
            "peer = \"203.0.113.10\"\nattempt-timeout = \"9s\"\n[calls]\nring-timeout = \"9s\"",
            "24:1: error: trunks.carrier-a.attempt-timeout: 9s is not shorter than calls.ring-timeout (9s)"),
        .init(
            "pattern = \"9NXXXXXX\"", "pattern = \"9.\"",
            #"26:1: error: routes[1].pattern: "9." would also take 911: emergency calls and their test calls never go by a route; use a pattern that cannot match it, as "9NXXXXXX""#
        ),
        .init(
            "pattern = \"9NXXXXXX\"", "pattern = \"93[3]\"",
            #"26:1: error: routes[1].pattern: "93[3]" would also take 933: emergency calls and their test calls never go by a route; use a pattern that cannot match it, as "9NXXXXXX""#
        ),
        .init(
            "pattern = \"9NXXXXXX\"", "pattern = \"99XX\"",
            #"26:1: warning: routes[1].pattern: "99XX" also matches 9911, which is an emergency call and goes another way"#
        ),
        .init(
            "pattern = \"9NXXXXXX\"", "pattern = \"2XXX\"",
            #"26:1: warning: routes[1].pattern: "2XXX" also matches station "2001", which rings instead"#),
        .init(
            "strip = 1", "strip = 9",
            "27:1: error: routes[1].strip: 9 is more than the 8 characters of the shortest number"),
        .init(
            "strip = 1\nprepend = \"+1313\"", "strip = 8",
            "27:1: error: routes[1].strip: nothing would be left of a number of 8 characters"),
        .init(
            "trunks = [\"carrier-a\"]", "trunks = [\"carrier-b\", \"carrier-a\", \"carrier-a\"]",
            #"29:11: error: routes[1].trunks[1]: no trunk is named "carrier-b"; did you mean "carrier-a"?; there are: carrier-a"#,
            #"29:37: warning: routes[1].trunks[3]: trunk "carrier-a" is given twice"#),
        .init(
            "[numbers]", "[[routes]]\npattern = \"9NXXXXXX\"\ntrunks = [\"carrier-a\"]\n[numbers]",
            #"32:1: warning: routes[2].pattern: "9NXXXXXX" is the pattern of routes[1], too, which matches first"#),
        .init(
            "\"+13135550101\" = \"2001\"", "\"+13135550101\" = [\"2001\", \"2O01\", \"2001\"]",
            #"32:27: error: numbers."+13135550101"[2]: no station is named "2O01"; did you mean "2001"?; there are: 2001"#,
            #"32:35: warning: numbers."+13135550101"[3]: station "2001" is given twice"#),
        .init(
            "[numbers]", "[calls]\nsession-expires = \"100s\"\nsession-expires-min = \"101s\"\n[numbers]",
            "33:1: error: calls.session-expires-min: 101s is more than session-expires (100s)"),
        .init(
            "[numbers]", "[media]\ninactivity-timeout = \"5s\"\nsilence-event = \"6s\"\n[numbers]",
            "33:1: error: media.silence-event: 6s is more than inactivity-timeout (5s), so the event would never come"),
        .init(
            "[numbers]", "[signalling]\nreceive = \"rings\"\n[numbers]",
            #"32:11: error: signalling.receive: "rings" is not allowed; did you mean "ring"?; expected one of "socket", "ring""#
        ),
        .init(
            "[numbers]", "[signalling]\nring = true\n[numbers]",
            "32:1: error: signalling.ring: unknown key; allowed here: receive"),
        .init(
            "[numbers]", "[emergency]\ntrunks = [\"carier-a\"]\nattempt-timeout = \"60s\"\n[numbers]",
            #"32:11: error: emergency.trunks[1]: no trunk is named "carier-a"; did you mean "carrier-a"?; there are: carrier-a"#,
            #"33:19: error: emergency.attempt-timeout: "60s" is not allowed; expected a duration from "1s" to "30s", with the unit ms, s, m or h"#
        ),
        .init(
            "[numbers]",
            "[emergency]\ndefault-site = \"plan\"\noutside-prefixes = [\"9a\"]\nnumbers = [\"933\"]\n"
                + "callback-window = \"4m\"\n[sites.plant]\n[numbers]",
            #"32:1: error: emergency.default-site: no site is named "plan"; did you mean "plant"?; there are: plant"#,
            #"33:21: error: emergency.outside-prefixes[1]: "9a" is not allowed; expected a list of prefixes of 1 to 3 digits, '*' or '#', as ["9"]"#,
            #"34:12: error: emergency.numbers[1]: "933" is not allowed; expected a list of numbers of 2 to 6 digits that mean 911, as ["112"]"#,
            #"35:19: error: emergency.callback-window: "4m" is not allowed; expected a duration from "300s" to "86400s", with the unit ms, s, m or h"#,
            "36:8: warning: sites.plant.address: nobody would be found by it: street, house number, city, state, "
                + "postal code missing"),
        .init(
            "[numbers]",
            "[sites.a]\nnetworks = [\"192.0.2.9-192.0.2.1\", \"192.0.2.0/24\"]\ntrunks = \"b\"\nelins = [\"911\"]\n"
                + "address = { state = \"Michigan\", postal-code = \"1\", street = \"Elm\", house-number = \"1\", "
                + "city = \"X\" }\n[[sites.a.subnets]]\nnetworks = \"192.0.2.8/29\"\n[numbers]",
            #"32:13: error: sites.a.networks[1]: "192.0.2.9-192.0.2.1" is not allowed; expected a list of networks, as ["192.168.10.0/24", "192.168.20.1-192.168.20.99"]"#,
            #"33:10: error: sites.a.trunks[1]: no trunk is named "b"; there are: carrier-a"#,
            #"34:10: error: sites.a.elins[1]: "911" is not allowed; expected a list of E.164 numbers, as ["+13135550142"]"#,
            #"35:21: error: sites.a.address.state: "Michigan" is not allowed; expected two capital letters, as "MI""#,
            #"35:47: error: sites.a.address.postal-code: "1" is not allowed; expected a ZIP code, as "48201" or "48201-1234""#,
            "36:11: error: sites.a.subnets[1]: says nothing; give it a building, a floor or a room"),
        .init(
            "number = \"+13135550101\"", "site = \"lab\"",
            #"19:1: error: stations.2001.site: no site is named "lab"; there is none"#),
        .init(
            "[stations.2001]",
            "[emergency]\noutside-prefixes = [\"8\"]\n[stations.8911]\npassword = \"correct-horse\"\n"
                + "[stations.2001]",
            "19:11: error: stations.8911: 8911 is an emergency number: a station of that name would take calls for "
                + "help; rename it"),
        .init(
            "\"9NXXXXXX\"", "\"9911\"",
            #"26:1: error: routes[1].pattern: "9911" is an emergency number: such calls never go by a route, so this one is never taken"#
        ),
        .init(
            "peer = \"203.0.113.10\"", "peer = \"203.0.113.10\"\nresource-priority = \"esnet.5\"",
            #"24:21: error: trunks.carrier-a.resource-priority: "esnet.5" is not allowed; expected "esnet.0" to "esnet.4""#
        ),
        .init(
            "[numbers]", "[qos]\nsignalling = \"preserve\"\nmedia = 64\nemergency = \"AF14\"\n[numbers]",
            "32:14: error: qos.signalling: the box writes its own messages, nothing is preserved; expected a class as "
                + "\"EF\", \"CS3\" or \"AF41\", or a number from 0 to 63",
            "33:9: error: qos.media: 64 is not allowed; expected a class as \"EF\", \"CS3\" or \"AF41\", or a number "
                + "from 0 to 63, or \"preserve\"",
            "34:13: error: qos.emergency: \"AF14\" is not allowed; expected a class as \"EF\", \"CS3\" or \"AF41\", or "
                + "a number from 0 to 63, or \"preserve\""),
        .init(
            "[numbers]",
            "[shield]\nsource-rate = 0\nblock-time = \"2h\"\nblock-time-max = \"1h\"\nscanners = [\"ab\"]\n"
                + "allow = [\"192.0.2.0/33\", \"192.0.2.7/24\"]\nconsole = [\"::ffff:192.0.2.0/120\"]\n"
                + "block-tme = \"1h\"\n[numbers]",
            "32:15: error: shield.source-rate: 0 is not allowed; expected an integer from 1 to 1000000",
            "33:14: error: shield.block-time: block-time (7200s) is longer than block-time-max (3600s)",
            "35:13: error: shield.scanners[1]: \"ab\" is too short: it would block phones whose name contains it; write at "
                + "least 4 characters",
            "36:10: error: shield.allow[1]: \"192.0.2.0/33\" is no address or prefix; expected one as \"203.0.113.9\", "
                + "\"203.0.113.0/24\" or \"2001:db8::/64\"",
            "36:26: error: shield.allow[2]: \"192.0.2.7/24\" has bits beyond its length; write \"192.0.2.0/24\"",
            "37:12: error: shield.console[1]: \"::ffff:192.0.2.0/120\" is IPv4 written as IPv6; write \"192.0.2.0/24\"",
            "38:1: error: shield.block-tme: unknown key; did you mean \"block-time\"?; allowed here: enabled, silent, "
                + "source-rate, source-burst, station-rate, station-burst, unknown-rate, unknown-burst, score-limit, "
                + "score-window, block-time, block-time-max, scanners, allow, console"),
    ]

    @Test("name the place, the key and what is allowed", arguments: keys + trunkKeys + routeKeys + acrossTables)
    func findings(_ sample: Case) {
        let outcome = Sample.parse(Sample.replacing(sample.old, with: sample.new))
        #expect(outcome.issues.map(\.description) == sample.findings.map { "box.toml:" + $0 })
        #expect((outcome.configuration == nil) == sample.findings.contains { $0.contains(": error: ") })
    }
}
