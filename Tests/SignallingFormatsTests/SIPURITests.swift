import Primitives
import SignallingFormats
import Testing

@Suite("URIs (RFC 3261 §19.1, RFC 3966, RFC 5118)")
struct SIPURITests {
    struct Valid: Sendable {
        let text: String
        var user: String?
        var password: String?
        var host = ""
        var port: UInt16?
        var parameters = ""
        var headers: String?
        var isSecure = false
    }

    static let valid: [Valid] = [
        .init(text: "sip:branch.example", host: "branch.example"),
        .init(text: "SIP:branch.example", host: "branch.example"),
        .init(text: "sips:2001@branch.example", user: "2001", host: "branch.example", isSecure: true),
        .init(text: "sip:2001:secret@192.0.2.1:5062", user: "2001", password: "secret", host: "192.0.2.1", port: 5062),
        .init(text: "sip:a%20b@192.0.2.1", user: "a b", host: "192.0.2.1"),
        .init(text: "sip:a%40b%3Ac@192.0.2.1", user: "a@b:c", host: "192.0.2.1"),
        .init(text: "sip:a;b=c?d/e@h.example", user: "a;b=c?d/e", host: "h.example"),
        .init(text: "sip:*21#@h.example", user: "*21#", host: "h.example"),
        .init(text: "sip:%00@h.example", user: "\0", host: "h.example"),
        .init(text: "sip:a:@h.example", user: "a", password: "", host: "h.example"),
        .init(text: "sip:[2001:db8::10]:5070", host: "[2001:db8::10]", port: 5070),
        .init(text: "sip:[2001:db8::10:5070]", host: "[2001:db8::10:5070]"),
        .init(text: "sip:u@[::1];lr", user: "u", host: "[::1]", parameters: ";lr"),
        .init(text: "sip:h.example;transport=tcp;lr;x=%41", host: "h.example", parameters: ";transport=tcp;lr;x=%41"),
        .init(text: "sip:h.example;maddr=[2001:db8::1]", host: "h.example", parameters: ";maddr=[2001:db8::1]"),
        .init(
            text: "sip:h.example?Subject=a&Route=%3Csip:x%3E", host: "h.example", headers: "Subject=a&Route=%3Csip:x%3E"
        ),
        .init(text: "sip:h.example;a=b?c=d", host: "h.example", parameters: ";a=b", headers: "c=d"),
        .init(text: "sip:my_host.example", host: "my_host.example"),
        .init(text: "sip:h.example:65535", host: "h.example", port: 65535),
    ]

    @Test("are taken apart and put together again", arguments: valid)
    func takesApart(_ sample: Valid) throws {
        let uri = try #require(SIPURI(sample.text))
        #expect(uri.user == sample.user)
        #expect(uri.password == sample.password)
        #expect(uri.host.text == sample.host)
        #expect(uri.port == sample.port)
        #expect(uri.parameters.text == sample.parameters)
        #expect(uri.headers == sample.headers)
        #expect(uri.isSecure == sample.isSecure)
        let scheme = sample.text.prefix { $0 != ":" }
        #expect(uri.text == scheme.lowercased() + sample.text.dropFirst(scheme.count))
    }

    @Test(
        "are refused when malformed",
        arguments: [
            "", "sip", "sip:", "sips:", ":h", "sip:@h.example", "sip:a@", "sip:a b@h.example", "sip:h example",
            "sip: h.example",
            "sip:a%4@h.example", "sip:a%zz@h.example", "sip:h.example:", "sip:h.example:x", "sip:h.example:65536",
            "sip:h.example:99999999999999999999", "sip:2001:db8::1", "sip:[2001:db8::1", "sip:[]", "sip:[::g]",
            "sip:[2001:db8:::1]", "sip:[2001:db8::1]x", "sip:h.example;", "sip:h.example;;lr", "sip:h.example;=x",
            "sip:h.example;a b", "sip:h.example?", "sip:h.example?a b", "sip:h.example>", "<sip:h.example>",
            "sip:h.example;x=\"y\"", "sip:-h.example", "sip:.example", "tel:", "tel:+", "tel:abcx", "tel:+49*1",
            "1sip:h",
            "http:", "http: //h", "http://h/\u{e9}", "mailto:a%b@h",
        ])
    func refuses(_ text: String) {
        #expect(URI(text) == nil)
    }

