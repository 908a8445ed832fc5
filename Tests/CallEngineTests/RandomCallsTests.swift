import CallEngine
import MediaEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import TestSupport
import Testing

/// A phone or a gateway that behaves, over a network that does not.
private final class Agent {
    struct Session {
        var dialog: Dialog
        var version = 1
        /// The latest ACK and the number of its INVITE, for repeated 2xx.
        var ack: (number: UInt32, request: SIPRequest)?
        var isOver = false
        var reinviting = false
    }

    enum Sent {
        case invite(SIPRequest)
        case reinvite(DialogID, UInt32)
        case other
    }

    struct Incoming {
        let request: SIPRequest
        let tag: String
        var isFinal = false
    }

    let peer: ScriptedPeer
    let box: TransportPath
    let mediaPort: Int
    var layer: TransactionLayer
    var sessions: [DialogID: Session] = [:]
    var sent: [ClientTransactionID: Sent] = [:]
    var incoming: [ServerTransactionID: Incoming] = [:]
    var callCount = 0

    init(_ peer: ScriptedPeer, index: Int, seed: UInt64) {
        self.peer = peer
        let address = peer.path.realm == Testbed.lan ? Testbed.boxLAN : Testbed.boxWAN
        box = TransportPath(
            realm: peer.path.realm, transport: peer.path.transport, remote: Testbed.address(address),
            connection: peer.path.connection)
        mediaPort = 4_000 + index * 1_000
        layer = TransactionLayer(
            endpoints: [peer.path.realm: LocalSIPEndpoint(address: peer.path.remote)],
            random: RandomSource(seed: seed))
    }

    func description(_ version: Int, hold: Bool = false) -> [UInt8] {
        Array(sdp(peer.address, mediaPort, version: version, direction: hold ? "sendonly" : nil).utf8)
    }
}

/// The engine, its peers, the network between them, and a script that chance writes.
private final class RandomWorld {
    enum Action: Hashable {
        case call(agent: Int, number: Int)
        case cancel(agent: Int, ClientTransactionID)
        case respond(agent: Int, ServerTransactionID, Int)
        case bye(agent: Int, DialogID)
        case hold(agent: Int, DialogID)
        /// The connection of this agent, if it has one, is lost.
        case disconnect(agent: Int, number: Int)
        case reconfigure(number: Int)
    }

    struct Packet: Sendable {
        let message: SIPMessage
        let agent: Int
        let toEngine: Bool
    }

    let bed: Testbed
    let tcp: Bool
    let settings: CallEngineSettings
    var agents: [Agent] = []
    var network: NetworkSimulation<Packet>
    var random: RandomSource
    var actions = TimerTable<Action>()
    var establishedCount = 0
    var codes: Set<Int> = []

    init(_ conditions: NetworkConditions, seed: UInt64, tcp: Bool) throws {
        network = NetworkSimulation(conditions, seed: seed &+ 1)
        random = RandomSource(seed: seed &+ 2)
        bed = Testbed(seed: seed) {
            $0.calls.ringTimeout = .seconds(60)
            $0.media.inactivityTimeout = .seconds(36_000)
            $0.trunks["carrier-a"]?.transport = tcp ? .tcp : .automatic
            $0.trunks["carrier-b"]?.transport = .udp
            $0.numbers["+13135550100"] = ["2001", "2002"]
        }
        self.tcp = tcp
        settings = bed.engineSettings
        var peers = [
            try bed.phone("2001", "192.0.2.11", tcp: tcp ? 1 : nil), try bed.phone("2002", "192.0.2.12"),
            try bed.phone("2003", "192.0.2.13", tcp: tcp ? 3 : nil),
        ]
        peers.append(
            tcp
                ? ScriptedPeer(
                    bed, user: "gw", domain: "203.0.113.10", path: bed.path(Testbed.wan, "203.0.113.10", tcp: 9))
                : bed.carrier())
        peers.append(bed.carrier("203.0.113.20"))
        agents = peers.enumerated().map { Agent($1, index: $0, seed: seed &* 31 &+ UInt64($0)) }
        bed.deliver = { [unowned self] _, peer, message in
            guard let index = self.agents.firstIndex(where: { $0.peer === peer }) else { return }
            self.network.send(
                Packet(message: message, agent: index, toEngine: false),
                isReliable: peer.path.transport == .tcp, at: self.bed.now)
        }
    }

    /// On a grid, so that what two sides do often meets in the same instant.
    func soon(_ range: ClosedRange<Int>) -> MonotonicTime {
        let milliseconds = Int.random(in: range, using: &random) * 250
        let grid = bed.now.nanoseconds / 250_000_000 * 250_000_000
        return MonotonicTime(nanoseconds: grid) + .milliseconds(milliseconds + 250)
    }

