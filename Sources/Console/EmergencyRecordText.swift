import Primitives

/// Records of calls for help as `cressetd` keeps them, for people: a list, or one from first to last.
package enum EmergencyRecordText {
    /// With all but the last two digits of numbers of persons hidden, and the names left out.
    package static func masked(_ record: JSONValue) -> JSONValue {
        guard case .object(let members) = record else { return record }
        return .object(
            members.map { member in
                switch member.name {
                case "caller":
                    guard case .object(let caller) = member.value else { return member }
                    return .init(
                        "caller",
                        .object(
                            caller.map {
                                .init($0.name, $0.name == "address" ? $0.value : masked($0.value, of: $0.name))
                            }))
                case "callback": return .init(member.name, masked(member.value, of: member.name))
                case "location":
                    guard case .object(let location) = member.value else { return member }
                    return .init(
                        "location", .object(location.map { $0.name == "pidf" ? .init("pidf", hidden($0.value)) : $0 }))
                default: return member
                }
            })
    }

    private static func masked(_ value: JSONValue, of name: String) -> JSONValue {
        guard let text = value.stringValue else { return value }
        return name == "name" ? hidden(value) : .string(number(text))
    }

    private static func hidden(_ value: JSONValue) -> JSONValue { value.stringValue == nil ? value : "hidden" }

    /// `••01`.
    package static func number(_ text: String) -> String {
        text.count <= 2 ? String(repeating: "•", count: text.count) : "••" + text.suffix(2)
    }

    /// One line each, newest last.
    package static func list(_ records: [JSONValue]) -> String {
        guard !records.isEmpty else { return "no calls for help are on record\n" }
        var table = TextTable(
            .init("START"), .init("ID"), .init("NO"), .init("SITE"), .init("STATION"), .init("TRUNK"),
            .init("OUT/RING/ANSWER ms", .right), .init("TOLD"), .init("ENDING"))
        for record in records {
            let times = [
                record["invite-out-us"]?.integerValue.map(tenths), record["ringing-ms"]?.integerValue.map { "\($0)" },
                record["answer-ms"]?.integerValue.map { "\($0)" },
            ]
            table.add(
                start(record), String(record.shown("id").prefix(8)), kind(record), record.shown("site"),
                record["caller"]?.shown("station") ?? JSONValue.absent, lastTrunk(record),
                times.map { $0 ?? JSONValue.absent }.joined(separator: "/"), told(record), ending(record))
        }
        return table.rendered(widthMax: 100)
    }

    /// `11-21 03:00`.
    static func start(_ record: JSONValue) -> String {
        guard let start = record["start"]?.shown else { return JSONValue.absent }
        return String(start.dropFirst(5).prefix(11)).replacing("T", with: " ")
    }

    static func kind(_ record: JSONValue) -> String {
        record["proof"]?.boolValue == true ? "proof" : record.shown("number")
    }

    static func ending(_ record: JSONValue) -> String {
        if let sign = record["blocked-by"]?.shown { return "blocked: \(sign)" }
        switch record["state"]?.stringValue {
        case "open": return "lasts"
        case "interrupted": return "interrupted"
        default: return record.shown("ending")
        }
    }

    static func lastTrunk(_ record: JSONValue) -> String {
        let attempts = record.elements("attempts")
        guard let last = attempts.last else { return JSONValue.absent }
        return last.shown("trunk") + (attempts.count > 1 ? " (\(attempts.count))" : "")
    }

    static func told(_ record: JSONValue) -> String {
        let notifications = record.elements("notifications")
        guard !notifications.isEmpty else { return "" }
        return "\(notifications.count { $0["delivered"]?.boolValue == true })/\(notifications.count)"
    }

    static func milliseconds(_ value: JSONValue?) -> String {
        value?.integerValue.map { "\(Spelling.count($0)) ms" } ?? JSONValue.absent
    }

    /// The time from INVITE in to INVITE out, `0.8 ms`.
    static func inviteOut(_ record: JSONValue) -> String { microseconds(record["invite-out-us"]?.integerValue) }

    static func microseconds(_ number: Int64?) -> String {
        number.map { tenths($0) + " ms" } ?? JSONValue.absent
    }

    /// Milliseconds of microseconds, `0.8`.
    private static func tenths(_ number: Int64) -> String { "\(number / 1_000).\(number / 100 % 10)" }

    /// One record, everything in it.
    package static func details(_ record: JSONValue) -> String {
        var table = TextTable(.init(""), .init(""))
        let caller = record["caller"]
        table.add("ID", record.shown("id"))
        table.add("NUMBER", record.shown("number") + ", dialled \(record.shown("dialled"))")
        if record["proof"]?.boolValue == true { table.add("PROOF", "placed by the box itself") }
        table.add("STATE", record.shown("state") + (record["ending"]?.shown.map { ", \($0)" } ?? ""))
        table.add("STATION", caller?.shown("station") ?? JSONValue.absent)
        table.add(
            "CALLER",
            [caller?["number"]?.shown, caller?["name"]?.shown, caller?["address"]?.shown.map { "from \($0)" }]
                .compactMap { $0 }.joined(separator: " "))
        table.add("SITE", record.shown("site"))
        table.add("LOCATION", record["location"]?["text"]?.shown ?? "none was sent")
        let missing = record["location"]?.elements("missing").compactMap(\.shown) ?? []
        if !missing.isEmpty { table.add("LACKS", missing.joined(separator: ", ")) }
        for name in ["elin", "callback", "blocked-by", "pre-empted"] {
            if let text = record[name]?.shown { table.add(name.uppercased(), text) }
        }
        table.add("START", record.shown("start"))
        table.add("INVITE OUT", inviteOut(record))
        table.add("RINGING", milliseconds(record["ringing-ms"]))
        table.add("ANSWER", milliseconds(record["answer-ms"]))
        if record["first-audio-ms"]?.integerValue != nil {
            table.add("FIRST AUDIO", milliseconds(record["first-audio-ms"]))
        }
        table.add("END", record.shown("end") + (record["end-ms"]?.shown.map { ", after \($0) ms" } ?? ""))
        if let packets = record["packets"] {
            table.add(
                "PACKETS",
                "\(packets.shown("from-caller")) from the caller, \(packets.shown("from-called")) from the called side")
        }
        if let acknowledged = record["acknowledged"], let by = acknowledged["by"]?.shown {
            table.add(
                "ACKNOWLEDGED", "by \(by), \(acknowledged.shown("means")), after \(milliseconds(acknowledged["ms"]))")
        }
        return [
            table.rendered(widthMax: 100), attempts(record), notifications(record),
            record["location"]?["pidf"]?.stringValue.map { pidf in
                "PIDF-LO AS SENT\n"
                    + pidf.split(separator: "\n").map { "  \(DisplayText.safe(String($0.filter { $0 != "\r" })))\n" }
                    .joined()
            } ?? "",
        ].filter { !$0.isEmpty }.joined(separator: "\n")
    }

    /// What `cresset emergency prove` tells: one line for each way.
    package static func proofs(_ proofs: [JSONValue]) -> String {
        var table = TextTable(
            .init("SITE"), .init("TRUNK"), .init("PROOF"), .init("ANSWER", .right), .init("PACKETS HEARD", .right),
            .init("OUTCOME"))
        for proof in proofs {
            table.add(
                proof.shown("site"), proof.shown("trunk"), proof["good"]?.boolValue == true ? "good" : "FAILED",
                milliseconds(proof["answer-ms"]), proof.shown("packets"), proof.shown("outcome"))
        }
        return table.isEmpty ? "no proof was placed\n" : table.rendered(widthMax: 100)
    }

    private static func attempts(_ record: JSONValue) -> String {
        var table = TextTable(
            .init("TRUNK ASKED"), .init("AT", .right), .init("RINGING", .right), .init("END", .right), .init("OUTCOME"))
        for attempt in record.elements("attempts") {
            table.add(
                attempt.shown("trunk"), milliseconds(attempt["start-ms"]), milliseconds(attempt["ringing-ms"]),
                milliseconds(attempt["end-ms"]), attempt.shown("outcome"))
        }
        return table.isEmpty ? "no trunk was asked\n" : table.rendered(widthMax: 100)
    }

    private static func notifications(_ record: JSONValue) -> String {
        var table = TextTable(
            .init("TOLD"), .init("BY"), .init("OF"), .init("AT", .right), .init("END", .right),
            .init("TRIES", .right), .init("DELIVERED"), .init("RESULT"))
        for notification in record.elements("notifications") {
            table.add(
                notification.shown("target"), notification.shown("channel"), notification.shown("occasion"),
                milliseconds(notification["start-ms"]), milliseconds(notification["end-ms"]),
                notification.shown("tries"), notification.shown("delivered"), notification.shown("result"))
        }
        return table.isEmpty ? "nobody was told\n" : table.rendered(widthMax: 100)
    }
}
