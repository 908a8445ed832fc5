import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("Registrar (RFC 3261 §10.3, RFC 5626)")
struct RegistrarTests {
    private func register(
        _ fields: [String], number: Int = 1, callID: String = "reg1", via: String? = nil
    ) throws -> SIPRequest {
        try parseRequest(
            """
            REGISTER sip:branch.example SIP/2.0
            Via: SIP/2.0/UDP 192.0.2.77:5060;branch=z9hG4bK1
            \(via.map { "Via: " + $0 } ?? "")
            Max-Forwards: 70
            From: <sip:2001@branch.example>;tag=f
            To: <sip:2001@branch.example>
            Call-ID: \(callID)
            CSeq: \(number) REGISTER
            \(fields.joined(separator: "\n"))
            """)
    }

    @discardableResult
    private func handle(
        _ registrar: inout Registrar, _ fields: [String], number: Int = 1, callID: String = "reg1",
        path: TransportPath = Sample.phone, at now: MonotonicTime = .zero
    ) throws -> SIPResponse {
        registrar.handle(
            try register(fields, number: number, callID: callID), from: path, user: "2001", contactsMax: 2, at: now)
    }

    @Test("binds, refreshes, tells what is bound, and forgets at its time")
    func binds() throws {
        var registrar = Registrar()
        let first = try handle(&registrar, ["Contact: <sip:2001@192.0.2.77>;q=0.5", "Expires: 120"])
        #expect(first.statusCode == 200)
        #expect(first.headers.values(.contact) == ["<sip:2001@192.0.2.77>;q=0.5;expires=120"])
        let query = try handle(&registrar, [], number: 2, at: milliseconds(20_000))
        #expect(query.contacts.first?.parameters.value("expires") == "100")
        try handle(&registrar, ["Contact: <sip:2001@192.0.2.77>", "Expires: 120"], number: 3, at: milliseconds(60_000))
        #expect(registrar.bindings(for: "2001").count == 1)
        #expect(registrar.nextDeadline == milliseconds(180_000))
        registrar.advance(to: milliseconds(180_000))
        let outputs = drain { registrar.nextOutput() }
        guard case .expired(user: "2001", let binding)? = outputs.first, outputs.count == 1 else {
            Issue.record("not expired")
            return
        }
        #expect(binding.contact.text == "sip:2001@192.0.2.77")
        #expect(registrar.bindings(for: "2001").isEmpty && registrar.nextDeadline == nil)
    }

    struct Refused: Sendable {
        let name: String
        let fields: [String]
        let code: Int
    }

    static let refused: [Refused] = [
        .init(name: "too brief", fields: ["Contact: <sip:a@192.0.2.77>;expires=59"], code: 423),
        .init(name: "too brief by Expires", fields: ["Contact: <sip:a@192.0.2.77>", "Expires: 1"], code: 423),
        .init(name: "wildcard without Expires", fields: ["Contact: *"], code: 400),
        .init(name: "wildcard with Expires 60", fields: ["Contact: *", "Expires: 60"], code: 400),
        .init(
            name: "two flows",
            fields: [
                "Supported: outbound",
                "Contact: <sip:a@192.0.2.77>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"",
                "Contact: <sip:b@192.0.2.77>;reg-id=2;+sip.instance=\"<urn:uuid:1>\"",
            ], code: 400),
        .init(
            name: "reg-id 0",
            fields: [
                "Supported: outbound", "Contact: <sip:a@192.0.2.77>;reg-id=0;+sip.instance=\"<urn:uuid:1>\"",
            ], code: 400),
    ]

