import Glibc
import Primitives
import Shield
import Testing

@testable import Appliance

@Suite("Operators' orders over a restart")
struct ShieldFileTests {
    let directory: String

    init() throws {
        var template = Array("/tmp/cresset-shield-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    static func order(_ prefix: String, until: Int64?) -> Order {
        Order(
            kind: until == nil ? .allow : .block, prefix: IPPrefix(prefix)!, reason: "“why”\n", operatorName: "root",
            since: WallClockTime(secondsSinceEpoch: 1_800_000_000),
            until: until.map { WallClockTime(secondsSinceEpoch: $0) })
    }

    @Test("what is written is read again")
    func roundTrip() throws {
        let file = ShieldFile(directory: directory)
        #expect(try file.read() == [])
        let orders = [Self.order("192.0.2.0/24", until: nil), Self.order("2001:db8::/64", until: 1_900_000_000)]
        try file.write(orders)
        #expect(try file.read() == orders)
    }

    @Test(
        "damage loses no more than what is damaged",
        arguments: [
            #"{"orders": [{"kind": "block", "prefix": "192.0.2.0/24", "since": 1, "until": "later"}]}"#,
            #"{"orders": [{"kind": "block", "prefix": "everything", "since": 1, "until": null}]}"#,
            #"{"orders": [{"kind": "bless", "prefix": "192.0.2.0/24", "since": 1, "until": null}]}"#,
            #"{"orders": [7]}"#, "{}",
        ])
    func damaged(_ text: String) throws {
        let good = #"{"kind": "allow", "prefix": "192.0.2.1/32", "since": 1, "until": null}"#
        let json = try JSONValue(parsing: Array(text.utf8).span)
        #expect((json["orders"]?.arrayValue ?? []).compactMap { Order(json: $0) } == [])
        #expect(Order(json: try JSONValue(parsing: Array(good.utf8).span)) != nil)
    }
}
