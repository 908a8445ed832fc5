import Primitives
import SIPEngine
import SignallingFormats
import Testing

@Suite("Digest authentication (RFC 7616, RFC 2617, RFC 3261 §22)")
struct DigestTests {
    /// The vectors' cnonce is given, ours is random: so they check what the server computes.
    struct Vector: Sendable, CustomStringConvertible {
        let description: String
        let algorithm: DigestAlgorithm
        let secret: String
        let method: String
        let uri: String
        let nonce: String
        let cnonce: String
        let quality: String
        let response: String
    }

    static let vectors: [Vector] = [
        Vector(
            description: "RFC 2617 §3.5", algorithm: .md5, secret: "Mufasa:testrealm@host.com:Circle Of Life",
            method: "GET", uri: "/dir/index.html", nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093", cnonce: "0a4f113b",
            quality: "auth", response: "6629fae49393a05397450978507c4ef1"),
        Vector(
            description: "RFC 7616 §3.9.1, MD5", algorithm: .md5, secret: "Mufasa:http-auth@example.org:Circle of Life",
            method: "GET", uri: "/dir/index.html", nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", quality: "auth",
            response: "8ca523f5e9506fed4657c9700eebdbec"),
        Vector(
            description: "RFC 7616 §3.9.1, SHA-256", algorithm: .sha256,
            secret: "Mufasa:http-auth@example.org:Circle of Life", method: "GET", uri: "/dir/index.html",
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", quality: "auth",
            response: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ]

    @Test("computes the responses of the RFCs", arguments: vectors)
    func computes(_ vector: Vector) {
        let parts = vector.secret.split(separator: ":").map(String.init)
        let response = digestResponse(
            algorithm: vector.algorithm, hash: TestHash(), username: parts[0], realm: parts[1], password: parts[2],
            method: vector.method, uri: vector.uri, nonce: vector.nonce, cnonce: vector.cnonce, nonceCount: "00000001",
            quality: vector.quality)
        #expect(response == vector.response)
    }

    // MARK: Server and client together

    private static func server(
        _ algorithms: [DigestAlgorithm] = [.sha256, .md5], qualities: [DigestServer.Quality] = [.auth]
    ) -> DigestServer {
        DigestServer(
            realm: "branch.example", algorithms: algorithms, qualities: qualities, hash: TestHash(),
            random: RandomSource(seed: 1))
    }

    private static func client(_ hash: TestHash = TestHash()) -> DigestClient {
        DigestClient(hash: hash, random: RandomSource(seed: 2))
    }

    private static func secret(_ user: String) -> DigestSecret? {
        user == "2001" ? .password("s3cret") : user == "odd\"\\" ? .password("p") : nil
    }

    private func challenge(
        _ server: inout DigestServer, _ request: SIPRequest, at now: MonotonicTime = .zero
    ) throws -> SIPResponse {
        guard case .challenge(let fields, let stale) = server.verify(request, secretFor: Self.secret, at: now) else {
            throw TestError("not challenged")
        }
        var response = SIPResponse(to: request, request.method == .register ? 401 : 407, toTag: "x")
        for field in fields { response.headers.append(field.name, field.value) }
        #expect(fields.allSatisfy { $0.value.contains("stale=true") == stale })
        return response
    }

    struct Together: Sendable {
        let algorithms: [DigestAlgorithm]
        let qualities: [DigestServer.Quality]
        let method: SIPMethod
    }

    @Test(
        "the client answers what the server asks",
        arguments: [
            Together(algorithms: [.md5], qualities: [.auth], method: .register),
            Together(algorithms: [.sha256, .md5], qualities: [.auth], method: .invite),
            Together(algorithms: [.sha512_256, .sha256, .md5], qualities: [.auth, .authInt], method: .register),
            Together(algorithms: [.sha256], qualities: [.authInt], method: .invite),
        ])
    func together(_ sample: Together) throws {
        var server = Self.server(sample.algorithms, qualities: sample.qualities)
        var client = Self.client()
        var request = Sample.request(sample.method, body: 20)
        let response = try challenge(&server, request)
        #expect(client.authorize(&request, after: response, username: "2001", password: "s3cret"))
        let field: SIPHeaderName = sample.method == .register ? .authorization : .proxyAuthorization
        let credentials = try #require(request.headers.first(field))
        #expect(credentials.contains("algorithm=\(sample.algorithms[0].rawValue)"), "the strongest")
        #expect(credentials.contains("nc=00000001,") || credentials.hasSuffix("nc=00000001"))
        #expect(credentials.contains("qop=\(sample.qualities[0].rawValue)"))
        #expect(server.verify(request, secretFor: Self.secret, at: milliseconds(10)) == .authenticated("2001"))
        if sample.qualities == [.authInt] {
            request.body[0] = UInt8(ascii: "y")
            #expect(server.verify(request, secretFor: Self.secret, at: milliseconds(10)) == .forbidden)
        }
    }

    @Test("a nonce count is good once; the next is, out of order too")
    func replay() throws {
        var server = Self.server()
        var client = Self.client()
        var first = Sample.request(.register)
        let response = try challenge(&server, first)
        #expect(client.authorize(&first, after: response, username: "2001", password: "s3cret"))
        var second = Sample.request(.register, number: 2)
        var third = Sample.request(.register, number: 3)
        #expect(client.authorizePreemptively(&second, username: "2001", password: "s3cret"))
        #expect(client.authorizePreemptively(&third, username: "2001", password: "s3cret"))
        for request in [first, third, second] {
            #expect(server.verify(request, secretFor: Self.secret, at: .zero) == .authenticated("2001"))
        }
        for request in [first, second, third] {
            guard case .challenge(_, stale: true) = server.verify(request, secretFor: Self.secret, at: .zero) else {
                Issue.record("a replay passed")
                continue
            }
        }
        #expect(server.counters.replays == 3)
    }

    @Test("counts far apart: what left the window is refused")
    func window() throws {
        var server = Self.server()
        var client = Self.client()
        var first = Sample.request(.register)
        let response = try challenge(&server, first)
        #expect(client.authorize(&first, after: response, username: "2001", password: "s3cret"))
        var requests: [SIPRequest] = [first]
        for number in 2...70 {
            var request = Sample.request(.register, number: UInt32(number))
            client.authorizePreemptively(&request, username: "2001", password: "s3cret")
            requests.append(request)
        }
        #expect(server.verify(requests[69], secretFor: Self.secret, at: .zero) == .authenticated("2001"))
        #expect(server.verify(requests[5], secretFor: Self.secret, at: .zero) == .authenticated("2001"), "64 below")
        for old in [requests[4], requests[0], requests[5], requests[69]] {
            guard case .challenge(_, stale: true) = server.verify(old, secretFor: Self.secret, at: .zero) else {
                Issue.record("an old count passed")
                continue
            }
        }
    }

    @Test("an expired nonce is stale: the client tries again without giving up")
    func stale() throws {
        var server = Self.server()
        var client = Self.client()
        var request = Sample.request(.register)
        let response = try challenge(&server, request)
        #expect(client.authorize(&request, after: response, username: "2001", password: "s3cret"))
        let late = milliseconds(300_001)
        let again = try challenge(&server, request, at: late)
        #expect(again.headers.first(.wwwAuthenticate)?.contains("stale=true") == true)
        #expect(client.authorize(&request, after: again, username: "2001", password: "s3cret"))
        #expect(server.verify(request, secretFor: Self.secret, at: late) == .authenticated("2001"))
        #expect(server.counters.expiredNonces == 1)
    }

    @Test("a wrong password and an unknown user get the same answer")
    func refuses() throws {
        for (user, password) in [("2001", "wrong"), ("2999", "s3cret"), ("", "")] {
            var server = Self.server()
            var client = Self.client()
            var request = Sample.request(.register)
            let response = try challenge(&server, request)
            #expect(client.authorize(&request, after: response, username: user, password: password))
            #expect(server.verify(request, secretFor: Self.secret, at: .zero) == .forbidden)
            #expect(server.counters.refused == 1)
        }
    }

    @Test("an unknown user costs as many hashes as a known one")
    func constantWork() throws {
        func hashes(for user: String) throws -> Int {
            let hash = CountingHash()
            var server = DigestServer(realm: "branch.example", hash: hash, random: RandomSource(seed: 1))
            var client = Self.client()
            var request = Sample.request(.register)
            let response = try challenge(&server, request)
            #expect(client.authorize(&request, after: response, username: user, password: "wrong"))
            let before = hash.count
            _ = server.verify(request, secretFor: Self.secret, at: .zero)
            return hash.count - before
        }
        #expect(try hashes(for: "2001") == hashes(for: "2999"))
    }

    @Test("the client gives up when the same password is refused again")
    func givesUp() throws {
        var server = Self.server()
        var client = Self.client()
        var request = Sample.request(.register)
        let first = try challenge(&server, request)
        #expect(client.authorize(&request, after: first, username: "2001", password: "s3cret"))
        let second = try challenge(&server, Sample.request(.register))
        #expect(false == client.authorize(&request, after: second, username: "2001", password: "s3cret"))
        #expect(
            !client.authorize(&request, after: SIPResponse(to: request, 403, toTag: nil), username: "a", password: "b"))
    }

