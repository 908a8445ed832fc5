import Primitives
import SignallingFormats
import Testing

@Suite("Header field values (RFC 3261 §20 and §25)")
struct SIPHeaderValueTests {
    struct Address: Sendable {
        let text: String
        let name: String?
        let uri: String
        var tag: String?
        var rendered: String?
    }

    static let addresses: [Address] = [
        .init(text: "sip:a@h.example", name: nil, uri: "sip:a@h.example", rendered: "<sip:a@h.example>"),
        .init(text: "<sip:a@h.example>;tag=1", name: nil, uri: "sip:a@h.example", tag: "1"),
        .init(
            text: "sip:a@h.example;tag=1", name: nil, uri: "sip:a@h.example", tag: "1",
            rendered: "<sip:a@h.example>;tag=1"),
        .init(text: "<sip:a@h.example;tag=2>", name: nil, uri: "sip:a@h.example;tag=2"),
        .init(text: #""A, \"B\" \\" <sip:a@h.example>"#, name: #"A, "B" \"#, uri: "sip:a@h.example"),
        .init(text: #""<sip:x@y>" <sip:a@h.example>"#, name: "<sip:x@y>", uri: "sip:a@h.example"),
        .init(
            text: "Front desk <sip:a@h.example>", name: "Front desk", uri: "sip:a@h.example",
            rendered: "\"Front desk\" <sip:a@h.example>"),
        .init(
            text: "Büro <sip:a@h.example>", name: "Büro", uri: "sip:a@h.example", rendered: "\"Büro\" <sip:a@h.example>"
        ),
        .init(text: "a<sip:a@h.example>", name: "a", uri: "sip:a@h.example", rendered: "\"a\" <sip:a@h.example>"),
        .init(
            text: "  <sip:a@h.example>\r\n ; tag = \r\n\t1 ", name: nil, uri: "sip:a@h.example", tag: "1",
            rendered: "<sip:a@h.example>;tag=1"),
        .init(
            text: "<sip:a@h.example>;q=0.5;+sip.instance=\"<urn:uuid:1>\";reg-id=1", name: nil, uri: "sip:a@h.example"),
        .init(text: "<tel:+13135550101>;tag=9", name: nil, uri: "tel:+13135550101", tag: "9"),
        .init(text: "<urn:service:sos>", name: nil, uri: "urn:service:sos"),
        .init(text: "\"\" <sip:a@h.example>", name: "", uri: "sip:a@h.example"),
        .init(text: "<sip:a@h.example?X=y>", name: nil, uri: "sip:a@h.example?X=y"),
    ]

    @Test("of an address", arguments: addresses)
    func address(_ sample: Address) throws {
        let address = try #require(NameAddress(sample.text))
        #expect(address.displayName == sample.name)
        #expect(address.uri.text == sample.uri)
        #expect(address.tag == sample.tag)
        #expect(address.text == sample.rendered ?? sample.text)
        #expect(NameAddress(address.text) == address)
    }

    @Test(
        "of an address, malformed",
        arguments: [
            "", " ", "<>", "<sip:a@h.example", "sip:a@h.example>", "\"a <sip:a@h.example>", "\"a\" sip:a@h.example",
            "a, b <sip:a@h.example>", "<sip:a@h.example> x", "<sip:a@h.example>;", "<sip:a@h.example>;;tag=1",
            "<sip:a@h.example>;tag=", "<sip:a@h.example>;tag=\"1", "<sip:a@h.example>;tag=a b", "< sip:a@h.example>",
            "<sip:a@h.example >", "sip:a@h.example?X=y", "sip:a,b@h.example", "a:b <sip:a@h.example>", "a", "*",
            "\"a\\", "<sip:a@h.example>,<sip:b@h.example>", "<sip:a@h.example>;=1", "\"a\"\"b\" <sip:a@h.example>",
        ])
    func malformedAddress(_ text: String) {
        #expect(NameAddress(text) == nil)
    }

    @Test("of an address: a tag is set, replaced and removed")
    func tags() throws {
        var address = try #require(NameAddress("<sip:a@h.example>;x=1"))
        address.tag = "t1"
        #expect(address.text == "<sip:a@h.example>;x=1;tag=t1")
        address.tag = "t2"
        #expect(address.text == "<sip:a@h.example>;x=1;tag=t2")
        address.tag = nil
        #expect(address.text == "<sip:a@h.example>;x=1")
        address.displayName = "a\r\nX: \"y\"\0"
        #expect(address.text == "\"a  X: \\\"y\\\"\\\0\" <sip:a@h.example>;x=1")
        #expect(NameAddress(address.text)?.displayName == "a  X: \"y\"\0")
    }

    struct ViaSample: Sendable {
        let text: String
        let transport: SIPTransport
        let host: String
        var port: UInt16?
        var branch: String?
        var rendered: String?
    }

    static let vias: [ViaSample] = [
        .init(
            text: "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1", transport: .udp, host: "192.0.2.1", port: 5060,
            branch: "z9hG4bK1"),
        .init(text: "SIP/2.0/TCP h.example", transport: .tcp, host: "h.example"),
        .init(
            text: "sip/2.0/tls h.example;rport", transport: .tls, host: "h.example",
            rendered: "SIP/2.0/TLS h.example;rport"),
        .init(text: "SIP/2.0/SCTP [2001:db8::1]:5061", transport: .other("SCTP"), host: "[2001:db8::1]", port: 5061),
        .init(text: "SIP/7.0/UDP h.example", transport: .udp, host: "h.example"),
        .init(
            text: "SIP / 2.0 /\r\n UDP  h.example : 5060 ; branch = a ", transport: .udp, host: "h.example", port: 5060,
            branch: "a", rendered: "SIP/2.0/UDP h.example:5060;branch=a"),
    ]

    @Test("of a Via", arguments: vias)
    func via(_ sample: ViaSample) throws {
        let via = try #require(Via(sample.text))
        #expect(via.transport == sample.transport)
        #expect(via.host.text == sample.host)
        #expect(via.port == sample.port)
        #expect(via.branch == sample.branch)
        #expect(via.text == sample.rendered ?? sample.text)
    }

    @Test(
        "of a Via, malformed",
        arguments: [
            "", "SIP/2.0", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/UDPh.example", "SIP/2.0 UDP h.example",
            "/2.0/UDP h.example",
            "SIP/2.0/UDP h.example:", "SIP/2.0/UDP h.example:x", "SIP/2.0/UDP h.example:65536",
            "SIP/2.0/UDP h.example;",
            "SIP/2.0/UDP h.example;;branch=1", "SIP/2.0/UDP 2001:db8::1", "SIP/2.0/UDP [2001:db8::1",
            "SIP/2.0/UDP h.example x",
            "SIP/2.0/UDP h.example,SIP/2.0/UDP g.example", "SIP/2.0/UDP [::1]]",
        ])
    func malformedVia(_ text: String) {
        #expect(Via(text) == nil)
    }

    @Test("of a Via: received and rport (RFC 3581, RFC 5118 §4.5)")
    func received() throws {
        var via = try #require(Via("SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];rport"))
        #expect(via.received == IPAddress("2001:db8::9:255") && via.hasRport && via.rport == nil)
        via.received = IPAddress("192.0.2.7")
        via.rport = 40_000
        #expect(via.text == "SIP/2.0/UDP [2001:db8::9:1];received=192.0.2.7;rport=40000")
        #expect(Via("SIP/2.0/UDP h;rport=70000")?.rport == nil)
        #expect(Via("SIP/2.0/UDP h;received=nonsense")?.received == nil)
    }

    @Test("of CSeq")
    func cseq() {
        #expect(CSeq("4711 INVITE") == CSeq(number: 4711, method: .invite))
        #expect(CSeq(" 0009 \r\n INVITE ") == CSeq(number: 9, method: .invite))
        #expect(CSeq("1 invite")?.method != .invite)
        for text in [
            "", "1", "INVITE", "1INVITE", "-1 INVITE", "4294967296 INVITE", "1 IN VITE", "1 IN@VITE", "0x1 INVITE",
        ] {
            #expect(CSeq(text) == nil)
        }
    }

    @Test("of a media type")
    func mediaType() throws {
        let type = try #require(MediaType("Multipart/Mixed ; boundary=\"a b;c\" ; x=y"))
        #expect(type.type == "multipart" && type.subtype == "mixed")
        #expect(type.parameters.value("Boundary") == "a b;c")
        #expect(type.parameters.rawValue("boundary") == "\"a b;c\"")
        #expect(MediaType("APPLICATION/sdp")?.matches(.sdp) == true)
        for text in ["", "a", "a/", "/b", "a/b/c", "a b/c", "a/b;", "a/b;x=", "a/b x"] {
            #expect(MediaType(text) == nil)
        }
    }

    @Test("of parameters: quoted when necessary, kept as received otherwise")
    func parameters() throws {
        var parameters = try #require(SIPParameters(";a=1;B;c=\"x\\\"y\""))
        #expect(parameters.value("A") == "1" && parameters.has("b") && parameters.value("b") == nil)
        #expect(parameters.value("c") == "x\"y")
        #expect(parameters.value("d") == nil && !parameters.has("d"))
        parameters.set("a", "two words")
        parameters.set("d", "")
        #expect(parameters.text == ";a=\"two words\";B;c=\"x\\\"y\";d=\"\"")
        parameters.remove("B")
        #expect(!parameters.has("b"))
        #expect(SIPParameters("a=1") == nil && SIPParameters(";") == nil)
    }

    @Test("header names: any case, compact, unknown")
    func names() {
        #expect(SIPHeaderName("v") == .via && SIPHeaderName("VIA") == .via && SIPHeaderName("V") == .via)
        #expect(SIPHeaderName("call-id") == .callID && SIPHeaderName("i").text == "Call-ID")
        #expect(
            SIPHeaderName("X-Other") == SIPHeaderName("x-oTHER") && SIPHeaderName("X-Other") != SIPHeaderName("X-Othes")
        )
        #expect(Set([SIPHeaderName("X-A"), "x-a", "m", .contact]).count == 2)
        #expect(SIPHeaderName("Bad: name\r\n").text == "Bad--name--")
        #expect(SIPHeaderName("").text == "-")
        let compact: [(String, SIPHeaderName)] = [
            ("i", .callID), ("m", .contact), ("e", .contentEncoding), ("l", .contentLength), ("c", .contentType),
            ("f", .from), ("s", .subject), ("k", .supported), ("t", .to), ("v", .via), ("u", .allowEvents),
            ("o", .event),
            ("r", .referTo), ("b", .referredBy), ("x", .sessionExpires), ("y", .identity), ("a", .acceptContact),
            ("j", .rejectContact), ("d", .requestDisposition),
        ]
        for (letter, name) in compact { #expect(SIPHeaderName(letter) == name) }
        for letter in ["g", "h", "n", "p", "q", "w", "z", "1", "!"] { #expect(SIPHeaderName(letter).text == letter) }
    }
}
