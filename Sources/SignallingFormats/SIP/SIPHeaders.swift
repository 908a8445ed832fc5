import Primitives

/// One header field as a name and its unfolded value.
package struct SIPHeaderField: Hashable, Sendable {
    package var name: SIPHeaderName
    package var value: String

    package init(name: SIPHeaderName, value: String) {
        self.name = name
        self.value = value
    }
}

/// The header fields of a message, in order; what is not edited keeps its bytes.
///
/// One buffer holds the lines, one array says where they lie. An edit appends a line to the buffer and points the
/// entry there; the old bytes stay unused until the buffer is compacted.
package struct SIPHeaders: Sendable {
    struct Entry: Sendable {
        /// Raw value of `WellKnownHeader`; 255 for any other name.
        var known: UInt8
        var nameByteCount: UInt8
        /// Of the line, that is of its name.
        var start: UInt32
        /// Trimmed.
        var valueStart: UInt32
        var valueEnd: UInt32
        /// Behind the CRLF.
        var end: UInt32

        var line: Range<Int> { Int(start)..<Int(end) }
        var name: Range<Int> { Int(start)..<(Int(start) + Int(nameByteCount)) }
        var value: Range<Int> { Int(valueStart)..<Int(valueEnd) }
    }

    private(set) var bytes: [UInt8] = []
    private(set) var entries: [Entry] = []

    package init() {}

    /// Takes lines a parser has indexed.
    init(bytes: [UInt8], entries: [Entry]) {
        self.bytes = bytes
        self.entries = entries
    }

    /// What the fields take in memory.
    package var byteCount: Int { bytes.count }

    /// The number of header fields, each line counted once.
    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }

    // MARK: Reading

    package func contains(_ name: SIPHeaderName) -> Bool { firstIndex(of: name) != nil }

    /// The value of the first field of this name, of a list its first element; unfolded and trimmed.
    package func first(_ name: SIPHeaderName) -> String? {
        guard let index = firstIndex(of: name) else { return nil }
        return bytes.span.unfoldedText(firstElement(of: entries[index], isList: name.isList))
    }

    /// The values of all fields of this name, lists taken apart at their commas; empty elements left out.
    package func values(_ name: SIPHeaderName) -> [String] {
        var values: [String] = []
        forEachValue(name) { bytes, range in values.append(bytes.unfoldedText(range)) }
        return values
    }

    /// All fields in order, lists not taken apart.
    package var fields: [SIPHeaderField] {
        entries.map { SIPHeaderField(name: name(of: $0), value: bytes.span.unfoldedText($0.value)) }
    }

    /// Those fields in order whose name `isWanted` accepts, lists not taken apart.
    package func fields(where isWanted: (SIPHeaderName) -> Bool) -> [SIPHeaderField] {
        var fields: [SIPHeaderField] = []
        for entry in entries {
            let name = name(of: entry)
            if isWanted(name) { fields.append(SIPHeaderField(name: name, value: bytes.span.unfoldedText(entry.value))) }
        }
        return fields
    }

    /// Calls `body` with the place of each value, as `values` would yield it.
    func forEachValue(_ name: SIPHeaderName, _ body: (Span<UInt8>, Range<Int>) -> Void) {
        let span = bytes.span
        for entry in entries where isNamed(entry, name) {
            guard name.isList else {
                body(span, entry.value)
                continue
            }
            var start = entry.value.lowerBound
            while start < entry.value.upperBound {
                let end = SIPGrammar.elementEnd(span, start, entry.value.upperBound)
                let element = span.trimmed(start..<end)
                if !element.isEmpty { body(span, element) }
                start = end + 1
            }
        }
    }

    /// The place of the first value in the buffer.
    func firstRange(_ name: SIPHeaderName) -> Range<Int>? {
        guard let index = firstIndex(of: name) else { return nil }
        return firstElement(of: entries[index], isList: name.isList)
    }

    private func firstElement(of entry: Entry, isList: Bool) -> Range<Int> {
        guard isList else { return entry.value }
        let span = bytes.span
        var start = entry.value.lowerBound
        while start < entry.value.upperBound {
            let end = SIPGrammar.elementEnd(span, start, entry.value.upperBound)
            let element = span.trimmed(start..<end)
            if !element.isEmpty { return element }
            start = end + 1
        }
        return entry.value
    }

    private func name(of entry: Entry) -> SIPHeaderName {
        if let known = WellKnownHeader(rawValue: entry.known) { return SIPHeaderName(known) }
        return SIPHeaderName(bytes.span.text(entry.name))
    }

    private func isNamed(_ entry: Entry, _ name: SIPHeaderName) -> Bool {
        if let known = name.known { return entry.known == known.rawValue }
        guard entry.known == .max, Int(entry.nameByteCount) == name.text.utf8.count else { return false }
        let span = bytes.span
        var index = entry.name.lowerBound
        for byte in name.text.utf8 {
            guard ByteClass.lowercased(byte) == ByteClass.lowercased(span[index]) else { return false }
            index += 1
        }
        return true
    }

    private func firstIndex(of name: SIPHeaderName) -> Int? {
        guard let known = name.known?.rawValue else { return entries.firstIndex { isNamed($0, name) } }
        var index = 0
        while index < entries.count {
            if entries[index].known == known { return index }
            index += 1
        }
        return nil
    }

    // MARK: Editing

    /// Adds a field behind all others. CR, LF and NUL in `value` become spaces: a value cannot start a new line.
    package mutating func append(_ name: SIPHeaderName, _ value: String) {
        let entry = write(name, value)
        entries.append(entry)
    }

    /// Adds a field before the first one of the same name, or before all others.
    package mutating func prepend(_ name: SIPHeaderName, _ value: String) {
        let index = firstIndex(of: name) ?? 0
        let entry = write(name, value)
        entries.insert(entry, at: index)
    }

    /// Leaves exactly one field of this name with this value, at the place of the first one, or behind all others.
    package mutating func set(_ name: SIPHeaderName, _ value: String) {
        guard let index = firstIndex(of: name) else { return append(name, value) }
        let entry = write(name, value)
        let rest = entries[(index + 1)...].filter { !isNamed($0, name) }
        entries.replaceSubrange(index..., with: [entry] + rest)
        compactIfWorthwhile()
    }

    package mutating func remove(_ name: SIPHeaderName) {
        let kept = entries.filter { !isNamed($0, name) }
        guard kept.count != entries.count else { return }
        entries = kept
        compactIfWorthwhile()
    }

    /// Removes the first value, be it a field of its own or the first element of a list.
    package mutating func removeFirstValue(_ name: SIPHeaderName) {
        guard let index = firstIndex(of: name) else { return }
        let entry = entries[index]
        let element = firstElement(of: entry, isList: name.isList)
        var next = element.upperBound
        while next < entry.value.upperBound, bytes[next] == UInt8(ascii: ",") || ByteClass.isWhitespace(bytes[next]) {
            next += 1
        }
        guard next < entry.value.upperBound else {
            entries.remove(at: index)
            return
        }
        let shortened = splice(entry, replacing: entry.value.lowerBound..<next, with: "")
        entries[index] = shortened
        compactIfWorthwhile()
    }

    /// Replaces the first value, the other elements of a list kept byte for byte; appends when there is none.
    package mutating func replaceFirstValue(_ name: SIPHeaderName, _ value: String) {
        guard let index = firstIndex(of: name) else { return append(name, value) }
        let entry = entries[index]
        let element = firstElement(of: entry, isList: name.isList)
        let replaced = splice(entry, replacing: element, with: value)
        entries[index] = replaced
        compactIfWorthwhile()
    }

    /// Appends to the value of the first field of this name, its other bytes kept.
    mutating func appendToFirstField(_ name: SIPHeaderName, _ text: String) {
        guard let index = firstIndex(of: name) else { return }
        let entry = entries[index]
        let longer = splice(entry, replacing: entry.value.upperBound..<entry.value.upperBound, with: text)
        entries[index] = longer
        compactIfWorthwhile()
    }

    /// Appends all fields of this name from `other`, byte for byte.
    package mutating func append(contentsOf name: SIPHeaderName, from other: SIPHeaders) {
        for entry in other.entries where other.isNamed(entry, name) { append(entry, of: other) }
    }

    /// Appends the fields of `other` whose name `isWanted` accepts, in order, byte for byte.
    package mutating func append(contentsOf other: SIPHeaders, where isWanted: (SIPHeaderName) -> Bool) {
        for entry in other.entries where isWanted(other.name(of: entry)) { append(entry, of: other) }
    }

    private mutating func append(_ entry: Entry, of other: SIPHeaders) {
        let shift = bytes.count - Int(entry.start)
        bytes.append(contentsOf: other.bytes[entry.line])
        var copy = entry
        copy.start = UInt32(Int(entry.start) + shift)
        copy.valueStart = UInt32(Int(entry.valueStart) + shift)
        copy.valueEnd = UInt32(Int(entry.valueEnd) + shift)
        copy.end = UInt32(Int(entry.end) + shift)
        entries.append(copy)
    }

    /// Writes a line behind the others and says where it lies.
    private mutating func write(_ name: SIPHeaderName, _ value: String) -> Entry {
        let start = bytes.count
        let text = name.text
        bytes.append(contentsOf: text.utf8.prefix(SIPLimits.headerNameByteCountMax))
        let nameEnd = bytes.count
        bytes.append(UInt8(ascii: ":"))
        bytes.append(0x20)
        let valueStart = bytes.count
        appendCleaned(value)
        return finishLine(
            known: name.known?.rawValue ?? .max, start: start, nameByteCount: nameEnd - start, valueStart: valueStart)
    }

    /// The line of `entry` with some bytes replaced, written behind the others.
    private mutating func splice(_ entry: Entry, replacing range: Range<Int>, with text: String) -> Entry {
        let start = bytes.count
        bytes.reserveCapacity(start + entry.line.count + text.utf8.count)
        for index in entry.line.lowerBound..<range.lowerBound { bytes.append(bytes[index]) }
        appendCleaned(text)
        for index in range.upperBound..<entry.value.upperBound { bytes.append(bytes[index]) }
        let valueStart = start + entry.value.lowerBound - entry.line.lowerBound
        return finishLine(
            known: entry.known, start: start, nameByteCount: Int(entry.nameByteCount), valueStart: valueStart)
    }

    private mutating func finishLine(known: UInt8, start: Int, nameByteCount: Int, valueStart: Int) -> Entry {
        let value = bytes.span.trimmed(valueStart..<bytes.count)
        bytes.append(0x0D)
        bytes.append(0x0A)
        return Entry(
            known: known, nameByteCount: UInt8(nameByteCount), start: UInt32(start),
            valueStart: UInt32(value.lowerBound), valueEnd: UInt32(value.upperBound), end: UInt32(bytes.count))
    }

    private mutating func appendCleaned(_ value: String) {
        let start = bytes.count
        bytes.append(contentsOf: value.utf8)
        for index in start..<bytes.count where bytes[index] == 0x0D || bytes[index] == 0x0A || bytes[index] == 0 {
            bytes[index] = 0x20
        }
    }

    /// Drops unused bytes when they are the greater part.
    private mutating func compactIfWorthwhile() {
        guard bytes.count > 4096 else { return }
        let used = entries.reduce(0) { $0 + $1.line.count }
        guard used < bytes.count / 2 else { return }
        let old = self
        bytes = []
        bytes.reserveCapacity(used + 512)
        entries.removeAll(keepingCapacity: true)
        for entry in old.entries { append(entry, of: old) }
    }

    // MARK: Rendering

    /// The lines in order, without the empty line. Content-Length is kept where it is already right, corrected where
    /// it is not, and appended when it is missing.
    func render(into writer: inout ByteWriter, bodyByteCount: Int) {
        var start = 0
        var end = 0
        var hasContentLength = false
        for entry in entries {
            if entry.known == WellKnownHeader.contentLength.rawValue {
                let isRight = bytes.span.decimal(entry.value, maximum: UInt64(UInt32.max)) == UInt64(bodyByteCount)
                if hasContentLength || !isRight {
                    writer.write(contentsOf: bytes[start..<end])
                    start = entry.line.upperBound
                    end = start
                    if !hasContentLength {
                        writer.write(contentsOf: bytes[entry.line.lowerBound..<entry.value.lowerBound])
                        writer.writeDecimal(bodyByteCount)
                        writer.write(contentsOf: bytes[entry.value.upperBound..<entry.line.upperBound])
                        hasContentLength = true
                    }
                    continue
                }
                hasContentLength = true
            }
            if entry.line.lowerBound != end {
                writer.write(contentsOf: bytes[start..<end])
                start = entry.line.lowerBound
            }
            end = entry.line.upperBound
        }
        writer.write(contentsOf: bytes[start..<end])
        if !hasContentLength {
            writer.write("Content-Length: ")
            writer.writeDecimal(bodyByteCount)
            writer.write("\r\n")
        }
    }
}

extension SIPHeaders: Equatable {
    /// Same fields with the same value bytes in the same order; compact and long names are equal.
    package static func == (left: Self, right: Self) -> Bool {
        guard left.entries.count == right.entries.count else { return false }
        for (one, other) in zip(left.entries, right.entries) {
            guard left.bytes[one.value] == right.bytes[other.value], one.known == other.known else { return false }
            if one.known == .max { guard left.name(of: one) == right.name(of: other) else { return false } }
        }
        return true
    }
}
