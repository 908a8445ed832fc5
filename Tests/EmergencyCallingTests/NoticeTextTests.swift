import EmergencyCalling
import Primitives
import Testing

@Suite("What a notice says (47 CFR 9.3)")
struct NoticeTextTests {
    static func text(_ change: (inout EmergencyRecord) -> Void = { _ in }, furtherCalls: Int = 0) -> NoticeText {
        var record = NotificationTests.record(at: .zero)
        record.location = .init(text: "100 Example Ave, Building 3, Floor 2, Detroit MI 48201")
        record.callbackNumber = "+13135550142"
        change(&record)
        let delivery = NoticeDelivery(
            id: NoticeID(rawValue: 7), contact: "desk", channel: .mail, tryNumber: 1, record: record,
            furtherCalls: furtherCalls)
        return NoticeText(delivery, time: WallClockTime(secondsSinceEpoch: 1_795_000_000), box: "detroit-7")
    }

    @Test("that a 911 call was made, whom to call back, and the location the called side was given")
    func content() {
        let text = Self.text()
        for needed in [
            "A 911 call was made.", "+13135550142", "100 Example Ave, Building 3, Floor 2", "2001", "2026-11-18T",
        ] {
            #expect(text.body.contains(needed))
        }
        #expect(text.subject == "911 call from 2001, site plant")
        #expect(text.json["location"]?.stringValue == "100 Example Ave, Building 3, Floor 2, Detroit MI 48201")
        #expect(text.json["callback"]?.stringValue == "+13135550142")
        #expect(text.json["state"]?.stringValue == "calling")
    }

    @Test("a call nobody answered says so in its subject")
    func failure() {
        let text = Self.text {
            $0.end = .zero
            $0.ending = "rejected with 503"
        }
        #expect(text.subject == "911 call FAILED from 2001, site plant")
        #expect(text.body.contains("call 911 by a mobile"))
        #expect(Self.text { $0.blockedBy = "TEST_MODE" }.body.contains("BLOCKED by test mode (TEST_MODE)"))
        #expect(Self.text(furtherCalls: 3).body.contains("3 further calls"))
    }

    @Test("the message is mail whatever characters a name has")
    func message() {
        let text = Self.text { record in
            record = EmergencyRecord(
                id: record.id, number: .emergency, dialled: "911",
                caller: EmergencyCaller(
                    station: "2001", number: "2001", displayName: "Empfang Süd = 1\r\nBcc: x@example.com",
                    source: record.caller.source), site: "plant", start: .zero)
        }
        let message = text.message(from: "box@example.com", to: ["a@example.com"], at: text.time)
        let parts = message.split(separator: "\r\n\r\n", maxSplits: 1)
        #expect(parts[0].utf8.allSatisfy { $0 < 0x80 })
        #expect(!parts[0].contains("Bcc"))
        #expect(parts[1].contains("S=C3=BCd =3D 1"))
        #expect(message.split(separator: "\r\n").allSatisfy { $0.utf8.count <= 76 || $0.hasPrefix("Content-") })
        #expect(parts[0].contains("Message-ID: <c1.notice-7@example.com>"))
    }
}
