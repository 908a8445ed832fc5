import Primitives
import SignallingFormats
import Testing

@Suite("SIP message parser (RFC 3261 §7, §18.3, §25)")
struct SIPMessageParserTests {
    struct Malformed: Sendable, CustomTestStringConvertible {
        let name: String
        let text: String
        let cause: SIPParseError.Cause
        var statusCode = 400
        var testDescription: String { name }
    }

    /// A good request with one line replaced.
    static func request(
        start: String = "OPTIONS sip:h.example SIP/2.0", via: String = "Via: SIP/2.0/UDP a.example;branch=z9hG4bK1",
        from: String = "From: <sip:a@h.example>;tag=1", to: String = "To: <sip:b@h.example>",
        callID: String = "Call-ID: 1@h",
        cseq: String = "CSeq: 1 OPTIONS", extra: [String] = ["Content-Length: 0"], body: String = ""
    ) -> String {
        ([start, via, from, to, callID, cseq] + extra).filter { !$0.isEmpty }.map { $0 + "\r\n" }.joined() + "\r\n"
            + body
    }

    static let malformed: [Malformed] = [
        .init(name: "nothing", text: "", cause: .empty),
        .init(name: "line ends only", text: "\r\n\r\n", cause: .empty),
        .init(name: "no line end", text: "OPTIONS sip:h.example SIP/2.0", cause: .headerUnterminated),
        .init(name: "no empty line", text: String(request().dropLast(1)), cause: .headerUnterminated),
        .init(name: "half a line end", text: request(extra: []).dropLast(1) + "\r", cause: .headerUnterminated),
        .init(name: "LF in the start line", text: "OPTIONS sip:h.example SIP/2.0\n", cause: .lineEndMalformed),
        .init(name: "lone LF", text: request(from: "From: <sip:a@h>\nX: y"), cause: .lineEndMalformed),
        .init(name: "lone CR", text: request(from: "From: <sip:a@h>\rX: y"), cause: .lineEndMalformed),
        .init(name: "CR for the empty line", text: "OPTIONS sip:h.example SIP/2.0\r\n\rX", cause: .lineEndMalformed),
        .init(name: "one word", text: request(start: "OPTIONS"), cause: .startLineMalformed),
        .init(name: "two words", text: request(start: "OPTIONS sip:h.example"), cause: .startLineMalformed),
        .init(name: "four words", text: request(start: "OPTIONS sip:h.example x SIP/2.0"), cause: .startLineMalformed),
        .init(name: "tab", text: request(start: "OPTIONS\tsip:h.example SIP/2.0"), cause: .startLineMalformed),
        .init(
            name: "method is no token", text: request(start: "OPT@ONS sip:h.example SIP/2.0"),
            cause: .startLineMalformed),
        .init(name: "HTTP", text: request(start: "GET http://h.example/ HTTP/1.1"), cause: .startLineMalformed),
        .init(
            name: "version 3.0", text: request(start: "OPTIONS sip:h.example SIP/3.0"), cause: .versionUnsupported,
            statusCode: 505),
        .init(
            name: "version 2.00", text: request(start: "OPTIONS sip:h.example SIP/2.00"), cause: .versionUnsupported,
            statusCode: 505),
        .init(name: "version x", text: request(start: "OPTIONS sip:h.example SIP/x"), cause: .startLineMalformed),
        .init(name: "version 2.", text: request(start: "OPTIONS sip:h.example SIP/2."), cause: .startLineMalformed),
        .init(
            name: "Request-URI without host", text: request(start: "OPTIONS sip: SIP/2.0"), cause: .requestURIMalformed),
        .init(name: "Request-URI *", text: request(start: "OPTIONS * SIP/2.0"), cause: .requestURIMalformed),
        .init(
            name: "Request-URI with headers", text: request(start: "OPTIONS sip:h?a=b SIP/2.0"),
            cause: .requestURIHasHeaders),
        .init(
            name: "Request-URI port", text: request(start: "OPTIONS sip:h:65536 SIP/2.0"), cause: .requestURIMalformed),
        .init(name: "status 99", text: request(start: "SIP/2.0 099 x"), cause: .statusCodeInvalid),
        .init(name: "status 700", text: request(start: "SIP/2.0 700 x"), cause: .statusCodeInvalid),
        .init(name: "status 2000", text: request(start: "SIP/2.0 2000 x"), cause: .statusCodeInvalid),
        .init(name: "status 20", text: request(start: "SIP/2.0 20 x"), cause: .statusCodeInvalid),
        .init(name: "status -20", text: request(start: "SIP/2.0 -20 x"), cause: .statusCodeInvalid),
        .init(name: "no status", text: request(start: "SIP/2.0 "), cause: .startLineMalformed),
        .init(name: "NUL in the reason", text: request(start: "SIP/2.0 200 O\0K"), cause: .controlCharacter),
        .init(name: "no colon", text: request(extra: ["Subject"]), cause: .headerNameMalformed),
        .init(name: "empty name", text: request(extra: [": x"]), cause: .headerNameMalformed),
        .init(name: "name is no token", text: request(extra: ["Sub ject: x"]), cause: .headerNameMalformed),
        .init(name: "name with NUL", text: request(extra: ["Sub\0ject: x"]), cause: .headerNameMalformed),
        .init(name: "fold without a field", text: "OPTIONS sip:h SIP/2.0\r\n x\r\n\r\n", cause: .headerNameMalformed),
        .init(
            name: "name of 256 bytes", text: request(extra: [String(repeating: "n", count: 256) + ": x"]),
            cause: .headerNameMalformed),
        .init(name: "NUL", text: request(extra: ["Subject: a\0b"]), cause: .controlCharacter),
        .init(name: "NUL in quotes", text: request(extra: ["Subject: \"a\0b\""]), cause: .controlCharacter),
        .init(name: "escaped NUL without quotes", text: request(extra: ["Subject: a\\\0b"]), cause: .controlCharacter),
        .init(name: "DEL", text: request(extra: ["Subject: a\u{7F}"]), cause: .controlCharacter),
        .init(name: "no Via", text: request(via: ""), cause: .headerMissing(.via)),
        .init(name: "no From", text: request(from: ""), cause: .headerMissing(.from)),
        .init(name: "no To", text: request(to: ""), cause: .headerMissing(.to)),
        .init(name: "no Call-ID", text: request(callID: ""), cause: .headerMissing(.callID)),
        .init(name: "no CSeq", text: request(cseq: ""), cause: .headerMissing(.cseq)),
        .init(name: "two From", text: request(extra: ["f: <sip:x@y>"]), cause: .headerRepeated(.from)),
        .init(name: "two To", text: request(extra: ["t: <sip:x@y>"]), cause: .headerRepeated(.to)),
        .init(name: "two Call-ID", text: request(extra: ["i: 1@h"]), cause: .headerRepeated(.callID)),
        .init(name: "two CSeq", text: request(extra: ["CSEQ: 1 OPTIONS"]), cause: .headerRepeated(.cseq)),
        .init(
            name: "two lengths", text: request(extra: ["l: 0", "Content-Length: 0"]),
            cause: .headerRepeated(.contentLength)),
        .init(
            name: "two Max-Forwards", text: request(extra: ["Max-Forwards: 1", "Max-Forwards: 1"]),
            cause: .headerRepeated(.maxForwards)),
        .init(
            name: "two Content-Type", text: request(extra: ["c: a/b", "Content-Type: a/b"]),
            cause: .headerRepeated(.contentType)),
        .init(
            name: "two Expires", text: request(extra: ["Expires: 1", "Expires: 2"]), cause: .headerRepeated(.expires)),
        .init(
            name: "two addresses in From", text: request(from: "From: <sip:a@h>, <sip:b@h>"),
            cause: .headerMalformed(.from)),
        .init(name: "empty Via", text: request(via: "Via:"), cause: .headerMalformed(.via)),
        .init(name: "empty second Via", text: request(via: "Via: SIP/2.0/UDP h,"), cause: .headerMalformed(.via)),
        .init(
            name: "broken third Via", text: request(extra: ["v: SIP/2.0/UDP h", "v: SIP/2.0"]),
            cause: .headerMalformed(.via)),
        .init(name: "Via port", text: request(via: "Via: SIP/2.0/UDP h:65536"), cause: .headerMalformed(.via)),
        .init(name: "empty Call-ID", text: request(callID: "Call-ID: "), cause: .headerMalformed(.callID)),
        .init(name: "Call-ID of two words", text: request(callID: "Call-ID: a b"), cause: .headerMalformed(.callID)),
        .init(name: "Call-ID with two @", text: request(callID: "Call-ID: a@b@c"), cause: .headerMalformed(.callID)),
        .init(name: "Call-ID with a comma", text: request(callID: "Call-ID: a,b"), cause: .headerMalformed(.callID)),
        .init(name: "CSeq without number", text: request(cseq: "CSeq: OPTIONS"), cause: .headerMalformed(.cseq)),
        .init(name: "CSeq without method", text: request(cseq: "CSeq: 1"), cause: .headerMalformed(.cseq)),
        .init(name: "CSeq 2^31", text: request(cseq: "CSeq: 2147483648 OPTIONS"), cause: .numberOutOfRange(.cseq)),
        .init(name: "CSeq 2^32", text: request(cseq: "CSeq: 4294967296 OPTIONS"), cause: .numberOutOfRange(.cseq)),
        .init(name: "CSeq of another method", text: request(cseq: "CSeq: 1 INVITE"), cause: .methodMismatch),
        .init(name: "CSeq of another case", text: request(cseq: "CSeq: 1 Options"), cause: .methodMismatch),
        .init(
            name: "Max-Forwards 256", text: request(extra: ["Max-Forwards: 256"]),
            cause: .numberOutOfRange(.maxForwards)),
        .init(
            name: "Max-Forwards -1", text: request(extra: ["Max-Forwards: -1"]), cause: .headerMalformed(.maxForwards)),
        .init(
            name: "Max-Forwards empty", text: request(extra: ["Max-Forwards:"]), cause: .headerMalformed(.maxForwards)),
        .init(name: "Expires 2^32", text: request(extra: ["Expires: 4294967296"]), cause: .numberOutOfRange(.expires)),
        .init(name: "Expires x", text: request(extra: ["Expires: soon"]), cause: .headerMalformed(.expires)),
        .init(name: "empty Contact", text: request(extra: ["Contact: "]), cause: .headerMalformed(.contact)),
        .init(
            name: "Contact * and more", text: request(extra: ["Contact: *, <sip:a@h>"]),
            cause: .headerMalformed(.contact)),
        .init(
            name: "Route without brackets", text: request(extra: ["Route: sip:h?a=b"]), cause: .headerMalformed(.route)),
        .init(
            name: "Record-Route open", text: request(extra: ["Record-Route: <sip:h"]),
            cause: .headerMalformed(.recordRoute)),
        .init(name: "length of minus one", text: request(extra: ["l: -1"]), cause: .contentLengthMalformed),
        .init(name: "length of plus one", text: request(extra: ["l: +1"]), cause: .contentLengthMalformed),
        .init(
            name: "length in hexadecimal", text: request(extra: ["l: 0x1"], body: "x"), cause: .contentLengthMalformed),
        .init(name: "no length value", text: request(extra: ["l:"]), cause: .contentLengthMalformed),
        .init(name: "two length values", text: request(extra: ["l: 0, 0"]), cause: .contentLengthMalformed),
        .init(
            name: "length of 2^32", text: request(extra: ["l: 4294967296"]), cause: .numberOutOfRange(.contentLength)),
        .init(
            name: "length of 2^64", text: request(extra: ["l: 18446744073709551616"]),
            cause: .numberOutOfRange(.contentLength)),
        .init(
            name: "one byte short", text: request(extra: ["l: 4"], body: "abc"),
            cause: .bodyTruncated(expected: 4, got: 3)),
        .init(
            name: "257 fields", text: request(extra: Array(repeating: "X-A: y", count: 252)),
            cause: .headerFieldsTooMany),
        .init(
            name: "65537 bytes",
            text: request(extra: [], body: String(repeating: "x", count: 65_537 - request(extra: []).utf8.count)),
            cause: .tooLarge, statusCode: 513),
    ]

