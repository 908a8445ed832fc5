import Crypto
import SIPEngine

/// The hash functions of the daemon, for the engine under test.
struct TestHash: DigestHash {
    func hash(_ bytes: [UInt8], using algorithm: DigestAlgorithm) -> [UInt8]? {
        switch algorithm {
        case .md5: try? Crypto.hash(bytes.span, using: .md5)
        case .sha256: try? Crypto.hash(bytes.span, using: .sha256)
        case .sha512_256: try? Crypto.hash(bytes.span, using: .sha512_256)
        }
    }
}

/// Digest credentials computed apart from the engine's own code (RFC 7616 §3.4, qop=auth).
enum TestDigest {
    static func parameter(_ name: String, in challenge: String) -> String? {
        for part in challenge.dropFirst("Digest ".count).split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1).map { $0.filter { $0 != " " && $0 != "\"" } }
            if pair.count == 2, pair[0] == name { return pair[1] }
        }
        return nil
    }

    static func authorization(
        challenge: String, method: String, uri: String, username: String, password: String, count: String = "00000001"
    ) throws -> String {
        guard let realm = parameter("realm", in: challenge), let nonce = parameter("nonce", in: challenge) else {
            throw Missing(description: "a challenge with realm and nonce, not: \(challenge)")
        }
        let algorithm = parameter("algorithm", in: challenge) ?? "MD5"
        func h(_ text: String) throws -> String {
            hexadecimal(try hash(Array(text.utf8).span, using: algorithm == "MD5" ? .md5 : .sha256))
        }
        let first = try h("\(username):\(realm):\(password)")
        let second = try h("\(method):\(uri)")
        let response = try h("\(first):\(nonce):\(count):0a4f113b:auth:\(second)")
        return "Digest username=\"\(username)\", realm=\"\(realm)\", nonce=\"\(nonce)\", uri=\"\(uri)\", "
            + "response=\"\(response)\", algorithm=\(algorithm), qop=auth, nc=\(count), cnonce=\"0a4f113b\""
    }
}
