import CallEngine
import MediaEngine
import Primitives
import SignallingFormats

/// An operator's order to ring somebody, or to page: `cresset announce`.
struct AnnouncementOrder: Equatable {
    /// Why an order is refused, for whoever gave it.
    struct Mistake: Error, Equatable {
        let text: String
        init(_ text: String) { self.text = text }
    }

    private enum Limits {
        static let textByteCountMax = 500
        static let repetitionCountMax = 20
    }

    var target: AnnouncementRequest.Target
    var text: String
    var repetitions: Int
    var key: Character?

    /// From the members of a control request: `station`, or `number` and `trunk`, or `uri` and `realm`; `text`;
    /// `repetitions` and `key` if wanted.
    init(_ request: JSONValue) throws(Mistake) {
        switch (request["station"]?.stringValue, request["number"]?.stringValue, request["uri"]?.stringValue) {
        case (let station?, nil, nil): target = .station(user: station)
        case (nil, let number?, nil):
            guard let trunk = request["trunk"]?.stringValue else { throw Mistake("a number needs a trunk") }
            target = .number(number, trunk: trunk)
        case (nil, nil, let text?):
            guard let uri = SIPURI(text) else { throw Mistake("\(text) is no SIP URI; expected sip:user@address") }
            guard let realm = request["realm"]?.stringValue else { throw Mistake("a URI needs a realm") }
            target = .uri(uri, realm: RealmID(realm))
        default: throw Mistake("expected one of station, number and uri")
        }
        text = try Self.text(in: request)
        repetitions = try Self.repetitions(in: request)
        if let key = request["key"]?.stringValue {
            guard key.count == 1, let character = key.first, "0123456789*#ABCD".contains(character) else {
                throw Mistake("“\(key)” is no key; expected one of 0 to 9, *, # and A to D")
            }
            self.key = character
        }
    }

    static func text(in request: JSONValue) throws(Mistake) -> String {
        let text = request["text"]?.stringValue ?? ""
        guard !text.isEmpty, text.utf8.count <= Limits.textByteCountMax else {
            throw Mistake("a text of 1 to \(Limits.textByteCountMax) bytes is needed")
        }
        return text
    }

    static func repetitions(in request: JSONValue) throws(Mistake) -> Int {
        let repetitions = request["repetitions"].flatMap(\.integerValue).map { Int(clamping: $0) } ?? 2
        guard (1...Limits.repetitionCountMax).contains(repetitions) else {
            throw Mistake("1 to \(Limits.repetitionCountMax) repetitions are possible")
        }
        return repetitions
    }

    /// The attention tone, then what is said.
    static func playlist(_ items: [PlayoutItem], repetitions: Int) -> Playlist {
        Playlist(
            [.tone(.attention, for: .milliseconds(500)), .silence(.milliseconds(300))] + items,
            repetitions: repetitions)
    }

    /// As the engine wants it.
    func request(_ id: AnnouncementID, saying items: [PlayoutItem]) -> AnnouncementRequest {
        AnnouncementRequest(
            id: id, target: target, playlist: Self.playlist(items, repetitions: repetitions), acknowledgementKey: key)
    }
}

/// An operator's order to page a multicast group: `cresset page`.
struct PageOrder: Equatable {
    var group: TransportAddress
    var realm: RealmID
    var text: String
    var repetitions: Int

    /// From the members of a control request: `group`, `realm`, `text`, and `repetitions` if wanted.
    init(_ request: JSONValue) throws(AnnouncementOrder.Mistake) {
        let written = request["group"]?.stringValue ?? ""
        guard let group = TransportAddress(written), group.address.isMulticast, group.port > 0 else {
            throw AnnouncementOrder.Mistake("“\(written)” is no multicast group with a port, as 224.0.1.75:5004")
        }
        guard let realm = request["realm"]?.stringValue else {
            throw AnnouncementOrder.Mistake("a page needs the realm it leaves from")
        }
        self.group = group
        self.realm = RealmID(realm)
        text = try AnnouncementOrder.text(in: request)
        repetitions = try AnnouncementOrder.repetitions(in: request)
    }

    func page(_ id: UInt64, saying items: [PlayoutItem]) -> MulticastPage {
        MulticastPage(
            id: id, group: group, realm: realm,
            playlist: AnnouncementOrder.playlist(items, repetitions: repetitions))
    }
}
