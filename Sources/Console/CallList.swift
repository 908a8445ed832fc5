import Primitives

/// `cresset calls`: the calls there are, or one of them in detail.
package enum CallList {
    /// Renders the daemon's answer to `calls`; one line for each call, and with `details` its media flows, too.
    package static func render(_ answer: JSONValue, details: Bool = false) -> String {
        let calls = answer.elements("calls")
        guard !calls.isEmpty else { return "no calls\n" }
        if details { return calls.map(renderDetails).joined(separator: "\n") }
        var table = TextTable(
            .init("ID"), .init("STATE"), .init("AGE", .right), .init("FROM"), .init("TO"), .init("TRUNK"),
            .init("CODEC"), .init("PACKETS", .right), .init("PATH"))
        for call in calls {
            let flows = call.elements("flows")
            let packets = flows.compactMap { $0["packets"]?.integerValue }
            let paths = flows.compactMap { $0["path"]?.shown }
            table.add(
                call.shown("id"), call.shown("state"), call.age("age-seconds"), party(call, "from"), party(call, "to"),
                call["trunk"]?.shown ?? "", call["codec"]?.shown ?? "",
                packets.isEmpty ? JSONValue.absent : packets.map(Spelling.count).joined(separator: " / "),
                paths.isEmpty ? JSONValue.absent : Set(paths).count == 1 ? paths[0] : paths.joined(separator: " / "))
        }
        return table.rendered() + "\(calls.count) \(calls.count == 1 ? "call" : "calls")\n"
    }

    /// `2001 (lan)`
    private static func party(_ call: JSONValue, _ side: String) -> String {
        call.shown(side) + (call["realm-\(side)"]?.shown.map { " (\($0))" } ?? "")
    }

    private static func renderDetails(_ call: JSONValue) -> String {
        var text = "call \(call.shown("id")): \(call.shown("state")) for \(call.age("age-seconds"))\n"
        var facts = TextTable(.init(""), .init(""))
        facts.add("from", party(call, "from") + (call["caller"]?.shown.map { ", \($0)" } ?? ""))
        facts.add("to", party(call, "to") + (call["callee"]?.shown.map { ", \($0)" } ?? ""))
        if let trunk = call["trunk"]?.shown { facts.add("trunk", trunk) }
        if let codec = call["codec"]?.shown { facts.add("codec", codec) }
        if call["talk-seconds"]?.integerValue != nil { facts.add("talk", call.age("talk-seconds")) }
        for attempt in call.elements("attempts") {
            let duration = attempt["milliseconds"]?.shown.map { " after \($0) ms" } ?? ""
            facts.add("tried", "\(attempt.shown("target")): \(attempt.shown("outcome"))\(duration)")
        }
        text += facts.rendered(indent: 2)
        var flows = TextTable(
            .init("DIRECTION"), .init("PATH"), .init("PACKETS", .right), .init("BYTES", .right),
            .init("WRONG SOURCE", .right))
        for flow in call.elements("flows") {
            flows.add(
                flow.shown("direction"), flow.shown("path"), flow.shown("packets"),
                flow["bytes"]?.integerValue.map(Spelling.bytes) ?? JSONValue.absent, flow.shown("wrong-source"))
        }
        return text + (flows.isEmpty ? "  no media\n" : flows.rendered(indent: 2)) + QualityTable.render(call)
    }
}
