import Primitives
import SignallingFormats
import Testing

/// Lines as they would come, CRLF behind each.
func sdp(_ lines: String...) -> [UInt8] { Array(lines.map { $0 + "\r\n" }.joined().utf8) }

func description(_ lines: String...) throws -> SessionDescription {
    try SessionDescription(parsing: Array(lines.map { $0 + "\r\n" }.joined().utf8).span)
}

func text(_ description: SessionDescription) -> [String] {
    String(decoding: description.bytes, as: UTF8.self).split(separator: "\r\n").map(String.init)
}

@Suite("Session description (RFC 8866)")
struct SessionDescriptionTests {
    static let head = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"]

    static let full = sdp(
        "v=0", "o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1", "s=Call to John Smith",
        "i=SDP Offer #1", "u=http://www.jdoe.example.com/home.html", "e=Jane Doe <jane@jdoe.example.com>",
        "p=+1 617 555-6011", "c=IN IP4 198.51.100.1", "t=0 0", "x=what is this", "a=unknown:  spaces kept ",
        "m=audio 49170 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=x-odd",
        "m=audio 49180 RTP/AVP 0", "m=video 51372/2 RTP/AVP 99", "c=IN IP6 2001:db8::2", "a=rtpmap:99 h263-1998/90000",
        "a=rtcp:53020 IN IP6 2001:db8::3", "a=recvonly")

    @Test("renders byte for byte what it parsed")
    func roundTrip() throws {
        let description = try SessionDescription(parsing: Self.full.span)
        #expect(description.bytes == Self.full)
        #expect(description.media.map(\.kind) == ["audio", "audio", "video"])
        #expect(description.media.map(\.portCount) == [1, 1, 2])
        #expect(description.origin.username == "jdoe" && description.origin.sessionVersion == "3724394405")
        #expect(description.sessionName == "Call to John Smith")
        #expect(description.rtpAddress(ofMedia: 0) == TransportAddress("198.51.100.1:49170"))
        #expect(description.rtcpAddress(ofMedia: 0) == TransportAddress("198.51.100.1:49171"))
        #expect(description.rtpAddress(ofMedia: 2) == TransportAddress("[2001:db8::2]:51372"))
        #expect(description.rtcpAddress(ofMedia: 2) == TransportAddress("[2001:db8::3]:53020"))
        #expect(description.direction(ofMedia: 0) == .sendrecv && description.direction(ofMedia: 2) == .recvonly)
        #expect(description.media[0].telephoneEventPayloadType == 101)
        #expect(description.media[0].codec(of: 0) == SDPCodec("PCMU", 8_000))
        #expect(description.media[0].formatParameters(of: 101) == "0-15")
        #expect(description.attributes == [SDPAttribute("unknown", "  spaces kept ")])
        #expect(description.media[0].attributes.last == SDPAttribute("x-odd"))
    }

    @Test("keeps bytes that are not UTF-8")
    func latin1() throws {
        var bytes = sdp("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=caf", "c=IN IP4 192.0.2.1", "t=0 0")
        bytes.insert(0xE9, at: 36)
        let description = try SessionDescription(parsing: bytes.span)
        #expect(description.bytes == bytes)
    }

    struct Tolerated: Sendable, CustomTestStringConvertible {
        var testDescription: String { name }
        let name: String
        let text: String
    }

    @Test(
        "tolerates what phones do",
        arguments: [
            Tolerated(
                name: "LF", text: "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 9 RTP/AVP 0\n"
            ),
            Tolerated(
                name: "no end of the last line",
                text: "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nm=audio 9 RTP/AVP 0"),
            Tolerated(
                name: "blank lines",
                text: "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n\r\nc=IN IP4 192.0.2.1\r\nm=audio 9 RTP/AVP 0\r\n\r\n"),
            Tolerated(
                name: "no s= and t=", text: "v=0\no=- 1 1 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nm=audio 9 RTP/AVP 0\n"),
            Tolerated(
                name: "order",
                text: "v=0\nt=0 0\nc=IN IP4 192.0.2.1\ns=-\no=- 1 1 IN IP4 192.0.2.1\nm=audio 9 RTP/AVP 0\n"),
            Tolerated(
                name: "spaces in the user name",
                text: "v=0\no=Front Desk 1 1 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nm=audio 9 RTP/AVP 0\n"),
            Tolerated(
                name: "no user name", text: "v=0\no= 1 1 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nm=audio 9 RTP/AVP 0\n"),
            Tolerated(
                name: "two spaces", text: "v=0\no=-  1 1 IN IP4 192.0.2.1\nc=IN IP4  192.0.2.1\nm=audio 9  RTP/AVP  0\n"
            ),
        ])
    func tolerates(_ sample: Tolerated) throws {
        let description = try SessionDescription(parsing: Array(sample.text.utf8).span)
        #expect(description.media.count == 1)
        #expect(description.media[0].payloadTypes == [0])
        #expect(description.rtpAddress(ofMedia: 0) == TransportAddress("192.0.2.1:9"))
    }

