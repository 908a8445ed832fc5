import Console
import Primitives
import TestSupport
import Testing

@Suite("Report of a month of calls for help")
struct EmergencyReportTests {
    private let records: [JSONValue]

    init() throws {
        let bytes = try Golden.input("emergency-records")
        records = try JSONValue(parsing: bytes.span)["records"]?.arrayValue ?? []
    }

    private func report(site: String? = nil) -> EmergencyReport {
        EmergencyReport(month: "2026-11", site: site, records: records)
    }

    @Test("as text fits 100 columns and names no person")
    func text() throws {
        let text = report().text
        try Golden.check("emergency-report", text)
        for line in text.split(separator: "\n") { #expect(DisplayText.width(String(line)) <= 100, "\(line)") }
        for secret in ["555010", "Front desk", "2001"] { #expect(!text.contains(secret)) }
    }

    @Test("of one site has only its calls")
    func site() throws { try Golden.check("emergency-report-plant", report(site: "plant").text) }

    @Test("as CSV has a row per call, and no formula")
    func csv() throws {
        try Golden.check("emergency-report-csv", report().csv(revealed: true))
        let masked = report().csv(revealed: false)
        #expect(!masked.contains("555010") && masked.contains("••01"))
    }

    @Test("as JSON")
    func json() throws {
        try Golden.check("emergency-report-json", report(site: "plant").json(revealed: false).prettyText + "\n")
    }

    @Test("of nothing says so")
    func nothing() {
        #expect(
            EmergencyReport(month: "2026-10", site: nil, records: records).text
                == "Emergency calls of 2026-10, all sites\n\nNo calls for help, no tests, no proofs.\n")
    }

    @Test("counts what the records say")
    func figures() {
        let report = report()
        #expect(report.calls.count == 3)
        #expect(report.blocked.count == 1)
        #expect(report.proofs.count == 2)
        #expect(report.tests.count == 1)
        #expect(report.failoverCount == 1)
        #expect(report.untoldCount == 2)
        #expect(report.inviteOutMicroseconds.median == 812)
        #expect(report.answerMilliseconds.worst == 6_100)
        #expect(report.trunks["carrier-b"]?.failures == ["timed out": 1])
    }

    @Test("lists, and shows one in full or with persons hidden")
    func details() throws {
        try Golden.check("emergency-list", EmergencyRecordText.list(records))
        try Golden.check("emergency-show", EmergencyRecordText.details(records[1]))
        try Golden.check("emergency-show-masked", EmergencyRecordText.details(EmergencyRecordText.masked(records[0])))
    }

    @Test(
        "no record, however odd, is a problem",
        arguments: [.null, .bool(true), .array([]), ["start": "2026-11-01"]] as [JSONValue])
    func odd(_ record: JSONValue) {
        #expect(EmergencyRecordText.list([record]).hasPrefix("START  ID"))
        #expect(EmergencyRecordText.details(record).contains("no trunk was asked"))
        let report = EmergencyReport(month: "2026-11", site: nil, records: [record])
        #expect(report.text.hasPrefix("Emergency calls of 2026-11, all sites\n"))
        #expect(report.csv(revealed: false).hasPrefix("start,id,"))
    }
}
