import Primitives
import SignallingFormats
import Testing

@Suite("Header fields: reading and editing")
struct SIPHeadersTests {
    static let text = """
        OPTIONS sip:h.example SIP/2.0\r
        v: SIP/2.0/UDP a.example;branch=1 ,\r
          SIP/2.0/UDP b.example;branch=2\r
        Via: SIP/2.0/UDP c.example;branch=3\r
        From: <sip:a@h.example>;tag=f\r
        To: "x, y" <sip:b@h.example>\r
        i: 1@h\r
        CSeq: 1 OPTIONS\r
        X-Unknown:   a , "b,c"  \r
        Supported: 100rel, ,timer\r
        Date: Sat, 15 Oct 2005 04:44:56 GMT\r
        Contact: <sip:a,b@h.example>, "q,\\"r" <sip:c@h.example>;q=1\r
        x-unknown: second\r
        Content-Length: 0\r
        \r

        """.replacingLineEnds()

    func sample() throws -> SIPMessage { try SIPMessage(parsing: Array(Self.text.utf8).span) }

    @Test("takes lists apart, respecting quotes and brackets")
    func values() throws {
        let headers = try sample().headers
        #expect(headers.values(.via).map { $0.suffix(1) } == ["1", "2", "3"])
        #expect(headers.values(.supported) == ["100rel", "timer"])
        #expect(headers.values(.contact) == ["<sip:a,b@h.example>", "\"q,\\\"r\" <sip:c@h.example>;q=1"])
        #expect(headers.values(.date) == ["Sat, 15 Oct 2005 04:44:56 GMT"])
        #expect(headers.values("X-UNKNOWN") == ["a , \"b,c\"", "second"])
        #expect(headers.first(.via) == "SIP/2.0/UDP a.example;branch=1")
        #expect(headers.first("X-Missing") == nil && headers.values("X-Missing").isEmpty)
        #expect(headers.contains("x-unknown") && !headers.contains(.route))
        #expect(headers.count == 12)
    }

    @Test("an untouched message renders to its bytes")
    func untouched() throws {
        #expect(try sample().bytes == Array(Self.text.utf8))
    }

    @Test("removes and replaces the first value inside a list, the rest byte for byte")
    func firstValue() throws {
        var message = try sample()
        message.headers.removeFirstValue(.via)
        #expect(text(message).contains("\r\nv: SIP/2.0/UDP b.example;branch=2\r\nVia: SIP/2.0/UDP c"))
        message.headers.removeFirstValue(.via)
        message.headers.removeFirstValue(.via)
        #expect(!message.headers.contains(.via))
        message.headers.removeFirstValue(.via)

        message = try sample()
        message.headers.replaceFirstValue(.via, "SIP/2.0/UDP z")
        #expect(text(message).contains("\r\nv: SIP/2.0/UDP z ,\r\n  SIP/2.0/UDP b.example;branch=2\r\nVia"))
        #expect(message.vias.count == 3 && message.topVia?.host == .name("z"))
        message.headers.replaceFirstValue(.route, "<sip:r.example;lr>")
        #expect(message.routes.count == 1)
    }

    @Test("sets, appends, prepends and removes fields")
    func edits() throws {
        var message = try sample()
        message.headers.set("X-Unknown", "only")
        #expect(message.headers.values("x-unknown") == ["only"])
        #expect(text(message).contains("CSeq: 1 OPTIONS\r\nX-Unknown: only\r\nSupported"))
        message.headers.prepend(.via, "SIP/2.0/UDP new")
        #expect(text(message).hasPrefix("OPTIONS sip:h.example SIP/2.0\r\nVia: SIP/2.0/UDP new\r\nv: SIP"))
        message.headers.prepend(.recordRoute, "<sip:rr;lr>")
        #expect(text(message).hasPrefix("OPTIONS sip:h.example SIP/2.0\r\nRecord-Route: <sip:rr;lr>\r\nVia: "))
        message.headers.append("X-Last", "1")
        #expect(text(message).hasSuffix("Content-Length: 0\r\nX-Last: 1\r\n\r\n"))
        message.headers.remove("x-unknown")
        #expect(!text(message).contains("nknown"))
        message.headers.set(.event, "dialog")
        #expect(message.headers.first(.event) == "dialog")
    }

