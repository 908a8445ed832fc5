import ArgumentParser
import Console
import LinuxIO
import Primitives

/// `cresset announce`: has the box ring somebody and say something, as it does to tell of an emergency call.
struct AnnounceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "announce",
        abstract: "Ring a station, a number or a paging adapter, and say a text to whoever answers.",
        discussion: """
            To try out who is reached, and how it sounds. What becomes of it stands in the log of cressetd.
            """)

    @Argument(help: "What is said.")
    var text: String

    @Option(help: "A station: all its phones ring.")
    var station: String?

    @Option(help: "A telephone number, as the trunk is to be given it.")
    var number: String?

    @Option(help: "The trunk for --number.")
    var trunk: String?

    @Option(help: ArgumentHelp("A paging adapter, as sip:zone1@192.0.2.40.", valueName: "uri"))
    var uri: String?

    @Option(help: "The realm of --uri.")
    var realm: String?

    @Option(help: "The key that acknowledges it.")
    var key: String?

    @Option(help: "How often it is said.")
    var repetitions = 2

    @OptionGroup var options: ControlOptions

    func validate() throws {
        guard [station, number, uri].compactMap({ $0 }).count == 1 else {
            throw ValidationError("expected one of --station, --number and --uri")
        }
        guard (number == nil) == (trunk == nil) else { throw ValidationError("--number and --trunk belong together") }
        guard (uri == nil) == (realm == nil) else { throw ValidationError("--uri and --realm belong together") }
    }

    func run() throws {
        let optional = [
            ("station", station), ("number", number), ("trunk", trunk), ("uri", uri), ("realm", realm), ("key", key),
        ]
        let members = optional.compactMap { name, value in value.map { JSONValue.Member(name, .string($0)) } }
        let answer = try options.ask(
            "announce", with: members + [.init("text", .string(text)), .init("repetitions", .init(repetitions))])
        print(options.json ? answer.prettyText : "it rings; \(voice(of: answer)); the log says what becomes of it")
    }
}

/// `cresset page`: says something to a multicast group.
struct PageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "page", abstract: "Say a text to all speakers that listen to a multicast group.")

    @Argument(help: "The group and its port, as 224.0.1.75:5004.")
    var group: String

    @Argument(help: "What is said.")
    var text: String

    @Option(help: "The realm it leaves from.")
    var realm: String

    @Option(help: "How often it is said.")
    var repetitions = 1

    @OptionGroup var options: ControlOptions

    func run() throws {
        let answer = try options.ask(
            "page",
            with: [
                .init("group", .string(group)), .init("realm", .string(realm)), .init("text", .string(text)),
                .init("repetitions", .init(repetitions)),
            ])
        print(options.json ? answer.prettyText : "it is sent; \(voice(of: answer))")
    }
}

/// Who speaks.
private func voice(of answer: JSONValue) -> String {
    switch answer["voice"]?.stringValue {
    case "none"?, nil: "only the tone is heard, for neither espeak-ng nor recordings are installed"
    case let voice?: "\(voice) speaks"
    }
}
