/// A hash function of SIP digest authentication (RFC 7616, RFC 8760), strongest last.
package enum DigestAlgorithm: String, Hashable, Sendable, CaseIterable {
    case md5 = "MD5"
    case sha256 = "SHA-256"
    // swift-format-ignore: AlwaysUseLowerCamelCase
    case sha512_256 = "SHA-512-256"  // as NIST writes it

    /// How much it is preferred; more is stronger.
    var strength: Int {
        switch self {
        case .md5: 0
        case .sha256: 1
        case .sha512_256: 2
        }
    }
}

/// The hash functions, injected: engines do not know who computes them.
package protocol DigestHash: Sendable {
    /// nil when this function is not available, as MD5 under FIPS.
    func hash(_ bytes: [UInt8], using algorithm: DigestAlgorithm) -> [UInt8]?
}

extension DigestHash {
    func isAvailable(_ algorithm: DigestAlgorithm) -> Bool { hash([], using: algorithm) != nil }

    /// H(text) in lower-case hexadecimal; empty when the function is not available.
    func hexadecimal(_ bytes: [UInt8], _ algorithm: DigestAlgorithm) -> String {
        (hash(bytes, using: algorithm) ?? []).hexadecimal
    }

    func hexadecimal(_ text: String, _ algorithm: DigestAlgorithm) -> String {
        hexadecimal(Array(text.utf8), algorithm)
    }

    /// HMAC (RFC 2104); MD5, SHA-256 take blocks of 64 bytes, SHA-512/256 of 128.
    func authenticationCode(_ text: String, key: [UInt8], _ algorithm: DigestAlgorithm) -> [UInt8] {
        let blockByteCount = algorithm == .sha512_256 ? 128 : 64
        let short = key.count > blockByteCount ? hash(key, using: algorithm) ?? [] : key
        let block = short + [UInt8](repeating: 0, count: blockByteCount - short.count)
        let inner = hash(block.map { $0 ^ 0x36 } + Array(text.utf8), using: algorithm) ?? []
        return hash(block.map { $0 ^ 0x5C } + inner, using: algorithm) ?? []
    }
}

extension [UInt8] {
    /// Lower-case digits.
    var hexadecimal: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}

/// Whether two texts are equal; how long it takes tells nothing about where they differ.
func isEqualInConstantTime(_ left: String, _ right: String) -> Bool {
    let left = Array(left.utf8)
    let right = Array(right.utf8)
    guard left.count == right.count else { return false }
    var difference: UInt8 = 0
    for index in left.indices { difference |= left[index] ^ right[index] }
    return difference == 0
}

/// Which hop asks for credentials, and in which fields.
package enum DigestRole: Hashable, Sendable {
    /// 401, WWW-Authenticate, Authorization.
    case server
    /// 407, Proxy-Authenticate, Proxy-Authorization.
    case proxy
}

/// The arithmetic of RFC 7616 §3.4, apart from who asks whom.
struct DigestComputation {
    let algorithm: DigestAlgorithm
    let hash: any DigestHash

    /// H(A1) before any session form.
    func secretHash(username: String, realm: String, password: String) -> String {
        hash.hexadecimal("\(username):\(realm):\(password)", algorithm)
    }

    /// H(A1) of a `-sess` algorithm (RFC 7616 §3.4.2).
    func sessionHash(secretHash: String, nonce: String, cnonce: String) -> String {
        hash.hexadecimal("\(secretHash):\(nonce):\(cnonce)", algorithm)
    }

    /// The response value. `quality` nil is the old form of RFC 2069.
    func response(
        secretHash: String, method: String, uri: String, body: [UInt8], nonce: String, quality: String?,
        nonceCount: String, cnonce: String
    ) -> String {
        var a2 = "\(method):\(uri)"
        if quality == "auth-int" { a2 += ":" + hash.hexadecimal(body, algorithm) }
        let h2 = hash.hexadecimal(a2, algorithm)
        guard let quality else { return hash.hexadecimal("\(secretHash):\(nonce):\(h2)", algorithm) }
        return hash.hexadecimal("\(secretHash):\(nonce):\(nonceCount):\(cnonce):\(quality):\(h2)", algorithm)
    }
}

/// The response value of RFC 7616 §3.4.1 without a body, for checking against the vectors of the RFCs.
package func digestResponse(
    algorithm: DigestAlgorithm, hash: any DigestHash, username: String, realm: String, password: String,
    method: String, uri: String, nonce: String, cnonce: String, nonceCount: String, quality: String?
) -> String {
    let computation = DigestComputation(algorithm: algorithm, hash: hash)
    return computation.response(
        secretHash: computation.secretHash(username: username, realm: realm, password: password), method: method,
        uri: uri, body: [], nonce: nonce, quality: quality, nonceCount: nonceCount, cnonce: cnonce)
}
