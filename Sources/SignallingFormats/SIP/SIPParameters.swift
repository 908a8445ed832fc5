/// The `;name=value` parameters of a header field or a URI, in order; names are compared without case.
package struct SIPParameters: Hashable, Sendable, CustomStringConvertible {
    package struct Parameter: Hashable, Sendable {
        package var name: String
        /// As on the wire: quoted, escaped; nil for a parameter without `=`.
        package var rawValue: String?
    }

    package private(set) var all: [Parameter] = []
    /// In a URI `%XX` is an escape, in a header field `"` quotes.
    var isInURI = false

    package init() {}

    package var isEmpty: Bool { all.isEmpty }

    package func has(_ name: String) -> Bool { index(of: name) != nil }

    /// The value without quotes and escapes; nil when there is no such parameter, or it has no value.
    package func value(_ name: String) -> String? {
        rawValue(name).map { isInURI ? SIPGrammar.percentDecoded($0) : SIPGrammar.unquoted($0) }
    }

    /// The value as on the wire.
    package func rawValue(_ name: String) -> String? { index(of: name).flatMap { all[$0].rawValue } }

    /// Replaces the parameter's value where it stands, or appends it, quoted or escaped as necessary.
    package mutating func set(_ name: String, _ value: String?) { setRaw(name, value.map(encoded)) }

    private func encoded(_ value: String) -> String {
        if isInURI { return SIPGrammar.percentEncoded(value, isAllowed: ByteClass.isURIParameter) }
        let isPlain = !value.isEmpty && value.utf8.allSatisfy(ByteClass.isParameterValue)
        return isPlain ? value : SIPGrammar.quoted(value)
    }

    /// As `set`, the value put as it is: the caller has quoted or escaped it.
    package mutating func setRaw(_ name: String, _ rawValue: String?) {
        if let index = index(of: name) {
            all[index].rawValue = rawValue
        } else {
            all.append(Parameter(name: name, rawValue: rawValue))
        }
    }

    package mutating func remove(_ name: String) {
        while let index = index(of: name) { all.remove(at: index) }
    }

    /// `;name=value;name`, empty without parameters.
    package var text: String {
        var text = ""
        for parameter in all {
            text += ";" + parameter.name
            if let value = parameter.rawValue { text += "=" + value }
        }
        return text
    }

    package var description: String { text }

    mutating func append(name: String, rawValue: String?) { all.append(Parameter(name: name, rawValue: rawValue)) }

    private func index(of name: String) -> Int? {
        all.firstIndex { parameter in
            if isInURI, parameter.name.utf8.contains(UInt8(ascii: "%")) {
                return SIPGrammar.isSame(SIPGrammar.percentDecoded(parameter.name), name)
            }
            return SIPGrammar.isSame(parameter.name, name)
        }
    }

    package static func == (left: Self, right: Self) -> Bool {
        left.all.count == right.all.count
            && zip(left.all, right.all).allSatisfy { SIPGrammar.isSame($0.name, $1.name) && $0.rawValue == $1.rawValue }
    }

    package func hash(into hasher: inout Hasher) {
        for parameter in all {
            for byte in parameter.name.utf8 { hasher.combine(ByteClass.lowercased(byte)) }
            hasher.combine(parameter.rawValue)
        }
    }
}

extension SIPParameters {
    /// The parameters in `range`, which a scan has found well-formed.
    init(_ bytes: Span<UInt8>, _ range: Range<Int>, inURI: Bool) {
        isInURI = inURI
        var cursor = ParameterCursor(range)
        while let parameter = inURI ? cursor.nextInURI(bytes) : cursor.next(bytes) {
            append(name: bytes.text(parameter.name), rawValue: parameter.value.map { bytes.unfoldedText($0) })
        }
    }

    /// The parameters written in `text`, as `;q=0.5;expires=60`; nil when they are malformed.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard SIPGrammar.areParameters(bytes.span, 0..<bytes.count) else { return nil }
        self.init(bytes.span, 0..<bytes.count, inURI: false)
    }
}