    @Test("a value cannot start a new line")
    func injection() {
        var headers = SIPHeaders()
        headers.append("X-A", "1\r\nX-B: 2\n\0\r\n\r\nbody")
        headers.set("X-C", "a\rb")
        #expect(headers.count == 2)
        #expect(headers.fields.map(\.value) == ["1  X-B: 2      body", "a b"])
        var request = SIPRequest(method: .options, requestURI: URI("sip:h.example")!, headers: headers)
        request.headers.append("", "empty name")
        #expect(text(.request(request)).split(separator: "\r\n").count == 5)
        let response = SIPResponse(statusCode: 200, reasonPhrase: "OK\r\nX: y")
        #expect(text(.response(response)) == "SIP/2.0 200 OK  X: y\r\nContent-Length: 0\r\n\r\n")
    }

    @Test("copies fields between messages byte for byte")
    func copies() throws {
        let other = try sample().headers
        var headers = SIPHeaders()
        headers.append(contentsOf: "X-Unknown", from: other)
        headers.append(contentsOf: other) { $0 == .via || $0 == .date }
        let request = SIPRequest(method: .options, requestURI: URI("sip:h.example")!, headers: headers)
        #expect(
            text(.request(request))
                == """
                OPTIONS sip:h.example SIP/2.0
                X-Unknown:   a , "b,c"\("  ")
                x-unknown: second
                v: SIP/2.0/UDP a.example;branch=1 ,
                  SIP/2.0/UDP b.example;branch=2
                Via: SIP/2.0/UDP c.example;branch=3
                Date: Sat, 15 Oct 2005 04:44:56 GMT
                Content-Length: 0


                """.replacingLineEnds())
    }

    @Test("Content-Length follows the body, and keeps its form while it is right")
    func contentLength() throws {
        var message = try sample()
        message.headers.set(.contentLength, "0000")
        #expect(text(message).contains("Content-Length: 0000\r\n"))
        message.setBodyForTest("hello")
        #expect(text(message).hasSuffix("Content-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"))
        message.headers.append(.contentLength, "9")
        #expect(text(message).components(of: "Content-Length").count == 1)
        message.headers.remove(.contentLength)
        #expect(text(message).hasSuffix("Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"))
    }

    @Test("a tag is added to the bytes that are there")
    func toTag() throws {
        var message = try sample()
        message.setToTag("new")
        #expect(text(message).contains("To: \"x, y\" <sip:b@h.example>;tag=new\r\n"))
        message.setToTag("newer")
        #expect(message.to?.tag == "newer" && message.to?.displayName == "x, y")
        message.setToTag(nil)
        #expect(message.to?.tag == nil)
        message.setFromTag("f2")
        #expect(message.from?.tag == "f2")
    }

    @Test("many edits do not grow the buffer without end")
    func compaction() throws {
        var message = try sample()
        let before = message.bytes.count
        for number in 0..<20_000 { message.headers.set("X-Number", "\(number)") }
        #expect(message.headers.first("X-Number") == "19999")
        #expect(message.bytes.count == before + "X-Number: 19999\r\n".utf8.count)
        #expect(message.headers.first(.date) == "Sat, 15 Oct 2005 04:44:56 GMT")
    }

    @Test("the Request-URI keeps its bytes until it is set")
    func requestURI() throws {
        let text = Self.text.replacing("sip:h.example SIP", with: "SIP:%68@H.example;x=%41 SIP")
        guard case .request(var request) = try SIPMessage(parsing: Array(text.utf8).span) else { return }
        #expect(request.bytes == Array(text.utf8))
        request.requestURI = URI("sip:other.example")!
        #expect(String(decoding: request.bytes, as: UTF8.self).hasPrefix("OPTIONS sip:other.example SIP/2.0\r\n"))
    }

    @Test("requests are equal by content, not by layout")
    func equality() throws {
        var left = try sample()
        let right = try sample()
        left.headers.set("X-New", "1")
        #expect(left != right)
        left.headers.remove("X-New")
        #expect(left == right)
        left.headers.set(.callID, "1@h")
        #expect(left == right, "i and Call-ID name the same field")
    }

    private func text(_ message: SIPMessage) -> String { String(decoding: message.bytes, as: UTF8.self) }
}

extension SIPMessage {
    mutating func setBodyForTest(_ text: String) { setBody(Array(text.utf8), type: MediaType("text", "plain")) }
}

extension String {
    /// Every LF becomes CRLF, every CRLF stays.
    func replacingLineEnds() -> String {
        var bytes: [UInt8] = []
        for byte in utf8 {
            if byte == 0x0A, bytes.last != 0x0D { bytes.append(0x0D) }
            bytes.append(byte)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    func components(of word: String) -> [Range<String.Index>] { ranges(of: word) }
}
