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
        text = request["text"]?.stringValue ?? ""
        guard !text.isEmpty, text.utf8.count <= Limits.textByteCountMax else {
            throw Mistake("a text of 1 to \(Limits.textByteCountMax) bytes is needed")
        }
        repetitions = request["repetitions"].flatMap(\.integerValue).map { Int(clamping: $0) } ?? 2
        guard (1...Limits.repetitionCountMax).contains(repetitions) else {
            throw Mistake("1 to \(Limits.repetitionCountMax) repetitions are possible")
        }
        if let key = request["key"]?.stringValue {
            guard key.count == 1, let character = key.first, "0123456789*#ABCD".contains(character) else {
                throw Mistake("“\(key)” is no key; expected one of 0 to 9, *, # and A to D")
            }
            self.key = character
        }
    }

    /// As the engine wants it.
    func request(_ id: AnnouncementID, saying items: [PlayoutItem]) -> AnnouncementRequest {
        AnnouncementRequest(
            id: id, target: target,
            playlist: Playlist(
                [.tone(.attention, for: .milliseconds(500)), .silence(.milliseconds(300))] + items,
                repetitions: repetitions), acknowledgementKey: key)
    }
}
