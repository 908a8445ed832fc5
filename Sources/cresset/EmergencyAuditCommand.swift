import ArgumentParser
import Configuration
import Console
import Primitives

/// `cresset emergency audit`: stations help would not find.
struct EmergencyAuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "List the stations whose location would not do for a call for help.",
        discussion: """
            Reads a configuration directory, not the daemon. Exits 0 when every station has a dispatchable location,
            1 when one has not or the configuration has errors.
            """)

    @Option(help: "The directory of *.toml files.")
    var config = "/etc/cresset"

    func run() throws {
        let outcome = BoxConfiguration.load(directory: config)
        guard let box = outcome.configuration else {
            for issue in outcome.errors { StandardError.write("\(issue)\n") }
            throw ExitCode(1)
        }
        let stations = Self.stations(of: box)
        print(EmergencyAudit.render(stations), terminator: "")
        if stations.contains(where: { !$0.missing.isEmpty }) { throw ExitCode(1) }
    }

    static func stations(of box: BoxConfiguration) -> [EmergencyAudit.Station] {
        box.stations.map {
            EmergencyAudit.Station(name: $0.name, displayName: $0.displayName, location: box.assignedLocation(of: $0))
        }
    }
}
