extension SIPMessage {
    /// Parses one datagram: what follows the body is cut off, a short body is an error (RFC 3261 §18.3).
    package init(parsing datagram: Span<UInt8>) throws(SIPParseError) {
        var index = MessageIndex()
        try index.read(datagram)
        self = index.message(datagram)
    }
}

/// The parse of one message: where everything lies, then one copy.
struct MessageIndex {
    private enum StartLine {
        case request(method: Range<Int>, uri: ScannedURI)
        case response(statusCode: Int, reason: Range<Int>)
    }

    private var startLine = StartLine.response(statusCode: 0, reason: 0..<0)
    private var headerBlock = 0..<0
    private var body = 0..<0
    private var entries: [SIPHeaders.Entry] = []
    private var seen: UInt128 = 0
    private var contentLength: Int?
    private var cseqMethod = 0..<0

    init() { entries.reserveCapacity(24) }

    // MARK: Reading

    mutating func read(_ bytes: Span<UInt8>) throws(SIPParseError) {
        var offset = 0
        while offset < bytes.count, bytes[offset] == 0x0D || bytes[offset] == 0x0A { offset += 1 }
        guard offset < bytes.count else { throw SIPParseError(.empty, at: 0) }
        guard bytes.count <= SIPLimits.messageByteCountMax else { throw SIPParseError(.tooLarge, at: 0) }
        offset = try readStartLine(bytes, offset)
        headerBlock = offset..<offset
        while let next = try readHeaderField(bytes, offset) { offset = next }
        headerBlock = headerBlock.lowerBound..<offset
        try checkMandatoryFields(bytes)
        try findBody(bytes, offset + 2)
    }

    /// The offset behind the start line.
    private mutating func readStartLine(_ bytes: Span<UInt8>, _ start: Int) throws(SIPParseError) -> Int {
        var end = start
        while end < bytes.count, bytes[end] != 0x0D, bytes[end] != 0x0A { end += 1 }
        guard end < bytes.count else { throw SIPParseError(.headerUnterminated, at: end) }
        guard bytes[end] == 0x0D, end + 1 < bytes.count, bytes[end + 1] == 0x0A else {
            throw SIPParseError(.lineEndMalformed, at: end)
        }
        if end - start >= 4, bytes.folded(start..<(start + 4)) == FoldedWord.sipSlash {
            try readStatusLine(bytes, start..<end)
        } else {
            try readRequestLine(bytes, start..<end)
        }
        return end + 2
    }

    private mutating func readStatusLine(_ bytes: Span<UInt8>, _ line: Range<Int>) throws(SIPParseError) {
        let versionEnd = bytes.firstOffset(of: 0x20, in: line) ?? line.upperBound
        try checkVersion(bytes, line.lowerBound..<versionEnd)
        let codeStart = versionEnd + 1
        guard codeStart < line.upperBound else { throw SIPParseError(.startLineMalformed, at: versionEnd) }
        let codeEnd = bytes.firstOffset(of: 0x20, in: codeStart..<line.upperBound) ?? line.upperBound
        guard codeEnd - codeStart == 3, let code = bytes.decimal(codeStart..<codeEnd, maximum: 699), code >= 100 else {
            throw SIPParseError(.statusCodeInvalid, at: codeStart)
        }
        let reason = min(codeEnd + 1, line.upperBound)..<line.upperBound
        if let control = SIPGrammar.firstControl(bytes, reason) {
            throw SIPParseError(.controlCharacter, at: control)
        }
        startLine = .response(statusCode: Int(code), reason: reason)
    }

