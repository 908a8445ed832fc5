import CallEngine
import Glibc
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats

/// The call engine between a carrier and a station that exist as text.
struct CallBench {
    /// CPU time inside the engine, its parser included.
    private(set) var nanoseconds: Int64 = 0
    /// Received and sent.
    private(set) var messages = 0
    /// Calls whose summary came out.
    private(set) var ended = 0

    private var engine: CallEngine
    private var now = MonotonicTime.zero + .seconds(1)
    private let carrier = Self.path("wan", "203.0.113.10")
    private let station = Self.path("lan", "192.0.2.11")
    private var toCarrier: [[UInt8]] = []
    private var toStation: [[UInt8]] = []

    /// The peers' clients repeat nothing, so a transaction's longest timer bounds what the tables hold.
    private static let spacing = Duration.milliseconds(10)

    init() {
        engine = CallEngine(settings: Self.settings, hash: NoHash(), random: RandomSource(seed: 1), at: now)
        let wall = WallClockTime(secondsSinceEpoch: 0)
        let binding = Registrar.ExportedBinding(
            json: [
                "user": "2001", "contact": "sip:2001@192.0.2.11:5060", "realm": "lan", "transport": "UDP",
                "remote": "192.0.2.11:5060", "expires-at": 1_000_000_000, "call-id": "registration",
                "sequence-number": 1,
            ], at: wall)
        guard let binding else { preconditionFailure("the station's binding") }
        engine.restoreBindings([binding], at: now)
    }

    mutating func reset() {
        nanoseconds = 0
        messages = 0
        ended = 0
    }

    private static func address(_ text: String, _ port: UInt16 = 5060) -> TransportAddress {
        guard let address = IPAddress(text) else { preconditionFailure("\(text) is no address") }
        return TransportAddress(address, port)
    }

    private static func path(_ realm: String, _ remote: String) -> TransportPath {
        TransportPath(realm: RealmID(realm), transport: .udp, remote: address(remote), connection: nil)
    }

    private static var settings: CallEngineSettings {
        CallEngineSettings(
            domain: "branch.example",
            realms: [
                RealmID("lan"): .init(
                    role: .stations, endpoint: address("192.0.2.1"), mediaPorts: 20_000...39_999),
                RealmID("wan"): .init(
                    role: .trunks, endpoint: address("203.0.113.2"), mediaPorts: 20_000...39_999),
            ],
            stations: ["2001": .init(realm: RealmID("lan"), password: "secret", number: "+13135550101")],
            trunks: ["carrier": .init(realm: RealmID("wan"), peer: address("203.0.113.10"), health: nil)],
            numbers: ["+13135550101": ["2001"]], calls: .init(maximum: 10_000))
    }

    // MARK: One call

    /// INVITE, 100, 180, 200, ACK, BYE, 200, on both legs.
    mutating func call(_ number: Int) {
        advance()
        receive(invite(number), from: carrier)
        guard let offer = Head.take("INVITE", from: &toStation) else { return }
        receive(answer(offer, "SIP/2.0 180 Ringing"), from: station)
        receive(answer(offer, "SIP/2.0 200 OK", body: Self.answerBody), from: station)
        guard let accepted = Head.take("SIP/2.0 200", from: &toCarrier) else { return }
        receive(follow(accepted, "ACK", number), from: carrier)
        receive(follow(accepted, "BYE", number), from: carrier)
        guard let bye = Head.take("BYE", from: &toStation) else { return }
        receive(answer(bye, "SIP/2.0 200 OK"), from: station)
        toCarrier.removeAll(keepingCapacity: true)
        toStation.removeAll(keepingCapacity: true)
    }

    private mutating func advance() {
        let end = now + Self.spacing
        while let deadline = engine.nextDeadline, deadline <= end {
            now = max(now, deadline)
            engineTurn(nil, from: carrier)
        }
        now = end
    }

    private mutating func receive(_ text: String, from path: TransportPath) {
        engineTurn(Array(text.utf8), from: path)
    }

