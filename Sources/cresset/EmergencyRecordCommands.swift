import ArgumentParser
import Console
import FlatFiles
import LinuxIO
import Primitives

/// Where records are, for every command that reads them without the daemon.
struct RecordOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The daemon's state directory.", valueName: "dir"))
    var state = "/var/lib/cresset"

    @Flag(help: "Show numbers and names of persons in full.")
    var reveal = false

    var files: LedgerFiles { LedgerFiles(directory: state + "/emergency", name: "emergency") }

    /// Runs a look at the files; a failure is one sentence.
    func reading<Value>(_ body: () throws(SystemCallError) -> Value) throws -> Value {
        do throws(SystemCallError) {
            return try body()
        } catch {
            StandardError.write("cresset: \(error)\n")
            throw ExitCode(74)  // EX_IOERR
        }
    }

    /// The latest line of each record of these months.
    func records(ofMonths months: [String]) throws -> [JSONValue] {
        try reading { () throws(SystemCallError) in try files.records(ofMonths: months, key: "id").map(\.record) }
    }
}

/// A month as `2026-11`.
struct Month: ExpressibleByArgument, CustomStringConvertible {
    let text: String
    /// Calls that begin on its last day may end in it.
    let next: String

    init?(argument: String) {
        let parts = argument.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].utf8.count == 4, parts[1].utf8.count == 2, let year = Int(parts[0]),
            let month = Int(parts[1]), 1...12 ~= month, year > 0
        else { return nil }
        text = argument
        next = month == 12 ? "\((year + 1).padded(4))-01" : "\(year.padded(4))-\((month + 1).padded(2))"
    }

    var description: String { text }
}

/// `cresset report`: what was, from the files the daemon keeps.
struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Reports of a month, read from the box's files; no daemon needed.",
        subcommands: [EmergencyReportCommand.self])
}

struct EmergencyReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "emergency",
        abstract: "Calls for help of a month: how many, how fast, over what, who was told.",
        discussion: "Times are UTC. Numbers of persons are masked unless --reveal is given.")

    enum Format: String, ExpressibleByArgument, CaseIterable { case text, json, csv }

    @Option(help: ArgumentHelp("The month, as 2026-11.", valueName: "month"))
    var month: Month

    @Option(help: "Only the calls of one site.")
    var site: String?

    @Option(help: "text, json, or csv with one row per call.")
    var format = Format.text

    @OptionGroup var options: RecordOptions

    func run() throws {
        let months = try options.reading { () throws(SystemCallError) in try options.files.months() }
        guard months.contains(month.text) else {
            let known = months.isEmpty ? "there are none at all" : "there are \(months.joined(separator: ", "))"
            StandardError.write("cresset: no records of \(month) in \(options.state)/emergency; \(known)\n")
            throw ExitCode(1)
        }
        let records = try options.records(ofMonths: [month.text, month.next])
        if let site, !records.contains(where: { $0["site"]?.stringValue == site }) {
            let known = Set(records.compactMap { $0["site"]?.stringValue }).sorted().joined(separator: ", ")
            StandardError.write(
                "cresset: no call of \(month) was at a site \"\(site)\"; "
                    + (known.isEmpty ? "none had a site\n" : "there were calls at \(known)\n"))
            throw ExitCode(1)
        }
        let report = EmergencyReport(month: month.text, site: site, records: records)
        switch format {
        case .text: print(report.text, terminator: "")
        case .json: print(report.json(revealed: options.reveal).prettyText)
        case .csv: print(report.csv(revealed: options.reveal), terminator: "")
        }
    }
}

/// `cresset emergency list`
struct EmergencyListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List calls for help, read from the files; no daemon needed.")

    @Option(help: ArgumentHelp("Only those of one month, as 2026-11; else the last three.", valueName: "month"))
    var month: Month?

    @OptionGroup var options: RecordOptions

    @Flag(help: "Print the records as JSON.")
    var json = false

    func run() throws {
        var months = try options.reading { () throws(SystemCallError) in Array(try options.files.months().suffix(3)) }
        if let month { months = [month.text, month.next] }
        var records = try options.records(ofMonths: months)
        if let month { records = EmergencyReport(month: month.text, site: nil, records: records).records }
        if !options.reveal { records = records.map(EmergencyRecordText.masked) }
        print(json ? JSONValue.array(records).prettyText + "\n" : EmergencyRecordText.list(records), terminator: "")
    }
}

/// `cresset emergency show ID`
struct EmergencyShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one call for help in full, read from the files.")

    @Argument(help: "The record's ID, or how it begins.")
    var id: String

    @OptionGroup var options: RecordOptions

    @Flag(help: "Print the record as JSON.")
    var json = false

    func run() throws {
        let months = try options.reading { () throws(SystemCallError) in try options.files.months() }
        let found = try options.records(ofMonths: months).filter { $0["id"]?.stringValue?.hasPrefix(id) == true }
        guard let record = found.first, found.count == 1 else {
            StandardError.write(
                "cresset: \(found.isEmpty ? "no record has" : "several records have") the ID \(id); "
                    + "`cresset emergency list` lists them\n")
            throw ExitCode(1)
        }
        let shown = options.reveal ? record : EmergencyRecordText.masked(record)
        print(json ? shown.prettyText + "\n" : EmergencyRecordText.details(shown), terminator: "")
    }
}

/// `cresset emergency verify-log`
struct EmergencyVerifyLogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify-log",
        abstract: "Check that no line of the records was changed, removed or put in.",
        discussion: """
            Each line carries the hash of the one before it, over all months. Exits 0 when the chain is whole, 1 when it \
            is not. That the newest lines were cut off cannot be seen: keep copies elsewhere, or note the last number.
            """)

    @OptionGroup var options: RecordOptions

    func run() throws {
        let result = try options.reading { () throws(SystemCallError) in try options.files.verify() }
        for finding in result.findings { print(finding) }
        let files = "\(result.fileCount) file\(result.fileCount == 1 ? "" : "s")"
        guard result.findings.isEmpty else {
            print("\(result.lineCount) lines in \(files): the chain is broken")
            throw ExitCode(1)
        }
        print("\(result.lineCount) lines in \(files): the chain is whole")
    }
}
