import Primitives

/// `cresset status`: how the box is, in one screen.
package enum StatusReport {
    /// Renders the daemon's answer to `status`; what is missing is left out or `-`. Ends with a newline.
    package static func render(_ status: JSONValue) -> String {
        let blocks = [
            heading(status), alarms(status), NoticesReport.beacon(status["beacon"]), datapath(status), trunks(status),
            stations(status), traffic(status), counters(status),
        ]
        return blocks.filter { !$0.isEmpty }.joined(separator: "\n")
    }

    private static func heading(_ status: JSONValue) -> String {
        var text = "\(status.shown("name")): Cresset \(status.shown("version")), up \(status.age("uptime-seconds"))"
        if let bytes = status["resident-bytes"]?.integerValue { text += ", \(Spelling.bytes(bytes)) resident" }
        if let count = status["open-descriptors"]?.shown { text += ", \(count) descriptors" }
        text += "\n"
        if let configuration = status["configuration"] {
            text += "configuration \(configuration.shown("directory"))"
            text += ", loaded \(configuration.shown("loaded-at"))"
            text += ": \(configuration.counted("stations", "station")), \(configuration.counted("trunks", "trunk"))\n"
        }
        return text
    }

    private static func alarms(_ status: JSONValue) -> String {
        status.elements("alarms").compactMap(\.stringValue).map { "ALARM  \(DisplayText.safe($0))\n" }.joined()
    }

    private static func datapath(_ status: JSONValue) -> String {
        var table = TextTable(.init("REALM"), .init("INTERFACE"), .init("DATAPATH"), .init(""))
        for element in status.elements("datapath") {
            table.add(
                element.shown("realm"), element.shown("interface"), element.shown("mode"),
                element["reason"]?.shown ?? "")
        }
        return table.isEmpty ? "" : table.rendered()
    }

    private static func trunks(_ status: JSONValue) -> String {
        var table = TextTable(
            .init("TRUNK"), .init("PEER"), .init("STATE"), .init("FOR", .right), .init("REGISTRATION"),
            .init("CALLS", .right), .init("RTT", .right), .init("LAST REASON"))
        for trunk in status.elements("trunks") {
            let calls = trunk.shown("calls") + (trunk["calls-maximum"]?.shown.map { " of \($0)" } ?? "")
            table.add(
                trunk.shown("trunk"), trunk["peer"]?.shown ?? "", trunk.shown("state"),
                trunk["since-seconds"].map { _ in trunk.age("since-seconds") } ?? "", trunk.shown("registration"),
                calls, trunk["round-trip-milliseconds"]?.shown.map { "\($0) ms" } ?? "",
                trunk["last-reason"]?.shown ?? "")
        }
        return table.isEmpty ? "" : table.rendered()
    }

    /// One line for each contact; a station without any has one line that says so.
    private static func stations(_ status: JSONValue) -> String {
        var table = TextTable(.init("STATION"), .init("VIA"), .init("EXPIRES", .right), .init("CONTACT"))
        for station in status.elements("stations") {
            let contacts = station.elements("contacts")
            if contacts.isEmpty { table.add(station.shown("station"), "-", "-", "not registered") }
            for (index, contact) in contacts.enumerated() {
                table.add(
                    index == 0 ? station.shown("station") : "", contact.shown("transport"),
                    contact.age("expires-seconds"), contact.shown("uri"))
            }
        }
        return table.isEmpty ? "" : table.rendered()
    }

    private static func traffic(_ status: JSONValue) -> String {
        var text = ""
        if let calls = status["calls"] {
            text += "calls: \(calls.shown("active")) of \(calls.shown("maximum")) active"
            text += parts(of: calls, ["attempted": "attempted", "answered": "answered", "failed": "failed"]) + "\n"
        }
        if let media = status["media"] {
            text += "media: \(media.shown("flows")) flows"
            let names: KeyValuePairs = [
                "packets-kernel": "packets by the kernel", "packets-socket": "by sockets",
                "wrong-source": "from a wrong source", "played-ring": "played by rings",
                "played-socket": "played by sockets",
            ]
            text += parts(of: media, names) + "\n"
            for page in media.elements("pages") {
                text += "page to \(page.shown("group")) by \(page.shown("path"))\n"
            }
        }
        return text
    }

    /// `; 7 attempted, 3 failed`, without what is missing.
    private static func parts(of value: JSONValue, _ names: KeyValuePairs<String, String>) -> String {
        let parts = names.compactMap { key, name in value[key]?.shown.map { "\($0) \(name)" } }
        return parts.isEmpty ? "" : "; " + parts.joined(separator: ", ")
    }

    /// Only those that counted something.
    private static func counters(_ status: JSONValue) -> String {
        guard case .object(let members)? = status["counters"] else { return "" }
        var table = TextTable(.init("COUNTER"), .init("", .right))
        for member in members where member.value.integerValue != 0 {
            table.add(member.name, member.value.shown ?? JSONValue.absent)
        }
        return table.isEmpty ? "" : table.rendered()
    }
}
