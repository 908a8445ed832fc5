import CallEngine
import Crypto
import EmergencyCalling
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

/// The engine in virtual time between scripted peers: what it transmits lands in their inboxes, what it asks of
/// the media path is kept, counters are answered as the composition does.
final class Testbed {
    var engine: CallEngine
    var now = MonotonicTime.zero + .seconds(1)
    var peers: [TransportPath: ScriptedPeer] = [:]
    /// Everything transmitted, in order.
    var transmitted: [(path: TransportPath, bytes: [UInt8])] = []
    var events: [CallEvent] = []
    /// Of each call for help, its record as it was given last.
    var emergencyRecords: [EmergencyCallID: EmergencyRecord] = [:]
    /// Leases as they were given to be written down last.
    var keptLeases: [CallbackLease] = []
    var sharedNumbers: [String] = []
    var summaries: [CallSummary] = []
    var announcements: [(id: AnnouncementID, event: AnnouncementEvent)] = []
    var boundPorts: Set<TransportAddress> = []
    var flows: [TransportAddress: MediaFlow] = [:]
    var forwarded: [(bytes: [UInt8], from: TransportAddress, to: TransportAddress)] = []
    /// What is played to legs of ours.
    var played: [(bytes: [UInt8], from: TransportAddress, to: TransportAddress)] = []
    /// What the kernel would have counted.
    var counters: [TransportAddress: MediaFlowCounters] = [:]
    var closedConnections: [TransportPath] = []
    /// Decides what becomes of a message on its way; the default delivers it.
    var deliver: (Testbed, ScriptedPeer, SIPMessage) -> Void = { _, peer, message in peer.inbox.append(message) }

    static let lan = RealmID("lan")
    static let wan = RealmID("wan")
    static let domain = "branch.example"
    static let boxLAN = "192.0.2.1"
    static let boxWAN = "203.0.113.2"

    init(seed: UInt64 = 1, _ change: (inout CallEngineSettings) -> Void = { _ in }) {
        var settings = Self.settings()
        change(&settings)
        engine = CallEngine(
            settings: settings, hash: TestHash(), random: RandomSource(seed: seed), at: now)
        drain()
    }

    static func address(_ text: String, _ port: UInt16 = 5060) -> TransportAddress {
        guard let address = IPAddress(text) else { preconditionFailure("\(text) is no address") }
        return TransportAddress(address, port)
    }

    static func settings() -> CallEngineSettings {
        CallEngineSettings(
            domain: domain,
            realms: [
                lan: .init(role: .stations, endpoint: address(boxLAN), mediaPorts: 20_000...20_999),
                wan: .init(role: .trunks, endpoint: address(boxWAN), mediaPorts: 30_000...30_999),
            ],
            stations: [
                "2001": .init(
                    realm: lan, password: "secret-1", displayName: "Front desk", number: "+13135550101"),
                "2002": .init(realm: lan, password: "secret-2", number: "+13135550102"),
                "2003": .init(realm: lan, password: "secret-3"),
            ],
            trunks: [
                "carrier-a": .init(realm: wan, peer: address("203.0.113.10"), health: nil),
                "carrier-b": .init(realm: wan, peer: address("203.0.113.20"), health: nil),
            ],
            routes: [
                .matching("9NXXXXXX", strip: 1, prepend: "+1313", trunks: ["carrier-a", "carrier-b"]),
                .matching("8NXXXXXX", strip: 1, prepend: "+1313", trunks: ["carrier-a"]),
            ],
            numbers: ["+13135550101": ["2001"], "+13135550100": ["2001", "2002"]])
    }

    // MARK: Peers

    func path(_ realm: RealmID, _ address: String, _ port: UInt16 = 5060, tcp: UInt64? = nil) -> TransportPath {
        TransportPath(
            realm: realm, transport: tcp == nil ? .udp : .tcp, remote: Self.address(address, port),
            connection: tcp.map { ConnectionID(rawValue: $0) })
    }

    /// A phone with its registration in place.
    func phone(_ user: String, _ address: String, port: UInt16 = 5060, tcp: UInt64? = nil) throws -> ScriptedPeer {
        let peer = ScriptedPeer(
            self, user: user, domain: Self.domain, path: path(Self.lan, address, port, tcp: tcp))
        try register(peer)
        return peer
    }

    func carrier(_ address: String = "203.0.113.10", port: UInt16 = 5060) -> ScriptedPeer {
        ScriptedPeer(self, user: "gw", domain: address, path: path(Self.wan, address, port))
    }

    /// REGISTER with digest, twice as phones do.
    func register(_ peer: ScriptedPeer, password: String? = nil, expires: Int = 3600) throws {
        let callID = "register-\(peer.user)-\(peer.path.remote)-\(now.nanoseconds)"
        func text(_ cseq: Int, _ authorization: String) -> String {
            """
            REGISTER sip:\(Self.domain) SIP/2.0
            \(peer.via())
            Max-Forwards: 70
            From: <sip:\(peer.user)@\(Self.domain)>;tag=reg\(peer.path.remote.port)
            To: <sip:\(peer.user)@\(Self.domain)>
            Call-ID: \(callID)
            CSeq: \(cseq) REGISTER
            Contact: \(peer.contact);expires=\(expires)
            \(authorization)
            """
        }
        try peer.send(text(1, ""))
        let challenge = try peer.take(401)
        let secret = password ?? engineSettings.stations[peer.user]?.password ?? "unknown"
        let credentials = try TestDigest.authorization(
            challenge: challenge.headers.values(.wwwAuthenticate).last ?? "", method: "REGISTER",
            uri: "sip:\(Self.domain)", username: peer.user, password: secret)
        try peer.send(text(2, "Authorization: \(credentials)"))
        if password == nil { _ = try peer.take(200) }
    }

