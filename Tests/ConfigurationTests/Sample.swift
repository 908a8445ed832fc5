import Configuration
import Primitives

/// A small configuration that is right; cases change one thing of it.
enum Sample {
    static let text = """
        [system]
        name = "detroit-7"
        domain = "branch.example"

        [realms.lan]
        interface = "lan0"
        address = "192.168.50.1"
        media-ports = "20000-29999"
        role = "stations"

        [realms.wan]
        interface = "wan0"
        address = "198.51.100.7"
        media-ports = "30000-39999"
        role = "trunks"

        [stations.2001]
        password = "correct-horse"
        number = "+13135550101"

        [trunks.carrier-a]
        realm = "wan"
        peer = "203.0.113.10"

        [[routes]]
        pattern = "9NXXXXXX"
        strip = 1
        prepend = "+1313"
        trunks = ["carrier-a"]

        [numbers]
        "+13135550101" = "2001"

        """

    static func parse(_ text: String) -> ConfigurationOutcome {
        ConfigurationParser.parse(files: [.init(name: "box.toml", bytes: Array(text.utf8))])
    }

    static func replacing(_ old: String, with new: String) -> String {
        guard let range = text.firstRange(of: old) else { return "no such text: \(old)" }
        return text.replacingCharacters(in: range, with: new)
    }
}

extension String {
    func replacingCharacters(in range: Range<String.Index>, with new: String) -> String {
        var copy = self
        copy.replaceSubrange(range, with: new)
        return copy
    }
}
