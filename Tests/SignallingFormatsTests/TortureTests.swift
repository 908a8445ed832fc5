import Primitives
import SignallingFormats
import TestSupport
import Testing

/// RFC 4475 and RFC 5118, each message against its golden outcome.
@Suite("SIP torture messages (RFC 4475, RFC 5118)")
struct TortureTests {
    static let names = Golden.names().filter { $0.hasPrefix("rfc4475-") || $0.hasPrefix("rfc5118-") }

    @Test("all 61 messages are here")
    func count() {
        #expect(Self.names.filter { $0.hasPrefix("rfc4475-") }.count == 49)
        #expect(Self.names.filter { $0.hasPrefix("rfc5118-") }.count == 12)
    }

    @Test("is accepted or refused as its RFC says", arguments: names)
    func outcome(_ name: String) throws {
        try Golden.check(name, Outcome(try Golden.input(name)).text)
    }

    /// What the sections say, apart from the golden files: those can be rewritten, this table only by hand.
    @Test("valid messages are accepted, invalid ones refused", arguments: names)
    func verdict(_ name: String) throws {
        let bytes = try Golden.input(name)
        let isRefused: Bool
        do throws(SIPParseError) {
            _ = try SIPMessage(parsing: bytes.span)
            isRefused = false
        } catch {
            isRefused = true
        }
        // baddate: "an element shouldn't [reject] unless the contents of the Date header field were important"
        let liberal = ["rfc4475-3.1.2.12-baddate"]
        let invalid =
            (name.hasPrefix("rfc4475-3.1.2.") && !liberal.contains(name))
            || ["rfc4475-3.3.1-insuf", "rfc4475-3.3.8-multi01", "rfc4475-3.3.9-mcl01", "rfc5118-4.2-ipv6-bad"]
                .contains(name)
        #expect(isRefused == invalid)
    }

