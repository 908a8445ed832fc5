import Primitives
import SignallingFormats

/// All transactions of the box: RFC 3261 §17 and §18 with RFC 6026, reliable provisional responses (RFC 3262),
/// retransmission of 2xx, CANCEL, and the choice of transport.
///
/// The user sends requests without Via and answers with responses that keep the request's Via.
package struct TransactionLayer: Sendable {
    package enum Input: Sendable {
        case received(SIPMessage, from: TransportPath)
        /// Refused by the parser; the request is what could be salvaged to answer 400, nil when not even that.
        case malformed(SIPRequest?, from: TransportPath)
        /// A message could not be sent there, or the connection is gone.
        case transportFailed(TransportPath, reason: String)
    }

    package enum Output: Equatable, Sendable {
        case transmit([UInt8], to: TransportPath)
        /// A new request; never an ACK, nor a CANCEL or PRACK that found its INVITE.
        case request(SIPRequest, ServerTransactionID, from: TransportPath)
        /// A CANCEL found this INVITE and got its 200; the user answers 487.
        case cancelled(ServerTransactionID)
        /// The ACK for our 2xx; it may carry the answer.
        case acknowledged(ServerTransactionID, SIPRequest)
        /// No ACK for our 2xx within 64·T1: the user sends BYE.
        case acknowledgementMissing(ServerTransactionID)
        /// The PRACK for a reliable provisional response; the user answers the PRACK.
        case provisionalAcknowledged(ServerTransactionID, prack: SIPRequest, ServerTransactionID)
        /// No PRACK within 64·T1: the user answers the INVITE with 5xx.
        case provisionalNotAcknowledged(ServerTransactionID)
        /// Every provisional response, 100 included, the final one, and repeated and forked 2xx to INVITE.
        case response(SIPResponse, ClientTransactionID, from: TransportPath)
        /// No final response in time; to be taken as 408.
        case timedOut(ClientTransactionID)
        /// To be taken as 503.
        case transportFailed(ClientTransactionID, reason: String)
        /// Nothing more comes about this transaction.
        case ended(ServerTransactionID)
        case endedClient(ClientTransactionID)
    }

    package struct Counters: Equatable, Sendable {
        package var requestsReceived: UInt64 = 0
        package var responsesReceived: UInt64 = 0
        package var malformed: UInt64 = 0
        package var retransmissionsReceived: UInt64 = 0
        package var retransmissionsSent: UInt64 = 0
        package var mergedRequests: UInt64 = 0
        package var strayACKs: UInt64 = 0
        package var strayCANCELs: UInt64 = 0
        package var strayPRACKs: UInt64 = 0
        package var strayResponses: UInt64 = 0
        package var refusedForCapacity: UInt64 = 0
        package var timeouts: UInt64 = 0
        package var transportFailures: UInt64 = 0
        package var fallbacksToUDP: UInt64 = 0
        package var reconnections: UInt64 = 0
        /// Responses of the user to a transaction that was over.
        package var lateResponses: UInt64 = 0

        /// Name and value of each, for logs and status.
        package var all: [(name: String, value: UInt64)] {
            [
                ("requests-received", requestsReceived), ("responses-received", responsesReceived),
                ("malformed", malformed), ("retransmissions-received", retransmissionsReceived),
                ("retransmissions-sent", retransmissionsSent), ("merged-requests", mergedRequests),
                ("stray-acks", strayACKs), ("stray-cancels", strayCANCELs), ("stray-pracks", strayPRACKs),
                ("stray-responses", strayResponses), ("refused-for-capacity", refusedForCapacity),
                ("timeouts", timeouts), ("transport-failures", transportFailures),
                ("fallbacks-to-udp", fallbacksToUDP), ("reconnections", reconnections),
                ("late-responses", lateResponses),
            ]
        }
    }

    enum TimerKey: Hashable, Sendable { case client(ClientTransactionID), server(ServerTransactionID) }

    /// A remote end, whatever the connection to it.
    struct RemoteKey: Hashable, Sendable {
        let realm: RealmID
        let transport: SIPTransport
        let remote: TransportAddress

        init(_ path: TransportPath) {
            realm = path.realm
            transport = path.transport
            remote = path.remote
        }
    }

    /// Our side in each realm; may be replaced at any time, transactions under way keep their Via.
    package var endpoints: [RealmID: LocalSIPEndpoint]
    package internal(set) var counters = Counters()
    /// Emergency calls are never refused for capacity.
    /// What is never too much.
    package var emergencyNumbers: EmergencyNumberPlan
    let serverTransactionCountMax: Int

    var random: RandomSource
    var outputs = Queue<Output>()
    var timers = TimerTable<TimerKey>()

    var inviteClients: [ClientTransactionID: InviteClientEntry] = [:]
    var nonInviteClients: [ClientTransactionID: NonInviteClientEntry] = [:]
    var inviteServers: [ServerTransactionID: InviteServerEntry] = [:]
    var nonInviteServers: [ServerTransactionID: NonInviteServerEntry] = [:]

    var serverIDs: [ServerTransactionKey: ServerTransactionID] = [:]
    var mergeIDs: [MergeKey: ServerTransactionID] = [:]
    var inviteIDs: [InviteKey: ServerTransactionID] = [:]
    var clientsByRemote: [RemoteKey: Set<ClientTransactionID>] = [:]
    /// Stream transports only: a datagram's failure tells a server transaction nothing.
    var serversByRemote: [RemoteKey: Set<ServerTransactionID>] = [:]
    var nextServerNumber: UInt64 = 1

    package init(
        endpoints: [RealmID: LocalSIPEndpoint], random: RandomSource, serverTransactionCountMax: Int? = nil,
        emergencyNumbers: EmergencyNumberPlan = EmergencyNumberPlan()
    ) {
        self.endpoints = endpoints
        self.random = random
        self.serverTransactionCountMax = serverTransactionCountMax ?? Limits.serverTransactionCountMax
        self.emergencyNumbers = emergencyNumbers
    }

    /// How many transactions are in the table.
    package var clientTransactionCount: Int { inviteClients.count + nonInviteClients.count }
    package var serverTransactionCount: Int { inviteServers.count + nonInviteServers.count }

    /// Whether every index is as empty as the tables it serves; tests look for leaks here.
    package var isEmpty: Bool {
        clientTransactionCount == 0 && serverTransactionCount == 0 && serverIDs.isEmpty && mergeIDs.isEmpty
            && inviteIDs.isEmpty && clientsByRemote.isEmpty && serversByRemote.isEmpty && timers.isEmpty
    }

    package var nextDeadline: MonotonicTime? { timers.earliest }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    package mutating func handle(_ input: Input, at now: MonotonicTime) {
        switch input {
        case .received(.request(let request), let path):
            counters.requestsReceived += 1
            receive(request, from: path, at: now)
        case .received(.response(let response), let path):
            counters.responsesReceived += 1
            receive(response, from: path, at: now)
        case .malformed(let request, let path):
            counters.malformed += 1
            guard let request, request.method != .ack, let via = request.topVia else { return }
            respondStatelessly(to: request, 400, via: via, from: path)
        case .transportFailed(let path, let reason):
            counters.transportFailures += 1
            failClients(on: path, reason: reason, at: now)
            failServers(on: path, at: now)
        }
    }

    /// - Parameter timerCountMax: So many timers at most; those left are due at once, as `nextDeadline` says.
    package mutating func advance(to now: MonotonicTime, timerCountMax: Int = .max) {
        for _ in 0..<timerCountMax {
            guard let key = timers.popDue(now) else { return }
            switch key {
            case .client(let id): advanceClient(id, to: now)
            case .server(let id): advanceServer(id, to: now)
            }
        }
    }

    mutating func schedule(_ key: TimerKey, at deadline: MonotonicTime?) {
        guard timers.deadline(of: key) != deadline else { return }
        if let deadline { timers.start(key, at: deadline) } else { timers.stop(key) }
    }
}

extension Dictionary where Value: SetAlgebra {
    /// Takes one element out of the set under `key`; no empty set stays behind.
    mutating func removeElement(_ element: Value.Element, from key: Key) {
        guard var set = removeValue(forKey: key) else { return }
        set.remove(element)
        if !set.isEmpty { self[key] = set }
    }

    mutating func insertElement(_ element: Value.Element, into key: Key) {
        self[key, default: Value()].insert(element)
    }
}
