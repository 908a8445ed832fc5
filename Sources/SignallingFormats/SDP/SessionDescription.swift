import Primitives

/// A session description (RFC 8866): every line in order, those we understand also as values.
///
/// What a peer wrote and we do not touch leaves byte for byte as it came; only `o=` and `m=` lines are rendered anew
/// and line ends become CRLF. Tolerated, because phones in the field do it: LF alone, blank lines, lines in another order
/// than RFC 8866 §5, no `s=`, no `t=`, spaces in the user name of `o=`.
package struct SessionDescription: Hashable, Sendable {
    package var origin: SDPOrigin
    /// The lines of the session level behind `v=` and `o=`, in order.
    package var lines: [SDPLine]
    package var media: [MediaDescription]

    package init(origin: SDPOrigin, lines: [SDPLine], media: [MediaDescription]) {
        self.origin = origin
        self.lines = lines
        self.media = media
    }

    package init(parsing bytes: Span<UInt8>) throws(SDPError) {
        guard !bytes.isEmpty else { throw .empty }
        guard bytes.count <= SDPLimits.byteCountMax else { throw .tooLong(byteCount: bytes.count) }
        var origin: SDPOrigin?
        var lines: [SDPLine] = []
        lines.reserveCapacity(4)
        var media: [MediaDescription] = []
        var number = 0
        var hasVersion = false
        var start = 0
        while start < bytes.count {
            number += 1
            guard number <= SDPLimits.lineCountMax else { throw .tooManyLines }
            let (line, next) = try Self.line(in: bytes, from: start, number: number)
            start = next
            guard !line.isEmpty else { continue }
            let type = bytes[line.lowerBound]
            let value = (line.lowerBound + 2)..<line.upperBound
            guard hasVersion else {
                guard type == UInt8(ascii: "v"), value.count == 1, bytes[value.lowerBound] == UInt8(ascii: "0") else {
                    throw .unsupportedVersion
                }
                hasVersion = true
                continue
            }
            switch type {
            case UInt8(ascii: "o") where media.isEmpty:
                guard origin == nil, let parsed = SDPOrigin(bytes, value) else {
                    throw .malformedOrigin(line: number)
                }
                guard Self.isWithinLimit(value, { parsed.text }) else { throw .lineTooLong(line: number) }
                origin = parsed
            case UInt8(ascii: "m"):
                guard media.count < SDPLimits.mediaCountMax else { throw .tooManyMedia }
                guard var description = MediaDescription(bytes, value) else { throw .malformedMedia(line: number) }
                guard description.formats.count <= SDPLimits.formatCountMax else {
                    throw .tooManyFormats(line: number)
                }
                guard Self.isWithinLimit(value, { description.text }) else { throw .lineTooLong(line: number) }
                description.lines.reserveCapacity(8)
                media.append(description)
            default:
                if type == UInt8(ascii: "c"), SDPConnection(bytes, value) == nil {
                    throw .malformedConnection(line: number)
                }
                let kept = SDPLine(type: type, value: [UInt8](copying: bytes.extracting(value)))
                if media.isEmpty {
                    lines.append(kept)
                } else {
                    media[media.count - 1].lines.append(kept)
                }
            }
        }
        guard hasVersion else { throw .unsupportedVersion }
        guard let origin else { throw .missingOrigin }
        self.init(origin: origin, lines: lines, media: media)
        if bytes.count > SDPLimits.byteCountMax / 4 {
            let rendered = self.bytes.count  // LF becomes CRLF
            guard rendered <= SDPLimits.byteCountMax else { throw .tooLong(byteCount: rendered) }
        }
        guard lines.first(type: "c") == nil else { return }
        for (index, stream) in media.enumerated() where !stream.isRejected && stream.lines.first(type: "c") == nil {
            throw .missingConnection(media: index)
        }
    }

    /// Whether a value that is rendered anew stays within the limit of a line: it may grow, by bytes that are no UTF-8.
    private static func isWithinLimit(_ value: Range<Int>, _ text: () -> String) -> Bool {
        value.count < SDPLimits.lineByteCountMax / 4 || text().utf8.count + 2 <= SDPLimits.lineByteCountMax
    }

    /// The line that begins at `start`, without its end, and where the next one begins; an empty range for a blank line.
    private static func line(
        in bytes: Span<UInt8>, from start: Int, number: Int
    ) throws(SDPError) -> (line: Range<Int>, next: Int) {
        var end = start
        var firstReturn = Int.max
        while end < bytes.count {
            let byte = bytes[end]
            if byte < 0x20 {
                guard byte != 0 else { throw .forbiddenByte(line: number) }
                if byte == UInt8(ascii: "\n") { break }
                if byte == UInt8(ascii: "\r") { firstReturn = min(firstReturn, end) }
            }
            end += 1
        }
        let next = end < bytes.count ? end + 1 : end
        if end > start, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        guard end > start else { return (end..<end, next) }
        guard end - start <= SDPLimits.lineByteCountMax else { throw .lineTooLong(line: number) }
        guard end - start >= 2, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(bytes[start]),
            bytes[start + 1] == UInt8(ascii: "=")
        else { throw .malformedLine(line: number) }
        guard firstReturn >= end else { throw .forbiddenByte(line: number) }
        return (start..<end, next)
    }

    package func render(into writer: inout ByteWriter) {
        writer.write("v=0\r\no=\(origin.text)\r\n")
        for line in lines { line.render(into: &writer) }
        for description in media { description.render(into: &writer) }
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 512)
        render(into: &writer)
        return writer.bytes
    }
}

