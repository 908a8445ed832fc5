import Appliance
import ArgumentParser
import Configuration
import Console
import FlatFiles
import LinuxIO
import Primitives

/// `cresset emergency verify`
struct EmergencyVerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check what the law and good practice ask of an office's 911, point by point.",
        discussion: """
            Asks the running daemon which configuration it has and how its trunks and phones are; without a daemon it \
            checks the configuration alone. Calls are tried in an engine of the command's own: nothing is dialled. \
            Exits 0 when nothing is missing, 1 when something is.
            """)

    @Option(help: "The directory of *.toml files, where the daemon does not run.")
    var config = "/etc/cresset"

    @Option(help: ArgumentHelp("The daemon's state directory.", valueName: "dir"))
    var state = "/var/lib/cresset"

    @Option(help: ArgumentHelp("The daemon's control socket.", valueName: "path"))
    var control = "/run/cresset/control.sock"

    @Flag(help: "Print the points as JSON.")
    var json = false

    func run() throws {
        let status = askStatus()
        let directory = status?["configuration"]?["directory"]?.stringValue ?? config
        let outcome = BoxConfiguration.load(directory: directory)
        guard let configuration = outcome.configuration else {
            for issue in outcome.errors { StandardError.write("\(issue)\n") }
            StandardError.write("cresset: \(directory) has errors; `cresset check --config \(directory)` tells more\n")
            throw ExitCode(78)  // EX_CONFIG
        }
        let files = LedgerFiles(directory: state + "/emergency", name: "emergency")
        var records: [JSONValue] = []
        var recordsError: String?
        do throws(SystemCallError) {
            records = try files.records(ofMonths: Array(try files.months().suffix(2)), key: "id").map(\.record)
        } catch {
            recordsError = "\(error)"
        }
        let verification = EmergencyVerification(
            configuration, status: status, records: records, recordsError: recordsError, now: Clock.wall
        ).json
        if json {
            print(verification.prettyText)
        } else {
            print(
                status == nil
                    ? "cressetd does not run: \(directory) is checked alone\n"
                    : "\(configuration.system.name), as \(directory) says and cressetd runs\n")
            print(EmergencyVerificationText.render(verification), terminator: "")
        }
        if verification["complete"]?.boolValue != true { throw ExitCode(1) }
    }

    /// nil when nobody answers.
    private func askStatus() -> JSONValue? {
        do throws(ControlError) {
            return try ControlClient(path: control).result(of: "status")
        } catch {
            return nil
        }
    }
}
