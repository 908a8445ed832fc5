import Appliance
import Testing

@Suite("Options of cressetd")
struct DaemonOptionsTests {
    @Test("nothing said means the usual places")
    func defaults() throws {
        let options = try DaemonOptions(arguments: [])
        #expect(options.configurationDirectory == "/etc/cresset")
        #expect(options.stateDirectory == "/var/lib/cresset")
        #expect(options.controlPath == "/run/cresset/control.sock")
    }

    @Test("each option takes the path behind it")
    func paths() throws {
        let options = try DaemonOptions(arguments: ["--control", "c", "--config", "a", "--state", "b"])
        #expect(options.configurationDirectory == "a")
        #expect(options.stateDirectory == "b")
        #expect(options.controlPath == "c")
    }

    static let refused: [([String], DaemonOptions.Stop)] = [
        (["--help"], .help),
        (["--version"], .version),
        (["--config"], .invalid("--config needs a path behind it")),
        (["--config", "--state", "b"], .invalid("--config needs a path behind it")),
        (["--state", ""], .invalid("--state needs a path behind it")),
        (["--colour"], .invalid("unknown argument “--colour”; see cressetd --help")),
        (["etc"], .invalid("unknown argument “etc”; see cressetd --help")),
    ]

    @Test("says what is wrong", arguments: refused)
    func refuses(_ arguments: [String], _ stop: DaemonOptions.Stop) {
        #expect(throws: stop) { try DaemonOptions(arguments: arguments) }
    }
}
