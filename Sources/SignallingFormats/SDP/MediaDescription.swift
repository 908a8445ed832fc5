import Primitives

/// One `m=` section: the stream, its formats and its lines (RFC 8866 §5.14).
package struct MediaDescription: Hashable, Sendable {
    /// `audio`, `video`, `text`, `image`, …
    package var kind: String
    /// 0: rejected or switched off (RFC 3264 §6).
    package var port: UInt16
    /// The number behind the slash; 1 when absent.
    package var portCount: Int
    /// `RTP/AVP`, `RTP/SAVP`, `udptl`, …
    package var transportProtocol: String
    /// Payload types for RTP, in order of preference; never empty.
    package var formats: [String]
    /// The lines behind the `m=` line, in order.
    package var lines: [SDPLine]

    package init(
        kind: String, port: UInt16, portCount: Int = 1, transportProtocol: String = "RTP/AVP", formats: [String],
        lines: [SDPLine] = []
    ) {
        self.kind = kind
        self.port = port
        self.portCount = portCount
        self.transportProtocol = transportProtocol
        self.formats = formats
        self.lines = lines
    }

    /// What follows `m=`: `audio 49170/2 RTP/AVP 0 8`; nil when it is not that.
    init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        var fields = SDPFieldCursor(range)
        guard let kind = fields.next(bytes), let ports = fields.next(bytes),
            let transportProtocol = fields.next(bytes)
        else { return nil }
        let slash = bytes.firstOffset(of: UInt8(ascii: "/"), in: ports) ?? ports.upperBound
        guard let port = bytes.decimal(ports.lowerBound..<slash, maximum: 65_535) else { return nil }
        var portCount: UInt64 = 1
        if slash < ports.upperBound {
            guard let count = bytes.decimal((slash + 1)..<ports.upperBound, maximum: 65_535), count > 0 else {
                return nil
            }
            portCount = count
        }
        var formats: [String] = []
        formats.reserveCapacity(8)
        while let format = fields.next(bytes) { formats.append(bytes.text(format)) }
        // Tolerated: no format at all on a rejected stream, as some peers answer.
        guard port == 0 || !formats.isEmpty else { return nil }
        self.init(
            kind: bytes.text(kind), port: UInt16(port), portCount: Int(portCount),
            transportProtocol: bytes.text(transportProtocol), formats: formats)
    }

    /// The value of the `m=` line.
    var text: String {
        let ports = portCount == 1 ? "\(port)" : "\(port)/\(portCount)"
        return ([kind, ports, transportProtocol] + formats).joined(separator: " ")
    }

    func render(into writer: inout ByteWriter) {
        writer.write("m=\(text)\r\n")
        for line in lines { line.render(into: &writer) }
    }
}

// What the lines mean.
extension MediaDescription {
    package var isRejected: Bool { port == 0 }

    /// The stream's own `c=`; nil: the session's applies.
    package var connection: SDPConnection? { lines.connection }

    /// The stream's own direction; nil: the session's applies, or `sendrecv`.
    package var direction: SDPDirection? { lines.direction }

    /// `a=` lines in order.
    package var attributes: [SDPAttribute] { lines.attributes }

    /// Where RTCP goes when not to the next port (RFC 3605).
    package var rtcp: (port: UInt16, host: SDPHost?)? {
        guard let value = lines.attributeValue("rtcp") else { return nil }
        let bytes = value.utf8.span
        var fields = SDPFieldCursor(0..<bytes.count)
        guard let first = fields.next(bytes), let port = UInt16(bytes.text(first)) else { return nil }
        guard let networkType = fields.next(bytes) else { return (port, nil) }
        guard let addressType = fields.next(bytes), let last = fields.next(bytes), fields.next(bytes) == nil,
            let host = SDPHost(bytes, networkType: networkType, addressType: addressType, host: last)
        else { return nil }
        return (port, host)
    }

    /// RTCP may come on the RTP port (RFC 5761).
    package var hasRTCPMux: Bool { lines.hasAttribute("rtcp-mux") }

    /// Milliseconds of media per packet; nil when not said.
    package var ptimeMilliseconds: Int? { lines.attributeValue("ptime").flatMap { Int($0) } }

    /// Keys or fingerprints: SRTP is asked for, whatever the `m=` line says (RFC 4568, RFC 5763).
    package var asksForEncryption: Bool {
        transportProtocol.contains("SAVP") || lines.hasAttribute("crypto") || lines.hasAttribute("fingerprint")
    }

    /// The payload types among the formats, in order; what is not a number of 0...127 is left out.
    package var payloadTypes: [UInt8] { formats.compactMap { UInt8($0) }.filter { $0 < 128 } }

    /// The codec of a payload type, from its `a=rtpmap` or the static table; nil when neither knows it.
    package func codec(of payloadType: UInt8) -> SDPCodec? {
        for line in lines where line.isAttribute("rtpmap") {
            guard let (number, rest) = line.payloadTypeAndRest, number == payloadType else { continue }
            return SDPCodec(rest)
        }
        return SDPCodec.assigned(to: payloadType)
    }

    /// The format parameters of a payload type (`a=fmtp`); nil when there are none.
    package func formatParameters(of payloadType: UInt8) -> String? {
        for line in lines where line.isAttribute("fmtp") {
            guard let (number, rest) = line.payloadTypeAndRest, number == payloadType else { continue }
            return String(rest)
        }
        return nil
    }

    /// The first telephone-event in the list (RFC 4733); nil without.
    package var telephoneEventPayloadType: UInt8? {
        payloadTypes.first { codec(of: $0)?.isTelephoneEvent == true }
    }

    /// RTP in the clear, which is what this box relays; AVPF differs only in RTCP timing (RFC 4585).
    package var isPlainRTP: Bool { transportProtocol == "RTP/AVP" || transportProtocol == "RTP/AVPF" }
}

extension SDPLine {
    /// `a=rtpmap:96 L8/8000` → 96 and `L8/8000`; the same for fmtp and rtcp-fb.
    var payloadTypeAndRest: (UInt8, Substring)? {
        let bytes = value.span
        guard let colon = bytes.firstOffset(of: UInt8(ascii: ":"), in: 0..<bytes.count) else { return nil }
        var fields = SDPFieldCursor((colon + 1)..<bytes.count)
        guard let digits = fields.next(bytes), let number = UInt8(bytes.text(digits)), number < 128 else { return nil }
        return (number, Substring(bytes.text(fields.rest(bytes))))
    }
}