    @Test("refuses with the cause", arguments: malformed)
    func refuses(_ sample: Malformed) {
        do throws(SIPParseError) {
            _ = try SIPMessage(parsing: Array(sample.text.utf8).span)
            Issue.record("accepted: \(sample.name)")
        } catch {
            #expect(error.cause == sample.cause)
            #expect(error.statusCode == sample.statusCode)
            #expect((0...sample.text.utf8.count).contains(error.offset))
        }
    }

    static let accepted: [(String, String)] = [
        ("plain", request()),
        ("line ends before", "\r\n\r\n" + request()),
        ("no Content-Length", request(extra: [])),
        ("lower case version", request(start: "OPTIONS sip:h.example sip/2.0")),
        ("unknown method", request(start: "X-!% sip:h.example SIP/2.0", cseq: "CSeq: 1 X-!%")),
        ("CSeq 2^31-1", request(cseq: "CSeq: 2147483647 OPTIONS")),
        ("Max-Forwards 255", request(extra: ["Max-Forwards: 0255"])),
        ("Expires 2^32-1", request(extra: ["Expires: 4294967295"])),
        ("Contact *", request(extra: ["Contact: *"])),
        ("no reason", request(start: "SIP/2.0 200 ")),
        ("no space behind the status", request(start: "SIP/2.0 200")),
        ("quoted NUL", request(extra: ["Subject: \"\\\0\" (comment \\\0)"])),
        ("bytes that are not UTF-8 are kept", request(extra: ["X: é"])),
        ("empty unknown field", request(extra: ["X:", "Subject:  "])),
        ("fold of white space only", request(extra: ["X: a\r\n \r\n\tb"])),
        ("256 fields", request(extra: Array(repeating: "X-A: y", count: 251))),
        ("name of 255 bytes", request(extra: [String(repeating: "n", count: 255) + ": x"])),
        (
            "65536 bytes",
            request(extra: [], body: String(repeating: "x", count: 65_536 - request(extra: []).utf8.count))
        ),
    ]

