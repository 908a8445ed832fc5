import Primitives

/// Takes typed values out of one table; what does not fit becomes a finding and reads as absent.
struct TableReader {
    let table: TOMLTable
    let path: TOMLKeyPath
    let file: String
    let findings: Findings

    /// Notes where every key stands and reports those that do not exist.
    func allow(_ keys: [String]) {
        for entry in table.entries {
            noteKey(entry)
            guard !keys.contains(entry.key) else { continue }
            findings.error(
                path + entry.key,
                "unknown key\(Suggestion.text(for: entry.key, among: keys)); allowed here: "
                    + keys.joined(separator: ", "))
        }
    }

    /// Notes where every key stands when any key is allowed.
    func allowAnyKey() {
        for entry in table.entries { noteKey(entry) }
    }

    private func noteKey(_ entry: TOMLTable.Entry) {
        findings.note(path + entry.key, .init(file: file, position: entry.keyPosition))
    }

    func has(_ key: String) -> Bool { table[key] != nil }

    /// A finding at the value of a key, or at the table when the key is absent.
    func reject(_ key: String, _ message: String) {
        findings.error(
            path + key, message, at: table[key].map { .init(file: file, position: $0.valuePosition) })
    }

    /// Reports a key that must be there and is not.
    func require(_ key: String, _ allowed: String) {
        if !has(key) { findings.error(path + key, "missing; expected \(allowed)") }
    }

    // MARK: Values

    func string(_ key: String, _ allowed: String = "a string") -> String? {
        guard let entry = table[key] else { return nil }
        guard case .string(let text) = entry.value else {
            reject(key, "expected \(allowed), found \(entry.value.kind)")
            return nil
        }
        return text
    }

    /// A string that `convert` understands; it gives nil for what is not allowed.
    func value<Value>(_ key: String, _ allowed: String, _ convert: (String) -> Value?) -> Value? {
        guard let text = string(key, allowed) else { return nil }
        guard let value = convert(text) else {
            reject(key, "\(quoted(text)) is not allowed; expected \(allowed)")
            return nil
        }
        return value
    }

    /// As `value`, and its absence is reported.
    func requiredValue<Value>(_ key: String, _ allowed: String, _ convert: (String) -> Value?) -> Value? {
        require(key, allowed)
        return value(key, allowed, convert)
    }

    func integer(_ key: String, in range: ClosedRange<Int>) -> Int? {
        guard let entry = table[key] else { return nil }
        let allowed = "an integer from \(range.lowerBound) to \(range.upperBound)"
        guard case .integer(let number) = entry.value else {
            var hint = ""
            if case .string(let text) = entry.value, let number = Int(text) {
                hint = "; write \(number) without quotes"
            }
            reject(key, "expected \(allowed), found \(entry.value.kind)\(hint)")
            return nil
        }
        guard let value = Int(exactly: number), range.contains(value) else {
            reject(key, "\(number) is not allowed; expected \(allowed)")
            return nil
        }
        return value
    }

    func boolean(_ key: String) -> Bool? {
        guard let entry = table[key] else { return nil }
        guard case .boolean(let flag) = entry.value else {
            reject(key, "expected true or false, found \(entry.value.kind)")
            return nil
        }
        return flag
    }

    func choice<Choice: RawRepresentable & CaseIterable>(
        _ key: String, _: Choice.Type = Choice.self
    ) -> Choice? where Choice.RawValue == String {
        let words = Choice.allCases.map(\.rawValue)
        guard let text = string(key, "one of " + words.map(quoted).joined(separator: ", ")) else { return nil }
        guard let choice = Choice(rawValue: text) else {
            reject(key, Self.notOneOf(words, text))
            return nil
        }
        return choice
    }

    private static func notOneOf(_ words: [String], _ text: String) -> String {
        "\(quoted(text)) is not allowed\(Suggestion.text(for: text, among: words)); expected one of "
            + words.map(quoted).joined(separator: ", ")
    }

    /// Several of the words, without repetition; at least one.
    func choices<Choice: RawRepresentable & CaseIterable & Equatable>(
        _ key: String, _: Choice.Type = Choice.self
    ) -> [Choice]? where Choice.RawValue == String {
        let words = Choice.allCases.map(\.rawValue)
        guard let texts = strings(key, "a list of " + words.map(quoted).joined(separator: ", ")) else { return nil }
        var chosen: [Choice] = []
        for (index, text) in texts.enumerated() {
            guard let choice = Choice(rawValue: text) else {
                findings.error((path + key).element(index), Self.notOneOf(words, text))
                continue
            }
            guard !chosen.contains(choice) else {
                findings.error((path + key).element(index), "\(quoted(text)) is given twice")
                continue
            }
            chosen.append(choice)
        }
        return chosen.isEmpty ? nil : Choice.allCases.filter { chosen.contains($0) }
    }

