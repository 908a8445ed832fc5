import Primitives
import SIPEngine
import SignallingFormats
import TestSupport
import Testing

/// Two transaction layers and the network between them; the far one answers, rings, is slow, or never answers.
private struct World {
    enum Side: Int { case near, far }
    struct Packet: Sendable {
        let bytes: [UInt8]
        let isReliable: Bool
        let toFar: Bool
    }

    static let realm = RealmID("net")
    static let nearAddress = TransportAddress(.v4(0xC000_0201), 5060)
    static let farAddress = TransportAddress(.v4(0xC000_0202), 5060)

    var near: TransactionLayer
    var far: TransactionLayer
    var network: NetworkSimulation<Packet>
    var random: RandomSource
    var now = MonotonicTime.zero
    /// What the far user will answer, and when.
    var answers = TimerTable<Answer>()
    struct Answer: Hashable, Sendable {
        let transaction: ServerTransactionID
        let code: Int
    }
    var requests: [ServerTransactionID: SIPRequest] = [:]
    var nearRequests: [ClientTransactionID: SIPRequest] = [:]
    /// Final codes, 408 for timeout.
    var outcomes: [ClientTransactionID: Set<Int>] = [:]
    var ended: Set<ClientTransactionID> = []
    var openServers: Set<ServerTransactionID> = []
    var missingACKs = 0
    var missingPRACKs = 0
    var acknowledgedProvisionals = 0
    var early: [DialogID: Dialog] = [:]
    var pracks: [ClientTransactionID] = []

    init(_ conditions: NetworkConditions, seed: UInt64) {
        random = RandomSource(seed: seed)
        near = TransactionLayer(
            endpoints: [Self.realm: LocalSIPEndpoint(address: Self.nearAddress)],
            random: RandomSource(seed: seed &+ 1))
        far = TransactionLayer(
            endpoints: [Self.realm: LocalSIPEndpoint(address: Self.farAddress)],
            random: RandomSource(seed: seed &+ 2))
        network = NetworkSimulation(conditions, seed: seed &+ 3)
    }

    mutating func start(_ method: SIPMethod, _ number: Int, policy: NextHop.Policy) -> ClientTransactionID {
        var request = SIPRequest(
            method: method, requestURI: .sip(SIPURI(user: "u", host: .address(Self.farAddress.address))))
        request.headers.append(.from, "<sip:a@192.0.2.1>;tag=n\(number)")
        request.headers.append(.to, "<sip:b@192.0.2.2>")
        request.headers.append(.callID, "call-\(number)")
        request.headers.append(.cseq, "1 \(method.rawValue)")
        request.headers.append(.contact, "<sip:a@192.0.2.1>")
        let id = near.send(request, to: NextHop(realm: Self.realm, remote: Self.farAddress, policy: policy), at: now)
        nearRequests[id] = request
        return id
    }

    mutating func step(until end: MonotonicTime) throws -> Bool {
        try drain()
        guard
            let next = earliest(
                near.nextDeadline, far.nextDeadline, network.nextDeadline, answers.earliest), next <= end
        else { return false }
        now = max(now, next)
        while let packet = network.popArrived(now) {
            let message = try parse(packet.bytes)
            let source = packet.toFar ? Self.nearAddress : Self.farAddress
            let path = TransportPath(
                realm: Self.realm, transport: packet.isReliable ? .tcp : .udp, remote: source,
                connection: packet.isReliable ? ConnectionID(rawValue: 1) : nil)
            if packet.toFar {
                far.handle(.received(message, from: path), at: now)
            } else {
                near.handle(.received(message, from: path), at: now)
            }
            try drain()
        }
        near.advance(to: now)
        far.advance(to: now)
        while let answer = answers.popDue(now) {
            guard let request = requests[answer.transaction] else { continue }
            var response = SIPResponse(to: request, answer.code, toTag: "far-\(answer.transaction)")
            if answer.code == 183 {
                response.setBody(Array("v=0".utf8), type: .sdp)
                far.respondReliably(response, to: answer.transaction, at: now)
            } else {
                far.respond(response, to: answer.transaction, at: now)
            }
        }
        try drain()
        return true
    }

    /// Sends PRACK for the next reliable provisional response.
    private mutating func acknowledge(_ response: SIPResponse, _ id: ClientTransactionID, _ path: TransportPath) {
        guard let request = nearRequests[id], let dialogID = DialogID(incoming: response) else { return }
        if early[dialogID] == nil { early[dialogID] = Dialog(uacRequest: request, response: response) }
        guard early[dialogID]?.receiveProvisional(response) == .acknowledge,
            let prack = early[dialogID]?.makePRACK(for: response)
        else { return }
        pracks.append(near.send(prack, to: NextHop(path), at: now))
    }