    @Test("an accepted message renders to the bytes it came from", arguments: names)
    func rendersBack(_ name: String) throws {
        let bytes = try Golden.input(name)
        guard let message = try? SIPMessage(parsing: bytes.span) else { return }
        var expected = bytes
        if name.hasSuffix("dblreq") { expected = Array(bytes[..<(try #require(firstBodyOffset(bytes)))]) }
        if name.hasSuffix("inv2543") {
            let header = try #require(firstBodyOffset(bytes)) - 2
            expected.insert(contentsOf: Array("Content-Length: \(bytes.count - header - 2)\r\n".utf8), at: header)
        }
        #expect(message.bytes == expected)
        let again = try SIPMessage(parsing: message.bytes.span)
        #expect(again.bytes == message.bytes)
    }

    @Test("a refused request can be answered from its salvage, except where no answer is due", arguments: names)
    func salvages(_ name: String) throws {
        let bytes = try Golden.input(name)
        guard (try? SIPMessage(parsing: bytes.span)) == nil else { return }
        let isResponse = bytes.starts(with: Array("SIP/".utf8))
        let salvaged = SIPRequest.salvage(bytes.span)
        #expect((salvaged == nil) == isResponse)
        if let salvaged { #expect(salvaged.topVia != nil) }
    }

    private func firstBodyOffset(_ bytes: [UInt8]) -> Int? {
        (0..<(bytes.count - 3)).first { Array(bytes[$0..<($0 + 4)]) == [13, 10, 13, 10] }.map { $0 + 4 }
    }
}

/// A message as a person wants to read it in a golden file.
struct Outcome {
    let text: String

    init(_ bytes: [UInt8]) {
        do throws(SIPParseError) {
            text = Self.accepted(try SIPMessage(parsing: bytes.span))
        } catch {
            text = Self.refused(error, bytes)
        }
    }

    private static func refused(_ error: SIPParseError, _ bytes: [UInt8]) -> String {
        var text = "refused: \(error.cause) at \(error.offset)\n"
        guard let salvaged = SIPRequest.salvage(bytes.span) else { return text + "no answer\n" }
        text += "answer: \(error.statusCode)\n\(salvaged.method) \(salvaged.requestURI.text)\n"
        return text + fields(salvaged.headers)
    }

    private static func accepted(_ message: SIPMessage) -> String {
        var text: String
        switch message {
        case .request(let request):
            text = "request: \(request.method) \(request.requestURI.text)\nuser agent server: \(answer(to: request))\n"
            text += uri("  request-uri", request.requestURI)
        case .response(let response):
            text = "response: \(response.statusCode) [\(response.reasonPhrase)]\n"
        }
        text += "\n" + fields(message.headers) + "\n"
        for via in message.vias {
            text += "via: \(via.sentProtocol) \(via.transport) host=\(via.host) port=\(port(via.port))"
            text += " branch=\(via.branch ?? "none") received=\(via.received.map { "\($0)" } ?? "none")\n"
        }
        text += address("from", message.from) + address("to", message.to)
        for contact in message.contacts { text += address("contact", contact) }
        for route in message.routes + message.recordRoutes { text += address("route", route) }
        text += "call-id: \(message.callID)\n"
        text += "cseq: \(message.cseq.map(\.text) ?? "none")\n"
        text += "max-forwards: \(message.maxForwards.map { "\($0)" } ?? "none")\n"
        text += "content-type: \(message.contentType.map(\.text) ?? "none")\n"
        text += "body: \(message.body.count) bytes\n"
        if let description = MessageBody.sessionDescription(in: message) { text += "sdp: \(description.count) bytes\n" }
        for part in MessageBody.multipart(in: message)?.parts ?? [] {
            text += "part: \(part.contentType) \(part.content.count) bytes\n"
        }
        return escaped(text)
    }

    /// What this message gets from a UAS that speaks the core methods, SDP and no extension (RFC 3261 §8.2).
    private static func answer(to request: SIPRequest) -> String {
        let known: Set<SIPMethod> = [.invite, .ack, .bye, .cancel, .options, .register, .message]
        guard known.contains(request.method) else { return "501" }
        guard ["sip", "sips", "tel"].contains(request.requestURI.scheme) else { return "416" }
        if request.method == .register, request.to?.uri.sip == nil { return "400, To is no SIP URI" }
        if let branch = request.topVia?.branch, branch == Via.branchCookie { return "400, empty branch" }
        if !request.require.isEmpty { return "420, unsupported: " + request.require.joined(separator: ", ") }
        if request.maxForwards == 0 { return "483 when it would be forwarded" }
        if let scheme = request.headers.first(.authorization)?.split(separator: " ").first, scheme != "Digest" {
            return "401, credentials of scheme \(scheme) ignored"
        }
        if let type = request.contentType, type.type != "multipart", !type.matches(.sdp) { return "415" }
        if request.method == .invite, request.headers.contains(.accept),
            !request.headers.values(.accept).contains("application/sdp")
        {
            return "406"
        }
        return "no objection"
    }

    private static func fields(_ headers: SIPHeaders) -> String {
        escaped(headers.fields.map { "\($0.name): \($0.value)\n" }.joined())
    }

    private static func address(_ label: String, _ address: NameAddress?) -> String {
        guard let address else { return "\(label): none\n" }
        var text = "\(label): name=\(address.displayName.map { "[\($0)]" } ?? "none") uri=\(address.uri.text)"
        text += " parameters=\(address.parameters.all.map { "\($0.name)=\($0.rawValue ?? "")" })\n"
        return text + uri("  \(label)", address.uri)
    }

    private static func uri(_ label: String, _ uri: URI) -> String {
        guard let sip = uri.sip else { return "\(label): scheme=\(uri.scheme)\n" }
        var text = "\(label): user=[\(sip.user ?? "")] password=[\(sip.password ?? "")] host=\(sip.host)"
        text += " port=\(port(sip.port)) parameters=\(sip.parameters.all.map { "\($0.name)=\($0.rawValue ?? "")" })"
        return text + (sip.headers.map { " headers=\($0)" } ?? "") + "\n"
    }

    private static func port(_ port: UInt16?) -> String { port.map { "\($0)" } ?? "none" }

    /// Control characters as `\u{0}`.
    private static func escaped(_ text: String) -> String {
        String(
            text.unicodeScalars.flatMap { scalar in
                (scalar.value < 32 && scalar != "\n") || scalar.value == 127
                    ? Array("\\u{\(String(scalar.value, radix: 16))}") : [Character(scalar)]
            })
    }
}
