import Primitives

/// What a written notice says: that a 911 call was made, the number to call back, the location the called side was given
/// (47 CFR 9.3, “MLTS notification”), and what helps besides: time, station, state.
package struct NoticeText: Sendable {
    package let delivery: NoticeDelivery
    /// When the call was made.
    package let time: WallClockTime
    /// The box's name.
    package let box: String

    package init(_ delivery: NoticeDelivery, time: WallClockTime, box: String) {
        self.delivery = delivery
        self.time = time
        self.box = box
    }

    private var record: EmergencyRecord { delivery.record }
    private var isTest: Bool { record.number == .test }

    private var stateText: String {
        switch record.state {
        case .calling: "being placed"
        case .ringing: "ringing at the emergency centre"
        case .answered: "answered by the emergency centre"
        case .ended: "over, it was answered (\(record.ending ?? "ended"))"
        case .failed:
            "FAILED, nobody answered (\(record.ending ?? "no reason")): call \(record.number.dialString) by a mobile"
        case .abandoned: "given up by the caller before it was answered"
        case .blocked: "BLOCKED by test mode (\(record.blockedBy ?? "no reason")): nobody was called"
        }
    }

    /// ASCII, one line.
    package var subject: String {
        let place = record.site.map { ", site \($0)" } ?? ""
        let state = record.state.isMisfortune ? " \(record.state.rawValue.uppercased())" : ""
        let caller = record.caller.station ?? "an unregistered phone"
        return Self.ascii("\(isTest ? "TEST: " : "")\(record.number.dialString) call\(state) from \(caller)\(place)")
    }

    /// Lines for people.
    package var body: String {
        let number = record.number.dialString
        var lines = [
            isTest ? "This is a test: \(number) was called." : "A \(number) call was made.", "",
            "State:      \(stateText)", "From:       \(record.callerText)", "Call back:  \(record.callbackText)",
            "Location:   \(record.locationText)", "Site:       \(record.site ?? "none")", "Time:       \(time.rfc3339)",
            "Call:       \(record.id)", "Box:        \(box)", "",
        ]
        if delivery.furtherCalls > 0 {
            lines += ["\(delivery.furtherCalls) further calls were made that are not told one by one.", ""]
        }
        if let acknowledgement = record.acknowledgement {
            lines.append("Acknowledged by \(acknowledgement.by).")
        } else {
            lines.append("Acknowledge it on the box's console: cresset emergency ack \(record.id)")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The body of a webhook's POST.
    package var json: JSONValue {
        [
            "event": "emergency-call", "call": .string(record.id.rawValue), "state": .string(record.state.rawValue),
            "number": .string(record.number.dialString), "test": .bool(isTest), "station": .init(record.caller.station),
            "name": .init(record.caller.displayName), "callback": .string(record.callbackText),
            "location": .string(record.locationText), "site": .init(record.site), "time": .string(time.rfc3339),
            "ending": .init(record.ending), "box": .string(box), "contact": .string(delivery.contact),
            "try": .init(delivery.tryNumber), "further-calls": .init(delivery.furtherCalls),
            "acknowledged-by": .init(record.acknowledgement?.by), "text": .string("\(subject): \(record.locationText)"),
        ]
    }

    /// A whole message (RFC 5322, RFC 2045); the same Message-ID for every try, so that a repetition can be told.
    package func message(from sender: String, to recipients: [String], at date: WallClockTime) -> String {
        let domain = sender.split(separator: "@").last.map(String.init) ?? box
        let headers = [
            "From: Cresset \(Self.ascii(box)) <\(sender)>", "To: \(recipients.joined(separator: ", "))",
            "Subject: \(subject)", "Date: \(date.sipDate.dropLast(3))+0000",
            "Message-ID: <\(record.id).\(delivery.id)@\(domain)>", "Auto-Submitted: auto-generated", "Importance: high",
            "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: quoted-printable",
        ]
        return headers.joined(separator: "\r\n") + "\r\n\r\n" + Self.quotedPrintable(body)
    }

    private static func ascii(_ text: String) -> String {
        String(decoding: text.utf8.map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }

    /// RFC 2045 §6.7; lines end with CR LF.
    static func quotedPrintable(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            var column = 0
            let source = Array(line.utf8)
            for (index, byte) in source.enumerated() {
                let isLast = index == source.count - 1
                let isPlain = (0x21...0x7E).contains(byte) && byte != UInt8(ascii: "=") || byte == 0x20 && !isLast
                let width = isPlain ? 1 : 3
                if column + width > 75 {
                    bytes += [UInt8(ascii: "="), 0x0D, 0x0A]
                    column = 0
                }
                bytes += isPlain ? [byte] : [UInt8(ascii: "="), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
                column += width
            }
            bytes += [0x0D, 0x0A]
        }
        if bytes.count >= 2, text.hasSuffix("\n") { bytes.removeLast(2) }
        return String(decoding: bytes, as: UTF8.self)
    }
}
