import Crypto
import SIPEngine

/// The hash functions of digest authentication, by OpenSSL.
struct OpenSSLDigestHash: DigestHash {
    func hash(_ bytes: [UInt8], using algorithm: DigestAlgorithm) -> [UInt8]? {
        let function: HashAlgorithm =
            switch algorithm {
            case .md5: .md5
            case .sha256: .sha256
            case .sha512_256: .sha512_256
            }
        do throws(CryptoError) {
            return try Crypto.hash(bytes.span, using: function)
        } catch {
            return nil  // refused by the provider in force; the challenge then offers another one
        }
    }
}