    /// What is measured: parse, decide, render.
    @inline(never)
    private mutating func engineTurn(_ bytes: [UInt8]?, from path: TransportPath) {
        let began = cpuNanoseconds()
        if let bytes {
            messages += 1
            guard let message = try? SIPMessage(parsing: bytes.span) else { preconditionFailure("a peer's message") }
            engine.handle(.received(message, from: path), at: now)
        } else {
            engine.advance(to: now)
        }
        while let output = engine.nextOutput() {
            switch output {
            case .transmit(let bytes, let path):
                messages += 1
                if path == carrier { toCarrier.append(bytes) } else { toStation.append(bytes) }
            case .applyFlow(let flow): engine.handle(.flowApplied(local: flow.local, inKernel: true), at: now)
            case .removeFlow(let local), .readCounters(let local):
                engine.handle(.mediaCounters(local: local, MediaFlowCounters()), at: now)
            case .callEnded: ended += 1
            case .closeConnection, .bindMedia, .releaseMedia, .forwardMedia, .playMedia, .event, .announcement,
                .emergency:
                break
            }
        }
        nanoseconds += cpuNanoseconds() - began
    }

    // MARK: The peers' messages

    private static let offerBody = """
        v=0\r\no=- 1 1 IN IP4 203.0.113.10\r\ns=-\r\nc=IN IP4 203.0.113.10\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0 101\r
        a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n
        """
    private static let answerBody = """
        v=0\r\no=- 1 1 IN IP4 192.0.2.11\r\ns=-\r\nc=IN IP4 192.0.2.11\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0 101\r
        a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n
        """

    private func invite(_ number: Int) -> String {
        """
        INVITE sip:+13135550101@203.0.113.2 SIP/2.0\r
        Via: SIP/2.0/UDP 203.0.113.10:5060;branch=z9hG4bK-\(number)-1;rport\r
        Max-Forwards: 70\r
        From: <sip:+12125550199@carrier.example>;tag=c\(number)\r
        To: <sip:+13135550101@branch.example>\r
        Call-ID: \(number)-call@203.0.113.10\r
        CSeq: 1 INVITE\r
        Contact: <sip:+12125550199@203.0.113.10:5060;transport=UDP>\r
        Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK\r
        User-Agent: carrier\r
        Content-Type: application/sdp\r
        Content-Length: \(Self.offerBody.utf8.count)\r
        \r
        \(Self.offerBody)
        """
    }

    private func follow(_ accepted: Head, _ method: String, _ number: Int) -> String {
        """
        \(method) \(accepted.target) SIP/2.0\r
        Via: SIP/2.0/UDP 203.0.113.10:5060;branch=z9hG4bK-\(number)-\(method);rport\r
        Max-Forwards: 70\r
        \(accepted["From"])\r
        \(accepted["To"])\r
        \(accepted["Call-ID"])\r
        CSeq: \(method == "ACK" ? 1 : 2) \(method)\r
        Content-Length: 0\r
        \r

        """
    }

    private func answer(_ request: Head, _ statusLine: String, body: String = "") -> String {
        let tag = request["To"].contains(";tag=") ? "" : ";tag=s"
        return """
            \(statusLine)\r
            \(request["Via"])\r
            \(request["From"])\r
            \(request["To"])\(tag)\r
            \(request["Call-ID"])\r
            \(request["CSeq"])\r
            Contact: <sip:2001@192.0.2.11:5060>\r
            Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK\r
            \(body.isEmpty ? "" : "Content-Type: application/sdp\r\n")Content-Length: \(body.utf8.count)\r
            \r
            \(body)
            """
    }
}

/// The header lines of a message the engine sent, whole, by name.
private struct Head {
    private var lines: [Substring: String] = [:]
    /// The URI in its Contact.
    var target = ""

    init(_ bytes: [UInt8]) {
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\r\n") {
            guard let name = line.split(separator: ":", maxSplits: 1).first else { continue }
            lines[name] = String(line)
            if name == "Contact" { target = String(line.drop { $0 != "<" }.dropFirst().prefix { $0 != ">" }) }
        }
    }

    /// The first message that starts so; the others are of no interest.
    static func take(_ start: String, from messages: inout [[UInt8]]) -> Head? {
        defer { messages.removeAll(keepingCapacity: true) }
        return messages.first { $0.starts(with: start.utf8) }.map { Head($0) }
    }

    subscript(_ name: Substring) -> String { lines[name] ?? "" }
}

/// Nobody is challenged here.
private struct NoHash: DigestHash {
    func hash(_ bytes: [UInt8], using algorithm: DigestAlgorithm) -> [UInt8]? { nil }
}

private func cpuNanoseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
}