    private mutating func readRequestLine(_ bytes: Span<UInt8>, _ line: Range<Int>) throws(SIPParseError) {
        guard let methodEnd = bytes.firstOffset(of: 0x20, in: line),
            SIPGrammar.isToken(bytes, line.lowerBound..<methodEnd)
        else { throw SIPParseError(.startLineMalformed, at: line.lowerBound) }
        let uriStart = methodEnd + 1
        guard let uriEnd = bytes.firstOffset(of: 0x20, in: uriStart..<line.upperBound), uriEnd > uriStart else {
            throw SIPParseError(.startLineMalformed, at: methodEnd)
        }
        try checkVersion(bytes, (uriEnd + 1)..<line.upperBound)
        guard let uri = ScannedURI(bytes, uriStart..<uriEnd) else {
            throw SIPParseError(.requestURIMalformed, at: uriStart)
        }
        if let headers = uri.headers { throw SIPParseError(.requestURIHasHeaders, at: headers.lowerBound) }
        startLine = .request(method: line.lowerBound..<methodEnd, uri: uri)
    }

    private func checkVersion(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(SIPParseError) {
        if bytes.folded(range) == FoldedWord.sip2 { return }
        guard range.count > 4, bytes.folded(range.lowerBound..<(range.lowerBound + 4)) == FoldedWord.sipSlash else {
            throw SIPParseError(.startLineMalformed, at: range.lowerBound)
        }
        let number = (range.lowerBound + 4)..<range.upperBound
        guard let dot = bytes.firstOffset(of: UInt8(ascii: "."), in: number), dot > number.lowerBound,
            dot + 1 < number.upperBound,
            bytes.isDigits(number.lowerBound..<dot), bytes.isDigits((dot + 1)..<number.upperBound)
        else { throw SIPParseError(.startLineMalformed, at: range.lowerBound) }
        throw SIPParseError(.versionUnsupported, at: range.lowerBound)
    }

    /// The offset behind the field that starts at `start`; nil when the empty line is there.
    private mutating func readHeaderField(_ bytes: Span<UInt8>, _ start: Int) throws(SIPParseError) -> Int? {
        let count = bytes.count
        guard start < count else { throw SIPParseError(.headerUnterminated, at: start) }
        if bytes[start] == 0x0D {
            guard start + 1 < count else { throw SIPParseError(.headerUnterminated, at: start) }
            guard bytes[start + 1] == 0x0A else { throw SIPParseError(.lineEndMalformed, at: start) }
            return nil
        }
        guard entries.count < SIPLimits.headerFieldCountMax else {
            throw SIPParseError(.headerFieldsTooMany, at: start)
        }
        var index = start
        while index < count, ByteClass.isToken(bytes[index]) { index += 1 }
        let name = start..<index
        while index < count, bytes[index] == 0x20 || bytes[index] == 0x09 { index += 1 }
        guard index < count else { throw SIPParseError(.headerUnterminated, at: index) }
        guard !name.isEmpty, name.count <= SIPLimits.headerNameByteCountMax, bytes[index] == UInt8(ascii: ":") else {
            throw SIPParseError(.headerNameMalformed, at: start)
        }
        index += 1
        let valueStart = index
        var hasControl = false
        var lineEnd = index
        while true {
            var byte: UInt8 = 0
            while index < count {
                byte = bytes[index]
                if byte < 0x20 || byte == 0x7F { break }
                index &+= 1
            }
            guard index < count else { throw SIPParseError(.headerUnterminated, at: index) }
            if byte == 0x0D {
                guard index + 1 < count else { throw SIPParseError(.headerUnterminated, at: index) }
                guard bytes[index + 1] == 0x0A else { throw SIPParseError(.lineEndMalformed, at: index) }
                lineEnd = index
                index += 2
                guard index < count else { throw SIPParseError(.headerUnterminated, at: index) }
                guard bytes[index] == 0x20 || bytes[index] == 0x09 else { break }
            } else if byte == 0x0A {
                throw SIPParseError(.lineEndMalformed, at: index)
            } else {
                if byte != 0x09 { hasControl = true }
                index += 1
            }
        }
        let value = bytes.trimmed(valueStart..<lineEnd)
        if hasControl, let control = SIPGrammar.firstControl(bytes, value) {
            throw SIPParseError(.controlCharacter, at: control)
        }
        let known = WellKnownHeader.find(bytes, name)
        if let known { try check(known, bytes, value, at: start) }
        let base = headerBlock.lowerBound
        entries.append(
            SIPHeaders.Entry(
                known: known?.rawValue ?? .max, nameByteCount: UInt8(name.count), start: UInt32(start - base),
                valueStart: UInt32(value.lowerBound - base), valueEnd: UInt32(value.upperBound - base),
                end: UInt32(index - base)))
        return index
    }

    // MARK: Checking

    /// Refuses what would make the message mean two things, or nothing.
    private mutating func check(
        _ header: WellKnownHeader, _ bytes: Span<UInt8>, _ value: Range<Int>, at start: Int
    ) throws(SIPParseError) {
        let bit: UInt128 = 1 << UInt128(header.rawValue)
        switch header {
        case .via:
            try checkList(header, bytes, value) { ScannedVia($0, $1) != nil }
        case .from, .to:
            try once(header, bit, start)
            guard ScannedNameAddress(bytes, value) != nil else { throw malformed(header, value) }
        case .callID:
            try once(header, bit, start)
            guard SIPGrammar.isCallID(bytes, value) else { throw malformed(header, value) }
        case .cseq:
            try once(header, bit, start)
            try readCSeq(bytes, value)
        case .contact:
            if value.count == 1, bytes[value.lowerBound] == UInt8(ascii: "*") { break }
            try checkList(header, bytes, value) { ScannedNameAddress($0, $1) != nil }
        case .route, .recordRoute:
            try checkList(header, bytes, value) { ScannedNameAddress($0, $1) != nil }
        case .maxForwards:
            try once(header, bit, start)
            try checkNumber(header, bytes, value, maximum: 255)
        case .expires, .minExpires, .rseq:
            try once(header, bit, start)
            try checkNumber(header, bytes, value, maximum: UInt64(UInt32.max))
        case .contentLength:
            try once(header, bit, start)
            guard bytes.isDigits(value) else { throw SIPParseError(.contentLengthMalformed, at: value.lowerBound) }
            guard let number = bytes.decimal(value, maximum: UInt64(UInt32.max)) else {
                throw SIPParseError(.numberOutOfRange(SIPHeaderName(header)), at: value.lowerBound)
            }
            contentLength = Int(number)
        case .contentType, .sessionExpires, .minSE, .rack, .event, .referTo, .replaces:
            try once(header, bit, start)
        default: break
        }
        seen |= bit
    }

    private func once(_ header: WellKnownHeader, _ bit: UInt128, _ offset: Int) throws(SIPParseError) {
        guard seen & bit == 0 else { throw SIPParseError(.headerRepeated(SIPHeaderName(header)), at: offset) }
    }

    private func malformed(_ header: WellKnownHeader, _ value: Range<Int>) -> SIPParseError {
        SIPParseError(.headerMalformed(SIPHeaderName(header)), at: value.lowerBound)
    }

    /// Every element well-formed, none empty.
    private func checkList(
        _ header: WellKnownHeader, _ bytes: Span<UInt8>, _ value: Range<Int>,
        _ isWellFormed: (Span<UInt8>, Range<Int>) -> Bool
    ) throws(SIPParseError) {
        var start = value.lowerBound
        repeat {
            let end = SIPGrammar.elementEnd(bytes, start, value.upperBound)
            guard isWellFormed(bytes, bytes.trimmed(start..<end)) else { throw malformed(header, start..<end) }
            start = end + 1
        } while start <= value.upperBound
    }

    private func checkNumber(
        _ header: WellKnownHeader, _ bytes: Span<UInt8>, _ value: Range<Int>, maximum: UInt64
    ) throws(SIPParseError) {
        guard bytes.isDigits(value) else { throw malformed(header, value) }
        guard bytes.decimal(value, maximum: maximum) != nil else {
            throw SIPParseError(.numberOutOfRange(SIPHeaderName(header)), at: value.lowerBound)
        }
    }

    private mutating func readCSeq(_ bytes: Span<UInt8>, _ value: Range<Int>) throws(SIPParseError) {
        guard let cseq = SIPGrammar.scanCSeq(bytes, value) else {
            var end = value.lowerBound
            while end < value.upperBound, ByteClass.isDigit(bytes[end]) { end += 1 }
            let isLarge =
                end > value.lowerBound && bytes.decimal(value.lowerBound..<end, maximum: UInt64(UInt32.max)) == nil
            throw isLarge ? SIPParseError(.numberOutOfRange(.cseq), at: value.lowerBound) : malformed(.cseq, value)
        }
        guard cseq.number < 1 << 31 else { throw SIPParseError(.numberOutOfRange(.cseq), at: value.lowerBound) }
        cseqMethod = cseq.method
    }

    private func checkMandatoryFields(_ bytes: Span<UInt8>) throws(SIPParseError) {
        try require(.via)
        try require(.from)
        try require(.to)
        try require(.callID)
        try require(.cseq)
        if case .request(let method, _) = startLine {
            guard bytes.isEqual(method, cseqMethod) else {
                throw SIPParseError(.methodMismatch, at: cseqMethod.lowerBound)
            }
        }
    }

    private func require(_ header: WellKnownHeader) throws(SIPParseError) {
        guard seen & (1 << UInt128(header.rawValue)) != 0 else {
            throw SIPParseError(.headerMissing(SIPHeaderName(header)), at: headerBlock.upperBound)
        }
    }

    private mutating func findBody(_ bytes: Span<UInt8>, _ start: Int) throws(SIPParseError) {
        let rest = bytes.count - start
        let expected = contentLength ?? rest
        guard expected <= rest else {
            throw SIPParseError(.bodyTruncated(expected: expected, got: rest), at: bytes.count)
        }
        body = start..<(start + expected)
    }

    // MARK: Keeping

    /// The message as a value: one copy of the header fields, one of the body.
    func message(_ bytes: Span<UInt8>) -> SIPMessage {
        let headers = SIPHeaders(bytes: [UInt8](copying: bytes.extracting(headerBlock)), entries: entries)
        let content = [UInt8](copying: bytes.extracting(body))
        switch startLine {
        case .request(let method, let uri):
            return .request(
                SIPRequest(
                    method: SIPMethod(rawValue: bytes.text(method)), requestURI: URI(bytes, uri),
                    requestURIText: bytes.text(uri.whole), headers: headers, body: content))
        case .response(let statusCode, let reason):
            return .response(
                SIPResponse(
                    statusCode: statusCode, reasonPhrase: bytes.text(reason), headers: headers, body: content))
        }
    }
}

extension SIPGrammar {
    /// The first control character that is not part of a quoted pair inside quotes or a comment; tabs, CR and LF of
    /// folds do not count.
    static func firstControl(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int? {
        var index = range.lowerBound
        var inQuotes = false
        var commentDepth = 0
        while index < range.upperBound {
            let byte = bytes[index]
            switch byte {
            case UInt8(ascii: "\"") where commentDepth == 0: inQuotes.toggle()
            case UInt8(ascii: "(") where !inQuotes: commentDepth += 1
            case UInt8(ascii: ")") where !inQuotes && commentDepth > 0: commentDepth -= 1
            case UInt8(ascii: "\\") where inQuotes || commentDepth > 0: index += 1
            case 0x09, 0x0A, 0x0D: break
            case 0x00..<0x20, 0x7F: return index
            default: break
            }
            index += 1
        }
        return nil
    }
}

extension Span<UInt8> {
    /// Whether `range` is digits, at least one.
    func isDigits(_ range: Range<Int>) -> Bool {
        guard !range.isEmpty else { return false }
        var index = range.lowerBound
        while index < range.upperBound {
            guard ByteClass.isDigit(self[index]) else { return false }
            index += 1
        }
        return true
    }

    /// Whether two parts hold the same bytes.
    func isEqual(_ left: Range<Int>, _ right: Range<Int>) -> Bool {
        guard left.count == right.count else { return false }
        for offset in 0..<left.count where self[left.lowerBound + offset] != self[right.lowerBound + offset] {
            return false
        }
        return true
    }
}