    struct Malformed: Sendable, CustomTestStringConvertible {
        var testDescription: String { name }
        let name: String
        let bytes: [UInt8]
        let error: SDPError
    }

    static func session(_ more: String...) -> [UInt8] { Array((head + more).map { $0 + "\r\n" }.joined().utf8) }

    static let malformed: [Malformed] = [
        .init(name: "empty", bytes: [], error: .empty),
        .init(name: "blank", bytes: Array("\r\n\r\n".utf8), error: .unsupportedVersion),
        .init(name: "version 1", bytes: sdp("v=1"), error: .unsupportedVersion),
        .init(name: "version missing", bytes: sdp("o=- 1 1 IN IP4 192.0.2.1"), error: .unsupportedVersion),
        .init(name: "origin missing", bytes: sdp("v=0", "s=-"), error: .missingOrigin),
        .init(name: "origin twice", bytes: session("o=- 1 1 IN IP4 192.0.2.1"), error: .malformedOrigin(line: 6)),
        .init(name: "origin short", bytes: sdp("v=0", "o=- 1 IN IP4 192.0.2.1"), error: .malformedOrigin(line: 2)),
        .init(
            name: "session id of letters", bytes: sdp("v=0", "o=- a 1 IN IP4 192.0.2.1"),
            error: .malformedOrigin(line: 2)),
        .init(
            name: "negative version", bytes: sdp("v=0", "o=- 1 -1 IN IP4 192.0.2.1"), error: .malformedOrigin(line: 2)),
        .init(name: "ATM", bytes: sdp("v=0", "o=- 1 1 ATM NSAP 47.0091"), error: .malformedOrigin(line: 2)),
        .init(
            name: "IP4 with an IPv6 address", bytes: session("m=audio 9 RTP/AVP 0", "c=IN IP4 2001:db8::1"),
            error: .malformedConnection(line: 7)),
        .init(
            name: "IP6 with an IPv4 address", bytes: session("m=audio 9 RTP/AVP 0", "c=IN IP6 192.0.2.1"),
            error: .malformedConnection(line: 7)),
        .init(
            name: "octet of 256", bytes: session("m=audio 9 RTP/AVP 0", "c=IN IP4 192.0.2.256"),
            error: .malformedConnection(line: 7)),
        .init(name: "c= cut", bytes: session("m=audio 9 RTP/AVP 0", "c=IN IP4"), error: .malformedConnection(line: 7)),
        .init(name: "c= of no network", bytes: session("c=-"), error: .malformedConnection(line: 6)),
        .init(name: "scope identifier", bytes: session("c=IN IP6 fe80::1%eth0"), error: .malformedConnection(line: 6)),
        .init(name: "m= short", bytes: session("m=audio 9"), error: .malformedMedia(line: 6)),
        .init(name: "no format", bytes: session("m=audio 9 RTP/AVP"), error: .malformedMedia(line: 6)),
        .init(name: "port too large", bytes: session("m=audio 65536 RTP/AVP 0"), error: .malformedMedia(line: 6)),
        .init(name: "negative port", bytes: session("m=audio -1 RTP/AVP 0"), error: .malformedMedia(line: 6)),
        .init(name: "port count 0", bytes: session("m=audio 9/0 RTP/AVP 0"), error: .malformedMedia(line: 6)),
        .init(
            name: "port count of a novel", bytes: session("m=audio 9/99999999999999999999 RTP/AVP 0"),
            error: .malformedMedia(line: 6)),
        .init(name: "no equals sign", bytes: session("audio"), error: .malformedLine(line: 6)),
        .init(name: "capital letter", bytes: session("A=x"), error: .malformedLine(line: 6)),
        .init(name: "space before the sign", bytes: session("a =x"), error: .malformedLine(line: 6)),
        .init(name: "one letter", bytes: session("a"), error: .malformedLine(line: 6)),
        .init(name: "NUL", bytes: session("a=x\0y"), error: .forbiddenByte(line: 6)),
        .init(name: "CR inside", bytes: session("a=x\ry"), error: .forbiddenByte(line: 6)),
        .init(
            name: "nowhere to send", bytes: sdp("v=0", "o=- 1 1 IN IP4 192.0.2.1", "m=audio 9 RTP/AVP 0"),
            error: .missingConnection(media: 0)),
        .init(
            name: "the second one has nowhere",
            bytes: sdp(
                "v=0", "o=- 1 1 IN IP4 192.0.2.1", "m=audio 9 RTP/AVP 0", "c=IN IP4 192.0.2.1", "m=audio 9 RTP/AVP 0"),
            error: .missingConnection(media: 1)),
        .init(name: "too long", bytes: .init(repeating: 0x61, count: 65_536), error: .tooLong(byteCount: 65_536)),
        .init(
            name: "line too long", bytes: session("a=" + String(repeating: "x", count: 4_095)),
            error: .lineTooLong(line: 6)),
        .init(
            name: "too long with CRLF",
            bytes: Array(
                ("v=0\no=- 1 1 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\n"
                    + String(repeating: "a=" + String(repeating: "x", count: 81) + "\n", count: 778)).utf8),
            error: .tooLong(byteCount: 66_181)),
        .init(
            name: "format of bytes that grow",
            bytes: session() + Array("m=audio 9 RTP/AVP ".utf8) + .init(repeating: 0xFF, count: 4_000),
            error: .lineTooLong(line: 6)),
        .init(
            name: "too many lines", bytes: session() + Array(String(repeating: "a=x\r\n", count: 1_020).utf8),
            error: .tooManyLines),
        .init(
            name: "too many streams",
            bytes: session() + Array(String(repeating: "m=audio 9 RTP/AVP 0\r\n", count: 17).utf8), error: .tooManyMedia
        ),
        .init(
            name: "too many formats", bytes: session("m=audio 9 RTP/AVP" + String(repeating: " 0", count: 65)),
            error: .tooManyFormats(line: 6)),
    ]

