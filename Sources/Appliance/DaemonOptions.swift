/// What the command line of `cressetd` says.
package struct DaemonOptions: Equatable, Sendable {
    package var configurationDirectory = "/etc/cresset"
    package var stateDirectory = "/var/lib/cresset"
    package var controlPath = "/run/cresset/control.sock"
    package var synthesizerPath = "/usr/bin/espeak-ng"
    package var phrasesDirectory = "/usr/share/cresset/phrases"
    /// The program that sends e-mail and webhooks; nil: `cresset-courier` beside our own.
    package var courierPath: String?

    /// What to do instead of running, or what was wrong with the arguments.
    package enum Stop: Error, Equatable, Sendable {
        case help
        case version
        /// A sentence for the person who typed it.
        case invalid(String)
    }

    package init() {}

    /// Parses the arguments behind the program's name.
    package init(arguments: [String]) throws(Stop) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--config": configurationDirectory = try Self.value(of: argument, &rest)
            case "--state": stateDirectory = try Self.value(of: argument, &rest)
            case "--control": controlPath = try Self.value(of: argument, &rest)
            case "--synthesizer": synthesizerPath = try Self.value(of: argument, &rest)
            case "--phrases": phrasesDirectory = try Self.value(of: argument, &rest)
            case "--courier": courierPath = try Self.value(of: argument, &rest)
            case "--help", "-h": throw .help
            case "--version": throw .version
            default: throw .invalid("unknown argument “\(argument)”; see cressetd --help")
            }
        }
    }

    private static func value(of option: String, _ rest: inout ArraySlice<String>) throws(Stop) -> String {
        guard let value = rest.popFirst(), !value.isEmpty, !value.hasPrefix("--") else {
            throw .invalid("\(option) needs a path behind it")
        }
        return value
    }

    package static let usage = """
        usage: cressetd [--config DIR] [--state DIR] [--control PATH] [--synthesizer PATH]
                        [--phrases DIR] [--courier PATH]

          --config DIR     directory of *.toml files        (default /etc/cresset)
          --state DIR      where state is kept              (default /var/lib/cresset)
          --control PATH   socket that `cresset` talks to   (default /run/cresset/control.sock)
          --synthesizer PATH   espeak-ng                    (default /usr/bin/espeak-ng)
          --phrases DIR    recorded phrases, for boxes without espeak-ng
                                                            (default /usr/share/cresset/phrases)
          --courier PATH   sends e-mail and webhooks     (default cresset-courier beside cressetd)
          --version, --help

        SIGHUP reads the configuration again; live calls stay up, and an invalid directory changes nothing.
        SIGTERM ends all calls and stops.
        """
}
