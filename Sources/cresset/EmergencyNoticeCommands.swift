import ArgumentParser
import Console
import Primitives

/// `cresset emergency notices`: who was told of the last calls for help, and whether it reached them.
struct NoticesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "notices", abstract: "Show who was told of the last 911 calls, and what came of it.")

    @OptionGroup var options: ControlOptions

    func run() throws {
        let answer = try options.ask("emergency-notices")
        print(options.json ? answer.prettyText + "\n" : NoticesReport.render(answer), terminator: "")
    }
}

/// `cresset emergency ack`: somebody knows of it, so that nobody else has to be told and the beacon may go out.
struct AcknowledgeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ack", abstract: "Acknowledge 911 calls: stops escalation, and the beacon once they are over.",
        discussion: "Your user name and the time go into the record of the call.")

    @Argument(help: "The call's ID, or how it begins; without it, all of them.")
    var id: String?

    @OptionGroup var options: ControlOptions

    func run() throws {
        let result = try options.ask("emergency-acknowledge", with: id.map { [.init("call", .string($0))] } ?? [])
        print(options.json ? result.prettyText + "\n" : NoticesReport.renderAcknowledged(result), terminator: "")
    }
}
