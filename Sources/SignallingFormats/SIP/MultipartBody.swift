import Primitives

/// A `multipart/…` body (RFC 2046 §5.1, RFC 5621): its parts, each byte kept.
package struct MultipartBody: Equatable, Sendable {
    /// Why a body is no multipart body of its boundary.
    package enum Failure: Error, Hashable, Sendable {
        case boundaryInvalid
        /// The first delimiter line is missing.
        case delimiterMissing
        /// The last delimiter is missing.
        case closeMissing
        case partsTooMany
        /// A part's header fields are malformed, or have no end.
        case partHeaderMalformed
    }

    package let boundary: String
    package private(set) var parts: [MIMEPart]
    /// Before the first delimiter, ignored by readers and kept.
    private let preamble: [UInt8]
    /// From the last delimiter on.
    private var epilogue: [UInt8]

    /// A new body of these parts.
    package init(boundary: String, parts: [MIMEPart]) {
        self.boundary = boundary
        self.parts = parts
        preamble = []
        epilogue = Array("\r\n--\(boundary)--\r\n".utf8)
    }

    /// Takes a body apart at the delimiters of `boundary`, the parameter of its Content-Type.
    package init(parsing body: [UInt8], boundary: String) throws(Failure) {
        let marker = Array("--\(boundary)".utf8)
        guard (1...70).contains(boundary.utf8.count), !boundary.utf8.contains(where: { $0 < 0x20 || $0 >= 0x7F }) else {
            throw .boundaryInvalid
        }
        let bytes = body.span
        guard var delimiter = Self.delimiter(bytes, marker, from: 0), !delimiter.isLast else {
            throw .delimiterMissing
        }
        self.boundary = boundary
        preamble = Array(body[0..<delimiter.lower])
        var parts: [MIMEPart] = []
        while !delimiter.isLast {
            guard let next = Self.delimiter(bytes, marker, from: delimiter.upper - 2) else { throw .closeMissing }
            guard parts.count < SIPLimits.bodyPartCountMax else { throw .partsTooMany }
            guard next.lower >= delimiter.upper else { throw .partHeaderMalformed }
            let opening = delimiter.lower..<delimiter.upper
            guard let part = MIMEPart(body, opening: opening, delimiter.upper..<next.lower) else {
                throw .partHeaderMalformed
            }
            parts.append(part)
            delimiter = next
        }
        self.parts = parts
        epilogue = Array(body[delimiter.lower...])
    }

    /// Replaces the content of one part; its header fields, the Content-ID among them, stay as they are.
    package mutating func replaceContent(of index: Int, with content: [UInt8]) {
        precondition(parts.indices.contains(index), "the caller took the index from parts")
        parts[index].content = content
    }

    /// One more part, behind all others.
    package mutating func append(_ part: MIMEPart) { parts.append(part) }

    /// Untouched parts render to the bytes they came from.
    package var bytes: [UInt8] {
        var bytes = preamble
        for (index, part) in parts.enumerated() {
            bytes += part.opening ?? Array("\(index == 0 ? "" : "\r\n")--\(boundary)\r\n".utf8)
            bytes += part.headerBytes
            if !part.isHeaderClosed, !part.content.isEmpty { bytes += [0x0D, 0x0A, 0x0D, 0x0A] }
            bytes += part.content
        }
        return bytes + epilogue
    }

    /// The next delimiter: with the CRLF before it and its own line end, `lower..<upper`.
    private static func delimiter(
        _ bytes: Span<UInt8>, _ marker: [UInt8], from offset: Int
    ) -> (lower: Int, upper: Int, isLast: Bool)? {
        var index = max(0, offset)
        while index + marker.count <= bytes.count {
            defer { index += 1 }
            guard bytes[index] == UInt8(ascii: "-") else { continue }
            let atLineStart = index == 0 || (index >= 2 && bytes[index - 2] == 0x0D && bytes[index - 1] == 0x0A)
            guard atLineStart, starts(bytes, index, with: marker) else { continue }
            var end = index + marker.count
            let lower = index == 0 ? 0 : index - 2
            if end + 1 < bytes.count, bytes[end] == UInt8(ascii: "-"), bytes[end + 1] == UInt8(ascii: "-") {
                return (lower, end + 2, true)
            }
            while end < bytes.count, bytes[end] == 0x20 || bytes[end] == 0x09 { end += 1 }
            guard end + 1 < bytes.count, bytes[end] == 0x0D, bytes[end + 1] == 0x0A else { continue }
            return (lower, end + 2, false)
        }
        return nil
    }

    private static func starts(_ bytes: Span<UInt8>, _ offset: Int, with marker: [UInt8]) -> Bool {
        for index in marker.indices where bytes[offset + index] != marker[index] { return false }
        return true
    }
}

