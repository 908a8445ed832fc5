import CallEngine
import Glibc
import MediaEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats

/// The whole back-to-back user agent in virtual time: the bytes are a script of what stations, carriers, strangers,
/// the clock and the operator do. Nothing may trap, every call must end, and no side may see the other.
func fuzzEngine(_ bytes: Span<UInt8>) {
    var world = EngineWorld(script: EngineScript(bytes: [UInt8](copying: bytes)))
    world.run()
}

/// The bytes of the fuzzer, read as decisions; zeros when they have run out.
struct EngineScript {
    private let bytes: [UInt8]
    private var offset = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { offset >= bytes.count }

    mutating func byte() -> UInt8 {
        guard offset < bytes.count else { return 0 }
        defer { offset += 1 }
        return bytes[offset]
    }

    mutating func below(_ bound: Int) -> Int { bound <= 0 ? 0 : Int(byte()) % bound }

    mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }

    mutating func word() -> UInt64 { (0..<8).reduce(0) { sum, _ in sum << 8 | UInt64(byte()) } }

    mutating func take(_ count: Int) -> [UInt8] { (0..<count).map { _ in byte() } }
}

/// Somebody on the network.
struct EnginePeer {
    let path: TransportPath
    let user: String
    /// Marks everything this peer says of itself; peers with the same mark may see each other's.
    let mark: String

    var address: String { path.remote.address.uriHost }

    private static func path(_ realm: String, _ remote: String, connection: UInt64?) -> TransportPath {
        TransportPath(
            realm: RealmID(realm), transport: connection == nil ? .udp : .tcp, remote: TransportAddress(remote)!,
            connection: connection.map { ConnectionID(rawValue: $0) })
    }

    static let all: [EnginePeer] = [
        EnginePeer(path: path("lan", "192.168.77.11:5060", connection: nil), user: "2001", mark: "lan-first"),
        EnginePeer(path: path("lan6", "[2001:db8:77::13]:5060", connection: nil), user: "2003", mark: "six-third"),
        EnginePeer(path: path("wan", "203.0.113.10:5060", connection: nil), user: "box7", mark: "wan-alpha"),
        EnginePeer(path: path("lan", "192.168.77.12:5062", connection: nil), user: "2002", mark: "lan-second"),
        EnginePeer(path: path("wan", "203.0.113.20:5060", connection: nil), user: "+13135550199", mark: "wan-beta"),
        EnginePeer(path: path("lan", "192.168.77.11:5060", connection: 1), user: "2001", mark: "lan-first"),
        EnginePeer(path: path("lan6", "[2001:db8:77::13]:5060", connection: 2), user: "2003", mark: "six-third"),
        EnginePeer(path: path("wan", "203.0.113.10:5060", connection: 3), user: "box7", mark: "wan-alpha"),
        EnginePeer(path: path("lan", "192.168.77.11:40000", connection: nil), user: "2001", mark: "lan-first"),
        EnginePeer(path: path("wan", "203.0.113.99:5060", connection: nil), user: "nobody", mark: "wan-stranger"),
    ]

    /// Address and mark of everybody else: what must not be in anything sent to a peer.
    static func secrets(hiddenFrom address: IPAddress) -> [[UInt8]] {
        let others = all.filter { $0.path.remote.address != address }
        return Set(others.flatMap { [$0.path.remote.address.description, $0.mark] }).sorted().map { Array($0.utf8) }
    }
}

/// The engine, its surroundings as far as it told of them, and the peers' memory.
struct EngineWorld {
    var script: EngineScript
    var now = MonotonicTime(nanoseconds: 1_000_000_000_000)
    var engine: CallEngine
    var settings: CallEngineSettings
    /// What the engine sent of late, newest last; peers answer these.
    var heard: [(message: SIPMessage, path: TransportPath)] = []
    var lastRequests: [Int: SIPRequest] = [:]
    var clients: [DigestClient]
    var boundPorts: Set<TransportAddress> = []
    var flows: Set<TransportAddress> = []
    var counter: UInt32 = 0
    /// Bytes were changed at random: anything may then stand anywhere, secrets too.
    var isMutated = false
    /// The kernel answers when asked for counters.
    var answersCounters = true
    /// `FUZZ_TRACE=1` prints the conversation: what came of a crash's input.
    let isTraced = getenv("FUZZ_TRACE") != nil