    /// A list of strings, at least one; a single string counts as such a list where `single` says so.
    func strings(_ key: String, _ allowed: String, single: Bool = false) -> [String]? {
        guard let entry = table[key] else { return nil }
        if single, case .string(let text) = entry.value {
            findings.note((path + key).element(0), .init(file: file, position: entry.valuePosition))
            return [text]
        }
        guard case .array(let array) = entry.value else {
            reject(key, "expected \(allowed), found \(entry.value.kind)")
            return nil
        }
        var texts: [String] = []
        for (index, element) in array.elements.enumerated() {
            let elementPath = (path + key).element(index)
            findings.note(elementPath, .init(file: file, position: element.position))
            guard case .string(let text) = element.value else {
                findings.error(elementPath, "expected \(allowed), found \(element.value.kind)")
                return nil
            }
            texts.append(text)
        }
        if texts.isEmpty {
            reject(key, "the list is empty; expected \(allowed)")
            return nil
        }
        return texts
    }

    /// A list of strings that `isAllowed` takes; it may be empty.
    func texts(_ key: String, _ allowed: String, isAllowed: (String) -> Bool) -> [String]? {
        if case .array(let array)? = table[key]?.value, array.elements.isEmpty { return [] }
        guard let texts = strings(key, allowed, single: true) else { return nil }
        var good: [String] = []
        for (index, text) in texts.enumerated() {
            let elementPath = (path + key).element(index)
            if !isAllowed(text) {
                findings.error(elementPath, "\(quoted(text)) is not allowed; expected \(allowed)")
            } else if good.contains(text) {
                findings.error(elementPath, "\(quoted(text)) is given twice")
            } else {
                good.append(text)
            }
        }
        return good
    }

    func duration(_ key: String, in range: ClosedRange<Duration>) -> Duration? {
        let allowed =
            "a duration from \(quoted(DurationText.render(range.lowerBound))) to "
            + "\(quoted(DurationText.render(range.upperBound))), with the unit ms, s, m or h"
        if let entry = table[key], case .integer(let number) = entry.value {
            reject(key, "a duration needs a unit: \(quoted("\(number)s")) for seconds; expected \(allowed)")
            return nil
        }
        return value(key, allowed) { text in DurationText.parse(text).flatMap { range.contains($0) ? $0 : nil } }
    }

    // MARK: Tables

    func subtable(_ key: String, _ allowed: String = "a table") -> TableReader? {
        guard let entry = table[key] else { return nil }
        guard case .table(let inner) = entry.value else {
            reject(key, "expected \(allowed), found \(entry.value.kind)")
            return nil
        }
        return TableReader(table: inner, path: path + key, file: file, findings: findings)
    }

    /// Every element of an array of tables.
    func tables(_ key: String, _ allowed: String) -> [TableReader] {
        guard let entry = table[key] else { return [] }
        guard case .array(let array) = entry.value else {
            reject(key, "expected \(allowed), found \(entry.value.kind)")
            return []
        }
        return array.elements.enumerated().compactMap { index, element in
            let elementPath = (path + key).element(index)
            findings.note(elementPath, .init(file: file, position: element.position))
            guard case .table(let inner) = element.value else {
                findings.error(elementPath, "expected \(allowed), found \(element.value.kind)")
                return nil
            }
            return TableReader(table: inner, path: elementPath, file: file, findings: findings)
        }
    }

    /// Every entry as a table, by its key.
    func subtables(_ allowed: String) -> [(name: String, reader: TableReader)] {
        allowAnyKey()
        return table.entries.compactMap { entry in subtable(entry.key, allowed).map { (entry.key, $0) } }
    }
}

/// Durations as the files write them: `500ms`, `3s`, `2m`, `1h`.
package enum DurationText {
    private static let units: [(name: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000),
    ]

    /// nil for anything but an unsigned whole number followed by a unit.
    package static func parse(_ text: String) -> Duration? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard (1...12).contains(digits.count), let number = Int64(digits),
            let unit = units.first(where: { $0.name == text.dropFirst(digits.count) })
        else { return nil }
        let (milliseconds, overflow) = number.multipliedReportingOverflow(by: unit.milliseconds)
        return overflow ? nil : .milliseconds(milliseconds)
    }

    /// In seconds when it is whole seconds, else in milliseconds; what is finer is cut.
    static func render(_ duration: Duration) -> String {
        let milliseconds = duration.wholeMilliseconds
        return milliseconds % 1_000 == 0 ? "\(milliseconds / 1_000)s" : "\(milliseconds)ms"
    }
}
