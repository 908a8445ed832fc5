import Primitives

/// `cresset emergency verify`, for people.
package enum EmergencyVerificationText {
    /// Renders `EmergencyVerification.json`; ends with a newline.
    package static func render(_ verification: JSONValue) -> String {
        var text = ""
        var counts = ["pass": 0, "missing": 0, "unknown": 0]
        for point in verification.elements("points") {
            let state = point["state"]?.stringValue ?? "unknown"
            counts[state, default: 0] += 1
            let word = state == "missing" ? "MISSING" : state == "pass" ? "pass   " : "?      "
            text += "\(word)  \(point.shown("title")) (\(point.shown("law")))\n"
            if let detail = point["detail"]?.shown { text += wrapped(detail) }
            if let remedy = point["remedy"]?.shown { text += wrapped("→ " + remedy) }
        }
        let unknown = counts["unknown"] ?? 0
        text += "\n\(counts["pass"] ?? 0) pass, \(counts["missing"] ?? 0) missing"
        if unknown > 0 { text += ", \(unknown) only the running box can tell" }
        return text + "\n"
    }

    /// Indented below a title, at most 100 columns.
    private static func wrapped(_ text: String) -> String {
        let indent = String(repeating: " ", count: 9)
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, DisplayText.width(line) + 1 + DisplayText.width(String(word)) > 91 {
                lines.append(line)
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        return (lines + [line]).map { indent + $0 + "\n" }.joined()
    }
}