/// One part of a multipart body.
package struct MIMEPart: Equatable, Sendable {
    /// The delimiter line before the part, as received.
    fileprivate let opening: [UInt8]?
    /// The header fields with the empty line behind them, as received.
    package let headerBytes: [UInt8]
    package var content: [UInt8]
    /// Whether `headerBytes` end with an empty line; a part may consist of header fields alone (RFC 2046 §5.1.1).
    fileprivate let isHeaderClosed: Bool
    private let headers: SIPHeaders

    /// A new part; the header fields are written in this order.
    package init(headers fields: [SIPHeaderField], content: [UInt8]) {
        opening = nil
        var headers = SIPHeaders()
        for field in fields { headers.append(field.name, field.value) }
        self.headers = headers
        isHeaderClosed = true
        headerBytes = headers.bytes + [0x0D, 0x0A]
        self.content = content
    }

    fileprivate init?(_ body: [UInt8], opening: Range<Int>, _ range: Range<Int>) {
        self.opening = Array(body[opening])
        let bytes = body.span
        guard let parsed = MIMEPart.headers(bytes, range) else { return nil }
        headers = parsed.headers
        isHeaderClosed = parsed.isClosed
        headerBytes = Array(body[range.lowerBound..<parsed.contentStart])
        content = Array(body[parsed.contentStart..<range.upperBound])
    }

    /// All header fields of the part, in order.
    package var fields: [SIPHeaderField] { headers.fields }

    package func first(_ name: SIPHeaderName) -> String? { headers.first(name) }

    /// `text/plain` when the part does not say (RFC 2046 §5.1).
    package var contentType: MediaType {
        headers.first(.contentType).flatMap { MediaType($0) } ?? MediaType("text", "plain")
    }

    /// With its angle brackets.
    package var contentID: String? { headers.first(.contentID) }
    package var disposition: String? { headers.first(.contentDisposition) }

    /// The part's header fields and where its content starts.
    private static func headers(_ bytes: Span<UInt8>, _ range: Range<Int>) -> (
        headers: SIPHeaders, contentStart: Int, isClosed: Bool
    )? {
        var entries: [SIPHeaders.Entry] = []
        var offset = range.lowerBound
        while offset < range.upperBound {
            if offset + 1 < range.upperBound, bytes[offset] == 0x0D, bytes[offset + 1] == 0x0A {
                let block = [UInt8](copying: bytes.extracting(range.lowerBound..<offset))
                return (SIPHeaders(bytes: block, entries: entries), offset + 2, true)
            }
            guard let entry = entry(bytes, offset, range) else { return nil }
            guard entries.count < SIPLimits.headerFieldCountMax else { return nil }
            entries.append(entry)
            offset = range.lowerBound + Int(entry.end)
        }
        // header fields right up to the next delimiter: no content
        guard offset == range.upperBound else { return nil }
        let block = [UInt8](copying: bytes.extracting(range))
        return (SIPHeaders(bytes: block, entries: entries), offset, false)
    }

    /// The field at `start`, its offsets counted from the start of `range`.
    private static func entry(_ bytes: Span<UInt8>, _ start: Int, _ range: Range<Int>) -> SIPHeaders.Entry? {
        var nameEnd = start
        while nameEnd < range.upperBound, ByteClass.isToken(bytes[nameEnd]) { nameEnd += 1 }
        var colon = nameEnd
        while colon < range.upperBound, bytes[colon] == 0x20 || bytes[colon] == 0x09 { colon += 1 }
        guard nameEnd > start, nameEnd - start <= SIPLimits.headerNameByteCountMax, colon < range.upperBound,
            bytes[colon] == UInt8(ascii: ":")
        else { return nil }
        var end = colon + 1
        while true {
            guard let newline = bytes.firstOffset(of: 0x0A, in: end..<range.upperBound) else {
                end = range.upperBound
                break
            }
            guard bytes[newline - 1] == 0x0D else { return nil }
            end = newline + 1
            guard end < range.upperBound, bytes[end] == 0x20 || bytes[end] == 0x09 else { break }
        }
        let value = bytes.trimmed((colon + 1)..<end)
        let base = range.lowerBound
        return SIPHeaders.Entry(
            known: WellKnownHeader.find(bytes, start..<nameEnd)?.rawValue ?? .max,
            nameByteCount: UInt8(nameEnd - start), start: UInt32(start - base),
            valueStart: UInt32(value.lowerBound - base), valueEnd: UInt32(value.upperBound - base),
            end: UInt32(end - base))
    }
}
