/// The type of a body (RFC 3261 §20.15): `multipart/mixed;boundary=x`; compared without case.
package struct MediaType: Hashable, Sendable, CustomStringConvertible {
    /// Lower case.
    package var type: String
    /// Lower case.
    package var subtype: String
    package var parameters: SIPParameters

    package init(_ type: String, _ subtype: String, parameters: SIPParameters = SIPParameters()) {
        self.type = type.lowercased()
        self.subtype = subtype.lowercased()
        self.parameters = parameters
    }

    package static let sdp = MediaType("application", "sdp")

    /// nil when malformed.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        self.init(bytes.span, 0..<bytes.count)
    }

    init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        let range = bytes.trimmed(range)
        let end = bytes.firstOffset(of: UInt8(ascii: ";"), in: range) ?? range.upperBound
        guard let slash = bytes.firstOffset(of: UInt8(ascii: "/"), in: range.lowerBound..<end) else { return nil }
        let type = bytes.trimmed(range.lowerBound..<slash)
        let subtype = bytes.trimmed((slash + 1)..<end)
        guard SIPGrammar.isToken(bytes, type), SIPGrammar.isToken(bytes, subtype),
            SIPGrammar.areParameters(bytes, end..<range.upperBound)
        else { return nil }
        self.init(
            bytes.text(type), bytes.text(subtype),
            parameters: SIPParameters(bytes, end..<range.upperBound, inURI: false))
    }

    /// Whether type and subtype are equal, whatever the parameters.
    package func matches(_ other: MediaType) -> Bool { type == other.type && subtype == other.subtype }

    package var text: String { type + "/" + subtype + parameters.text }
    package var description: String { text }
}
