import ArgumentParser
import Console
import Glibc
import LinuxIO
import Primitives

/// `cresset emergency prove`
struct EmergencyProveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prove",
        abstract: "Place 933 test calls, of each site over each of its trunks, and tell what was heard.",
        discussion: """
            The box calls 933 itself, with the site's location and number as a station's call would have them, listens \
            and hangs up. 911 is not dialled. Exits 0 when every call was answered and heard, 1 when not.
            """)

    @Option(help: "Only of one site.")
    var site: String?

    @Option(help: "Only over one trunk; any will do, not just the site's own.")
    var trunk: String?

    @OptionGroup var options: ControlOptions

    private enum Limits {
        static let pollMicroseconds: UInt32 = 300_000
    }

    func run() throws {
        var arguments: [JSONValue.Member] = []
        if let site { arguments.append(.init("site", .string(site))) }
        if let trunk { arguments.append(.init("trunk", .string(trunk))) }
        var results = try options.ask("emergency-prove", with: arguments)
        while (results["waiting"]?.integerValue ?? 0) > 0 {
            usleep(Limits.pollMicroseconds)
            results = try options.ask("emergency-prove", with: [.init("action", "results")])
        }
        let proofs = (results["proofs"]?.arrayValue ?? []).filter { proof in
            (site == nil || proof["site"]?.stringValue == site)
                && (trunk == nil || proof["trunk"]?.stringValue == trunk)
        }
        print(
            options.json ? JSONValue.array(proofs).prettyText + "\n" : EmergencyRecordText.proofs(proofs),
            terminator: "")
        if proofs.isEmpty || proofs.contains(where: { $0["good"]?.boolValue != true }) { throw ExitCode(1) }
    }
}
