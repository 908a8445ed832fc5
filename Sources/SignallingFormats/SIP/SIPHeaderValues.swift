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
        return ScannedNameAddress(span, range).flatMap { SIPParameters(span, $0.parameters, inURI: false).value("tag") }
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
