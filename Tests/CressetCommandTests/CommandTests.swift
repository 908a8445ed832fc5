import ArgumentParser
import Configuration
import Console
import Primitives
import Testing

@testable import cresset

@Suite("Command line")
struct CommandTests {
    @Test("has defaults for everything")
    func defaults() throws {
        let check = try #require(try CressetCommand.parseAsRoot(["check"]) as? CheckCommand)
        #expect(check.config == "/etc/cresset")
        let status = try #require(try CressetCommand.parseAsRoot(["status"]) as? StatusCommand)
        #expect(status.options.control == "/run/cresset/control.sock")
        #expect(!status.options.json)
        let calls = try #require(
            try CressetCommand.parseAsRoot(["calls", "7f3a", "--json", "--control", "/x"]) as? CallsCommand)
        #expect(calls.id == "7f3a" && calls.options.json && calls.options.control == "/x")
    }

    @Test(
        "refuses what it does not know",
        arguments: [["stat"], ["status", "--jsn"], ["check", "--config"], ["calls", "1", "2"]])
    func refuses(_ arguments: [String]) {
        #expect(throws: (any Error).self) { try CressetCommand.parseAsRoot(arguments) }
    }

    @Test("reads orders to the shield")
    func shield() throws {
        let block = try #require(
            try CressetCommand.parseAsRoot(
                ["shield", "block", "192.0.2.0/24", "--for", "10m", "--reason", "why", "--force"])
                as? ShieldBlockCommand)
        #expect(block.order.prefix == "192.0.2.0/24" && block.order.duration == "10m" && block.force)
        #expect(try CressetCommand.parseAsRoot(["shield"]) is ShieldListCommand)
        #expect(try CressetCommand.parseAsRoot(["shield", "unblock", "2001:db8::/64"]) is ShieldUnblockCommand)
    }

    @Test(
        "refuses orders that cannot be meant",
        arguments: [
            (["block", "192.0.2.0/33"], "\"192.0.2.0/33\" is no address or prefix"),
            (["block", "192.0.2.1/24"], "has bits beyond its length; write \"192.0.2.0/24\""),
            (["allow", "example.com"], "\"example.com\" is no address or prefix"),
            (["unblock", ""], "\"\" is no address or prefix"),
            (["block", "192.0.2.1", "--for", "soon"], "\"soon\" is no duration"),
            (["block", "192.0.2.1", "--for", "0s"], "\"0s\" is no duration"),
        ])
    func refusesOrders(_ arguments: [String], _ text: String) {
        do {
            _ = try CressetCommand.parseAsRoot(["shield"] + arguments)
            Issue.record("accepted")
        } catch {
            #expect(CressetCommand.message(for: error).contains(text))
        }
    }

    @Test("audits where stations are, by their own tables and the default site")
    func emergencyAudit() throws {
        var address = CivicAddress(place: PlaceDetail(floor: "1"))
        address.street = "Elm"
        let box = BoxConfiguration(
            system: .init(name: "box", domain: "branch.example"),
            stations: [
                .init(name: "301", realm: "lan", password: Secret("x"), site: "plant", place: .init(room: "7")),
                .init(name: "302", realm: "lan", password: Secret("x")),
            ],
            sites: [.init(name: "office"), .init(name: "plant", address: address)],
            emergency: .init(defaultSite: "plant"))
        let stations = EmergencyAuditCommand.stations(of: box)
        #expect(stations.map { $0.location?.description } == ["Elm, floor 1, room 7", "Elm, floor 1"])
        #expect(stations.allSatisfy { $0.missing == ["house number", "city", "state", "postal code"] })
        #expect(try CressetCommand.parseAsRoot(["emergency", "audit"]) is EmergencyAuditCommand)
    }

    @Test("sums up a check")
    func summary() {
        func issue(_ severity: ConfigurationIssue.Severity) -> ConfigurationIssue {
            ConfigurationIssue(severity: severity, file: "a", line: 1, column: 1, key: "", message: "m")
        }
        let wrong = ConfigurationOutcome(configuration: nil, issues: [issue(.error), issue(.warning), issue(.error)])
        #expect(CheckSummary.text(wrong, directory: "/d") == "/d: 2 errors, 1 warning")
        let right = ConfigurationOutcome(
            configuration: BoxConfiguration(
                system: .init(name: "x", domain: "y"),
                stations: [.init(name: "2001", realm: "lan", password: Secret("x"))]), issues: [])
        #expect(
            CheckSummary.text(right, directory: "/d")
                == "/d: no errors, no warnings; no realms, 1 station, no trunks, no routes, no numbers")
    }

    @Test("finds a call by its ID or how it begins", arguments: [("a1", 1), ("a", 2), ("a12", 1), ("b", 0), ("", 3)])
    func choosing(_ id: String, _ count: Int) throws {
        let answer: JSONValue = ["calls": [["id": "a1"], ["id": "a12"], ["id": 7], ["id": "c"]]]
        #expect(CallList.choosing(id, from: answer).elements.count == count)
    }
}
