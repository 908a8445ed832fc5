import Primitives

// The monthly report as people and spreadsheets read it.
extension EmergencyReport {
    private enum Layout {
        static let widthMax = 100
    }

    /// Fits 100 columns; ends with a newline. No number of a person is in it.
    package var text: String {
        let place = site.map { "site \($0)" } ?? "all sites"
        let heading = "Emergency calls of \(month), \(place)\n"
        guard !records.isEmpty else { return heading + "\nNo calls for help, no tests, no proofs.\n" }
        return ([heading] + [figures, timeTable, trunkTable, channelTable, elinTable, proofTable, callTable])
            .filter { !$0.isEmpty }.joined(separator: "\n")
    }

    private var figures: String {
        var table = TextTable(.init(""), .init("", .right), .init(""))
        table.add("Calls for help", "\(calls.count)", share(answeredCount, "answered"))
        if interruptedCount > 0 { table.add("  cut off by a stop of the box", "\(interruptedCount)") }
        table.add("  first trunk failed", "\(failoverCount)", failoverCount == 0 ? "" : "another one was asked")
        table.add("  location complete", "\(completeLocationCount)", share(completeLocationCount, "of the calls"))
        if incompleteLocationCount > 0 { table.add("  location with gaps", "\(incompleteLocationCount)") }
        let without = calls.count - completeLocationCount - incompleteLocationCount
        if without > 0 { table.add("  no location sent", "\(without)") }
        table.add("  nobody was told", "\(untoldCount)")
        table.add("  acknowledged", "\(acknowledgedCount)")
        table.add("Blocked in test mode", "\(blocked.count)")
        table.add("Tests (933)", "\(tests.count)")
        table.add(
            "Proof calls (933)", "\(proofs.count)", proofs.isEmpty ? "" : "\(proofs.count(where: Self.isGood)) good")
        return table.rendered(widthMax: Layout.widthMax)
    }

    private func share(_ part: Int, _ what: String) -> String {
        calls.isEmpty ? "" : "\(part * 100 / calls.count) % \(what)"
    }

    private var timeTable: String {
        var table = TextTable(
            .init("FROM INVITE IN TO"), .init("CALLS", .right), .init("MEDIAN", .right), .init("P99", .right))
        let out = inviteOutMicroseconds
        table.add(
            "INVITE out", "\(out.sorted.count)", EmergencyRecordText.microseconds(out.median),
            EmergencyRecordText.microseconds(out.worst))
        for (name, times) in [("ringing", ringingMilliseconds), ("answer", answerMilliseconds)] {
            table.add(name, "\(times.sorted.count)", milliseconds(times.median), milliseconds(times.worst))
        }
        let told = notificationStartMilliseconds
        if !told.sorted.isEmpty {
            table.add(
                "first notice, from INVITE out", "\(told.sorted.count)", milliseconds(told.median),
                milliseconds(told.worst))
        }
        return calls.isEmpty ? "" : table.rendered(widthMax: Layout.widthMax)
    }

    private func milliseconds(_ number: Int64?) -> String {
        EmergencyRecordText.milliseconds(number.map { .integer($0) })
    }

