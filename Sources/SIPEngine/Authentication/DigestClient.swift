import Primitives
import SignallingFormats

/// Digest authentication as client (RFC 7616, RFC 8760, RFC 3261 §22): answers challenges, and sends credentials with
/// the last nonce before being asked.
///
/// The caller gives each repeated request a new CSeq; a request in a dialog is made again by the dialog.
package struct DigestClient: Sendable {
    private struct Space: Hashable, Sendable {
        let role: DigestRole
        let realm: String
    }

    private struct Challenge: Sendable {
        let nonce: String
        let opaque: String?
        let algorithm: DigestAlgorithm
        let isSession: Bool
        /// As in the challenge; nil when it named none.
        let algorithmName: String?
        /// nil is the old form of RFC 2069.
        let quality: String?
        var nonceCount: UInt32 = 0
    }

    /// How many realms one client answers; further ones are left unanswered.
    package static let realmCountMax = 4

    private let hash: any DigestHash
    private var random: RandomSource
    private var challenges: [Space: Challenge] = [:]

    package init(hash: any DigestHash, random: RandomSource) {
        self.hash = hash
        self.random = random
    }

    /// Puts credentials for the challenges of a 401 or 407 into the request that was challenged, the strongest algorithm
    /// of each realm. false: give up, for there is nothing we can answer, or the server refused the same password.
    package mutating func authorize(
        _ request: inout SIPRequest, after response: SIPResponse, username: String, password: String
    ) -> Bool {
        let role: DigestRole
        switch response.statusCode {
        case 401: role = .server
        case 407: role = .proxy
        default: return false
        }
        var best: [String: (challenge: Challenge, stale: Bool)] = [:]
        for value in response.headers.values(Self.challengeField(role)) {
            guard let parameters = DigestParameters(value), let realm = parameters["realm"],
                let challenge = usable(parameters)
            else { continue }
            if let known = best[realm] {
                if known.challenge.algorithm.strength >= challenge.algorithm.strength { continue }
            } else if best.count >= Self.realmCountMax {
                continue
            }
            best[realm] = (challenge, parameters["stale"]?.lowercased() == "true")
        }
        guard !best.isEmpty else { return false }
        for (realm, offer) in best {
            // A second challenge to credentials that were sent, and are not merely stale: the password is wrong.
            if let sent = credentials(in: request, role, realm) {
                guard offer.stale, sent["nonce"] != offer.challenge.nonce else { return false }
            }
        }
        for (realm, offer) in best {
            let space = Space(role: role, realm: realm)
            if challenges[space] == nil, challenges.count >= Self.realmCountMax { challenges.removeAll() }
            challenges[space] = offer.challenge
        }
        for realm in best.keys.sorted() {
            put(Space(role: role, realm: realm), into: &request, username: username, password: password)
        }
        return true
    }

    /// Puts credentials for the nonces known already; false when there are none.
    @discardableResult
    package mutating func authorizePreemptively(
        _ request: inout SIPRequest, username: String, password: String
    ) -> Bool {
        for space in challenges.keys.sorted(by: { $0.realm < $1.realm }) {
            put(space, into: &request, username: username, password: password)
        }
        return !challenges.isEmpty
    }

    /// nil when we cannot answer it.
    private func usable(_ parameters: DigestParameters) -> Challenge? {
        guard let nonce = parameters["nonce"] else { return nil }
        let name = parameters["algorithm"]
        let upper = (name ?? "MD5").uppercased()
        let isSession = upper.hasSuffix("-SESS")
        guard let algorithm = DigestAlgorithm(rawValue: isSession ? String(upper.dropLast(5)) : upper),
            hash.isAvailable(algorithm)
        else { return nil }
        var quality: String?
        if let offered = parameters["qop"] {
            let tokens = offered.lowercased().split(whereSeparator: { $0 == "," || $0 == " " })
            guard let chosen = ["auth", "auth-int"].first(where: { tokens.contains(Substring($0)) }) else { return nil }
            quality = chosen
        }
        return Challenge(
            nonce: nonce, opaque: parameters["opaque"], algorithm: algorithm, isSession: isSession,
            algorithmName: name, quality: quality)
    }

    private func credentials(in request: SIPRequest, _ role: DigestRole, _ realm: String) -> DigestParameters? {
        request.headers.values(Self.credentialsField(role)).compactMap { DigestParameters($0) }
            .first { $0["realm"] == realm }
    }

    private mutating func put(
        _ space: Space, into request: inout SIPRequest, username: String, password: String
    ) {
        guard var challenge = challenges[space] else { return }
        challenge.nonceCount &+= 1
        challenges[space] = challenge
        let digits = String(challenge.nonceCount, radix: 16)
        let nonceCount = String(repeating: "0", count: 8 - digits.utf8.count) + digits
        let cnonce = random.hexToken(digitCount: 16)
        let uri = request.requestURI.text
        let computation = DigestComputation(algorithm: challenge.algorithm, hash: hash)
        var secretHash = computation.secretHash(username: username, realm: space.realm, password: password)
        if challenge.isSession {
            secretHash = computation.sessionHash(secretHash: secretHash, nonce: challenge.nonce, cnonce: cnonce)
        }
        let answer = computation.response(
            secretHash: secretHash, method: request.method.rawValue, uri: uri, body: request.body,
            nonce: challenge.nonce, quality: challenge.quality, nonceCount: nonceCount, cnonce: cnonce)

        let quoted = DigestParameters.quoted
        var value =
            "Digest username=\(quoted(username)), realm=\(quoted(space.realm)), nonce=\(quoted(challenge.nonce))"
        value += ", uri=\(quoted(uri)), response=\"\(answer)\""
        if let name = challenge.algorithmName { value += ", algorithm=\(name)" }
        if challenge.quality != nil || challenge.isSession { value += ", cnonce=\"\(cnonce)\"" }
        if let opaque = challenge.opaque { value += ", opaque=\(quoted(opaque))" }
        if let quality = challenge.quality { value += ", qop=\(quality), nc=\(nonceCount)" }

        let field = Self.credentialsField(space.role)
        let others = request.headers.values(field).filter { DigestParameters($0)?["realm"] != space.realm }
        request.headers.remove(field)
        for other in others { request.headers.append(field, other) }
        request.headers.append(field, value)
    }

    private static func challengeField(_ role: DigestRole) -> SIPHeaderName {
        role == .server ? .wwwAuthenticate : .proxyAuthenticate
    }

    private static func credentialsField(_ role: DigestRole) -> SIPHeaderName {
        role == .server ? .authorization : .proxyAuthorization
    }
}
