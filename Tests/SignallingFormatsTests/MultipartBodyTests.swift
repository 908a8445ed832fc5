import Primitives
import SignallingFormats
import TestSupport
import Testing

@Suite("Multipart bodies (RFC 2046 §5.1, RFC 5621)")
struct MultipartBodyTests {
    static let description = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
    static let body = Array(
        """
        preamble
        --b1 \t
        Content-Type: application/sdp
        Content-ID: <sdp@h>

        \(description)
        --b1
        Content-Type: application/pidf+xml
        Content-Disposition: render;handling=optional
        content-id:  <loc@h>
        X-Folded: a
          b

        <presence/>

        --b1

        no header
        --b12 is no delimiter
        --b1
        Content-Type: x/y

        --b1--
        epilogue --b1
        """.replacingLineEnds().utf8)

    @Test("are taken apart, and put together to the same bytes")
    func parts() throws {
        let multipart = try MultipartBody(parsing: Self.body, boundary: "b1")
        #expect(multipart.bytes == Self.body)
        #expect(
            multipart.parts.map(\.contentType.text) == ["application/sdp", "application/pidf+xml", "text/plain", "x/y"])
        #expect(multipart.parts.map(\.contentID) == ["<sdp@h>", "<loc@h>", nil, nil])
        #expect(multipart.parts[1].disposition == "render;handling=optional")
        #expect(multipart.parts[1].first("X-Folded") == "a b" && multipart.parts[1].fields.count == 4)
        #expect(multipart.parts[0].content == Array(Self.description.utf8))
        #expect(multipart.parts[1].content == Array("<presence/>\r\n".utf8))
        #expect(multipart.parts[2].content == Array("no header\r\n--b12 is no delimiter".utf8))
        #expect(multipart.parts[3].content.isEmpty)
    }

    @Test("keep every other byte when one content is replaced")
    func replaces() throws {
        var multipart = try MultipartBody(parsing: Self.body, boundary: "b1")
        multipart.replaceContent(of: 0, with: Array("v=0".utf8))
        let text = String(decoding: Self.body, as: UTF8.self).replacing(Self.description, with: "v=0")
        #expect(multipart.bytes == Array(text.utf8))
        multipart.replaceContent(of: 0, with: Array(Self.description.utf8))
        #expect(multipart.bytes == Self.body)
    }

    @Test("are built from parts")
    func builds() throws {
        let parts = [
            MIMEPart(headers: [SIPHeaderField(name: .contentType, value: "application/sdp")], content: [1, 2, 0, 255]),
            MIMEPart(headers: [], content: []),
        ]
        let built = MultipartBody(boundary: "x y", parts: parts)
        #expect(
            built.bytes == Array("--x y\r\nContent-Type: application/sdp\r\n\r\n".utf8) + [1, 2, 0, 255]
                + Array("\r\n--x y\r\n\r\n\r\n--x y--\r\n".utf8))
        let parsed = try MultipartBody(parsing: built.bytes, boundary: "x y")
        #expect(parsed.parts.map(\.content) == parts.map(\.content) && parsed.bytes == built.bytes)
    }

    struct Malformed: Sendable {
        let name: String
        let boundary: String
        let text: String
        let failure: MultipartBody.Failure

        init(_ name: String, _ boundary: String, _ text: String, _ failure: MultipartBody.Failure) {
            self.name = name
            self.boundary = boundary
            self.text = text
            self.failure = failure
        }
    }

    static let malformed: [Malformed] = [
        .init("empty boundary", "", "--\r\n\r\n----", .boundaryInvalid),
        .init("boundary of 71 bytes", String(repeating: "b", count: 71), "", .boundaryInvalid),
        .init("boundary with a line end", "a\r\nb", "", .boundaryInvalid),
        .init("empty", "b", "", .delimiterMissing),
        .init("no delimiter", "b", "text", .delimiterMissing),
        .init("delimiter inside a line", "b", "x--b\r\n\r\ntext", .delimiterMissing),
        .init("no part", "b", "x--b\r\n\r\n--b--", .delimiterMissing),
        .init("two delimiters in a row", "b", "--b\r\n--b--", .partHeaderMalformed),
        .init("not closed", "b", "--b\r\n\r\ntext", .closeMissing),
        .init("other boundary closes", "b", "--b\r\n\r\ntext\r\n--c--", .closeMissing),
        .init("header without colon", "b", "--b\r\nContent-Type\r\n\r\nx\r\n--b--", .partHeaderMalformed),
        .init("header with lone LF", "b", "--b\r\nA: b\nC: d\r\n\r\nx\r\n--b--", .partHeaderMalformed),
        .init("65 parts", "b", String(repeating: "--b\r\n\r\nx\r\n", count: 65) + "--b--", .partsTooMany),
    ]

    @Test("are refused when malformed", arguments: malformed)
    func refuses(_ sample: Malformed) {
        #expect(throws: sample.failure) {
            try MultipartBody(parsing: Array(sample.text.utf8), boundary: sample.boundary)
        }
    }

    @Test("a part may be nothing but header fields")
    func headerOnly() throws {
        let bytes = Array("--b\r\nContent-Type: a/b\r\n--b--".utf8)
        var multipart = try MultipartBody(parsing: bytes, boundary: "b")
        #expect(multipart.bytes == bytes && multipart.parts[0].content.isEmpty)
        multipart.replaceContent(of: 0, with: [65])
        #expect(multipart.bytes == Array("--b\r\nContent-Type: a/b\r\n\r\nA\r\n--b--".utf8))
    }

    @Test("64 parts are allowed")
    func mostParts() throws {
        let text = String(repeating: "--b\r\n\r\nx\r\n", count: 64) + "--b--"
        let multipart = try MultipartBody(parsing: Array(text.utf8), boundary: "b")
        #expect(multipart.parts.count == 64)
    }

    // MARK: The session description of a message

    func message(type: String, body: [UInt8]) throws -> SIPMessage {
        let text = SIPMessageParserTests.request(extra: ["Content-Type: \(type)", "Content-Length: \(body.count)"])
        let bytes = Array(text.utf8) + body
        return try SIPMessage(parsing: bytes.span)
    }

    @Test("the session description is found and replaced in a multipart body")
    func sessionDescriptionInMultipart() throws {
        var message = try message(type: "multipart/mixed; boundary=\"b1\"", body: Self.body)
        #expect(MessageBody.sessionDescription(in: message) == Array(Self.description.utf8))
        #expect(MessageBody.replaceSessionDescription(in: &message, with: [UInt8](repeating: 65, count: 300)))
        let multipart = try #require(MessageBody.multipart(in: message))
        #expect(multipart.parts[0].content.count == 300 && multipart.parts[0].contentID == "<sdp@h>")
        let bytes = message.bytes
        let again = try SIPMessage(parsing: bytes.span)
        #expect(again.body == message.body, "Content-Length follows")
        #expect(again.contentType?.parameters.value("boundary") == "b1")
    }

    @Test("also inside a nested multipart body")
    func nested() throws {
        let inner = MultipartBody(
            boundary: "in",
            parts: [
                MIMEPart(headers: [SIPHeaderField(name: .contentType, value: "text/plain")], content: [1]),
                MIMEPart(
                    headers: [SIPHeaderField(name: .contentType, value: "Application/SDP;x=y")],
                    content: Array(Self.description.utf8)),
            ])
        let outer = MultipartBody(
            boundary: "out",
            parts: [
                MIMEPart(
                    headers: [SIPHeaderField(name: .contentType, value: "multipart/alternative;boundary=in")],
                    content: inner.bytes)
            ])
        var message = try message(type: "multipart/mixed;boundary=out", body: outer.bytes)
        #expect(MessageBody.sessionDescription(in: message) == Array(Self.description.utf8))
        MessageBody.replaceSessionDescription(in: &message, with: Array("v=0\r\n".utf8))
        #expect(MessageBody.sessionDescription(in: message) == Array("v=0\r\n".utf8))
        let expected = String(decoding: outer.bytes, as: UTF8.self).replacing(Self.description, with: "v=0\r\n")
        #expect(message.body == Array(expected.utf8))
    }

    @Test("also alone, and nowhere when there is none")
    func alone() throws {
        var plain = try message(type: "application/sdp", body: Array(Self.description.utf8))
        #expect(MessageBody.sessionDescription(in: plain) == Array(Self.description.utf8))
        #expect(MessageBody.replaceSessionDescription(in: &plain, with: [65]))
        #expect(plain.body == [65])
        var text = try message(type: "text/plain", body: [65])
        #expect(MessageBody.sessionDescription(in: text) == nil)
        #expect(!MessageBody.replaceSessionDescription(in: &text, with: [66]) && text.body == [65])
        var broken = try message(type: "multipart/mixed;boundary=zz", body: Self.body)
        #expect(MessageBody.sessionDescription(in: broken) == nil && MessageBody.multipart(in: broken) == nil)
        #expect(!MessageBody.replaceSessionDescription(in: &broken, with: [66]) && broken.body == Self.body)
        let bytes = Array(SIPMessageParserTests.request().utf8)
        var empty = try SIPMessage(parsing: bytes.span)
        #expect(MessageBody.sessionDescription(in: empty) == nil)
        #expect(MessageBody.replaceSessionDescription(in: &empty, with: [66]))
        #expect(empty.body == [66] && empty.contentType == .sdp)
    }

    @Test("binary parts keep NUL and everything else (RFC 4475 §3.1.1.11)")
    func torture() throws {
        let bytes = try Golden.input("rfc4475-3.1.1.11-mpart01")
        let message = try SIPMessage(parsing: bytes.span)
        let multipart = try #require(MessageBody.multipart(in: message))
        #expect(multipart.bytes == message.body && multipart.parts.count == 2)
        #expect(multipart.parts[1].content.count == 342 && multipart.parts[1].content.contains(0))
    }
}
