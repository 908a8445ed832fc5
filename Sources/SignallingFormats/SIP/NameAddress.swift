/// A URI with an optional display name and parameters: From, To, Contact, Route (RFC 3261 §20.10).
package struct NameAddress: Hashable, Sendable, CustomStringConvertible {
    /// Without quotes and backslashes.
    package var displayName: String?
    package var uri: URI
    /// The header field's parameters, not the URI's.
    package var parameters: SIPParameters

    package init(displayName: String? = nil, uri: URI, parameters: SIPParameters = SIPParameters()) {
        self.displayName = displayName
        self.uri = uri
        self.parameters = parameters
    }

    /// One element, `"Front desk" <sip:2001@branch.example>;tag=1`; nil when malformed.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard let scanned = ScannedNameAddress(bytes.span, 0..<bytes.count) else { return nil }
        self.init(bytes.span, scanned)
    }

    init(_ bytes: Span<UInt8>, _ scanned: ScannedNameAddress) {
        displayName = scanned.displayName.map { Self.displayName(bytes, $0) }
        uri = URI(bytes, scanned.uri)
        parameters = SIPParameters(bytes, scanned.parameters, inURI: false)
    }

    private static func displayName(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String {
        guard bytes[range.lowerBound] == UInt8(ascii: "\""), range.count >= 2,
            bytes.firstOffset(of: UInt8(ascii: "\\"), in: range) == nil
        else { return SIPGrammar.unquoted(bytes.unfoldedText(range)) }
        return bytes.unfoldedText((range.lowerBound + 1)..<(range.upperBound - 1))
    }

    /// The dialog's tag (RFC 3261 §19.3); setting nil removes it.
    package var tag: String? {
        get { parameters.value("tag") }
        set {
            if let newValue { parameters.set("tag", newValue) } else { parameters.remove("tag") }
        }
    }

    /// Always with angle brackets, the display name always quoted.
    package var text: String {
        var text = ""
        text.reserveCapacity(96)
        if let displayName { text += SIPGrammar.quoted(displayName) + " " }
        text += "<"
        uri.write(to: &text)
        text += ">"
        text += parameters.text
        return text
    }

    package var description: String { text }
}

/// Where the parts of one name-addr or addr-spec lie.
struct ScannedNameAddress {
    let uri: ScannedURI
    private let displayNameRange: ByteRange
    private let parameterRange: ByteRange

    /// With its quotes; nil when there is none.
    var displayName: Range<Int>? { displayNameRange.range }
    var parameters: Range<Int> { parameterRange.range ?? 0..<0 }

    /// nil when `range` is not exactly one well-formed element.
    init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        let range = bytes.trimmed(range)
        guard !range.isEmpty else { return nil }
        var open = range.lowerBound
        var displayName: Range<Int>?
        if bytes[open] == UInt8(ascii: "\"") {
            guard let behind = SIPGrammar.skipQuoted(bytes, open, range.upperBound) else { return nil }
            displayName = open..<behind
            open = bytes.skippingWhitespace(behind, range.upperBound)
            guard open < range.upperBound, bytes[open] == UInt8(ascii: "<") else { return nil }
        } else if bytes[open] != UInt8(ascii: "<") {
            while open < range.upperBound, Self.isUnquotedName(bytes[open]) { open += 1 }
            if open < range.upperBound, bytes[open] == UInt8(ascii: "<") {
                displayName = bytes.trimmed(range.lowerBound..<open)
            } else {
                open = range.upperBound
            }
        }
        displayNameRange = displayName.map { ByteRange($0) } ?? .none
        let parameters: Range<Int>
        if open < range.upperBound {
            guard
                let close = bytes.firstOffset(of: UInt8(ascii: ">"), in: open..<range.upperBound),
                let uri = ScannedURI(bytes, (open + 1)..<close)
            else { return nil }
            self.uri = uri
            parameters = (close + 1)..<range.upperBound
        } else {
            // addr-spec: what follows a semicolon belongs to the field, and a question mark or comma needs brackets
            var end = range.lowerBound
            while end < range.upperBound, bytes[end] != UInt8(ascii: ";"), !ByteClass.isWhitespace(bytes[end]) {
                guard bytes[end] != UInt8(ascii: "?"), bytes[end] != UInt8(ascii: ",") else { return nil }
                end += 1
            }
            guard let uri = ScannedURI(bytes, range.lowerBound..<end) else { return nil }
            self.uri = uri
            parameters = end..<range.upperBound
        }
        guard SIPGrammar.areParameters(bytes, parameters) else { return nil }
        parameterRange = ByteRange(parameters)
    }

    /// A display name without quotes is tokens; we also let UTF-8 and harmless marks pass, never separators.
    private static func isUnquotedName(_ byte: UInt8) -> Bool {
        if ByteClass.isToken(byte) || ByteClass.isWhitespace(byte) || byte >= 0x80 { return true }
        switch byte {
        case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "/"), UInt8(ascii: "&"), UInt8(ascii: "#"),
            UInt8(ascii: "$"), UInt8(ascii: "@"), UInt8(ascii: "="), UInt8(ascii: "?"), UInt8(ascii: "["),
            UInt8(ascii: "]"), UInt8(ascii: "{"), UInt8(ascii: "}"):
            return true
        default: return false
        }
    }
}