    @Test("a stored hash serves like the password, and odd names are quoted")
    func storedHashAndQuoting() throws {
        let hash = TestHash()
        var server = Self.server([.md5])
        var client = Self.client()
        var request = Sample.request(.register)
        var response = try challenge(&server, request)
        #expect(client.authorize(&request, after: response, username: "2001", password: "pw"))
        let stored = try #require(hash.hash(Array("2001:branch.example:pw".utf8), using: .md5))
        let text = stored.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        let result = server.verify(request, secretFor: { _ in .hashes([.md5: text]) }, at: .zero)
        #expect(result == .authenticated("2001"))

        var odd = Sample.request(.register)
        response = try challenge(&server, odd)
        #expect(client.authorize(&odd, after: response, username: "odd\"\\", password: "p"))
        #expect(odd.headers.first(.authorization)?.contains(#"username="odd\"\\""#) == true)
        #expect(server.verify(odd, secretFor: Self.secret, at: .zero) == .authenticated("odd\"\\"))
    }

    @Test(
        "challenges we cannot answer are left; of the others the strongest counts",
        arguments: [
            ("Digest realm=\"a\", nonce=\"n\", algorithm=SHA-1, qop=\"auth\"", false),
            ("Digest realm=\"a\", nonce=\"n\", qop=\"token\"", false),
            ("Basic realm=\"a\"", false), ("Digest realm=\"a\"", false), ("Digest realm=\"a, nonce=n", false),
            ("Digest", false), ("Digest ", false), ("", false),
            ("Digest realm=\"a\", nonce=\"n\"", true), ("digest Realm = \"a\" , NONCE=\"n\",qop=auth", true),
            ("Digest realm=\"a\", nonce=\"n\", algorithm=MD5-sess, qop=\"auth\"", true),
        ])
    func answers(challenge: String, expected: Bool) {
        var client = Self.client()
        var request = Sample.request(.register)
        var response = SIPResponse(to: request, 401, toTag: "x")
        response.headers.append(.wwwAuthenticate, challenge)
        let isAnswered = client.authorize(&request, after: response, username: "u", password: "p")
        #expect(isAnswered == expected)
        #expect(request.headers.contains(.authorization) == expected)
    }