    @Test("rejects", arguments: malformed)
    func rejects(_ sample: Malformed) {
        #expect(throws: sample.error, "\(sample.name)") { try SessionDescription(parsing: sample.bytes.span) }
    }

    @Test("takes as much as the limits allow")
    func limits() throws {
        _ = try SessionDescription(parsing: Self.session("a=" + String(repeating: "x", count: 4_094)).span)
        let lines = Self.session() + Array(String(repeating: "a=x\r\n", count: 1_019).utf8)
        _ = try SessionDescription(parsing: lines.span)
        let streams = Self.session() + Array(String(repeating: "m=audio 9 RTP/AVP 0\r\n", count: 16).utf8)
        #expect(try SessionDescription(parsing: streams.span).media.count == 16)
        let formats = Self.session("m=audio 9 RTP/AVP" + String(repeating: " 0", count: 64))
        #expect(try SessionDescription(parsing: formats.span).media[0].formats.count == 64)
    }

    @Test("a rejected stream needs neither address nor format")
    func rejected() throws {
        let description = try description("v=0", "o=- 1 1 IN IP4 192.0.2.1", "m=image 0 udptl")
        #expect(description.media[0].isRejected)
        #expect(description.rtpAddress(ofMedia: 0) == nil)
    }

    struct Direction: Sendable {
        let session: String
        let stream: String
        var host = "192.0.2.1"
        let expected: SDPDirection
        let isHold: Bool
    }

    @Test(
        "direction: the stream's, else the session's, else both ways; 0.0.0.0 receives nothing",
        arguments: [
            Direction(session: "x", stream: "y", expected: .sendrecv, isHold: false),
            Direction(session: "sendonly", stream: "y", expected: .sendonly, isHold: true),
            Direction(session: "sendonly", stream: "sendrecv", expected: .sendrecv, isHold: false),
            Direction(session: "x", stream: "inactive", expected: .inactive, isHold: true),
            Direction(session: "x", stream: "recvonly", expected: .recvonly, isHold: false),
            Direction(session: "x", stream: "y", host: "0.0.0.0", expected: .sendonly, isHold: true),
            Direction(session: "x", stream: "recvonly", host: "0.0.0.0", expected: .inactive, isHold: true),
            Direction(session: "x", stream: "sendonly:no", expected: .sendrecv, isHold: false),
        ])
    func directions(_ sample: Direction) throws {
        let description = try description(
            "v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 \(sample.host)", "t=0 0", "a=\(sample.session)",
            "m=audio 9 RTP/AVP 0", "a=\(sample.stream)")
        #expect(description.direction(ofMedia: 0) == sample.expected)
        #expect(description.isHold == sample.isHold)
        #expect(sample.expected.reversed.reversed == sample.expected)
    }