    @Test("of other schemes are kept as text")
    func otherSchemes() {
        #expect(URI("http://www.example.com/a?b#c") == .other("http://www.example.com/a?b#c"))
        #expect(URI("urn:service:sos")?.text == "urn:service:sos")
        #expect(URI("urn:service:sos")?.scheme == "urn")
        #expect(URI("nobodyKnowsThisScheme:totallyopaquecontent")?.scheme == "nobodyknowsthisscheme")
    }

    @Test("of telephone numbers (RFC 3966)")
    func telephone() throws {
        guard case .tel(let uri)? = URI("tel:+1-313-555-0101;ext=7") else {
            Issue.record("not a tel URI")
            return
        }
        #expect(uri.digits == "+13135550101" && uri.isGlobal && uri.parameters.value("ext") == "7")
        #expect(uri.text == "tel:+1-313-555-0101;ext=7")
        guard case .tel(let local)? = URI("tel:7042;phone-context=branch.example") else {
            Issue.record("not a tel URI")
            return
        }
        #expect(!local.isGlobal && local.parameters.value("phone-context") == "branch.example")
        #expect(URI("tel:+1.313.5550101")?.isEquivalent(to: URI("tel:+13135550101")!) == true)
    }

    // RFC 3261 §19.1.4, its own examples among them
    static let equivalent: [(String, String)] = [
        ("sip:%61lice@atlanta.example;transport=TCP", "sip:alice@AtLanTa.Example;Transport=tcp"),
        ("sip:carol@chicago.example", "sip:carol@chicago.example;newparam=5"),
        ("sip:carol@chicago.example", "sip:carol@chicago.example;security=on"),
        (
            "sip:biloxi.example;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.example",
            "sip:biloxi.example;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.example"
        ),
        (
            "sip:alice@atlanta.example?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.example?priority=urgent&subject=project%20x"
        ),
        ("sip:u@[2001:DB8:0::1]", "sip:u@[2001:db8::1]"),
        ("sip:u@h.example;%6Cr", "sip:u@h.example;lr"),
    ]
    static let different: [(String, String)] = [
        ("SIP:ALICE@AtLanTa.Example;Transport=udp", "sip:alice@AtLanTa.Example;Transport=UDP"),
        ("sip:bob@biloxi.example", "sip:bob@biloxi.example:5060"),
        ("sip:bob@biloxi.example", "sip:bob@biloxi.example;transport=udp"),
        ("sip:bob@biloxi.example", "sip:bob@biloxi.example:6000;transport=tcp"),
        ("sip:carol@chicago.example", "sip:carol@chicago.example?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.example", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.example;security=on", "sip:carol@chicago.example;security=off"),
        ("sip:bob@biloxi.example", "sips:bob@biloxi.example"),
        ("sip:bob:x@biloxi.example", "sip:bob@biloxi.example"),
        ("sip:biloxi.example", "sip:bob@biloxi.example"),
    ]

    @Test("that name the same resource are equivalent", arguments: equivalent)
    func isEquivalent(_ left: String, _ right: String) throws {
        let left = try #require(SIPURI(left))
        let right = try #require(SIPURI(right))
        #expect(left.isEquivalent(to: right) && right.isEquivalent(to: left))
    }

    @Test("that do not are not", arguments: different)
    func isDifferent(_ left: String, _ right: String) throws {
        let left = try #require(SIPURI(left))
        let right = try #require(SIPURI(right))
        #expect(!left.isEquivalent(to: right) && !right.isEquivalent(to: left))
    }

    @Test("are built from parts with escapes where the grammar wants them")
    func builds() throws {
        var uri = SIPURI(user: "a b@c#", host: .address(IPAddress("2001:db8::1")!), port: 5061)
        uri.parameters.set("transport", "tcp")
        uri.parameters.set("x", "a;b")
        uri.parameters.set("lr", nil)
        #expect(uri.text == "sip:a%20b%40c%23@[2001:db8::1]:5061;transport=tcp;x=a%3Bb;lr")
        let parsed = try #require(SIPURI(uri.text))
        #expect(parsed == uri)
        #expect(parsed.parameters.value("x") == "a;b" && parsed.parameters.has("LR"))
        uri.parameters.remove("X")
        uri.user = nil
        #expect(uri.text == "sip:[2001:db8::1]:5061;transport=tcp;lr")
    }
}