    /// Connections that are lost, trunks and stations that go and come back, in the middle of everything.
    func disturb() {
        for number in 0..<12 {
            actions.start(.disconnect(agent: number % agents.count, number: number), at: soon(40...400))
            actions.start(.reconfigure(number: number), at: soon(40...400))
        }
    }

    func run(calls: Int) throws {
        for number in 0..<calls {
            actions.start(
                .call(agent: Int.random(in: 0..<agents.count, using: &random), number: number), at: soon(0...400))
        }
        let end = bed.now + .seconds(500)
        var stepCount = 0
        while bed.now < end {
            let deadline = earliest(
                bed.engine.nextDeadline, network.nextDeadline, actions.earliest,
                agents.compactMap(\.layer.nextDeadline).min())
            guard let deadline, deadline <= end else { break }
            stepCount += 1
            guard stepCount < 2_000_000 else { throw Missing(description: "an end of the steps") }
            bed.now = max(bed.now, deadline)
            while let packet = network.popArrived(bed.now) {
                if packet.toEngine {
                    bed.receive(packet.message, from: agents[packet.agent].peer.path)
                } else {
                    agents[packet.agent].layer.handle(
                        .received(packet.message, from: agents[packet.agent].box), at: bed.now)
                    try drain(packet.agent)
                }
            }
            while let action = actions.popDue(bed.now) { try perform(action) }
            bed.engine.advance(to: bed.now)
            bed.drain()
            for index in agents.indices {
                agents[index].layer.advance(to: bed.now)
                try drain(index)
            }
        }
    }

    // MARK: What the script does

    private func perform(_ action: Action) throws {
        switch action {
        case .call(let index, let number): place(index, number)
        case .cancel(let index, let transaction): agents[index].layer.cancel(transaction, at: bed.now)
        case .respond(let index, let transaction, let code): respond(index, transaction, code)
        case .disconnect(let index, _): if tcp { bed.handle(.connectionClosed(agents[index].peer.path)) }
        case .reconfigure:
            bed.reconfigure {
                if $0.trunks["carrier-b"] == nil {
                    $0 = settings
                } else {
                    $0.trunks["carrier-b"] = nil
                    $0.trunks["carrier-a"]?.callsMax = 50
                    $0.stations["2003"] = nil
                }
            }
        case .bye(let index, let id):
            guard var session = agents[index].sessions[id], !session.isOver else { return }
            session.isOver = true
            let bye = session.dialog.makeRequest(.bye)
            agents[index].sessions[id] = session
            agents[index].sent[send(index, bye)] = .other
        case .hold(let index, let id):
            guard var session = agents[index].sessions[id], !session.isOver, !session.reinviting else { return }
            session.version += 1
            session.reinviting = true
            var request = session.dialog.makeRequest(.invite)
            request.headers.set(.contact, agents[index].peer.contact)
            request.setBody(agents[index].description(session.version, hold: session.version % 2 == 0), type: .sdp)
            agents[index].sessions[id] = session
            agents[index].sent[send(index, request)] = .reinvite(id, request.cseq?.number ?? 0)
        }
        for index in agents.indices { try drain(index) }
    }

    private func send(_ index: Int, _ request: SIPRequest) -> ClientTransactionID {
        agents[index].layer.send(request, to: NextHop(agents[index].box), at: bed.now)
    }

    private func place(_ index: Int, _ number: Int) {
        let agent = agents[index]
        let isPhone = agent.peer.path.realm == Testbed.lan
        let choices =
            isPhone ? ["95550123", "85550123", "2001", "2002", "2003", "7"] : ["+13135550101", "13135550100", "+1"]
        let called = choices[Int.random(in: 0..<choices.count, using: &random)]
        let host = bed.hostSeen(by: agent.peer)
        var request = SIPRequest(
            method: .invite, requestURI: .sip(SIPURI(user: called, host: SIPHost(host) ?? .name("invalid"))))
        request.headers.append(.from, "<sip:\(agent.peer.user)@\(agent.peer.domain)>;tag=from-\(number)-\(index)")
        request.headers.append(.to, "<sip:\(called)@\(host)>")
        request.headers.append(.callID, "random-\(number)@\(agent.peer.address)")
        request.headers.append(.cseq, "1 INVITE")
        request.headers.append(.contact, agent.peer.contact)
        let isLate = chance(0.1)
        if !isLate { request.setBody(agent.description(1), type: .sdp) }
        let transaction = send(index, request)
        agent.sent[transaction] = .invite(request)
        if chance(0.4) { actions.start(.cancel(agent: index, transaction), at: soon(0...24)) }
    }

