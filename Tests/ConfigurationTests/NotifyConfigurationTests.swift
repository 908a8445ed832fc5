import Configuration
import Primitives
import Testing

@Suite("Who is told of a 911 call: [notify]")
struct NotifyConfigurationTests {
    static let rich =
        Sample.text + """
            [sites.plant]
            [notify]
            escalation-after = "45s"
            tries = 3
            retry-after = "500ms"
            key = "#"
            repetitions = 2
            tests = true
            smtp = { server = "mail.example.com", from = "box@example.com", username = "box", password = "smtp-password" }
            [notify.contacts.desk]
            station = "2001"
            [notify.contacts.manager]
            number = "+13135550100"
            trunks = "carrier-a"
            level = 2
            sites = "plant"
            [notify.contacts.hall]
            paging = "sip:all@192.168.50.60:5062"
            realm = "lan"
            [notify.contacts.speakers]
            multicast = "239.255.10.1:5004"
            realm = "lan"
            [notify.contacts.security]
            email = ["security@example.com", "front-desk@example.com"]
            [notify.contacts.sms]
            webhook = "https://sms.example.com/send"
            secret = "tide-and-lighthouse"

            """

    @Test("every key is read, and written back as it was")
    func roundTrip() throws {
        let outcome = Sample.parse(Self.rich)
        #expect(outcome.issues.filter { $0.severity == .error } == [])
        let box = try #require(outcome.configuration)
        let notify = box.notify
        #expect(notify.escalationAfter == .seconds(45))
        #expect((notify.tries, notify.retryAfter, notify.key, notify.repetitions) == (3, .milliseconds(500), "#", 2))
        #expect(notify.tests)
        #expect(notify.smtp?.port == 587)
        #expect(notify.smtp?.security == .startTLS)
        #expect(notify.contacts.map(\.name) == ["desk", "hall", "manager", "security", "sms", "speakers"])
        #expect(notify.contacts[2].way == .number("+13135550100", trunks: ["carrier-a"]))
        #expect((notify.contacts[2].level, notify.contacts[2].sites) == (2, ["plant"]))
        let written = box.rendered(secrets: .revealed)
        #expect(Sample.parse(written).configuration == box)
        let masked = box.rendered(secrets: .masked)
        #expect(!masked.contains("smtp-password") && !masked.contains("tide-and-lighthouse"))
        #expect(box.notifyAdvice == nil)
    }

    @Test("a changed contact is one line, a changed secret shows none")
    func differences() throws {
        let old = try #require(Sample.parse(Self.rich).configuration)
        var new = old
        new.notify.contacts[2].level = 3
        new.notify.contacts[4].way = .webhook(
            .init(url: "https://sms.example.com/send", secret: Secret("other-secret")))
        new.notify.tries = 9
        #expect(
            new.difference(from: old).map(\.description) == [
                "notify: tries 3 → 9", "contact manager: level 2 → 3", "contact sms: secret changed",
            ])
    }

    struct Case: Sendable {
        let text: String
        let findings: [String]
        init(_ text: String, _ findings: String...) { (self.text, self.findings) = (text, findings) }
    }

    /// Behind the sample, from line 33 on.
    static let wrong: [Case] = [
        .init(
            "[notify.contacts.a]\nlevel = 2\n",
            "33:18: error: notify.contacts.a: says nothing to reach it by; expected one of \"station\", \"number\", "
                + "\"paging\", \"multicast\", \"email\", \"webhook\""),
        .init(
            "[notify.contacts.a]\nstation = \"2001\"\nemail = \"a@example.com\"\n",
            "33:18: error: notify.contacts.a: \"station\" and \"email\" are given; make a contact of each"),
        .init(
            "[notify.contacts.a]\nstation = \"2002\"\n",
            "34:1: error: notify.contacts.a.station: no station is named \"2002\"; did you mean \"2001\"?; there are: 2001"
        ),
        .init(
            "[notify.contacts.a]\nemail = \"nobody\"\n",
            "34:1: error: notify.contacts.a.email: no mail can be sent without [notify.smtp], the server that takes it",
            "34:9: error: notify.contacts.a.email[1]: \"nobody\" is no mail address; expected one as "
                + "\"security@example.com\""),
        .init(
            "[notify.contacts.a]\nnumber = \"911\"\n",
            "34:10: error: notify.contacts.a.number: 911 is an emergency number; a contact is somebody here to be told"),
        .init(
            "[notify.contacts.a]\nmulticast = \"192.0.2.1:5004\"\nrealm = \"lan\"\n",
            "34:13: error: notify.contacts.a.multicast: \"192.0.2.1:5004\" is not allowed; expected a multicast address and "
                + "port, as \"239.255.10.1:5004\""),
        .init(
            "[notify.contacts.a]\nstation = \"2001\"\nsites = [\"gone\"]\nsecret = \"x\"\n",
            "35:10: error: notify.contacts.a.sites[1]: no site is named \"gone\"; there is none",
            "36:10: error: notify.contacts.a.secret: has no meaning beside \"station\""),
        .init(
            "[notify]\nkey = \"12\"\n",
            "34:7: error: notify.key: \"12\" is not allowed; expected one of 0 to 9, * and #"),
    ]

    @Test("what is wrong is said with its place", arguments: wrong)
    func findings(_ sample: Case) {
        let outcome = Sample.parse(Sample.text + sample.text)
        #expect(outcome.issues.map(\.description) == sample.findings.map { "box.toml:" + $0 })
        #expect(outcome.configuration == nil)
    }

    @Test("nobody, or only a mailbox, is worth a word; a contact of the site is enough")
    func advice() throws {
        let nobody = try #require(Sample.parse(Sample.text).configuration)
        #expect(nobody.notifyAdvice?.contains("nobody would be told") == true)
        let mailbox = """
            [notify.smtp]
            server = "mail.example.com"
            from = "box@example.com"
            [notify.contacts.security]
            email = "security@example.com"
            """
        let mailOnly = try #require(Sample.parse(Sample.text + mailbox).configuration)
        #expect(mailOnly.notifyAdvice?.contains("only e-mail") == true)
        let site = try #require(Sample.parse(Sample.text + "[sites.plant]\ncontacts = [\"2001\"]\n").configuration)
        #expect(site.notifyAdvice == nil)
        #expect(site.notifyContacts.map(\.name) == ["plant/2001"])
        #expect(site.notifyContacts.map(\.sites) == [["plant"]])
    }
}
