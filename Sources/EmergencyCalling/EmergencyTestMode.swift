import Primitives

/// Whether the box is one that only tests: then no call for help leaves it.
package struct EmergencyTestMode: Equatable, Sendable {
    /// What says so: a variable of the environment, a name in the configuration's path.
    package var signs: [String]
    /// An operator's word; it ends by itself and is never written down.
    package var armed: Armed?

    package struct Armed: Equatable, Sendable {
        package var by: String
        package var until: MonotonicTime

        package init(by: String, until: MonotonicTime) {
            self.by = by
            self.until = until
        }
    }

    package static let armedMinutes = 1...60

    package init(signs: [String] = [], armed: Armed? = nil) {
        self.signs = signs
        self.armed = armed
    }

    /// Why calls for help are blocked; nil: they are not.
    package func reason(at now: MonotonicTime) -> String? {
        if let sign = signs.first { return sign }
        guard let armed, now < armed.until else { return nil }
        return "armed by \(armed.by)"
    }

    // MARK: Signs

    /// Variables that mean "this is a test" when they are set to something.
    package static let variables = [
        "TEST_MODE", "TESTING", "CRESSET_TEST_MODE", "PBX_TEST_MODE", "PYTEST_CURRENT_TEST",
    ]

    /// The variables that are set to anything but nothing, `0`, `false`, `no` or `off`.
    package static func signs(ofEnvironment value: (String) -> String?) -> [String] {
        variables.filter { name in
            guard let text = value(name)?.lowercased() else { return false }
            return !["", "0", "false", "no", "off"].contains(text)
        }.map { "the environment variable \($0)" }
    }

    /// The configuration's directory or files with "test" in their names; words that merely contain it do not count.
    package static func signs(ofConfiguration directory: String, files: [String]) -> [String] {
        let name = directory.split(separator: "/").last.map(String.init) ?? ""
        var signs: [String] = []
        if saysTest(name) { signs.append("the configuration directory \(directory)") }
        signs += files.filter(saysTest).map { "the configuration file \($0)" }
        return signs
    }

    private static let ordinaryWords = ["latest", "attest", "contest", "protest", "fastest"]

    static func saysTest(_ name: String) -> Bool {
        var rest = Substring(name.lowercased())
        while !rest.isEmpty {
            if let word = ordinaryWords.first(where: { rest.hasPrefix($0) }) {
                rest = rest.dropFirst(word.count)
            } else if rest.hasPrefix("test") {
                return true
            } else {
                rest = rest.dropFirst()
            }
        }
        return false
    }
}
