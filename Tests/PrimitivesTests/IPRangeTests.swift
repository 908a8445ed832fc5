import Primitives
import Testing

@Suite("Ranges of addresses")
struct IPRangeTests {
    @Test(
        "are read and written",
        arguments: [
            ("192.0.2.1-192.0.2.254", "192.0.2.1-192.0.2.254"), ("192.0.2.0-192.0.2.255", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"), ("2001:db8::/64", "2001:db8::/64"), ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::5 - 2001:db8::1:0", "2001:db8::5-2001:db8::1:0"), ("::/0", "::/0"),
        ])
    func text(_ text: String, _ canonical: String) { #expect(IPRange(text)?.description == canonical) }

    @Test(
        "are no ranges",
        arguments: ["", "-", "192.0.2.2-192.0.2.1", "192.0.2.1-2001:db8::1", "1-2", "192.0.2.1-192.0.2.2-192.0.2.3"])
    func refused(_ text: String) { #expect(IPRange(text) == nil) }

    @Test("hold what lies between both ends")
    func contains() throws {
        let range = try #require(IPRange("2001:db8::ffff:ffff:ffff:fffe-2001:db8:0:1::1"))
        #expect(range.contains(IPAddress("2001:db8::ffff:ffff:ffff:fffe")!))
        #expect(range.contains(IPAddress("2001:db8:0:1::")!))
        #expect(!range.contains(IPAddress("2001:db8:0:1::2")!))
        #expect(!range.contains(IPAddress("192.0.2.1")!))
        #expect(range.isNarrower(than: IPRange("2001:db8::/126")!) == false)
        #expect(range.isNarrower(than: IPRange("2001:db8::/125")!))
        #expect(IPRange("192.0.2.0/25")!.isNarrower(than: IPRange("192.0.2.0/24")!))
        #expect(!IPRange("192.0.2.0/24")!.isNarrower(than: IPRange("192.0.2.0/24")!))
    }
}
