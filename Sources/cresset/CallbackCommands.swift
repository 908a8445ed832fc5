import ArgumentParser
import Console
import LinuxIO
import Primitives

struct EmergencyNumbersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "elins",
        abstract: "List the numbers leased to callers for help, and how long they may be called back.")

    @OptionGroup var options: ControlOptions

    func run() throws {
        let list = try options.ask("elins")
        print(options.json ? list.prettyText + "\n" : CallbackReport.render(list), terminator: "")
    }
}

struct TestModeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test-mode",
        abstract: "Block every 911 for a while, for tests; 933 is still placed.",
        discussion: "It ends by itself and with a restart, shows in every answer of cresset, and stands in the log.",
        subcommands: [TestModeShowCommand.self, TestModeArmCommand.self, TestModeDisarmCommand.self],
        defaultSubcommand: TestModeShowCommand.self)
}

extension ControlOptions {
    fileprivate func askTestMode(_ action: String, with arguments: [JSONValue.Member] = []) throws {
        let fact = try ask("test-mode", with: [.init("action", .string(action))] + arguments)
        print(json ? fact.prettyText + "\n" : CallbackReport.renderTestMode(fact), terminator: "")
    }
}

struct TestModeShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Say whether 911 is blocked, and why.")

    @OptionGroup var options: ControlOptions

    func run() throws { try options.askTestMode("show") }
}

struct TestModeArmCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "arm", abstract: "Block every 911 for so many minutes; for root.")

    @Argument(help: "1 to 60.")
    var minutes: Int

    @Flag(help: "Also on a box marked system.production: nobody here needs 911 meanwhile.")
    var productionAcknowledged = false

    @OptionGroup var options: ControlOptions

    func validate() throws {
        guard (1...60).contains(minutes) else { throw ValidationError("test mode is armed for 1 to 60 minutes") }
    }

    func run() throws {
        try options.askTestMode(
            "arm",
            with: [
                .init("minutes", .init(minutes)), .init("production-acknowledged", .bool(productionAcknowledged)),
            ])
    }
}

struct TestModeDisarmCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disarm", abstract: "Place 911 again; for root.",
        discussion: "What the environment or the configuration's path say is not for disarming: restart without it.")

    @OptionGroup var options: ControlOptions

    func run() throws { try options.askTestMode("disarm") }
}