// What the lines mean.
extension SessionDescription {
    package var sessionName: String? { lines.first(type: "s")?.text }

    /// The session's `c=`; streams may have their own.
    package var connection: SDPConnection? { lines.connection }

    /// `a=` lines of the session level, in order.
    package var attributes: [SDPAttribute] { lines.attributes }

    /// The direction of a stream: its own, else the session's, else `sendrecv` (RFC 8866 §6.7).
    ///
    /// `c=` with an unspecified address means "send nothing to me", the hold of RFC 2543 (RFC 3264 §8.4).
    package func direction(ofMedia index: Int) -> SDPDirection {
        guard media.indices.contains(index) else { return .inactive }
        let written = media[index].direction ?? lines.direction ?? .sendrecv
        return isUnspecified(index) ? SDPDirection(sends: written.sends, receives: false) : written
    }

    /// The stream's connection, its own or the session's.
    package func connection(ofMedia index: Int) -> SDPConnection? {
        guard media.indices.contains(index) else { return nil }
        return media[index].connection ?? connection
    }

    /// Where the peer listens for RTP; nil when rejected, multicast or a name.
    package func rtpAddress(ofMedia index: Int) -> TransportAddress? {
        guard let address = connection(ofMedia: index)?.host.address, !address.isMulticast,
            !media[index].isRejected
        else { return nil }
        return TransportAddress(address, media[index].port)
    }

    /// Where the peer listens for RTCP: `a=rtcp`, or the next port; nil when there is no such.
    package func rtcpAddress(ofMedia index: Int) -> TransportAddress? {
        guard let rtp = rtpAddress(ofMedia: index) else { return nil }
        guard let (port, host) = media[index].rtcp else {
            return rtp.port == .max ? nil : TransportAddress(rtp.address, rtp.port + 1)
        }
        guard port != 0 else { return nil }
        switch host {
        case nil: return TransportAddress(rtp.address, port)
        case .address(let address) where !address.isMulticast: return TransportAddress(address, port)
        case .address, .name: return nil
        }
    }

    /// The peer asks us to send nothing: `sendonly`, `inactive` or `c=0.0.0.0` on each stream that is not rejected.
    package var isHold: Bool {
        let active = media.indices.filter { !media[$0].isRejected }
        return !active.isEmpty && active.allSatisfy { !direction(ofMedia: $0).receives }
    }

    private func isUnspecified(_ index: Int) -> Bool {
        connection(ofMedia: index)?.host.address?.isUnspecified == true
    }
}
