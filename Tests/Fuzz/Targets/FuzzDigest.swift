import Primitives
import SIPEngine
import SignallingFormats

/// Credentials and challenges: the text stands in Authorization, and in the challenge of a refusing server.
func fuzzDigest(_ bytes: Span<UInt8>) {
    let text = String(decoding: [UInt8](copying: bytes), as: UTF8.self)
    guard let uri = URI("sip:branch.example") else { return }
    var request = SIPRequest(method: .register, requestURI: uri)
    request.headers.append(.authorization, text)
    var server = DigestServer(realm: "branch.example", hash: FixedHash(), random: RandomSource(seed: 1))
    blackHole(server.verify(request, secretFor: { _ in nil }, at: .zero))

    var refusal = SIPResponse(statusCode: 401, reasonPhrase: "Unauthorized")
    refusal.headers.append(.wwwAuthenticate, text)
    var client = DigestClient(hash: FixedHash(), random: RandomSource(seed: 1))
    blackHole(client.authorize(&request, after: refusal, username: "2001", password: "secret"))
}

/// The parser is under test, not the hash.
struct FixedHash: DigestHash {
    func hash(_ bytes: [UInt8], using algorithm: DigestAlgorithm) -> [UInt8]? { [UInt8](repeating: 7, count: 16) }
}