    var engineSettings: CallEngineSettings { engine.settings }

    func hostSeen(by peer: ScriptedPeer) -> String { peer.path.realm == Self.lan ? Self.domain : Self.boxWAN }

    // MARK: Driving

    func receive(_ message: SIPMessage, from path: TransportPath) {
        engine.handle(.received(message, from: path), at: now)
        drain()
    }

    func handle(_ input: CallEngine.Input) {
        engine.handle(input, at: now)
        drain()
    }

    /// Lets time pass, stopping at every deadline.
    func advance(by duration: Duration) {
        let end = now + duration
        while let deadline = engine.nextDeadline, deadline <= end {
            now = max(now, deadline)
            engine.advance(to: now)
            drain()
        }
        now = end
        engine.advance(to: now)
        drain()
    }

    func drain() {
        while let output = engine.nextOutput() {
            switch output {
            case .transmit(let bytes, let path):
                transmitted.append((path, bytes))
                guard let peer = peer(at: path) else { continue }
                do {
                    deliver(self, peer, try SIPMessage(parsing: bytes.span))
                } catch {
                    Issue.record("the engine sent what cannot be parsed: \(String(decoding: bytes, as: UTF8.self))")
                }
            case .closeConnection(let path): closedConnections.append(path)
            case .bindMedia(let local):
                #expect(boundPorts.insert(local).inserted, "\(local) is bound twice")
            case .releaseMedia(let local):
                #expect(boundPorts.remove(local) != nil, "\(local) is released but not bound")
            case .applyFlow(let flow):
                flows[flow.local] = flow
                engine.handle(.flowApplied(local: flow.local, inKernel: true), at: now)
            case .removeFlow(let local):
                flows[local] = nil
                engine.handle(.mediaCounters(local: local, counters[local] ?? MediaFlowCounters()), at: now)
            case .readCounters(let local):
                engine.handle(.mediaCounters(local: local, counters[local] ?? MediaFlowCounters()), at: now)
            case .forwardMedia(let bytes, let source, let destination):
                forwarded.append((bytes, source, destination))
            case .playMedia(let bytes, let source, let destination): played.append((bytes, source, destination))
            case .event(let event): events.append(event)
            case .announcement(let id, let event): announcements.append((id, event))
            case .callEnded(let summary): summaries.append(summary)
            case .emergency(.record(let record)): emergencyRecords[record.id] = record
            case .emergency(.leases(let leases)): keptLeases = leases
            case .emergency(.elinShared(let elin, _, _)): sharedNumbers.append(elin)
            }
        }
    }

    private func peer(at path: TransportPath) -> ScriptedPeer? {
        peers[path] ?? peers.first { $0.key.realm == path.realm && $0.key.remote == path.remote }?.value
    }

    // MARK: Checks

    /// Everything is over and nothing is left behind, once the longest timers have run.
    func expectNothingLeft(sourceLocation: SourceLocation = #_sourceLocation) {
        advance(by: .seconds(70))
        #expect(engine.calls(at: now).isEmpty, sourceLocation: sourceLocation)
        #expect(engine.leftovers == [], sourceLocation: sourceLocation)
        #expect(boundPorts.isEmpty, "ports left: \(boundPorts)", sourceLocation: sourceLocation)
        #expect(flows.isEmpty, sourceLocation: sourceLocation)
    }
}

/// A session description as a phone writes it.
func sdp(
    _ address: String, _ port: Int, formats: String = "0 8 101", version: Int = 1, direction: String? = nil,
    telephoneEvent: Int? = 101, extra: [String] = []
) -> String {
    var lines = [
        "v=0", "o=phone 4711 \(version) IN IP4 \(address)", "s=-", "c=IN IP4 \(address)", "t=0 0",
        "m=audio \(port) RTP/AVP \(formats)",
    ]
    if let telephoneEvent { lines.append("a=rtpmap:\(telephoneEvent) telephone-event/8000") }
    if let direction { lines.append("a=\(direction)") }
    lines += extra
    return lines.map { $0 + "\r\n" }.joined()
}

extension Testbed {
    func counter(_ name: String) -> UInt64? {
        engine.status(at: now).counters.first { $0.name == name }?.value
    }
}

extension CallEngineSettings.Route {
    /// A route with its pattern as people write it.
    static func matching(_ pattern: String, strip: Int = 0, prepend: String = "", trunks: [String]) -> Self {
        do throws(DialPattern.ParseError) {
            return Self(pattern: try DialPattern(parsing: pattern), strip: strip, prepend: prepend, trunks: trunks)
        } catch {
            preconditionFailure("\(pattern) is no pattern: \(error)")
        }
    }
}
