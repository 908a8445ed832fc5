import Primitives

/// How both directions of a call sound: one line for each figure, one column for each direction.
enum QualityTable {
    private enum Figure {
        case count(String)
        /// With one decimal.
        case decimal(String)
        /// With two.
        case score(String)
        /// A count, and its share in percent.
        case share(String, percent: String)
    }

    private static let lines: [(title: String, figure: Figure)] = [
        ("received", .count("received")), ("lost", .share("lost", percent: "loss-percent")),
        ("reordered", .count("reordered")), ("duplicates", .count("duplicates")),
        ("jitter ms", .decimal("jitter-milliseconds")), ("longest gap ms", .decimal("longest-gap-milliseconds")),
        ("DTMF events", .count("events")), ("SSRC changes", .count("source-changes")),
        ("round trip ms", .decimal("round-trip-milliseconds")),
        ("far end lost (% lately)", .share("far-end-lost", percent: "far-end-loss-percent")), ("MOS", .score("mos")),
    ]

    /// Empty when no direction has any figures.
    static func render(_ call: JSONValue) -> String {
        let flows = call.elements("flows")
        guard flows.contains(where: { $0["quality"]?["received"] != nil }) else { return "" }
        var table = TextTable([.init("QUALITY")] + flows.map { .init($0.shown("direction"), .right) })
        for (title, figure) in lines { table.add([title] + flows.map { shown(figure, $0["quality"]) }) }
        return table.rendered(indent: 2)
    }

    private static func shown(_ figure: Figure, _ quality: JSONValue?) -> String {
        guard let quality else { return JSONValue.absent }
        switch figure {
        case .count(let name): return quality.shown(name)
        case .decimal(let name): return decimal(quality[name], digits: 1)
        case .score(let name): return decimal(quality[name], digits: 2)
        case .share(let name, let percent):
            guard quality[name]?.integerValue != nil else { return JSONValue.absent }
            return "\(quality.shown(name)) (\(decimal(quality[percent], digits: 1)) %)"
        }
    }

    private static func decimal(_ value: JSONValue?, digits: Int) -> String {
        let number: Double
        switch value {
        case .number(let value)?: number = value
        case .integer(let value)?: number = Double(value)
        default: return JSONValue.absent
        }
        // Whatever a daemon may say: what does not fit is not shown.
        guard number >= 0, number < 1e12 else { return JSONValue.absent }
        var unit: Int64 = 1
        for _ in 0..<digits { unit *= 10 }
        let scaled = Int64((number * Double(unit)).rounded())
        return "\(scaled / unit).\(Int(scaled % unit).padded(digits))"
    }
}
