import CallEngine
import MediaEngine
import Primitives
import SignallingFormats
import Testing

@testable import Appliance

@Suite("Orders to announce and to page")
struct AnnouncementOrderTests {
    @Test("a station, a number, an adapter: what is asked for is what is rung")
    func orders() throws {
        let station = try AnnouncementOrder(["station": "2001", "text": "hello", "key": "#", "repetitions": 3])
        let request = station.request(AnnouncementID(rawValue: 9), saying: [.silence(.seconds(1))])
        #expect(request.target == .station(user: "2001"))
        #expect(request.acknowledgementKey == "#" && request.playlist.repetitions == 3)
        #expect(request.playlist.items.first == .tone(.attention, for: .milliseconds(500)))
        #expect(request.playlist.items.last == .silence(.seconds(1)))
        let number = try AnnouncementOrder(["number": "+13135550155", "trunk": "carrier-a", "text": "hello"])
        #expect(number.target == .number("+13135550155", trunk: "carrier-a"))
        #expect(number.repetitions == 2 && number.key == nil)
        let uri = try #require(SIPURI("sip:zone1@192.0.2.40:5070"))
        let adapter = try AnnouncementOrder(["uri": "sip:zone1@192.0.2.40:5070", "realm": "lan", "text": "hello"])
        #expect(adapter.target == .uri(uri, realm: RealmID("lan")))
        let page = try PageOrder(["group": "224.0.1.75:5004", "realm": "lan", "text": "hello"])
        #expect(page.page(4, saying: []).group == TransportAddress("224.0.1.75:5004"))
        #expect(page.page(4, saying: []).timeToLive == 1)
    }

    @Test(
        "what is wrong with an order is said",
        arguments: [
            (["text": "hello"], "expected one of station, number and uri"),
            (["station": "2001", "uri": "sip:a@192.0.2.1", "text": "x"], "expected one of station, number and uri"),
            (["number": "1", "text": "x"], "a number needs a trunk"),
            (["uri": "zone1", "realm": "lan", "text": "x"], "zone1 is no SIP URI; expected sip:user@address"),
            (["uri": "sip:a@192.0.2.1", "text": "x"], "a URI needs a realm"),
            (["station": "2001"], "a text of 1 to 500 bytes is needed"),
            (["station": "2001", "text": "x", "repetitions": 0], "1 to 20 repetitions are possible"),
            (["station": "2001", "text": "x", "key": "12"], "“12” is no key; expected one of 0 to 9, *, # and A to D"),
        ] as [(JSONValue, String)])
    func mistakes(_ order: JSONValue, _ text: String) {
        #expect(throws: AnnouncementOrder.Mistake(text)) { _ = try AnnouncementOrder(order) }
    }

    @Test("a page needs a group with a port, and a realm")
    func pages() {
        let text = "“192.0.2.1:5004” is no multicast group with a port, as 224.0.1.75:5004"
        #expect(throws: AnnouncementOrder.Mistake(text)) {
            _ = try PageOrder(["group": "192.0.2.1:5004", "realm": "lan", "text": "x"])
        }
        #expect(throws: AnnouncementOrder.Mistake("a page needs the realm it leaves from")) {
            _ = try PageOrder(["group": "224.0.1.75:5004", "text": "x"])
        }
    }
}
