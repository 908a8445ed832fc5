import Primitives
import SignallingFormats

/// What the server knows of a user.
package enum DigestSecret: Sendable {
    case password(String)
    /// H(username:realm:password) in hexadecimal, per algorithm.
    case hashes([DigestAlgorithm: String])
}

/// Digest authentication as server (RFC 7616, RFC 8760, RFC 3261 §22).
///
/// Nonces are signed, not stored; what is stored is which counts of a nonce were used, and only after a right answer.
/// An unknown user costs the same work and gets the same answer as a wrong password.
package struct DigestServer: Sendable {
    package enum Result: Equatable, Sendable {
        case authenticated(String)
        /// The fields to put into 401 or 407.
        case challenge([SIPHeaderField], stale: Bool)
        /// Unknown user or wrong password: 403.
        case forbidden
        /// The credentials are not well-formed, or are for another URI: 400.
        case malformed
    }

    package enum Quality: String, Hashable, Sendable, CaseIterable { case auth, authInt = "auth-int" }

    package struct Counters: Equatable, Sendable {
        package var challenges: UInt64 = 0
        package var authenticated: UInt64 = 0
        package var refused: UInt64 = 0
        package var expiredNonces: UInt64 = 0
        package var replays: UInt64 = 0
        package var malformed: UInt64 = 0
    }

    private struct Usage: Sendable {
        let issued: MonotonicTime
        /// The highest count seen, and as bits the 64 below it.
        var highest: UInt32
        var window: UInt64

        /// false when the count was used, or is too old to know.
        mutating func use(_ count: UInt32) -> Bool {
            if count > highest {
                let shift = count - highest
                window = shift >= 64 ? 0 : window << UInt64(shift)
                if shift <= 64 { window |= 1 << UInt64(shift - 1) }
                highest = count
                return true
            }
            let distance = highest - count
            guard distance >= 1, distance <= 64 else { return false }
            let bit = UInt64(1) << UInt64(distance - 1)
            guard window & bit == 0 else { return false }
            window |= bit
            return true
        }
    }

    /// How many used nonces are remembered; beyond it the oldest become stale.
    package static let usedNonceCountMax = 4_096

    package let realm: String
    package private(set) var counters = Counters()
    private let hash: any DigestHash
    private let algorithms: [DigestAlgorithm]
    private let qualities: [Quality]
    private let nonceLifetime: Duration
    private let key: [UInt8]
    private let decoyPassword: String
    private var nextNonce: UInt64 = 1
    private var used: [UInt64: Usage] = [:]
    private var usedOrder = Queue<UInt64>()
    /// Nonces up to this one are forgotten: unless they are in the table they count as stale.
    private var forgottenUpTo: UInt64 = 0

    /// `algorithms` in the order of the challenges, strongest first (RFC 8760 §2.4); those not available are left out.
    package init(
        realm: String, algorithms: [DigestAlgorithm] = [.sha256, .md5], qualities: [Quality] = [.auth],
        nonceLifetime: Duration = .seconds(300), hash: any DigestHash, random: RandomSource
    ) {
        var random = random
        self.realm = realm
        self.hash = hash
        self.algorithms = algorithms.filter { hash.isAvailable($0) }
        self.qualities = qualities
        self.nonceLifetime = nonceLifetime
        key = (0..<32).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        decoyPassword = random.hexToken(digitCount: 16)
    }

    /// Checks the credentials of a request. `role` nil takes `.server` for REGISTER, `.proxy` for anything else.
    package mutating func verify(
        _ request: SIPRequest, as role: DigestRole? = nil, secretFor: (String) -> DigestSecret?, at now: MonotonicTime
    ) -> Result {
        let role = role ?? (request.method == .register ? .server : .proxy)
        let field: SIPHeaderName = role == .server ? .authorization : .proxyAuthorization
        var isMalformed = false
        var credentials: DigestParameters?
        for value in request.headers.values(field) {
            guard let parameters = DigestParameters(value) else {
                isMalformed = isMalformed || value.lowercased().hasPrefix("digest")
                continue
            }
            if parameters["realm"] == realm { credentials = parameters }
        }
        guard let credentials else {
            if isMalformed {
                counters.malformed += 1
                return .malformed
            }
            return challenge(role, stale: false, at: now)
        }
        guard let username = credentials["username"], let nonce = credentials["nonce"], let uri = credentials["uri"],
            let response = credentials["response"]
        else {
            counters.malformed += 1
            return .malformed
        }
        let algorithmName = (credentials["algorithm"] ?? "MD5").uppercased()
        let isSession = algorithmName.hasSuffix("-SESS")
        guard
            let algorithm = DigestAlgorithm(rawValue: isSession ? String(algorithmName.dropLast(5)) : algorithmName),
            algorithms.contains(algorithm), let quality = credentials["qop"]?.lowercased(),
            qualities.contains(where: { $0.rawValue == quality })
        else { return challenge(role, stale: false, at: now) }  // none of what we offered
        guard let cnonce = credentials["cnonce"], let countText = credentials["nc"], countText.utf8.count == 8,
            let count = UInt32(countText, radix: 16)
        else {
            counters.malformed += 1
            return .malformed
        }
        guard let (number, issued) = open(nonce) else { return challenge(role, stale: false, at: now) }
        guard now - issued <= nonceLifetime else {
            counters.expiredNonces += 1
            return challenge(role, stale: true, at: now)
        }

        // `uri` is hashed as sent and not compared with the Request-URI (RFC 3261 §22.4 asks for it): phones behind an
        // outbound proxy, and SIPp, name the next hop there. A nonce count is good once, so nothing can be replayed.

        // From here on the same work for every user, known or not.
        let computation = DigestComputation(algorithm: algorithm, hash: hash)
        let secret = secretFor(username)
        let decoyHash = computation.secretHash(
            username: username, realm: realm, password: secret.flatMap(Self.password) ?? decoyPassword)
        var secretHash = decoyHash
        if case .hashes(let hashes)? = secret, let stored = hashes[algorithm] { secretHash = stored }
        if isSession {
            secretHash = computation.sessionHash(secretHash: secretHash, nonce: nonce, cnonce: cnonce)
        }
        let expected = computation.response(
            secretHash: secretHash, method: request.method.rawValue, uri: uri, body: request.body, nonce: nonce,
            quality: quality, nonceCount: countText, cnonce: cnonce)
        let isRight = isEqualInConstantTime(expected, response.lowercased())
        guard isRight, secret != nil, !expected.isEmpty else {
            counters.refused += 1
            return .forbidden
        }
        guard use(number, count, issued: issued, at: now) else {
            counters.replays += 1
            return challenge(role, stale: true, at: now)
        }
        counters.authenticated += 1
        return .authenticated(username)
    }

    /// A fresh challenge, one field for each algorithm.
    package mutating func challenge(_ role: DigestRole, stale: Bool, at now: MonotonicTime) -> Result {
        counters.challenges += 1
        let nonce = makeNonce(at: now)
        let name: SIPHeaderName = role == .server ? .wwwAuthenticate : .proxyAuthenticate
        let fields = algorithms.map { algorithm in
            SIPHeaderField(
                name: name,
                value: "Digest realm=\(DigestParameters.quoted(realm)), nonce=\"\(nonce)\""
                    + (stale ? ", stale=true" : "")
                    + ", algorithm=\(algorithm.rawValue), qop=\"\(qualities.map(\.rawValue).joined(separator: ","))\"")
        }
        return .challenge(fields, stale: stale)
    }

    private static func password(_ secret: DigestSecret) -> String? {
        if case .password(let password) = secret { password } else { nil }
    }

    // MARK: Nonces: 16 digits of time, 16 of number, 32 of signature

    private mutating func makeNonce(at now: MonotonicTime) -> String {
        let content = Self.digits(UInt64(bitPattern: now.nanoseconds)) + Self.digits(nextNonce)
        nextNonce += 1
        return content + signature(content)
    }

    private func signature(_ content: String) -> String {
        let algorithm = algorithms.first ?? .sha256
        return String(hash.authenticationCode(content + realm, key: key, algorithm).hexadecimal.prefix(32))
    }

    /// nil when it is none of ours.
    private func open(_ nonce: String) -> (number: UInt64, issued: MonotonicTime)? {
        guard nonce.utf8.count == 64 else { return nil }
        let content = String(nonce.prefix(32))
        guard isEqualInConstantTime(String(nonce.dropFirst(32)), signature(content)),
            let time = UInt64(content.prefix(16), radix: 16), let number = UInt64(content.dropFirst(16), radix: 16)
        else { return nil }
        return (number, MonotonicTime(nanoseconds: Int64(bitPattern: time)))
    }

    private static func digits(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }

    /// Notes a count of a nonce; false when it was used before.
    private mutating func use(
        _ number: UInt64, _ count: UInt32, issued: MonotonicTime, at now: MonotonicTime
    ) -> Bool {
        guard count > 0 else { return false }
        if used[number] != nil { return used[number]?.use(count) ?? false }
        guard number > forgottenUpTo else { return false }
        used[number] = Usage(issued: issued, highest: count, window: 0)
        usedOrder.append(number)
        while usedOrder.count > Self.usedNonceCountMax, let oldest = usedOrder.popFirst() {
            used[oldest] = nil
            forgottenUpTo = max(forgottenUpTo, oldest)
        }
        return true
    }
}