    private mutating func drain() throws {
        while let output = near.nextOutput() {
            switch output {
            case .transmit(let bytes, let path):
                network.send(
                    Packet(bytes: bytes, isReliable: path.transport.isReliable, toFar: true),
                    isReliable: path.transport.isReliable, at: now)
            case .response(let response, let id, let path):
                guard response.statusCode >= 200 else {
                    acknowledge(response, id, path)
                    if id.isInvite, network.chance(0.2) { near.cancel(id, at: now) }
                    continue
                }
                outcomes[id, default: []].insert(response.statusCode)
                if id.isInvite, response.statusCode < 300, let request = nearRequests[id] {
                    let dialog = try #require(Dialog(uacRequest: request, response: response))
                    near.sendACK(dialog.makeACK(for: 1), to: NextHop(path), at: now)
                }
            case .timedOut(let id): outcomes[id, default: []].insert(408)
            case .transportFailed(let id, _): outcomes[id, default: []].insert(503)
            case .endedClient(let id): #expect(ended.insert(id).inserted, "ended twice")
            case .request, .cancelled, .acknowledged, .acknowledgementMissing, .provisionalAcknowledged,
                .provisionalNotAcknowledged, .ended:
                Issue.record("the near side got \(output)")
            }
        }
        while let output = far.nextOutput() {
            switch output {
            case .transmit(let bytes, let path):
                network.send(
                    Packet(bytes: bytes, isReliable: path.transport.isReliable, toFar: false),
                    isReliable: path.transport.isReliable, at: now)
            case .request(let request, let id, _):
                requests[id] = request
                openServers.insert(id)
                if request.method == .invite {
                    let provisional = network.chance(0.4) ? 183 : 180
                    answers.start(Answer(transaction: id, code: provisional), at: now + .milliseconds(50))
                    let final = network.chance(0.5) ? 200 : 486
                    answers.start(
                        Answer(transaction: id, code: final),
                        at: now + .milliseconds(Int.random(in: 100...4_000, using: &random)))
                } else if network.chance(0.9) {
                    answers.start(
                        Answer(transaction: id, code: network.chance(0.8) ? 200 : 404),
                        at: now + .milliseconds(Int.random(in: 0...1_500, using: &random)))
                }  // else never: the peer times out, and our entry must not stay
            case .cancelled(let id):
                guard let request = requests[id] else { continue }
                far.respond(SIPResponse(to: request, 487, toTag: "far-\(id)"), to: id, at: now)
            case .acknowledgementMissing: missingACKs += 1
            case .acknowledged: break
            case .provisionalAcknowledged(_, prack: let prack, let id):
                acknowledgedProvisionals += 1
                openServers.insert(id)
                far.respond(SIPResponse(to: prack, 200, toTag: nil), to: id, at: now)
            case .provisionalNotAcknowledged(let id):
                missingPRACKs += 1
                guard let request = requests[id] else { continue }
                far.respond(SIPResponse(to: request, 504, toTag: "far-\(id)"), to: id, at: now)
            case .ended(let id): #expect(openServers.remove(id) != nil, "ended twice")
            case .response, .timedOut, .transportFailed, .endedClient:
                Issue.record("the far side got \(output)")
            }
        }
    }
}

@Suite("Two transaction layers over a bad network")
struct TransactionPropertyTests {
    struct Case: Sendable, CustomStringConvertible {
        let conditions: NetworkConditions
        let seed: UInt64
        let policy: NextHop.Policy
        var description: String { "\(conditions), \(policy), seed \(seed)" }
    }

    static let cases: [Case] =
        (1...12).map { seed in
            Case(
                conditions: NetworkConditions(loss: 0.3, duplication: 0.3, reorder: 0.3), seed: seed, policy: .udp)
        }
        + (1...4).map { seed in
            Case(conditions: NetworkConditions(loss: 0.05, duplication: 0.1, reorder: 0.1), seed: seed, policy: .udp)
        } + [
            Case(conditions: .perfect, seed: 1, policy: .udp), Case(conditions: .perfect, seed: 2, policy: .tcp),
            Case(conditions: NetworkConditions(loss: 1), seed: 1, policy: .udp),
        ]

    @Test("every transaction ends in one definite outcome, and nothing stays in a table", arguments: cases)
    func ends(_ sample: Case) throws {
        var world = World(sample.conditions, seed: sample.seed)
        var started: [ClientTransactionID] = []
        for number in 0..<60 {
            started.append(world.start(number % 3 == 0 ? .options : .invite, number, policy: sample.policy))
            while try world.step(until: milliseconds(number * 200)) {}
        }
        // The longest chain: 4 s of ringing, 64·T1 for the final response, and 64·T1 of quiet.
        while try world.step(until: milliseconds(60 * 200 + 200_000)) {}

        #expect(world.network.isQuiet)
        for id in started + world.pracks {
            let outcome = world.outcomes[id] ?? []
            #expect(outcome.count == 1, "outcome \(outcome) of \(id), \(sample)")
            #expect(world.ended.contains(id), "\(id) has not ended, \(sample)")
        }
        #expect(world.near.isEmpty, "the near table leaks, \(sample)")
        #expect(world.far.isEmpty, "the far table leaks, \(sample)")
        #expect(world.openServers.isEmpty, "a server transaction has not ended, \(sample)")
        if sample.conditions.loss <= 0.05 {
            let invites = started.filter(\.isInvite)
            let completed = invites.filter { world.outcomes[$0]?.isDisjoint(with: [408, 503]) ?? false }
            #expect(completed.count == invites.count, "INVITEs failed, \(sample)")
            #expect(world.missingACKs == 0, "\(sample)")
            #expect(world.missingPRACKs == 0 && world.acknowledgedProvisionals > 0, "\(sample)")
        }
        if sample.conditions.loss == 1 {
            #expect(started.allSatisfy { world.outcomes[$0] == [408] })
        }
    }
}