    @Test("accepts", arguments: accepted)
    func accepts(_ name: String, _ text: String) throws {
        _ = try SIPMessage(parsing: Array(text.utf8).span)
    }

    @Test("bytes that are no UTF-8 survive, and read as U+FFFD")
    func invalidUTF8() throws {
        var bytes = Array(Self.request(extra: ["X: abc", "Content-Length: 0"]).utf8)
        let place = try #require(bytes.firstIndex(of: UInt8(ascii: "X"))) + 4
        bytes[place] = 0xFF
        let message = try SIPMessage(parsing: bytes.span)
        #expect(message.bytes == bytes)
        #expect(message.headers.first("X") == "a\u{FFFD}c")
    }

    @Test("what follows the body in a datagram is cut off")
    func excess() throws {
        let message = try SIPMessage(parsing: Array(Self.request(extra: ["l: 2"], body: "abc").utf8).span)
        #expect(message.body == Array("ab".utf8))
        #expect(String(decoding: message.bytes, as: UTF8.self).hasSuffix("l: 2\r\n\r\nab"))
        let whole = try SIPMessage(parsing: Array(Self.request(extra: [], body: "abc").utf8).span)
        #expect(whole.body.count == 3)
    }

    @Test("typed access to the common fields")
    func typed() throws {
        let text = Self.request(
            start: "INVITE sip:h.example SIP/2.0", cseq: "CSeq: 7 INVITE",
            extra: [
                "Max-Forwards: 70", "Expires: 60", "Contact: <sip:a@1.example>,<sip:b@2.example>", "Route: <sip:r1;lr>",
                "Route: <sip:r2;lr>, <sip:r3;lr>", "Record-Route: <sip:q;lr>", "Supported: 100rel, timer",
                "k: replaces",
                "Require: x", "Allow: INVITE,BYE", "Min-SE: 90;x=y", "Content-Type: application/sdp",
                "Content-Length: 0",
            ])
        let message = try SIPMessage(parsing: Array(text.utf8).span)
        #expect(message.cseq == CSeq(number: 7, method: .invite))
        #expect(message.callID == "1@h" && message.maxForwards == 70 && message.expires == 60)
        #expect(
            message.contacts.map(\.uri.text) == ["sip:a@1.example", "sip:b@2.example"] && !message.hasContactWildcard)
        #expect(message.routes.count == 3 && message.recordRoutes.count == 1)
        #expect(message.supported == ["100rel", "timer", "replaces"] && message.require == ["x"])
        #expect(
            message.allow == ["INVITE", "BYE"] && message.number(.minSE) == 90 && message.number(.retryAfter) == nil)
        #expect(message.contentType == .sdp && message.topVia?.branch == "z9hG4bK1")
        guard case .request(let request) = message else { return }
        #expect(request.requestURI == URI("sip:h.example") && request.method == .invite)
        let star = try SIPMessage(parsing: Array(Self.request(extra: ["m: *"]).utf8).span)
        #expect(star.hasContactWildcard && star.contacts.isEmpty)
    }

    // MARK: Salvage

    static let unsalvageable: [(String, String)] = [
        ("nothing", ""), ("text", "hello"), ("a response", request(start: "SIP/2.0 2000 x")),
        ("ACK", request(start: "ACK sip: SIP/2.0", cseq: "CSeq: 1 ACK")), ("no Via", request(via: "")),
        ("top Via lost", request(via: "Via: nonsense", extra: ["Via: SIP/2.0/UDP b.example"])),
        ("HTTP", request(start: "GET / HTTP/1.1")),
    ]

    @Test("what nobody could be answered for is not salvaged", arguments: unsalvageable)
    func notSalvaged(_ name: String, _ text: String) {
        let salvaged = SIPRequest.salvage(Array(text.utf8).span)
        #expect(salvaged == nil)
    }

    @Test("a request that is too large can be answered too")
    func salvageTooLarge() throws {
        let text = Self.request(extra: [], body: String(repeating: "x", count: 70_000))
        let salvaged = SIPRequest.salvage(Array(text.utf8).span)
        #expect(salvaged?.topVia?.branch == "z9hG4bK1" && salvaged?.cseq?.number == 1)
    }

    @Test("salvages the fields an answer copies, and nothing else")
    func salvage() throws {
        let text = Self.request(
            start: "INVITE  <sip:x>  SIP/2.0 ", via: "v: SIP/2.0/UDP a.example;branch=1;;,SIP/2.0/TCP b.example,,",
            from: "From: \"open <sip:a@h>", to: "To :\r\n <sip:b@h>", cseq: "CSeq: x INVITE",
            extra: ["Contact: <", "no colon", "To: <sip:second@h>", "v: SIP/2.0/UDP c.example"],
            body: "Via: in the body")
        let salvaged = SIPRequest.salvage(Array(text.utf8).span)
        let request = try #require(salvaged)
        #expect(request.method == .invite && request.requestURI.text == "sip:invalid.invalid")
        #expect(
            request.headers.values(.via)
                == ["SIP/2.0/UDP a.example", "SIP/2.0/TCP b.example", "SIP/2.0/UDP c.example"])
        #expect(request.headers.values(.to) == ["<sip:b@h>"] && request.headers.first(.from) == "\"open <sip:a@h>")
        #expect(request.headers.first(.cseq) == "x INVITE" && request.callID == "1@h" && request.headers.count == 7)
    }
}
