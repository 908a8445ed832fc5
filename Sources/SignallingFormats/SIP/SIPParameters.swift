/// The `;name=value` parameters of a header field or a URI, in order; names are compared without case.
package struct SIPParameters: Hashable, Sendable, CustomStringConvertible {
    package struct Parameter: Hashable, Sendable {
        package var name: String
        /// As on the wire: quoted, escaped; nil for a parameter without `=`.
        package var rawValue: String?
    }

    package private(set) var all: [Parameter] = []

    package init() {}

    package var isEmpty: Bool { all.isEmpty }

    package func has(_ name: String) -> Bool { index(of: name) != nil }

    /// The value without quotes and backslashes; nil when there is no such parameter, or it has no value.
    package func value(_ name: String) -> String? { rawValue(name).map(SIPGrammar.unquoted) }

    /// The value as on the wire.
    package func rawValue(_ name: String) -> String? { index(of: name).flatMap { all[$0].rawValue } }

    /// Replaces the parameter's value where it stands, or appends it; a value that is no token is quoted.
    package mutating func set(_ name: String, _ value: String?) {
        setRaw(
            name,
            value.map { $0.utf8.allSatisfy(ByteClass.isParameterValue) && !$0.isEmpty ? $0 : SIPGrammar.quoted($0) })
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
        all.removeAll { SIPGrammar.isSame($0.name, name) }
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

    private func index(of name: String) -> Int? { all.firstIndex { SIPGrammar.isSame($0.name, name) } }

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
