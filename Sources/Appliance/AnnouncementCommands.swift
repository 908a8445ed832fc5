import Primitives

/// Answers `cresset announce` and `cresset page`; what becomes of them stands in the log.
final class AnnouncementCommands {
    private let desk: AnnouncementDesk
    private let speech: Speech
    private let pager: MulticastPager
    /// Pages of operators count from the top, so that they meet no others.
    private var lastPage: UInt64 = 1 << 32

    init(_ desk: AnnouncementDesk, _ speech: Speech, _ pager: MulticastPager) {
        self.desk = desk
        self.speech = speech
        self.pager = pager
    }

    func answer(_ request: JSONValue) -> JSONValue {
        do throws(AnnouncementOrder.Mistake) {
            if request["command"]?.stringValue == "page" {
                page(try PageOrder(request))
            } else {
                announce(try AnnouncementOrder(request))
            }
            return ["ok": true, "result": ["voice": .string(speech.voice.rawValue)]]
        } catch {
            return ["ok": false, "error": .string(error.text)]
        }
    }

    private func announce(_ order: AnnouncementOrder) {
        speech.speak([.text(order.text)]) { [desk] items in
            desk.place {
                order.request($0, saying: items)
            } listener: { _ in
            }
        }
    }

    private func page(_ order: PageOrder) {
        lastPage += 1
        let id = lastPage
        speech.speak([.text(order.text)]) { [pager] items in pager.start(order.page(id, saying: items)) { _ in } }
    }
}
