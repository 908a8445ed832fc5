import Primitives

/// Numbers as people read them.
package enum Spelling {
    /// `7s`, `3m 07s`, `2h 05m`, `12d 03h`: two units at most.
    package static func age(seconds: Int64) -> String {
        let seconds = max(0, seconds)
        func two(_ number: Int64) -> String { Int(number).padded(2) }
        switch seconds {
        case ..<60: return "\(seconds)s"
        case ..<3_600: return "\(seconds / 60)m \(two(seconds % 60))s"
        case ..<86_400: return "\(seconds / 3_600)h \(two(seconds / 60 % 60))m"
        default: return "\(seconds / 86_400)d \(two(seconds / 3_600 % 24))h"
        }
    }

    /// With a space between thousands: `12 345 678`.
    package static func count(_ number: Int64) -> String {
        let digits = Array("\(number.magnitude)")
        var text = number < 0 ? "-" : ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text.append(" ") }
            text.append(digit)
        }
        return text
    }

    /// `999 B`, `1.5 kB`, `12 MB`: powers of 1000, one decimal below ten.
    package static func bytes(_ number: Int64) -> String {
        guard number >= 1_000 else { return "\(number) B" }
        var unit: Int64 = 1_000
        for name in ["kB", "MB", "GB", "TB"] {
            if number < unit * 10 { return "\(number / unit).\(number * 10 / unit % 10) \(name)" }
            if number < unit * 1_000 || name == "TB" { return "\(number / unit) \(name)" }
            unit *= 1_000
        }
        return "\(number) B"
    }
}

/// Members as text; `-` for what is missing or of another type.
extension JSONValue {
    static let absent = "-"

    /// A string, number or boolean, safe to show; nil for everything else, and for an empty string.
    var shown: String? {
        switch self {
        case .string(let text): text.isEmpty ? nil : DisplayText.safe(text)
        case .integer(let number): Spelling.count(number)
        case .number(let number): "\(number)"
        case .bool(let flag): flag ? "yes" : "no"
        case .null, .array, .object: nil
        }
    }

    func shown(_ name: String) -> String { self[name]?.shown ?? Self.absent }

    /// `1 trunk`, `2 trunks`.
    func counted(_ name: String, _ noun: String) -> String {
        "\(shown(name)) \(noun)\(self[name]?.integerValue == 1 ? "" : "s")"
    }

    func age(_ name: String) -> String {
        self[name]?.integerValue.map { Spelling.age(seconds: $0) } ?? Self.absent
    }

    /// The elements of an array; none when there is no such array.
    func elements(_ name: String) -> [JSONValue] { self[name]?.arrayValue ?? [] }
}