    @Test("refuses, and changes nothing", arguments: refused)
    func refuses(_ sample: Refused) throws {
        var registrar = Registrar()
        try handle(&registrar, ["Contact: <sip:2001@192.0.2.77>"])
        let before = registrar.bindings(for: "2001")
        let response = try handle(&registrar, sample.fields, number: 2, callID: "other")
        #expect(response.statusCode == sample.code)
        if sample.code == 423 { #expect(response.headers.first(.minExpires) == "60") }
        #expect(registrar.bindings(for: "2001") == before)
    }

    @Test(
        "lifetimes: default, limit, exact minimum, removal, nonsense",
        arguments: [
            ("", 3_600), ("Expires: 99999", 7_200), ("Expires: 60", 60), ("Expires: 0", 0),
        ])
    func lifetimes(field: String, seconds: Int) throws {
        var registrar = Registrar()
        try handle(&registrar, ["Contact: <sip:a@192.0.2.77>"] + (field.isEmpty ? [] : [field]))
        let binding = registrar.bindings(for: "2001").first
        #expect(binding?.expires == (seconds == 0 ? nil : milliseconds(seconds * 1_000)))
    }

    @Test("an old CSeq of the same Call-ID is refused, another Call-ID is not")
    func order() throws {
        var registrar = Registrar()
        try handle(&registrar, ["Contact: <sip:a@192.0.2.77>"], number: 5)
        #expect(try handle(&registrar, ["Contact: <sip:a@192.0.2.77>"], number: 5).statusCode == 500)
        #expect(try handle(&registrar, ["Contact: *", "Expires: 0"], number: 4).statusCode == 500)
        #expect(try handle(&registrar, ["Contact: <sip:a@192.0.2.77>"], number: 1, callID: "new").statusCode == 200)
        #expect(try handle(&registrar, ["Contact: *", "Expires: 0"], number: 2, callID: "new").statusCode == 200)
        #expect(registrar.bindings(for: "2001").isEmpty)
    }

    @Test("one contact is removed, the other stays; q decides the order")
    func removes() throws {
        var registrar = Registrar()
        try handle(&registrar, ["Contact: <sip:a@192.0.2.77>;q=0.25, <sip:b@192.0.2.77>;q=1.0"])
        #expect(registrar.bindings(for: "2001").map(\.contact.text) == ["sip:b@192.0.2.77", "sip:a@192.0.2.77"])
        #expect(registrar.bindings(for: "2001").map(\.quality) == [1_000, 250])
        try handle(&registrar, ["Contact: <sip:b@192.0.2.77>;expires=0"], number: 2)
        #expect(registrar.bindings(for: "2001").map(\.contact.text) == ["sip:a@192.0.2.77"])
    }

    @Test("at the limit a phone that started anew replaces its oldest contact, a stranger gets 403")
    func limit() throws {
        var registrar = Registrar()
        try handle(&registrar, ["Contact: <sip:2001@192.0.2.77:1001>"], callID: "a")
        try handle(&registrar, ["Contact: <sip:2001@192.0.2.77:1002>"], callID: "b")
        let stranger = TransportPath(
            realm: Sample.realm, transport: .udp, remote: TransportAddress(.v4(0xC000_0278), 5060))
        #expect(
            try handle(&registrar, ["Contact: <sip:2001@192.0.2.120>"], callID: "c", path: stranger).statusCode == 403)
        #expect(try handle(&registrar, ["Contact: <sip:2001@192.0.2.77:1003>"], callID: "d").statusCode == 200)
        #expect(
            registrar.bindings(for: "2001").map(\.contact.text)
                == ["sip:2001@192.0.2.77:1002", "sip:2001@192.0.2.77:1003"])
    }

    @Test("the limit of all users together")
    func total() throws {
        var settings = Registrar.Settings()
        settings.bindingCountMax = 1
        var registrar = Registrar(settings: settings)
        try handle(&registrar, ["Contact: <sip:a@192.0.2.77>"])
        let other = registrar.handle(
            try register(["Contact: <sip:b@192.0.2.78>"]), from: Sample.phone, user: "2002", at: .zero)
        #expect(other.statusCode == 503 && other.headers.contains(.retryAfter))
        #expect(try handle(&registrar, ["Contact: <sip:a@192.0.2.77>"], number: 2).statusCode == 200)
    }

    @Test("outbound: a flow is known by instance and reg-id, whatever its contact")
    func outbound() throws {
        var registrar = Registrar()
        let fields = { (port: Int, flow: Int) in
            [
                "Supported: path, outbound",
                "Contact: <sip:2001@192.0.2.77:\(port)>;reg-id=\(flow);+sip.instance=\"<urn:uuid:1>\"",
            ]
        }
        let response = try handle(&registrar, fields(1001, 1), path: Sample.phoneTCP)
        #expect(response.require == ["outbound"] && response.headers.first(.flowTimer) == "120")
        try handle(&registrar, fields(1002, 1), number: 2, path: Sample.phoneTCP)
        #expect(registrar.bindings(for: "2001").map(\.contact.text) == ["sip:2001@192.0.2.77:1002"])
        try handle(&registrar, fields(1003, 2), number: 3)
        #expect(registrar.bindings(for: "2001").count == 2)
        registrar.connectionClosed(Sample.phoneTCP)
        #expect(registrar.bindings(for: "2001").map(\.registrationID) == [2])
        registrar.connectionClosed(Sample.phone)
        #expect(registrar.bindings(for: "2001").count == 1, "a datagram has no connection")
        let proxied = try register(fields(1004, 3), number: 9, via: "SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK2")
        #expect(registrar.handle(proxied, from: Sample.phone, user: "2001", at: .zero).statusCode == 439)
    }

    @Test("bindings outlive a restart with what remains of their time, connections do not")
    func restart() throws {
        var registrar = Registrar()
        try handle(&registrar, ["Contact: <sip:a@192.0.2.77>;expires=100"])
        try handle(&registrar, ["Contact: <sip:b@192.0.2.77>;expires=100"], callID: "tcp", path: Sample.phoneTCP)
        let exported = registrar.export(at: milliseconds(40_000))
        #expect(exported.map(\.remaining) == [.seconds(60), .seconds(60)])
        var restarted = Registrar()
        restarted.import(exported, at: milliseconds(5_000))
        #expect(restarted.bindings(for: "2001").map(\.contact.text) == ["sip:a@192.0.2.77"])
        #expect(restarted.nextDeadline == milliseconds(65_000))
        restarted.removeAll(for: "2001")
        #expect(restarted.nextDeadline == nil && restarted.users.isEmpty)
    }
}

