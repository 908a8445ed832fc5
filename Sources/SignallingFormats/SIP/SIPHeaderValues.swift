/// Typed values of the common fields; nil, or left out, when absent or malformed.
extension SIPHeaders {
    package var topVia: Via? {
        guard let range = firstRange(.via) else { return nil }
        let span = bytes.span
        return ScannedVia(span, range).map { Via(span, $0) }
    }

    package var vias: [Via] {
        var vias: [Via] = []
        forEachValue(.via) { bytes, range in
            if let scanned = ScannedVia(bytes, range) { vias.append(Via(bytes, scanned)) }
        }
        return vias
    }

    package var cseq: CSeq? {
        guard let range = firstRange(.cseq) else { return nil }
        let span = bytes.span
        return SIPGrammar.scanCSeq(span, range).map {
            CSeq(number: $0.number, method: SIPMethod(rawValue: span.text($0.method)))
        }
    }

    package var contentType: MediaType? {
        guard let range = firstRange(.contentType) else { return nil }
        return MediaType(bytes.span, range)
    }

    /// The first value of any field that holds one address.
    package func nameAddress(_ name: SIPHeaderName) -> NameAddress? {
        guard let range = firstRange(name) else { return nil }
        let span = bytes.span
        return ScannedNameAddress(span, range).map { NameAddress(span, $0) }
    }

    /// The tag of From or To (RFC 3261 §19.3), the rest of the address not taken apart.
    func tag(_ name: SIPHeaderName) -> String? {
        guard let range = firstRange(name) else { return nil }
        let span = bytes.span
        var cursor = ParameterCursor(Self.addressParameters(span, range))
        while let parameter = cursor.next(span) {
            guard span.isSame(parameter.name, "tag") else { continue }
            return parameter.value.map { SIPGrammar.unquoted(span.unfoldedText($0)) }
        }
        return nil
    }

    /// Where the field's parameters lie behind a name-addr or addr-spec (RFC 3261 §25.1).
    private static func addressParameters(_ span: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
        var index = range.lowerBound
        if index < range.upperBound, span[index] == UInt8(ascii: "\"") {
            index = SIPGrammar.skipQuoted(span, index, range.upperBound) ?? range.upperBound
        }
        while index < range.upperBound {
            switch span[index] {
            case UInt8(ascii: "<"):
                let close = span.firstOffset(of: UInt8(ascii: ">"), in: index..<range.upperBound)
                return (close.map { $0 + 1 } ?? range.upperBound)..<range.upperBound
            case UInt8(ascii: ":"):  // an addr-spec: no name in front of an angle bracket has a colon
                let start = span.firstOffset(of: UInt8(ascii: ";"), in: index..<range.upperBound)
                return (start ?? range.upperBound)..<range.upperBound
            default: index += 1
            }
        }
        return range.upperBound..<range.upperBound
    }

    /// Whether a field of this name has this value, an option tag or method, without regard to case.
    package func contains(_ value: String, in name: SIPHeaderName) -> Bool {
        guard contains(name) else { return false }
        var isFound = false
        forEachValue(name) { bytes, range in
            if !isFound, bytes.isSame(range, value) { isFound = true }
        }
        return isFound
    }

    /// The values of any field that holds addresses.
    package func nameAddresses(_ name: SIPHeaderName) -> [NameAddress] {
        var addresses: [NameAddress] = []
        forEachValue(name) { bytes, range in
            if let scanned = ScannedNameAddress(bytes, range) { addresses.append(NameAddress(bytes, scanned)) }
        }
        return addresses
    }

    /// The leading number of a field such as Expires, Min-SE or Retry-After; nil beyond 2^32-1.
    package func number(_ name: SIPHeaderName) -> Int? {
        guard let range = firstRange(name) else { return nil }
        let span = bytes.span
        var end = range.lowerBound
        while end < range.upperBound, ByteClass.isDigit(span[end]) { end += 1 }
        return span.decimal(range.lowerBound..<end, maximum: UInt64(UInt32.max)).map { Int($0) }
    }
}