    private func respond(_ index: Int, _ transaction: ServerTransactionID, _ code: Int) {
        let agent = agents[index]
        guard let incoming = agent.incoming[transaction], !incoming.isFinal else { return }
        var response = SIPResponse(to: incoming.request, code, nil, toTag: incoming.tag)
        response.headers.append(.contact, agent.peer.contact)
        if code >= 200 { agent.incoming[transaction]?.isFinal = true }
        if code == 200 || code == 183, !(code == 183 && incoming.request.body.isEmpty) {
            response.setBody(agent.description(1), type: .sdp)
        }
        if code == 200, let contact = NameAddress(agent.peer.contact),
            let dialog = Dialog(uasRequest: incoming.request, localTag: incoming.tag, localContact: contact)
        {
            establish(index, Agent.Session(dialog: dialog), endsHere: chance(0.6))
        }
        agent.layer.respond(response, to: transaction, at: bed.now)
    }

    private func establish(_ index: Int, _ session: Agent.Session, endsHere: Bool) {
        let id = session.dialog.id
        agents[index].sessions[id] = session
        establishedCount += 1
        if chance(0.3) { actions.start(.hold(agent: index, id), at: soon(1...40)) }
        if endsHere { actions.start(.bye(agent: index, id), at: soon(0...80)) }
    }

    private func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &random) < probability }

    // MARK: What the peers do by themselves

    private func drain(_ index: Int) throws {
        let agent = agents[index]
        while let output = agent.layer.nextOutput() {
            switch output {
            case .transmit(let bytes, let path):
                network.send(
                    Packet(message: try SIPMessage(parsing: bytes.span), agent: index, toEngine: true),
                    isReliable: path.transport == .tcp, at: bed.now)
            case .request(let request, let transaction, _): take(request, transaction, index)
            case .cancelled(let transaction): respond(index, transaction, 487)
            case .acknowledgementMissing(let transaction):
                guard let incoming = agent.incoming[transaction] else { break }
                for (id, session) in agent.sessions
                where id.callID == incoming.request.callID && id.localTag == (incoming.request.to?.tag ?? incoming.tag)
                    && !session.isOver
                {
                    actions.start(.bye(agent: index, id), at: bed.now)
                }
            case .response(let response, let transaction, _): take(response, transaction, index)
            case .timedOut(let transaction), .transportFailed(let transaction, _): finished(transaction, index)
            case .ended(let transaction): agent.incoming[transaction] = nil
            case .endedClient(let transaction): agent.sent[transaction] = nil
            case .acknowledged, .provisionalAcknowledged, .provisionalNotAcknowledged: break
            }
        }
    }

    private func take(_ request: SIPRequest, _ transaction: ServerTransactionID, _ index: Int) {
        let agent = agents[index]
        func answer(_ code: Int, _ body: [UInt8]? = nil) {
            var response = SIPResponse(to: request, code, nil, toTag: nil)
            if code == 200 { response.headers.append(.contact, agent.peer.contact) }
            if let body { response.setBody(body, type: .sdp) }
            agent.layer.respond(response, to: transaction, at: bed.now)
        }
        if request.to?.tag != nil {
            guard let id = DialogID(incoming: request), var session = agent.sessions[id] else { return answer(481) }
            guard case .accepted = session.dialog.receive(request) else { return answer(500) }
            switch request.method {
            case .bye:
                session.isOver = true
                answer(200)
            case .invite where session.isOver: answer(481)
            case .invite where session.reinviting: answer(491)
            case .invite:
                agent.incoming[transaction] = Agent.Incoming(request: request, tag: id.localTag, isFinal: true)
                if chance(0.15) {
                    answer([488, 500, 408][Int.random(in: 0..<3, using: &random)])
                } else {
                    session.version += 1
                    answer(200, agent.description(session.version))
                }
            default: answer(200)
            }
            agent.sessions[id] = session
            return
        }
        guard request.method == .invite else { return answer(request.method == .options ? 200 : 481) }
        agent.callCount += 1
        agent.incoming[transaction] = Agent.Incoming(request: request, tag: "to-\(index)-\(agent.callCount)")
        if chance(0.7) {
            actions.start(.respond(agent: index, transaction, chance(0.3) ? 183 : 180), at: soon(0...4))
        }
        let finals = [200, 200, 200, 200, 200, 302, 401, 404, 408, 480, 486, 488, 500, 503, 603]
        let code = finals[Int.random(in: 0..<finals.count, using: &random)]
        // One in twelve never answers.
        if !chance(0.08) { actions.start(.respond(agent: index, transaction, code), at: soon(1...24)) }
    }

    private func take(_ response: SIPResponse, _ transaction: ClientTransactionID, _ index: Int) {
        let agent = agents[index]
        guard response.statusCode >= 200, let sent = agent.sent[transaction] else { return }
        codes.insert(response.statusCode)
        switch sent {
        case .invite(let invite) where response.statusCode < 300:
            guard let id = DialogID(incoming: response) else { return }
            let number = invite.cseq?.number ?? 1
            if let known = agent.sessions[id] {
                if let ack = known.ack, ack.number == number { sendACK(index, ack.request) }
                return
            }
            guard let dialog = Dialog(uacRequest: invite, response: response) else { return }
            var session = Agent.Session(dialog: dialog)
            var ack = dialog.makeACK(for: number)
            if invite.body.isEmpty { ack.setBody(agent.description(1), type: .sdp) }
            session.ack = (number, ack)
            sendACK(index, ack)
            // The caller always hangs up in the end; the callee is often faster, and sometimes as fast.
            establish(index, session, endsHere: true)
        case .reinvite(let id, let number) where response.statusCode < 300:
            guard var session = agent.sessions[id] else { return }
            if session.ack?.number != number { session.ack = (number, session.dialog.makeACK(for: number)) }
            if let ack = session.ack { sendACK(index, ack.request) }
            session.reinviting = false
            agent.sessions[id] = session
        case .reinvite, .invite, .other: finished(transaction, index)
        }
    }

    private func finished(_ transaction: ClientTransactionID, _ index: Int) {
        guard case .reinvite(let id, _)? = agents[index].sent[transaction] else { return }
        agents[index].sessions[id]?.reinviting = false
    }

    private func sendACK(_ index: Int, _ ack: SIPRequest) {
        agents[index].layer.sendACK(ack, to: NextHop(agents[index].box), at: bed.now)
    }
}

