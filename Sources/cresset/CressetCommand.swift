import ArgumentParser
import Configuration
import Console
import LinuxIO
import Primitives

/// `cresset`: checks a configuration without the daemon, and asks the running daemon over its control socket.
@main
struct CressetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cresset",
        abstract: "The command line of the Cresset voice edge.",
        subcommands: [
            CheckCommand.self, StatusCommand.self, CallsCommand.self, EmergencyCommand.self, ReportCommand.self,
            ShieldCommand.self, AnnounceCommand.self, PageCommand.self, VersionCommand.self,
        ])
}

/// `cresset check`: everything that is wrong in a configuration directory.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check a configuration directory and print all findings.",
        discussion: """
            Each finding is one line, file:line:column: error: key: message. Warnings do not fail.
            Exits 0 when there is no error, 1 when there is.
            """)

    @Option(help: "The directory of *.toml files.")
    var config = "/etc/cresset"

    func run() throws {
        var outcome = BoxConfiguration.load(directory: config)
        if let advice = outcome.configuration?.notifyAdvice {
            outcome.issues.append(
                ConfigurationIssue(
                    severity: .warning, file: config, line: 0, column: 0, key: "notify", message: advice))
        }
        for issue in outcome.issues { print(issue) }
        print(CheckSummary.text(outcome, directory: config))
        if outcome.configuration == nil { throw ExitCode(1) }
    }
}

/// The last line of `cresset check`.
enum CheckSummary {
    static func text(_ outcome: ConfigurationOutcome, directory: String) -> String {
        let warnings = counted(outcome.warnings.count, "warning")
        guard let box = outcome.configuration else {
            return "\(directory): \(counted(outcome.errors.count, "error")), \(warnings)"
        }
        let contents = [
            counted(box.realms.count, "realm"), counted(box.stations.count, "station"),
            counted(box.trunks.count, "trunk"), counted(box.routes.count, "route"),
            counted(box.numbers.count, "number"),
        ]
        return "\(directory): no errors, \(warnings); \(contents.joined(separator: ", "))"
    }

    private static func counted(_ count: Int, _ noun: String) -> String {
        "\(count == 0 ? "no" : "\(count)") \(noun)\(count == 1 ? "" : "s")"
    }
}

/// Where the daemon is, for every command that asks it.
struct ControlOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The daemon's control socket.", valueName: "path"))
    var control = "/run/cresset/control.sock"

    @Flag(help: "Print the daemon's answer as JSON.")
    var json = false

    /// Asks; a failure is printed as one sentence, and its exit code says what kind it is (sysexits.h).
    func ask(_ command: String, with arguments: [JSONValue.Member] = []) throws -> JSONValue {
        do throws(ControlError) {
            let answer = try ControlClient(path: control).answer(to: command, with: arguments)
            if let notice = answer.notice { StandardError.write("cresset: \(notice)\n") }
            return answer.result
        } catch {
            StandardError.write("cresset: \(error)\n")
            throw ExitCode(error.exitCode)
        }
    }
}

/// `cresset status`: how the box is.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the state of the running daemon.")

    @OptionGroup var options: ControlOptions

    func run() throws {
        let status = try options.ask("status")
        print(options.json ? status.prettyText + "\n" : StatusReport.render(status), terminator: "")
    }
}

/// `cresset calls`: the calls there are, or one in detail.
struct CallsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "calls", abstract: "List the calls of the running daemon, or show one in detail.")

    @Argument(help: "The call's ID, or how it begins.")
    var id: String?

    @OptionGroup var options: ControlOptions

    func run() throws {
        var answer = try options.ask("calls")
        if let id {
            let chosen = CallList.choosing(id, from: answer)
            guard chosen.elements.count == 1 else {
                StandardError.write(
                    "cresset: \(chosen.elements.isEmpty ? "no call has" : "several calls have") the ID \(id); "
                        + "`cresset calls` lists them\n")
                throw ExitCode(1)
            }
            answer = .object([.init("calls", .array(chosen.elements))])
        }
        print(
            options.json ? answer.prettyText + "\n" : CallList.render(answer, details: id != nil), terminator: "")
    }
}

extension CallList {
    /// The call with exactly this ID, or else all whose ID begins so.
    static func choosing(_ id: String, from answer: JSONValue) -> (elements: [JSONValue], isExact: Bool) {
        let calls = answer["calls"]?.arrayValue ?? []
        let exact = calls.filter { $0["id"]?.stringValue == id }
        if !exact.isEmpty { return (exact, true) }
        return (calls.filter { $0["id"]?.stringValue?.hasPrefix(id) == true }, false)
    }
}

/// `cresset version`: which release this is.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")

    func run() { print("cresset \(Version.text)") }
}