    @Test("what cannot be sent to: multicast, names, a= rtcp that is none")
    func unusable() throws {
        let multicast = try description(
            "v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 233.252.0.1/127/3", "m=audio 9 RTP/AVP 0")
        #expect(multicast.rtpAddress(ofMedia: 0) == nil)
        #expect(multicast.connection?.multicastSuffix == "/127/3")
        let name = try description(
            "v=0", "o=- 1 1 IN IP4 host.example", "s=-", "c=IN IP4 host.example", "m=audio 9 RTP/AVP 0")
        #expect(name.rtpAddress(ofMedia: 0) == nil)
        #expect(name.origin.host == .name("host.example"))
        for value in ["", "x", "0", "70000", "9 IN IP4", "9 IN IP4 1.2.3.4.5"] {
            let odd = try description(
                "v=0", "o=- 1 1 IN IP4 192.0.2.1", "c=IN IP4 192.0.2.1", "m=audio 65535 RTP/AVP 0", "a=rtcp:\(value)")
            #expect(odd.rtcpAddress(ofMedia: 0) == nil)
        }
    }

    @Test(
        "codecs: rtpmap before the static table, names without case, odd ones without harm",
        arguments: [
            ("0", "x", SDPCodec("pcmu", 8_000)), ("18", "rtpmap:18 G729/8000", SDPCodec("g729", 8_000)),
            ("96", "rtpmap:96 OPUS/48000/2", SDPCodec("opus", 48_000, channels: 2)),
            ("96", "rtpmap:96 L16/44100/x", SDPCodec("l16", 44_100)), ("96", "x", nil),
            ("96", "rtpmap:96", nil), ("96", "rtpmap:96 opus", nil), ("96", "rtpmap:96 opus/-1", nil),
            ("96", "rtpmap:97 opus/48000", nil), ("96", "rtpmap:300 opus/48000", nil),
        ] as [(String, String, SDPCodec?)])
    func codecs(_ format: String, _ attribute: String, _ codec: SDPCodec?) throws {
        let description = try description(
            "v=0", "o=- 1 1 IN IP4 192.0.2.1", "c=IN IP4 192.0.2.1", "m=audio 9 RTP/AVP \(format)", "a=\(attribute)")
        let payloadType = try #require(UInt8(format))
        #expect(description.media[0].codec(of: payloadType) == codec)
    }

    @Test("mutated descriptions never trap, and what is accepted renders to what parses the same")
    func fuzz() {
        var random = RandomSource(seed: 8866)
        var accepted = 0
        for _ in 0..<4_000 {
            var bytes = Self.full
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: index)
                case 2: bytes.insert(UInt8.random(in: 9...126, using: &random), at: index)
                default:
                    let end = min(bytes.count, index + Int.random(in: 0...40, using: &random))
                    bytes.replaceSubrange(index..<end, with: Array(bytes[index..<end]) + bytes[index..<end])
                }
            }
            guard let description = try? SessionDescription(parsing: bytes.span) else { continue }
            accepted += 1
            let again = try? SessionDescription(parsing: description.bytes.span)
            #expect(again == description)
            _ = OfferAnswer.remoteStreams(in: description)
            var from = NegotiationLeg(sessionID: 1, address: .v4(1))
            var to = NegotiationLeg(sessionID: 2, address: .v4(2), telephoneEvent: 101)
            let local = (0..<16).map { TransportAddress(.v4(2), UInt16(20_000 + 2 * $0)) }
            if let offer = try? OfferAnswer.relay(offer: description, from: &from, to: &to, local: local) {
                #expect(offer.media.count == description.media.count)
                _ = try? OfferAnswer.relay(answer: description, from: &to, to: &from, local: local)
            }
        }
        #expect(accepted > 400)
    }
}
