extension SIPRequest {
    /// What can be read of a request that `SIPMessage(parsing:)` refused, enough to answer it with 400.
    ///
    /// The result has a method, a Request-URI (`sip:invalid.invalid` when that was the fault) and, as far as they
    /// can be read, all Via fields and the first From, To, Call-ID and CSeq, nothing else. nil for responses, for
    /// ACK, which is never answered, and when no Via says where an answer would go.
    package static func salvage(_ datagram: Span<UInt8>) -> SIPRequest? {
        var offset = 0
        while offset < datagram.count, datagram[offset] == 0x0D || datagram[offset] == 0x0A { offset += 1 }
        var line = lineEnd(datagram, offset)
        let startLine = offset..<datagram.trimmed(offset..<line.content).upperBound
        guard let method = salvageMethod(datagram, startLine) else { return nil }
        var headers = SIPHeaders()
        var seen: Set<WellKnownHeader> = []
        var fieldCount = 0
        offset = line.next
        while offset < datagram.count, fieldCount < SIPLimits.headerFieldCountMax {
            line = lineEnd(datagram, offset)
            while line.next < datagram.count, line.content > offset,
                datagram[line.next] == 0x20 || datagram[line.next] == 0x09
            {
                line = lineEnd(datagram, line.next)
            }
            let field = offset..<line.content
            guard !field.isEmpty else { break }
            salvageField(datagram, field, &headers, &seen)
            fieldCount += 1
            offset = line.next
        }
        guard headers.contains(.via), method != .ack else { return nil }
        return SIPRequest(method: method, requestURI: salvageURI(datagram, startLine), headers: headers)
    }

    /// Keeps the field when it is one of the five and readable.
    private static func salvageField(
        _ bytes: Span<UInt8>, _ field: Range<Int>, _ headers: inout SIPHeaders, _ seen: inout Set<WellKnownHeader>
    ) {
        guard let colon = bytes.firstOffset(of: UInt8(ascii: ":"), in: field) else { return }
        let name = bytes.trimmed(field.lowerBound..<colon)
        guard let known = WellKnownHeader.find(bytes, name) else { return }
        let value = bytes.trimmed((colon + 1)..<field.upperBound)
        switch known {
        case .via:
            var start = value.lowerBound
            while start < value.upperBound {
                let end = SIPGrammar.elementEnd(bytes, start, value.upperBound)
                salvageVia(bytes, bytes.trimmed(start..<end), &headers, isTop: !seen.contains(.via))
                seen.insert(.via)
                start = end + 1
            }
        case .from, .to, .callID, .cseq:
            guard !seen.contains(known), !value.isEmpty, SIPGrammar.firstControl(bytes, value) == nil else { return }
            headers.append(SIPHeaderName(known), bytes.unfoldedText(value))
        default: return
        }
        seen.insert(known)
    }

    /// Keeps a well-formed element; of the top one at least what precedes its parameters, for that is where the
    /// answer goes. A top Via that is lost leaves no Via at all.
    private static func salvageVia(
        _ bytes: Span<UInt8>, _ element: Range<Int>, _ headers: inout SIPHeaders, isTop: Bool
    ) {
        guard isTop || headers.contains(.via) else { return }
        if ScannedVia(bytes, element) != nil {
            headers.append(.via, bytes.unfoldedText(element))
        } else if isTop, let semicolon = bytes.firstOffset(of: UInt8(ascii: ";"), in: element) {
            let sentBy = bytes.trimmed(element.lowerBound..<semicolon)
            if ScannedVia(bytes, sentBy) != nil { headers.append(.via, bytes.unfoldedText(sentBy)) }
        }
    }

    private static func salvageMethod(_ bytes: Span<UInt8>, _ line: Range<Int>) -> SIPMethod? {
        guard let space = bytes.firstOffset(of: 0x20, in: line) else { return nil }
        let method = line.lowerBound..<space
        guard SIPGrammar.isToken(bytes, method), method.count <= 64 else { return nil }
        let last = bytes.trimmed(line)
        var version = last.upperBound
        while version > space, bytes[version - 1] != 0x20 { version -= 1 }
        guard last.upperBound - version >= 4, bytes.folded(version..<(version + 4)) == FoldedWord.sipSlash else {
            return nil
        }
        return SIPMethod(rawValue: bytes.text(method))
    }

    private static func salvageURI(_ bytes: Span<UInt8>, _ line: Range<Int>) -> URI {
        let words = line
        guard let space = bytes.firstOffset(of: 0x20, in: words) else { return placeholder }
        let start = bytes.skippingWhitespace(space, words.upperBound)
        let end = bytes.firstOffset(of: 0x20, in: start..<words.upperBound) ?? words.upperBound
        return ScannedURI(bytes, start..<end).map { URI(bytes, $0) } ?? placeholder
    }

    private static var placeholder: URI { .sip(SIPURI(host: .name("invalid.invalid"))) }

    /// Where the line's content ends and where the next line starts; LF alone ends a line here.
    private static func lineEnd(_ bytes: Span<UInt8>, _ start: Int) -> (content: Int, next: Int) {
        guard let newline = bytes.firstOffset(of: 0x0A, in: min(start, bytes.count)..<bytes.count) else {
            return (bytes.count, bytes.count)
        }
        let content = newline > start && bytes[newline - 1] == 0x0D ? newline - 1 : newline
        return (content, newline + 1)
    }
}