    private var trunkTable: String {
        var table = TextTable(
            .init("TRUNK"), .init("ASKED", .right), .init("ANSWERED", .right), .init("FAILURES"))
        for (name, use) in trunks.sorted(by: { $0.key < $1.key }) {
            let failures = use.failures.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }
            table.add(name, "\(use.asked)", "\(use.answered)", failures.joined(separator: ", "))
        }
        return table.isEmpty ? "" : table.rendered(widthMax: Layout.widthMax)
    }

    private var channelTable: String {
        var table = TextTable(
            .init("NOTIFICATION"), .init("SENT", .right), .init("DELIVERED", .right), .init("", .right),
            .init("RETRIED", .right))
        for (name, use) in channels.sorted(by: { $0.key < $1.key }) {
            table.add(
                name, "\(use.count)", "\(use.delivered)", "\(use.delivered * 100 / max(1, use.count)) %",
                "\(use.retried)")
        }
        return table.isEmpty ? "" : table.rendered(widthMax: Layout.widthMax)
    }

    private var elinTable: String {
        var table = TextTable(.init("ELIN"), .init("CALLS", .right))
        for (elin, count) in elins.sorted(by: { $0.key < $1.key }) { table.add(elin, "\(count)") }
        return table.isEmpty ? "" : table.rendered(widthMax: Layout.widthMax)
    }

    private var proofTable: String {
        var table = TextTable(
            .init("PROOF OF"), .init("CALLS", .right), .init("GOOD", .right), .init("LAST"), .init("ANSWER", .right),
            .init("AUDIO", .right), .init("OUTCOME"))
        for (name, use) in proofUses.sorted(by: { $0.key < $1.key }) {
            table.add(
                name, "\(use.count)", "\(use.good)", EmergencyRecordText.start(use.last),
                EmergencyRecordText.milliseconds(use.last["answer-ms"]),
                use.last["packets"]?.shown("from-called") ?? JSONValue.absent,
                use.last.elements("attempts").last?.shown("outcome") ?? EmergencyRecordText.ending(use.last))
        }
        return table.isEmpty ? "" : table.rendered(widthMax: Layout.widthMax)
    }

    private var callTable: String { EmergencyRecordText.list(records.map(EmergencyRecordText.masked)) }

    /// One row per record (RFC 4180), with a row of names first.
    package func csv(revealed: Bool) -> String {
        let names = [
            "start", "id", "number", "dialled", "kind", "state", "site", "station", "caller", "elin", "trunk",
            "attempts", "failed-trunks", "invite-out-us", "ringing-ms", "answer-ms", "first-audio-ms", "end-ms",
            "packets-from-caller", "packets-from-called", "location-complete", "location", "notifications",
            "delivered", "acknowledged-by", "blocked-by", "ending",
        ]
        var lines = [names.joined(separator: ",")]
        for original in records {
            let record = revealed ? original : EmergencyRecordText.masked(original)
            let attempts = record.elements("attempts")
            let notifications = record.elements("notifications")
            let failed = attempts.filter { !Self.isAnswer($0["outcome"]?.stringValue ?? "2") }
            let missing = record["location"]?["missing"]?.arrayValue
            let cells: [String] = [
                plain(record["start"]), plain(record["id"]), plain(record["number"]), plain(record["dialled"]),
                EmergencyRecordText.kind(record), plain(record["state"]), plain(record["site"]),
                plain(record["caller"]?["station"]), plain(record["caller"]?["number"]), plain(record["elin"]),
                plain(attempts.last?["trunk"]), "\(attempts.count)",
                failed.map { "\(plain($0["trunk"])) \(plain($0["outcome"]))" }.joined(separator: "; "),
                plain(record["invite-out-us"]), plain(record["ringing-ms"]), plain(record["answer-ms"]),
                plain(record["first-audio-ms"]), plain(record["end-ms"]), plain(record["packets"]?["from-caller"]),
                plain(record["packets"]?["from-called"]), missing.map { $0.isEmpty ? "yes" : "no" } ?? "none",
                plain(record["location"]?["text"]), "\(notifications.count)",
                "\(notifications.count { $0["delivered"]?.boolValue == true })",
                plain(record["acknowledged"]?["by"]), plain(record["blocked-by"]), plain(record["ending"]),
            ]
            lines.append(cells.map(Self.field).joined(separator: ","))
        }
        return lines.map { $0 + "\r\n" }.joined()
    }

    private func plain(_ value: JSONValue?) -> String {
        switch value {
        case .string(let text)?: text
        case .integer(let number)?: "\(number)"
        default: ""
        }
    }

    /// Quoted where RFC 4180 asks for it, and never a formula to the spreadsheet that opens it.
    private static func field(_ text: String) -> String {
        let isFormula = text.first.map { "=+-@\t".contains($0) } ?? false
        let isNumber = text.dropFirst().allSatisfy(\.isNumber)
        let safe = isFormula && !(isNumber && text.hasPrefix("+")) ? "'" + text : text
        guard safe.contains(where: { ",\"\r\n".contains($0) || $0.isNewline }) else { return safe }
        return "\"" + safe.replacing("\"", with: "\"\"") + "\""
    }
}