    init(script: EngineScript) {
        self.script = script
        settings = Self.makeSettings()
        clients = EnginePeer.all.indices.map {
            DigestClient(hash: FixedHash(), random: RandomSource(seed: UInt64($0)))
        }
        engine = CallEngine(settings: settings, hash: FixedHash(), random: RandomSource(seed: 7), at: now)
    }

    static func makeSettings() -> CallEngineSettings {
        func realm(_ role: CallEngineSettings.RealmRole, _ endpoint: String, _ ports: ClosedRange<UInt16>)
            -> CallEngineSettings.Realm
        { CallEngineSettings.Realm(role: role, endpoint: TransportAddress(endpoint)!, mediaPorts: ports) }
        func pattern(_ text: String) -> DialPattern { (try? DialPattern(parsing: text))! }
        let credentials = CallEngineSettings.Credentials(username: "box7", password: "secret")
        return CallEngineSettings(
            domain: "branch.example",
            realms: [
                RealmID("lan"): realm(.stations, "192.168.50.1:5060", 20_000...20_031),
                RealmID("lan6"): realm(.stations, "[2001:db8:50::1]:5060", 65_500...65_535),
                RealmID("wan"): realm(.trunks, "198.51.100.1:5060", 30_000...30_063),
            ],
            stations: [
                "2001": .init(realm: RealmID("lan"), password: "a", displayName: "Front desk", number: "+13135550101"),
                "2002": .init(realm: RealmID("lan"), password: "b", contactsMax: 1, reliableProvisional: .required),
                "2003": .init(realm: RealmID("lan6"), password: "c", reliableProvisional: .off),
            ],
            trunks: [
                "alpha": .init(
                    realm: RealmID("wan"), peer: TransportAddress("203.0.113.10:5060")!,
                    registration: .init(
                        credentials: credentials, registrar: TransportAddress("203.0.113.10:5060")!,
                        domain: "carrier.example"),
                    callsMax: 6, telephoneEvent: 101),
                "beta": .init(
                    realm: RealmID("wan"), peer: TransportAddress("203.0.113.20:5060")!, transport: .udp, health: nil,
                    reliableProvisional: .required),
            ],
            routes: [
                .init(pattern: pattern("9NXXXXXX"), strip: 1, prepend: "+1313", trunks: ["alpha", "beta"]),
                .init(pattern: pattern("8."), strip: 1, trunks: ["beta"]),
            ],
            numbers: ["+13135550101": ["2001"], "+13135550102": ["2001", "2002", "2003"], "+13135550103": ["2003"]],
            calls: .init(maximum: 12))
    }

    // MARK: The script

    mutating func run() {
        drain()
        let options = script.byte()
        answersCounters = options & 1 == 0
        if options & 2 == 0 {
            for peer in [0, 3, 1] { register(peer, expires: "3600") }
        }
        var stepCount = 0
        while !script.isAtEnd, stepCount < 300 {
            stepCount += 1
            step()
        }
        finish()
    }

    mutating func step() {
        switch script.below(24) {
        case 0: register(script.below(EnginePeer.all.count), expires: script.pick(EngineDictionary.numbers))
        case 1, 2, 3: invite()
        case 4, 5, 6, 7, 8: respond()
        case 9, 10, 11, 12, 13: requestInDialog()
        case 14: authenticate()
        case 15, 16: media()
        case 17: counters()
        case 18, 19: advance(to: engine.nextDeadline ?? now)
        case 20:
            let milliseconds = script.byte()
            advance(to: now + .milliseconds(Int(milliseconds) * Int(milliseconds)))
        case 21: trouble()
        case 22: raw()
        default: operate()
        }
    }

