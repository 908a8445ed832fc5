import ArgumentParser
import Configuration
import Console
import Glibc
import LinuxIO
import Primitives

/// `cresset shield`: who is blocked and allowed, and the operator's word on it.
struct ShieldCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shield",
        abstract: "Show and change who may not talk to the box, and who always may.",
        discussion: """
            A prefix is an address, or as 203.0.113.0/24 or 2001:db8::/64. What you say survives a restart and \
            stands in the log with your name; automatic blocks end by themselves.
            """,
        subcommands: [
            ShieldListCommand.self, ShieldBlockCommand.self, ShieldAllowCommand.self, ShieldUnblockCommand.self,
        ],
        defaultSubcommand: ShieldListCommand.self)
}

struct ShieldListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List blocks and allowances.")

    @OptionGroup var options: ControlOptions

    func run() throws {
        let list = try options.ask("shield", with: [.init("action", "list")])
        print(options.json ? list.prettyText + "\n" : ShieldReport.render(list), terminator: "")
    }
}

/// What `block` and `allow` have in common.
struct OrderOptions: ParsableArguments {
    @Argument(help: "An address or prefix.")
    var prefix: String

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("How long, as 10m or 24h; without it, until taken back.", valueName: "duration"))
    var duration: String?

    @Option(help: "Why; stands in the list and in the log.")
    var reason = ""

    @OptionGroup var options: ControlOptions

    /// Checked here, so that a slip is told before the daemon is asked.
    func validate() throws {
        if case .failure(let mistake) = PrefixText.parse(prefix) { throw ValidationError(mistake.description) }
        if let duration, seconds == nil {
            throw ValidationError(
                "\"\(duration)\" is no duration; expected a number of at least one second with the unit s, m or h")
        }
    }

    private var seconds: Int64? {
        duration.flatMap { DurationText.parse($0) }.map(\.wholeSeconds).flatMap { $0 > 0 ? $0 : nil }
    }

    func give(_ action: String, force: Bool) throws {
        var arguments: [JSONValue.Member] = [
            .init("action", .string(action)), .init("prefix", .string(prefix)), .init("reason", .string(reason)),
            .init("force", .bool(force)),
        ]
        if let seconds { arguments.append(.init("seconds", .init(seconds))) }
        if let console = Console.address { arguments.append(.init("console", .string(console))) }
        let result = try options.ask("shield", with: arguments)
        print(options.json ? result.prettyText + "\n" : ShieldReport.renderOrder(action, result), terminator: "")
    }

    /// Where the person asking sits.
    private enum Console {
        /// Of an SSH session: "client port server port".
        static var address: String? {
            guard let text = getenv("SSH_CONNECTION") else { return nil }  // lives as long as the process
            return String(cString: text).split(separator: " ").first.map(String.init)
        }
    }
}

struct ShieldBlockCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "block",
        abstract: "Drop everything from a prefix but the media of calls that run.",
        discussion: "Refused where it would cut a trunk, a registered station, a call or your own console.")

    @OptionGroup var order: OrderOptions

    @Flag(help: "Also when it cuts something; what is printed.")
    var force = false

    func run() throws { try order.give("block", force: force) }
}

struct ShieldAllowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "allow", abstract: "Never limit a prefix, and never block it automatically.")

    @OptionGroup var order: OrderOptions

    func run() throws { try order.give("allow", force: false) }
}

struct ShieldUnblockCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unblock", abstract: "Take a block or an allowance back.")

    @Argument(help: "Exactly as `cresset shield list` shows it.")
    var prefix: String

    @OptionGroup var options: ControlOptions

    func validate() throws {
        if case .failure(let mistake) = PrefixText.parse(prefix) { throw ValidationError(mistake.description) }
    }

    func run() throws {
        let result = try options.ask(
            "shield", with: [.init("action", "unblock"), .init("prefix", .string(prefix))])
        print(options.json ? result.prettyText + "\n" : ShieldReport.renderOrder("unblock", result), terminator: "")
    }
}
