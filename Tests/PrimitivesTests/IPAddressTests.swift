import Primitives
import Testing

@Suite("IP addresses (RFC 4291, RFC 5952)")
struct IPAddressTests {
    struct Sample: Sendable {
        let text: String
        let canonical: String
        init(_ text: String, _ canonical: String? = nil) {
            self.text = text
            self.canonical = canonical ?? text
        }
    }

    static let valid: [Sample] = [
        .init("0.0.0.0"), .init("192.0.2.1"), .init("255.255.255.255"), .init("127.0.0.1"),
        .init("::"), .init("::1"), .init("1::"), .init("2001:db8::1"), .init("[2001:db8::1]", "2001:db8::1"),
        .init("2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"),
        .init("FF01:0:0:0:0:0:0:101", "ff01::101"),
        .init("0:0:0:0:0:0:0:0", "::"), .init("0:0:0:0:0:0:0:1", "::1"),
        // RFC 5952 §4.1: leading zeros go. §4.2.2: one zero field is not shortened. §4.2.3: the longest run, the first.
        .init("2001:0db8:0000:0000:0000:0000:0002:0001", "2001:db8::2:1"),
        .init("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        .init("2001:db8:0:1:1:1:1:1"),
        .init("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        .init("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        .init("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), .init("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
        .init("::13.1.68.3", "::d01:4403"), .init("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        // RFC 5952 §5: a well-known prefix with an IPv4 address is written mixed.
        .init("::FFFF:129.144.52.38", "::ffff:129.144.52.38"), .init("::ffff:c000:201", "::ffff:192.0.2.1"),
        .init("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ]

    @Test("reads the text forms and writes the canonical one", arguments: valid)
    func reads(_ sample: Sample) throws {
        let address = try #require(IPAddress(sample.text), "\(sample.text)")
        #expect(address.description == sample.canonical)
        #expect(IPAddress(sample.canonical) == address)
        #expect(IPAddress(bytes: address.bytes) == address)
        #expect(address.bytes.count * 8 == address.bitCount)
    }

    static let malformed = [
        "", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "256.1.1.1", "1.2.3.1000", "01.2.3.4",
        "1.2.3.00", "-1.2.3.4", "+1.2.3.4", "0x1.2.3.4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4\n", "١.2.3.4", "1,2,3,4",
        "[1.2.3.4]", ":", ":::", "::1::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
        "::1:2:3:4:5:6:7:8", "1:", ":1", "1:2:3:4:5:6:7:", ":1:2:3:4:5:6:7", "12345::", "g::", "::1%eth0", "fe80::1%1",
        "::1.2.3", "::1.2.3.256", "1.2.3.4::", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "[::1", "::1]", "[]", "[[::1]]",
        "::-1", "::+1", "localhost", "::1/64", String(repeating: "1:", count: 40), "[::1]:5060",
        "ff:ff:ff:ff:ff:ff:é:1",
    ]

    @Test("refuses everything else", arguments: malformed)
    func refuses(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("knows special addresses")
    func special() throws {
        func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }
        for text in ["0.0.0.0", "::"] { #expect(try address(text).isUnspecified) }
        for text in ["127.0.0.1", "127.255.0.1", "::1"] { #expect(try address(text).isLoopback) }
        for text in ["224.0.0.1", "239.255.255.255", "ff02::1"] { #expect(try address(text).isMulticast) }
        for text in ["192.0.2.1", "2001:db8::1", "223.0.0.1", "240.0.0.1", "128.0.0.1", "fe80::1"] {
            let other = try address(text)
            #expect(!other.isUnspecified && !other.isLoopback && !other.isMulticast, "\(text)")
        }
        #expect(try address("2001:db8::1").uriHost == "[2001:db8::1]")
        #expect(try address("192.0.2.1").uriHost == "192.0.2.1")
        for count in [0, 3, 5, 15, 17] { #expect(IPAddress(bytes: [UInt8](repeating: 1, count: count)) == nil) }
    }

    @Test("every address survives being written and read (seeded)")
    func roundTrip() {
        var random = RandomSource(seed: 1)
        for _ in 0..<2_000 {
            // Words of few values, so that zero runs are frequent.
            let words = (0..<8).map { _ in random.next() % 3 == 0 ? random.next() & 0xFFFF : 0 }
            let v6 = IPAddress.v6(
                words[..<4].reduce(0) { $0 << 16 | $1 }, words[4...].reduce(0) { $0 << 16 | $1 })
            #expect(IPAddress(v6.description) == v6)
            let v4 = IPAddress.v4(UInt32(truncatingIfNeeded: random.next()))
            #expect(IPAddress(v4.description) == v4)
        }
    }
}

@Suite("Address prefixes and transport addresses")
struct IPPrefixTests {
    @Test(
        "clears the bits beyond the length",
        arguments: [
            ("192.0.2.77/24", "192.0.2.0/24"), ("192.0.2.77", "192.0.2.77/32"), ("192.0.2.77/0", "0.0.0.0/0"),
            ("192.0.2.77/31", "192.0.2.76/31"), ("255.255.255.255/1", "128.0.0.0/1"),
            ("2001:db8:ffff::1/32", "2001:db8::/32"), ("2001:db8::ffff/128", "2001:db8::ffff/128"),
            ("2001:db8::ffff", "2001:db8::ffff/128"), ("ffff::/0", "::/0"),
            ("1:2:3:4:5:6:7:8/64", "1:2:3:4::/64"), ("1:2:3:4:ffff::/65", "1:2:3:4:8000::/65"),
            ("1:2:3:ffff::/63", "1:2:3:fffe::/63"),
        ])
    func reads(text: String, canonical: String) throws {
        #expect(try #require(IPPrefix(text)).description == canonical)
    }

    @Test(
        "refuses what is no prefix",
        arguments: [
            "", "/", "/24", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/+8", "192.0.2.0/8/8", "::/129",
            "192.0.2.0/2 ", "192.0.2.0/a", "192.0.2.0/٨", "192.0.2.0/024", "192.0.2/24",
            "192.0.2.0/99999999999999999999",
        ])
    func refuses(text: String) {
        #expect(IPPrefix(text) == nil)
    }

    @Test(
        "contains what shares its bits",
        arguments: [
            ("192.0.2.0/29", "192.0.2.7", true), ("192.0.2.0/29", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "::", false), ("::/0", "0.0.0.0", false), ("::/0", "ffff::", true),
            ("2001:db8::/65", "2001:db8::7fff:0:0:0", true), ("2001:db8::/65", "2001:db8::8000:0:0:0", false),
            ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.0", false),
        ])
    func contains(prefix: String, address: String, isInside: Bool) throws {
        #expect(try #require(IPPrefix(prefix)).contains(try #require(IPAddress(address))) == isInside)
    }

    @Test(
        "reads an address with its port",
        arguments: ["192.0.2.1:5060", "[2001:db8::1]:5060", "0.0.0.0:0", "[::]:65535"])
    func transport(text: String) throws {
        #expect(try #require(TransportAddress(text)).description == text)
    }

    @Test(
        "refuses what is no address with a port",
        arguments: [
            "", ":", "192.0.2.1", "192.0.2.1:", ":5060", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:+5060",
            "2001:db8::1:5060", "[2001:db8::1]", "[2001:db8::1]:", "[192.0.2.1]:5060", "[::1:5060", "::1]:5060",
            "192.0.2.1: 5060", "192.0.2.1:5060 ", "192.0.2.1:0x10", "192.0.2.1:٥", "host:5060", "[::1]x:5060",
        ])
    func refusesTransport(text: String) {
        #expect(TransportAddress(text) == nil)
    }
}
