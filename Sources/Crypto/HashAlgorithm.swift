import COpenSSL

/// The hash functions of SIP digest authentication (RFC 7616, RFC 8760).
package enum HashAlgorithm: Hashable, Sendable, CaseIterable {
    // swift-format-ignore: AlwaysUseLowerCamelCase
    case md5, sha256, sha512_256  // as NIST writes it

    /// Length of a digest: 16 or 32.
    package var digestByteCount: Int {
        switch self {
        case .md5: 16
        case .sha256, .sha512_256: 32
        }
    }

    /// false where the provider refuses it: MD5 under FIPS.
    package var isAvailable: Bool { implementation != nil }

    var implementation: OpaquePointer? {
        switch self {
        case .md5: Implementations.md5
        case .sha256: Implementations.sha256
        case .sha512_256: Implementations.sha512_256
        }
    }
}

/// Fetched once, immutable and never freed: they live as long as the process.
private enum Implementations {
    nonisolated(unsafe) static let md5 = EVP_MD_fetch(nil, "MD5", nil)
    nonisolated(unsafe) static let sha256 = EVP_MD_fetch(nil, "SHA256", nil)
    // swift-format-ignore: AlwaysUseLowerCamelCase
    nonisolated(unsafe) static let sha512_256 = EVP_MD_fetch(nil, "SHA512-256", nil)
}

/// Why a cryptographic operation gave nothing.
package enum CryptoError: Error, Equatable, Sendable {
    /// The provider in force refuses this function, as FIPS does MD5.
    case unavailable(HashAlgorithm)
    /// OpenSSL failed inside this function, short of memory most likely.
    case failed(function: String)
}

/// The digest of the bytes.
package func hash(_ bytes: Span<UInt8>, using algorithm: HashAlgorithm) throws(CryptoError) -> [UInt8] {
    guard let implementation = algorithm.implementation else { throw .unavailable(algorithm) }
    var digest = [UInt8](repeating: 0, count: algorithm.digestByteCount)
    var byteCount: UInt32 = 0
    // OpenSSL reads the span and writes the digest before it returns.
    let status = bytes.withUnsafeBufferPointer { input in
        EVP_Digest(input.baseAddress, input.count, &digest, &byteCount, implementation, nil)
    }
    guard status == 1, Int(byteCount) == digest.count else { throw .failed(function: "EVP_Digest") }
    return digest
}

/// The keyed digest of the bytes (RFC 2104).
package func hmacSHA256(_ bytes: Span<UInt8>, key: [UInt8]) throws(CryptoError) -> [UInt8] {
    guard let implementation = HashAlgorithm.sha256.implementation else { throw .unavailable(.sha256) }
    var digest = [UInt8](repeating: 0, count: HashAlgorithm.sha256.digestByteCount)
    var byteCount: UInt32 = 0
    // As above; an empty key still needs an address, which an empty array may lack.
    let padded = key.isEmpty ? [0] : key
    let result = bytes.withUnsafeBufferPointer { input in
        HMAC(implementation, padded, CInt(clamping: key.count), input.baseAddress, input.count, &digest, &byteCount)
    }
    guard result != nil, Int(byteCount) == digest.count else { throw .failed(function: "HMAC") }
    return digest
}

/// Compares without telling by its duration where the two differ; their lengths are no secret.
package func isEqualInConstantTime(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    left.count == right.count && CRYPTO_memcmp(left, right, left.count) == 0
}

/// Bytes nobody can guess.
package func randomBytes(count: Int) throws(CryptoError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    guard count == 0 || RAND_bytes(&bytes, CInt(clamping: count)) == 1 else { throw .failed(function: "RAND_bytes") }
    return bytes
}

/// Lower-case hexadecimal digits, as digest authentication writes them.
package func hexadecimal(_ bytes: [UInt8]) -> String {
    var digits: [UInt8] = []
    digits.reserveCapacity(bytes.count * 2)
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            digits.append(nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10)
        }
    }
    return String(decoding: digits, as: UTF8.self)
}