@Suite("Registration client (RFC 3261 §10.2)")
struct RegistrationClientTests {
    private func client(expires: Int = 3_600) throws -> RegistrationClient {
        RegistrationClient(
            settings: RegistrationClient.Settings(
                registrar: try #require(URI("sip:carrier.example")),
                addressOfRecord: try #require(URI("sip:box7@carrier.example")),
                contact: try #require(NameAddress("<sip:box7@198.51.100.2>")), username: "box7", password: "pw",
                expires: expires), hash: TestHash(), random: RandomSource(seed: 3))
    }

    private func sent(_ client: inout RegistrationClient) throws -> SIPRequest {
        for output in drain({ client.nextOutput() }) { if case .send(let request) = output { return request } }
        throw TestError("nothing sent")
    }

    private func response(_ request: SIPRequest, _ code: Int, _ fields: [(SIPHeaderName, String)] = []) -> SIPResponse {
        var response = SIPResponse(to: request, code, toTag: "x")
        for (name, value) in fields { response.headers.append(name, value) }
        return response
    }

    @Test("registers through a challenge, refreshes between a half and nine tenths, and asks no more before")
    func registers() throws {
        var client = try client()
        client.handle(.start, at: .zero)
        let first = try sent(&client)
        #expect(first.requestURI.text == "sip:carrier.example" && first.headers.first(.expires) == "3600")
        let challenge = response(first, 401, [(.wwwAuthenticate, "Digest realm=\"c\", nonce=\"n\", qop=\"auth\"")])
        client.handle(.response(challenge), at: milliseconds(20))
        let second = try sent(&client)
        #expect(second.cseq?.number == 2 && second.callID == first.callID && second.from?.tag == first.from?.tag)
        #expect(second.headers.first(.authorization)?.contains("nc=00000001") == true)
        client.handle(.response(response(first, 200)), at: milliseconds(30))
        #expect(!client.isRegistered, "a late response to the first request")
        client.handle(
            .response(response(second, 200, [(.contact, "<sip:box7@198.51.100.2>;expires=600")])), at: milliseconds(40))
        #expect(client.state == .registered(until: milliseconds(600_040)))
        let refresh = try #require(client.nextDeadline)
        #expect((milliseconds(300_040)...milliseconds(540_040)).contains(refresh))
        client.advance(to: refresh)
        let third = try sent(&client)
        #expect(third.cseq?.number == 3)
        #expect(third.headers.first(.authorization)?.contains("nc=00000002") == true)
    }

    @Test("423 raises the interval; one that asks for less fails")
    func brief() throws {
        var client = try client(expires: 60)
        client.handle(.start, at: .zero)
        let first = try sent(&client)
        client.handle(.response(response(first, 423, [(.minExpires, "300")])), at: .zero)
        let second = try sent(&client)
        #expect(second.headers.first(.expires) == "300")
        client.handle(.response(response(second, 423, [(.minExpires, "100")])), at: .zero)
        guard case .failed = client.state else {
            Issue.record("\(client.state)")
            return
        }
    }

    @Test("423 with a longer interval each time is believed three times")
    func everLonger() throws {
        var client = try client(expires: 60)
        client.handle(.start, at: .zero)
        for minimum in [100, 200, 300] {
            let request = try sent(&client)
            client.handle(.response(response(request, 423, [(.minExpires, String(minimum))])), at: .zero)
        }
        let last = try sent(&client)
        client.handle(.response(response(last, 423, [(.minExpires, "400")])), at: .zero)
        guard case .failed = client.state else {
            Issue.record("\(client.state)")
            return
        }
    }

