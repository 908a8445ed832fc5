/// The `;name=value` parameters of a header field or a URI, in order; names are compared without case.
///
/// Kept as text: most messages carry few and short ones, and a short text needs no allocation.
package struct SIPParameters: Sendable, CustomStringConvertible {
    package struct Parameter: Hashable, Sendable {
        package var name: String
        /// As on the wire: quoted, escaped; nil for a parameter without `=`.
        package var rawValue: String?
    }

    /// `;name=value;name` without white space; empty without parameters.
    package private(set) var text = ""
    /// In a URI `%XX` is an escape, in a header field `"` quotes.
    var isInURI = false

    package init() {}

    /// The parameters written in `text`, as `;q=0.5;expires=60`; nil when they are malformed.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard SIPGrammar.areParameters(bytes.span, 0..<bytes.count) else { return nil }
        self.init(bytes.span, 0..<bytes.count, inURI: false)
    }

    /// The parameters in `range`, which a scan has found well-formed.
    init(_ bytes: Span<UInt8>, _ range: Range<Int>, inURI: Bool) {
        isInURI = inURI
        guard !range.isEmpty else { return }
        if inURI || !bytes.containsWhitespace(range) {
            text = bytes.text(range)
        } else {
            var cursor = ParameterCursor(range)
            while let parameter = cursor.next(bytes) {
                append(bytes.text(parameter.name), parameter.value.map { bytes.unfoldedText($0) })
            }
        }
    }

    package var description: String { text }
    package var isEmpty: Bool { text.isEmpty }

    package var all: [Parameter] {
        var all: [Parameter] = []
        forEach { bytes, parameter in
            all.append(
                Parameter(name: bytes.text(parameter.name), rawValue: parameter.value.map { bytes.text($0) }))
            return true
        }
        return all
    }

    package func has(_ name: String) -> Bool { find(name) { _, _ in true } ?? false }

    /// The value without quotes and escapes; nil when there is no such parameter, or it has no value.
    package func value(_ name: String) -> String? {
        rawValue(name).map { isInURI ? SIPGrammar.percentDecoded($0) : SIPGrammar.unquoted($0) }
    }

    /// The value as on the wire.
    package func rawValue(_ name: String) -> String? {
        find(name) { bytes, parameter in parameter.value.map { bytes.text($0) } } ?? nil
    }

    /// Replaces the parameter's value where it stands, or appends it, quoted or escaped as necessary.
    package mutating func set(_ name: String, _ value: String?) { setRaw(name, value.map(encoded)) }

    /// As `set`, the value put as it is: the caller has quoted or escaped it.
    package mutating func setRaw(_ name: String, _ rawValue: String?) {
        guard has(name) else { return append(name, rawValue) }
        var parameters = all
        if let index = parameters.firstIndex(where: { isNamed($0.name, name) }) {
            parameters[index].rawValue = rawValue
        }
        rebuild(from: parameters)
    }

    package mutating func remove(_ name: String) {
        guard has(name) else { return }
        let parameters = all.filter { !isNamed($0.name, name) }
        rebuild(from: parameters)
    }

    private mutating func append(_ name: String, _ rawValue: String?) {
        text += ";" + name
        if let rawValue { text += "=" + rawValue }
    }

    private mutating func rebuild(from parameters: [Parameter]) {
        text = ""
        for parameter in parameters { append(parameter.name, parameter.rawValue) }
    }

    private func encoded(_ value: String) -> String {
        if isInURI { return SIPGrammar.percentEncoded(value, isAllowed: ByteClass.isURIParameter) }
        let isPlain = !value.isEmpty && value.utf8.allSatisfy(ByteClass.isParameterValue)
        return isPlain ? value : SIPGrammar.quoted(value)
    }

    private func isNamed(_ wireName: String, _ name: String) -> Bool {
        SIPGrammar.isSame(isInURI ? SIPGrammar.percentDecoded(wireName) : wireName, name)
    }

    private typealias Place = (name: Range<Int>, value: Range<Int>?)

    /// Calls `body` with each parameter until it returns false.
    private func forEach(_ body: (Span<UInt8>, Place) -> Bool) {
        guard !text.isEmpty else { return }
        let bytes = text.utf8.span
        var cursor = ParameterCursor(0..<bytes.count)
        while let parameter = isInURI ? cursor.nextInURI(bytes) : cursor.next(bytes) {
            guard body(bytes, parameter) else { return }
        }
    }

    private func find<Found>(_ name: String, _ take: (Span<UInt8>, Place) -> Found) -> Found? {
        var found: Found?
        let nameCount = name.utf8.count
        forEach { bytes, parameter in
            let isEscaped = isInURI && bytes.firstOffset(of: UInt8(ascii: "%"), in: parameter.name) != nil
            if isEscaped {
                guard isNamed(bytes.text(parameter.name), name) else { return true }
            } else {
                guard parameter.name.count == nameCount else { return true }
                var index = parameter.name.lowerBound
                for byte in name.utf8 {
                    guard ByteClass.lowercased(byte) == ByteClass.lowercased(bytes[index]) else { return true }
                    index += 1
                }
            }
            found = take(bytes, parameter)
            return false
        }
        return found
    }
}

extension SIPParameters: Hashable {
    /// Same names and same values in the same order.
    package static func == (left: Self, right: Self) -> Bool {
        if left.text == right.text { return true }
        let leftAll = left.all
        let rightAll = right.all
        return leftAll.count == rightAll.count
            && zip(leftAll, rightAll).allSatisfy { SIPGrammar.isSame($0.name, $1.name) && $0.rawValue == $1.rawValue }
    }

    package func hash(into hasher: inout Hasher) {
        for parameter in all {
            for byte in parameter.name.utf8 { hasher.combine(ByteClass.lowercased(byte)) }
            hasher.combine(parameter.rawValue)
        }
    }
}
