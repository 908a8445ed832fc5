import Primitives
import Testing

@testable import Crypto

@Suite("Hash functions")
struct HashTests {
    struct Vector: Sendable {
        let algorithm: HashAlgorithm
        let input: String
        let digest: String
    }

    static let vectors: [Vector] = [
        // RFC 1321 §A.5
        .init(algorithm: .md5, input: "", digest: "d41d8cd98f00b204e9800998ecf8427e"),
        .init(algorithm: .md5, input: "a", digest: "0cc175b9c0f1b6a831c399e269772661"),
        .init(algorithm: .md5, input: "abc", digest: "900150983cd24fb0d6963f7d28e17f72"),
        .init(
            algorithm: .md5, input: "abcdefghijklmnopqrstuvwxyz", digest: "c3fcd3d76192e4007dfb496cca67e13b"),
        // FIPS 180-4 examples
        .init(
            algorithm: .sha256, input: "",
            digest: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        .init(
            algorithm: .sha256, input: "abc",
            digest: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        .init(
            algorithm: .sha256, input: "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            digest: "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        .init(
            algorithm: .sha512_256, input: "abc",
            digest: "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"),
        .init(
            algorithm: .sha512_256,
            input: "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
                + "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
            digest: "3928e184fb8690f840da3988121d31be65cb9d3ef83ee6146feac861e19b563a"),
    ]

    @Test("give the published digests", arguments: vectors)
    func digests(_ vector: Vector) throws {
        #expect(vector.algorithm.isAvailable)
        #expect(hexadecimal(try hash(Array(vector.input.utf8).span, using: vector.algorithm)) == vector.digest)
    }

    @Test(
        "give the digest response of RFC 7616 §3.9.1",
        arguments: [
            (HashAlgorithm.md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (.sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ])
    func digestAuthentication(algorithm: HashAlgorithm, response: String) throws {
        func h(_ text: String) throws -> String { hexadecimal(try hash(Array(text.utf8).span, using: algorithm)) }
        let user = try h("Mufasa:http-auth@example.org:Circle of Life")
        let request = try h("GET:/dir/index.html")
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v:00000001:f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
        #expect(try h("\(user):\(nonce):auth:\(request)") == response)
    }

    struct KeyedVector: Sendable {
        let name: String
        let key: [UInt8]
        let input: [UInt8]
        let digest: String
    }

    static let keyed: [KeyedVector] = [
        .init(
            name: "rfc4231-1", key: [UInt8](repeating: 0x0B, count: 20), input: Array("Hi There".utf8),
            digest: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        .init(
            name: "rfc4231-2", key: Array("Jefe".utf8), input: Array("what do ya want for nothing?".utf8),
            digest: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        .init(
            name: "rfc4231-3", key: [UInt8](repeating: 0xAA, count: 20), input: [UInt8](repeating: 0xDD, count: 50),
            digest: "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        .init(
            name: "rfc4231-6", key: [UInt8](repeating: 0xAA, count: 131),
            input: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
            digest: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
        .init(
            name: "empty key and text", key: [], input: [],
            digest: "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"),
    ]

    @Test("give the published keyed digests", arguments: keyed)
    func keyedDigests(_ vector: KeyedVector) throws {
        #expect(hexadecimal(try hmacSHA256(vector.input.span, key: vector.key)) == vector.digest, "\(vector.name)")
    }

    @Test(
        "compare bytes",
        arguments: [
            ([UInt8](), [UInt8](), true), ([1, 2, 3], [1, 2, 3], true), ([1, 2, 3], [1, 2, 4], false),
            ([1, 2, 3], [1, 2], false), ([], [0], false), ([0x80], [0], false),
        ])
    func comparison(left: [UInt8], right: [UInt8], isEqual: Bool) {
        #expect(isEqualInConstantTime(left, right) == isEqual)
    }

    @Test("random bytes have the length asked for and differ", arguments: [0, 1, 16, 1_000])
    func random(count: Int) throws {
        let first = try randomBytes(count: count)
        #expect(first.count == count)
        if count >= 16 { #expect(first != (try randomBytes(count: count))) }
    }

    @Test("hexadecimal digits are lower case and complete")
    func hexadecimalDigits() {
        #expect(hexadecimal([0x00, 0x0F, 0xA5, 0xFF]) == "000fa5ff")
        #expect(hexadecimal([]).isEmpty)
    }
}