    @Test("fails with growing pauses, honours Retry-After, and comes back")
    func backsOff() throws {
        var client = try client()
        client.handle(.start, at: .zero)
        var now = MonotonicTime.zero
        var pauses: [Duration] = []
        for _ in 0..<9 {
            _ = try sent(&client)
            client.handle(.failed(reason: "timeout"), at: now)
            let retry = try #require(client.nextDeadline)
            pauses.append(retry - now)
            now = retry
            client.advance(to: now)
        }
        for (index, pause) in pauses.enumerated() {
            let full = min(Duration.seconds(10) * (1 << min(index, 6)), .seconds(600))
            #expect(pause >= full / 2 && pause <= full, "pause \(index): \(pause)")
        }
        let request = try sent(&client)
        client.handle(.response(response(request, 503, [(.retryAfter, "40 (busy);duration=9")])), at: now)
        let retry = try #require(client.nextDeadline)
        #expect(retry - now >= .seconds(20) && retry - now <= .seconds(40))
        client.advance(to: retry)
        let again = try sent(&client)
        client.handle(.response(response(again, 200)), at: retry)
        #expect(client.isRegistered)
    }

    @Test("a refused password waits long instead of trying at once")
    func refused() throws {
        var client = try client()
        client.handle(.start, at: .zero)
        let first = try sent(&client)
        let challenge = [(SIPHeaderName.wwwAuthenticate, "Digest realm=\"c\", nonce=\"n\", qop=\"auth\"")]
        client.handle(.response(response(first, 401, challenge)), at: .zero)
        let second = try sent(&client)
        client.handle(.response(response(second, 401, challenge)), at: .zero)
        #expect(drain { client.nextOutput() }.count == 1, "only the change of state")
        let retry = try #require(client.nextDeadline)
        #expect(retry >= milliseconds(150_000))
    }

    @Test("stop removes the registration, with the credentials known")
    func stops() throws {
        var client = try client()
        client.handle(.start, at: .zero)
        let first = try sent(&client)
        client.handle(.response(response(first, 200)), at: .zero)
        client.handle(.stop, at: milliseconds(10))
        let last = try sent(&client)
        #expect(last.headers.first(.expires) == "0" && client.state == .unregistering)
        client.handle(.response(response(last, 200)), at: milliseconds(20))
        #expect(client.state == .idle && client.nextDeadline == nil)
    }
}

@Suite("STUN keepalive on the SIP port (RFC 5626 §4.4.2, RFC 8489)")
struct STUNKeepaliveTests {
    static let transaction: [UInt8] = [0x21, 0x12, 0xA4, 0x42] + (1...12).map { UInt8($0) }
    static func request(_ attributes: [UInt8] = [], type: [UInt8] = [0, 1]) -> [UInt8] {
        type + [UInt8(attributes.count >> 8), UInt8(attributes.count & 255)] + transaction + attributes
    }

    @Test("answers with where the request came from")
    func answers() throws {
        let source = try #require(TransportAddress("192.0.2.1:32853"))
        let answer = try #require(STUNKeepalive.answer(to: Self.request(), from: source))
        #expect(
            answer == [1, 1, 0, 12] + Self.transaction + [0, 0x20, 0, 8, 0, 1, 0xA1, 0x47, 0xE1, 0x12, 0xA6, 0x43])
        let six = try #require(TransportAddress("[2001:db8::1]:5060"))
        #expect(STUNKeepalive.answer(to: Self.request(), from: six)?.count == 44)
    }

    @Test("an attribute it must understand and does not: 420, naming it")
    func unknown() throws {
        let source = try #require(TransportAddress("192.0.2.1:32853"))
        let answer = try #require(STUNKeepalive.answer(to: Self.request([0x00, 0x03, 0, 4, 0, 0, 0, 0]), from: source))
        #expect(Array(answer[0..<2]) == [1, 0x11] && answer.suffix(8) == [0, 0x0A, 0, 2, 0, 3, 0, 0])
        #expect(Int(answer[2]) << 8 | Int(answer[3]) == answer.count - 20)
    }

    static let others: [[UInt8]] = [
        [], [0, 1, 0, 0], request(type: [1, 1]), request(type: [0, 0x11]), Array(request().dropLast()),
        request() + [0, 0, 0, 0], request([0x80, 0x22, 0, 8, 0, 0, 0, 0]), request([0x80, 0x22, 0xFF, 0xFF]),
        [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x43] + (1...12).map { UInt8($0) }, Array("OPTIONS sip:a SIP/2.0\r\n".utf8),
    ]

    @Test("says nothing to anything else", arguments: others)
    func silent(datagram: [UInt8]) throws {
        let source = try #require(TransportAddress("192.0.2.1:32853"))
        #expect(STUNKeepalive.answer(to: datagram, from: source) == nil)
    }
}