@Suite("two hundred random calls")
struct RandomCallsTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let seed: UInt64
        let conditions: NetworkConditions
        let tcp: Bool
        var isDisturbed = false
        var testDescription: String {
            "seed \(seed), \(tcp ? "TCP" : "UDP"), \(isDisturbed ? "disturbed, " : "")\(conditions)"
        }
    }

    /// Constant delay: what happens at the same instant at two peers arrives in the same instant.
    static let exact = NetworkConditions(delay: .milliseconds(20)...(.milliseconds(20)))
    static let bad = NetworkConditions(loss: 0.08, duplication: 0.05, reorder: 0.05)
    static let worse = NetworkConditions(
        loss: 0.15, duplication: 0.1, reorder: 0.2, delay: .milliseconds(20)...(.milliseconds(20)))
    static let calm: [Case] = [exact, bad, worse].enumerated().flatMap { index, conditions in
        (1...3).map { Case(seed: UInt64(index * 100 + $0), conditions: conditions, tcp: $0 == 2) }
    }
    static let disturbed: [Case] = (1...4).map {
        Case(seed: UInt64(500 + $0), conditions: bad, tcp: $0 > 1, isDisturbed: true)
    }

    @Test("all end, at both ends, and nothing is left of them", arguments: calm + disturbed)
    func end(_ sample: Case) throws {
        let world = try RandomWorld(sample.conditions, seed: sample.seed, tcp: sample.tcp)
        let bed = world.bed
        if sample.isDisturbed { world.disturb() }
        try world.run(calls: 200)
        let hint = Comment(rawValue: "RandomCallsTests: \(sample.testDescription)")
        // A phone whose registration went with its connection or its station calls no more.
        #expect(world.establishedCount > (sample.isDisturbed ? 10 : 40), hint)
        #expect(world.codes.contains(487), hint)
        for agent in world.agents {
            let open = agent.sessions.filter { !$0.value.isOver }.keys
            // A BYE on its way over a connection that is lost is lost too.
            let mayBeCutOff = sample.isDisturbed && agent.peer.path.transport == .tcp
            #expect(
                open.isEmpty || mayBeCutOff,
                "\(agent.peer.user) at \(agent.peer.path.remote) still talks: \(open); \(hint)")
            #expect(agent.layer.isEmpty, hint)
        }
        #expect(world.network.isQuiet, hint)
        let started = bed.events.count { if case .callStarted = $0 { true } else { false } }
        #expect(bed.summaries.count == started, hint)
        #expect(Set(bed.summaries.map(\.id)).count == started, hint)
        #expect(bed.engine.calls(at: bed.now).isEmpty, hint)
        #expect(bed.engine.leftovers == [], hint)
        #expect(bed.boundPorts.isEmpty, hint)
        #expect(bed.flows.isEmpty, hint)
        #expect(bed.engine.nextDeadline.map { $0 > bed.now + .seconds(120) } ?? true, hint)
    }
}
