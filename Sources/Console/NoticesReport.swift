import Primitives

/// Who was told of calls for help: `cresset emergency notices`, and the beacon of `cresset status`.
package enum NoticesReport {
    /// Renders the daemon's answer to `emergency-notices`. Ends with a newline.
    package static func render(_ answer: JSONValue) -> String {
        let calls = answer.elements("calls")
        guard !calls.isEmpty else { return "no 911 call since cressetd was started\n" }
        return calls.map(call).joined(separator: "\n")
    }

    private static func call(_ call: JSONValue) -> String {
        let caller = call["caller"]?["station"]?.stringValue ?? call["caller"]?["address"]?.stringValue ?? "unknown"
        var text = "\(call.shown("number")) call \(call.shown("id")) of \(call.shown("start")), from \(caller)"
        text += ", site \(call.shown("site")): \(call["ending"]?.stringValue ?? "lasts")\n"
        let acknowledgement = call["acknowledged"]
        if let name = acknowledgement?["by"]?.stringValue {
            text +=
                "acknowledged by \(name) (\(acknowledgement?.shown("means") ?? "")), "
                + "\(acknowledgement?.shown("ms") ?? "-") ms after the call came in\n"
        } else {
            text += "NOT ACKNOWLEDGED: cresset emergency ack \(call.shown("id"))\n"
        }
        var table = TextTable(
            .init("CONTACT"), .init("BY"), .init("TELLS"), .init("BEGAN", .right), .init("TRIES", .right),
            .init("TOLD"), .init("RESULTS"))
        for notice in call.elements("notifications") {
            let isDone = notice["end-ms"]?.integerValue != nil
            let isTold = notice["delivered"]?.boolValue == true
            table.add(
                notice.shown("target"), notice.shown("channel"), notice.shown("occasion"),
                "\(notice.shown("start-ms")) ms", notice.shown("tries"), isTold ? "yes" : isDone ? "NO" : "trying",
                notice["result"]?.stringValue ?? "")
        }
        return text + (table.isEmpty ? "nobody was told: [notify.contacts] names nobody\n" : table.rendered())
    }

    /// Renders the answer to `emergency-acknowledge`.
    package static func renderAcknowledged(_ result: JSONValue) -> String {
        let calls = result.elements("acknowledged").compactMap(\.stringValue)
        let beacon = "beacon: \(result.shown("beacon"))\n"
        guard !calls.isEmpty else { return "nothing was left to acknowledge\n" + beacon }
        return "acknowledged by \(result.shown("by")): \(calls.joined(separator: ", "))\n" + beacon
    }

    /// Empty while it is dark.
    static func beacon(_ beacon: JSONValue?) -> String {
        guard let beacon, let state = beacon["state"]?.stringValue, state != "off" else { return "" }
        var text =
            state == "active" ? "BEACON ACTIVE: a 911 call is on\n" : "BEACON STEADY: a 911 call is not acknowledged\n"
        for call in beacon.elements("calls") {
            text +=
                "  \(call.shown("call")) from \(call.shown("from")), \(call.shown("location")), \(call.shown("time"))"
            text += call["acknowledged-by"]?.stringValue.map { ", acknowledged by \($0)\n" } ?? "\n"
        }
        if let count = beacon["further-calls"]?.integerValue, count > 0 { text += "  and \(count) earlier ones\n" }
        return text + "cresset emergency notices shows who was told, cresset emergency ack acknowledges\n"
    }
}