    mutating func finish() {
        if script.below(2) == 0 { advance(to: now + .seconds(40)) }
        // Carriers that stay are pinged for ever.
        settings.trunks = [:]
        let removesFirst = script.below(2) == 0
        if removesFirst { engine.reconfigure(settings, at: now) }
        engine.shutdown(at: now)
        drain()
        if !removesFirst {
            engine.reconfigure(settings, at: now)
            drain()
        }
        let end = now + .seconds(600)
        var stepCount = 0
        while let deadline = engine.nextDeadline, deadline <= end {
            stepCount += 1
            guard stepCount < 20_000 else { fatalError("the clock is busy for ever") }
            advance(to: deadline)
        }
        advance(to: end)
        let left = engine.leftovers
        guard left.isEmpty else { fatalError("ten minutes after the shutdown there are \(left)") }
        guard engine.calls(at: now).isEmpty else { fatalError("calls outlive the shutdown") }
        guard boundPorts.isEmpty else { fatalError("ports stay bound: \(boundPorts.map(\.description).sorted())") }
        guard flows.isEmpty else { fatalError("flows stay: \(flows.map(\.description).sorted())") }
        blackHole(engine.status(at: now))
    }

    mutating func advance(to time: MonotonicTime) {
        now = max(now, time)
        engine.advance(to: now)
        drain()
        if let deadline = engine.nextDeadline, deadline <= now { fatalError("a deadline stays due") }
    }

    mutating func handle(_ input: CallEngine.Input) {
        trace { String(describing: input).prefix(200).description }
        engine.handle(input, at: now)
        drain()
    }

    // MARK: What the engine says

    mutating func drain() {
        var count = 0
        while let output = engine.nextOutput() {
            count += 1
            guard count < 5_000 else { fatalError("the engine never stops talking") }
            switch output {
            case .transmit(let bytes, let path): transmitted(bytes, to: path)
            case .bindMedia(let local):
                guard boundPorts.insert(local).inserted else { fatalError("\(local) is bound twice") }
            case .releaseMedia(let local):
                guard boundPorts.remove(local) != nil else { fatalError("\(local) is released, but was not bound") }
            case .applyFlow(let flow):
                guard flow.payloadTypes.count <= MediaFlow.payloadTypeMappingCountMax else {
                    fatalError("more mappings than a flow takes")
                }
                flows.insert(flow.local)
            case .removeFlow(let local):
                guard flows.remove(local) != nil else { fatalError("\(local) has no flow to remove") }
                if answersCounters { engine.handle(.mediaCounters(local: local, MediaFlowCounters()), at: now) }
            case .readCounters(let local):
                if answersCounters { engine.handle(.mediaCounters(local: local, MediaFlowCounters()), at: now) }
            case .forwardMedia(_, let source, _), .playMedia(_, let source, _):
                guard boundPorts.contains(source) else { fatalError("media leaves \(source), which is not bound") }
            case .closeConnection, .event, .announcement, .callEnded: trace { "\(output)" }
            }
        }
    }

    func trace(_ text: () -> String) {
        guard isTraced else { return }
        print("\(now.nanoseconds / 1_000_000) ms: \(text())")
    }

    mutating func transmitted(_ bytes: [UInt8], to path: TransportPath) {
        trace { "to \(path.remote): \(String(decoding: bytes, as: UTF8.self))" }
        guard let message = try? SIPMessage(parsing: bytes.span) else {
            // A 400 shows the fault it answers.
            if bytes.starts(with: "SIP/2.0 400".utf8) { return }
            fatalError("we send what we reject: \(String(decoding: bytes, as: UTF8.self))")
        }
        if !isMutated {
            for secret in EnginePeer.secrets(hiddenFrom: path.remote.address) where Self.contains(bytes, secret) {
                fatalError(
                    "\(path.remote) sees \(String(decoding: secret, as: UTF8.self)) in\n"
                        + String(decoding: bytes, as: UTF8.self))
            }
        }
        heard.append((message, path))
        if heard.count > 24 { heard.removeFirst() }
    }

    static func contains(_ bytes: [UInt8], _ text: [UInt8]) -> Bool {
        guard let first = text.first, bytes.count >= text.count else { return false }
        for start in 0...(bytes.count - text.count) where bytes[start] == first {
            if bytes[start..<(start + text.count)].elementsEqual(text) { return true }
        }
        return false
    }
}
