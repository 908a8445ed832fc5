import Primitives

/// `cresset shield`: blocks and allowances.
package enum ShieldReport {
    /// Renders the daemon's answer to `shield list`. Ends with a newline.
    package static func render(_ list: JSONValue) -> String {
        var text = ""
        if list["enabled"]?.boolValue == false {
            text += "the shield is switched off (shield.enabled); nothing is limited or blocked automatically\n"
        } else {
            let realms = list.elements("kernel-realms").compactMap(\.shown)
            text +=
                realms.isEmpty
                ? "the shield is on, in cressetd alone: no realm has it in the kernel\n"
                : "the shield is on, in the kernel for \(realms.joined(separator: ", "))\n"
        }
        text += "known by registration or call: \(list.counted("stations-known", "source"))\n"
        var blocks = TextTable(
            .init("BLOCKED"), .init("FOR", .right), .init("TIMES", .right), .init("PACKETS", .right), .init("BY"),
            .init("REASON"))
        for block in list.elements("blocks") {
            blocks.add(
                block.shown("prefix"), remaining(block), block["repetition"]?.shown ?? "",
                block["packets"]?.shown ?? "",
                block.shown("by"), block["reason"]?.shown ?? "")
        }
        text += blocks.isEmpty ? "nothing is blocked\n" : "\n" + blocks.rendered()
        var allowed = TextTable(.init("ALLOWED"), .init("FOR", .right), .init("BY"), .init("REASON"))
        for entry in list.elements("allowed") {
            allowed.add(entry.shown("prefix"), remaining(entry), entry.shown("by"), entry["reason"]?.shown ?? "")
        }
        return text + (allowed.isEmpty ? "" : "\n" + allowed.rendered())
    }

    private static func remaining(_ entry: JSONValue) -> String {
        entry["remaining-seconds"]?.integerValue.map { Spelling.age(seconds: $0) } ?? "ever"
    }

    /// What an order did: `203.0.113.9/32 blocked`, and what it cut.
    package static func renderOrder(_ action: String, _ result: JSONValue) -> String {
        let done =
            action == "block" ? "blocked" : action == "allow" ? "allowed" : "neither blocked nor allowed any more"
        let cuts = result.elements("cuts").compactMap(\.shown)
        return "\(result.shown("prefix")) \(done)\n"
            + (cuts.isEmpty ? "" : "this cuts \(cuts.joined(separator: ", "))\n")
    }
}