    @Test("without MD5 (FIPS) it is neither offered nor answered")
    func withoutMD5() throws {
        let hash = TestHash(unavailable: [.md5])
        var server = DigestServer(realm: "r", hash: hash, random: RandomSource(seed: 1))
        var request = Sample.request(.register)
        let offer = try challenge(&server, request)
        #expect(offer.headers.values(.wwwAuthenticate).count == 1)
        var client = Self.client(hash)
        var response = SIPResponse(to: request, 401, toTag: "x")
        response.headers.append(.wwwAuthenticate, "Digest realm=\"a\", nonce=\"n\"")
        #expect(false == client.authorize(&request, after: response, username: "u", password: "p"))
    }

    struct Tampering: Sendable {
        let name: String
        let old: String
        let new: String
        let result: String
    }

    static let tamperings: [Tampering] = [
        .init(name: "no qop", old: "qop=auth, ", new: "", result: "challenge"),
        .init(name: "another algorithm", old: "algorithm=SHA-256", new: "algorithm=SHA-512-256", result: "challenge"),
        .init(name: "a nonce of ours, altered", old: "nonce=\"0", new: "nonce=\"1", result: "challenge"),
        .init(name: "another realm", old: "realm=\"branch", new: "realm=\"other", result: "challenge"),
        .init(name: "another URI", old: "uri=\"sip:2001@", new: "uri=\"sip:2002@", result: "forbidden"),
        .init(name: "short nc", old: "nc=00000001", new: "nc=1", result: "malformed"),
        .init(name: "nc zero", old: "nc=00000001", new: "nc=00000000", result: "forbidden"),
        .init(name: "no cnonce", old: "cnonce=", new: "xnonce=", result: "malformed"),
        .init(name: "no response", old: "response=", new: "xresponse=", result: "malformed"),
        .init(name: "open quote", old: "username=\"2001\"", new: "username=\"2001", result: "malformed"),
    ]

    @Test("tampered credentials", arguments: tamperings)
    func tampered(_ sample: Tampering) throws {
        var server = Self.server()
        var client = Self.client()
        var request = Sample.request(.register)
        let response = try challenge(&server, request)
        #expect(client.authorize(&request, after: response, username: "2001", password: "s3cret"))
        let value = try #require(request.headers.first(.authorization))
        let range = try #require(value.firstRange(of: sample.old))
        request.headers.set(.authorization, value.replacingCharacters(in: range, with: sample.new))
        let result =
            switch server.verify(request, secretFor: Self.secret, at: .zero) {
            case .authenticated: "authenticated"
            case .challenge: "challenge"
            case .forbidden: "forbidden"
            case .malformed: "malformed"
            }
        #expect(result == sample.result)
    }
}

/// Counts how often it is called.
private final class CountingHash: DigestHash, @unchecked Sendable {
    private(set) var count = 0  // one thread only: the test's

    func hash(_ bytes: [UInt8], using algorithm: DigestAlgorithm) -> [UInt8]? {
        count += 1
        return TestHash().hash(bytes, using: algorithm)
    }
}

extension String {
    fileprivate func replacingCharacters(in range: Range<String.Index>, with text: String) -> String {
        String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
    }
}
