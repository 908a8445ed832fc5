import EmergencyCalling
import MediaEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats

/// The back-to-back user agent: takes calls on one side, places them on the other, and relays their media.
///
/// Owns the SIP transactions, the registrar, the trunks and the media engine; composition drives only this: hand in
/// inputs with the time, drain `nextOutput()` to nil, call `advance(to:)` at `nextDeadline`.
package struct CallEngine: Sendable {
    package enum Input: Sendable {
        case received(SIPMessage, from: TransportPath)
        /// Could not be parsed; what was salvaged of a request suffices for a 400.
        case malformed(SIPRequest?, from: TransportPath)
        case transportFailed(TransportPath, reason: String)
        case connectionClosed(TransportPath)
        /// Arrived at a bound media socket.
        case mediaDatagram(local: TransportAddress, source: TransportAddress, bytes: [UInt8])
        case mediaCounters(local: TransportAddress, MediaFlowCounters)
        case mediaBindFailed(local: TransportAddress, reason: String)
        /// Whether the kernel relays this flow.
        case flowApplied(local: TransportAddress, inKernel: Bool)
        /// Ring somebody and play to whoever answers; what becomes of it comes as `Output.announcement`.
        case placeAnnouncement(AnnouncementRequest)
        /// CANCEL or BYE; one that is over is no error.
        case stopAnnouncement(AnnouncementID)
    }

    package enum Output: Sendable {
        case transmit([UInt8], to: TransportPath)
        case closeConnection(TransportPath)
        case bindMedia(TransportAddress)
        case releaseMedia(TransportAddress)
        case applyFlow(MediaFlow)
        /// Feed the last counters back as `Input.mediaCounters`.
        case removeFlow(local: TransportAddress)
        /// Feed the counters back as `Input.mediaCounters` at once.
        case readCounters(local: TransportAddress)
        case forwardMedia([UInt8], from: TransportAddress, to: TransportAddress)
        /// What is played to a leg; as `forwardMedia`, but a ring may send it past the socket.
        case playMedia([UInt8], from: TransportAddress, to: TransportAddress)
        case event(CallEvent)
        case announcement(AnnouncementID, AnnouncementEvent)
        /// Indirect, for it is by far the largest: every other output would be moved about at its size.
        indirect case callEnded(CallSummary)
        case emergency(EmergencyEngine.Output)
    }

    /// What a server transaction belongs to, once its request has been taken up.
    enum ServerOwner: Hashable, Sendable {
        case invite(CallID)
        case relay(CallID, RelayID)
        /// A re-INVITE we answered ourselves; its ACK or the lack of it matters to the dialog.
        case localReinvite(DialogReference)
    }

    /// What a client transaction belongs to.
    enum ClientOwner: Sendable {
        case invite(CallID, AttemptID)
        case relay(CallID, RelayID)
        case refresh(DialogReference)
        case bye(DialogReference, authorizationCount: Int)
        case prack(DialogReference)
        /// An INVITE whose call is over: what still answers is acknowledged and hung up on.
        case stray(SIPRequest, NextHop)
        case ping(trunk: String, sent: MonotonicTime)
        case registration(trunk: String)
        case announcement(AnnouncementID, branch: Int)
        case announcementBye(AnnouncementID, authorizationCount: Int)
    }

    enum TimerKey: Hashable, Sendable {
        case attempt(CallID, AttemptID)
        case ring(CallID)
        case session(DialogReference)
        /// Our own re-INVITE met one of the peer (RFC 3261 §14.1).
        case glare(DialogReference)
        /// A re-INVITE that got a provisional response and nothing more.
        case relay(CallID, RelayID)
        case refresh(DialogReference)
        case ping(trunk: String)
        case pingTimeout(trunk: String)
        case summary(CallID)
        /// The end of ringing, then of listening.
        case announcementLimit(AnnouncementID)
        /// All was played; what follows is the wait for a key.
        case announcementEnd(AnnouncementID)
    }

    package private(set) var settings: CallEngineSettings
    var random: RandomSource
    var transactions: TransactionLayer
    var registrar: Registrar
    var digest: DigestServer
    let hash: any DigestHash
    var media: MediaEngine
    var emergencies: EmergencyEngine
    var trunks: [String: Trunk] = [:]
    /// Trunks configured no more that are taking their registrations back, by the REGISTER that is unanswered.
    var leavingTrunks: [ClientTransactionID: Trunk] = [:]

    var calls: [CallID: Call] = [:]
    private var lastCallID: UInt64 = 0
    /// Calls not ending; what the limit counts.
    var activeCallCount = 0
    var dialogs: [DialogID: DialogReference] = [:]
    /// Calls the box placed itself, and what is theirs.
    var announcements: [AnnouncementID: AnnouncementCall] = [:]
    var announcementDialogs: [DialogID: AnnouncementID] = [:]
    var announcementMedia: [MediaLegID: AnnouncementID] = [:]
    var serverOwners: [ServerTransactionID: ServerOwner] = [:]
    var clientOwners: [ClientTransactionID: ClientOwner] = [:]
    var mediaOwners: [MediaLegID: (call: CallID, side: CallSide)] = [:]
    var timers = TimerTable<TimerKey>()
    var counters = CallEngineCounters()
    var isShuttingDown = false
    private var outputs = Queue<Output>()
    private var eventsAfterTransmission: [CallEvent] = []

    package init(
        settings: CallEngineSettings, hash: any DigestHash, random: RandomSource,
        testMode: EmergencyTestMode = EmergencyTestMode(), at now: MonotonicTime
    ) {
        self.settings = settings
        self.random = random
        self.hash = hash
        transactions = TransactionLayer(
            endpoints: Self.endpoints(settings), random: self.random.fork(),
            emergencyNumbers: settings.emergency.numbers)
        registrar = Registrar()
        digest = DigestServer(
            realm: settings.domain, algorithms: settings.digestAlgorithms, hash: hash, random: self.random.fork())
        media = MediaEngine(
            realms: Self.mediaRealms(settings), settings: settings.media, random: self.random.fork())
        emergencies = EmergencyEngine(
            settings: settings.emergency, testMode: testMode, random: self.random.fork())
        for (name, trunk) in settings.trunks { addTrunk(name, trunk, at: now) }
        drain(at: now)
    }

    // MARK: Driving

    package mutating func handle(_ input: Input, at now: MonotonicTime) {
        switch input {
        case .received(let message, let path): receive(message, from: path, at: now)
        case .malformed(let request, let path): receiveMalformed(request, from: path, at: now)
        case .transportFailed(let path, let reason):
            transactions.handle(.transportFailed(path, reason: reason), at: now)
        case .connectionClosed(let path): connectionClosed(path, at: now)
        case .mediaDatagram(let local, let source, let bytes):
            media.handle(.datagram(local: local, source: source, bytes: bytes), at: now)
        case .mediaCounters(let local, let counters): media.handle(.counters(local: local, counters), at: now)
        case .mediaBindFailed(let local, let reason):
            emit(.mediaBindFailed(local, reason: reason))
            media.handle(.bindFailed(local: local), at: now)
        case .flowApplied(let local, let inKernel):
            media.handle(.flowApplied(local: local, inKernel: inKernel), at: now)
        case .placeAnnouncement(let request): placeAnnouncement(request, at: now)
        case .stopAnnouncement(let id): stopAnnouncement(id, at: now)
        }
        drain(at: now)
    }

    /// - Parameter transactionTimerCountMax: So many retransmissions and the like at most; those left are due at once.
    package mutating func advance(to now: MonotonicTime, transactionTimerCountMax: Int = .max) {
        transactions.advance(to: now, timerCountMax: transactionTimerCountMax)
        media.advance(to: now)
        drain(at: now)
        while let timer = timers.popDue(now) {
            fire(timer, at: now)
            drain(at: now)
        }
        advanceRegistrar(to: now)
        advanceRegistrations(to: now)
        drain(at: now)
    }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    package var nextDeadline: MonotonicTime? {
        [transactions.nextDeadline, media.nextDeadline, timers.earliest, registrar.nextDeadline, registrationDeadline]
            .compactMap { $0 }.min()
    }

    /// Civil time, for what calls for help say; to be told now and then.
    package mutating func setWallTime(_ wall: WallClockTime, at now: MonotonicTime) {
        emergencies.setWallTime(wall, at: now)
    }

    /// Takes new settings; live calls and the registrations of stations that stay are not touched.
    package mutating func reconfigure(_ new: CallEngineSettings, at now: MonotonicTime) {
        var new = new
        for setting in Self.settingsThatNeedRestart(from: settings, to: new) {
            emit(.restartRequired(setting: setting))
        }
        let old = settings
        new.realms = old.realms
        new.domain = old.domain
        new.digestAlgorithms = old.digestAlgorithms
        settings = new
        media.reconfigure(realms: Self.mediaRealms(new), settings: new.media, at: now)
        emergencies.reconfigure(new.emergency)
        transactions.emergencyNumbers = new.emergency.numbers
        reconfigureStations(from: old, at: now)
        reconfigureTrunks(from: old, at: now)
        drain(at: now)
    }

    /// Ends all calls and takes our registrations back; drain outputs until both are through or patience ends.
    package mutating func shutdown(at now: MonotonicTime) {
        isShuttingDown = true
        releaseAll(at: now)
        stopAllAnnouncements(at: now)
        unregisterAll(at: now)
        drain(at: now)
    }

    // MARK: What the parts say

    mutating func emit(_ event: CallEvent) { outputs.append(.event(event)) }

    /// For what may be said only when the messages caused by the same input have left.
    mutating func emitAfterTransmission(_ event: CallEvent) { eventsAfterTransmission.append(event) }

    /// Asks the kernel for the media counters of all calls: they are in `calls(at:)` once the outputs of this are done.
    package mutating func refreshMediaCounters(at now: MonotonicTime) {
        for leg in mediaOwners.keys.sorted() { media.refreshStatistics(of: leg) }
        drain(at: now)
    }

    mutating func output(_ output: Output) { outputs.append(output) }

    mutating func newCallID() -> CallID {
        lastCallID += 1
        return CallID(rawValue: lastCallID)
    }

    /// Until neither transactions nor media have anything more to say: each may cause more of the other.
    private mutating func drain(at now: MonotonicTime) {
        while true {
            if let output = transactions.nextOutput() {
                handle(output, at: now)
            } else if let output = media.nextOutput() {
                handle(output, at: now)
            } else {
                break
            }
        }
        for event in eventsAfterTransmission { emit(event) }
        eventsAfterTransmission = []
        while let output = emergencies.nextOutput() { outputs.append(.emergency(output)) }
    }

    private mutating func handle(_ output: TransactionLayer.Output, at now: MonotonicTime) {
        switch output {
        case .transmit(let bytes, let path): outputs.append(.transmit(bytes, to: path))
        case .request(let request, let transaction, let path):
            handle(request, transaction, from: path, at: now)
        case .cancelled(let transaction): cancelled(transaction, at: now)
        case .acknowledged(let transaction, let ack): acknowledged(transaction, ack, at: now)
        case .acknowledgementMissing(let transaction): acknowledgementMissing(transaction, at: now)
        case .provisionalAcknowledged(let transaction, let prack, let prackTransaction):
            provisionalAcknowledged(transaction, prack, prackTransaction, at: now)
        case .provisionalNotAcknowledged(let transaction): provisionalNotAcknowledged(transaction, at: now)
        case .response(let response, let transaction, let path):
            handle(response, transaction, from: path, at: now)
        case .timedOut(let transaction): failed(transaction, .timedOut, at: now)
        case .transportFailed(let transaction, let reason):
            failed(transaction, .transportFailed(reason), at: now)
        case .ended(let transaction): serverOwners[transaction] = nil
        case .endedClient(let transaction): endedClient(transaction, at: now)
        }
    }

    private mutating func handle(_ output: MediaEngine.Output, at now: MonotonicTime) {
        switch output {
        case .bind(let local): outputs.append(.bindMedia(local))
        case .release(let local): outputs.append(.releaseMedia(local))
        case .applyFlow(let flow): outputs.append(.applyFlow(flow))
        case .removeFlow(let local): outputs.append(.removeFlow(local: local))
        case .readCounters(let local): outputs.append(.readCounters(local: local))
        case .forward(let bytes, let source, let destination):
            outputs.append(.forwardMedia(bytes, from: source, to: destination))
        case .play(let bytes, let source, let destination):
            outputs.append(.playMedia(bytes, from: source, to: destination))
        case .event(let event): handle(event, at: now)
        }
    }

    private mutating func fire(_ timer: TimerKey, at now: MonotonicTime) {
        switch timer {
        case .attempt(let call, let attempt): attemptTimedOut(call, attempt, at: now)
        case .ring(let call): ringTimedOut(call, at: now)
        case .session(let dialog): sessionTimerFired(dialog, at: now)
        case .glare(let dialog): refresh(dialog, at: now)
        case .relay(let call, let relay): relayTimedOut(call, relay, at: now)
        case .refresh(let dialog): refreshTimedOut(dialog, at: now)
        case .ping(let trunk): ping(trunk, at: now)
        case .pingTimeout(let trunk): pingTimedOut(trunk, at: now)
        case .summary(let call): giveSummary(call, at: now)
        case .announcementLimit(let id): announcementLimitReached(id, at: now)
        case .announcementEnd(let id): announcementEnds(id, at: now)
        }
    }
}

extension CallEngine {
    static func endpoints(_ settings: CallEngineSettings) -> [RealmID: LocalSIPEndpoint] {
        settings.realms.mapValues { realm in
            var transports: Set<SIPTransport> = []
            if realm.usesUDP { transports.insert(.udp) }
            if realm.usesTCP { transports.insert(.tcp) }
            return LocalSIPEndpoint(address: realm.endpoint, transports: transports)
        }
    }

    static func mediaRealms(_ settings: CallEngineSettings) -> [RealmID: MediaRealm] {
        settings.realms.mapValues { MediaRealm(address: $0.endpoint.address, ports: $0.mediaPorts) }
    }

    static func settingsThatNeedRestart(from old: CallEngineSettings, to new: CallEngineSettings) -> [String] {
        var names: [String] = []
        if old.domain != new.domain { names.append("system.domain") }
        if old.digestAlgorithms != new.digestAlgorithms { names.append("system.digest-algorithms") }
        for realm in Set(old.realms.keys).union(new.realms.keys).sorted(by: { $0.rawValue < $1.rawValue })
        where old.realms[realm] != new.realms[realm] {
            names.append("realms.\(realm)")
        }
        return names
    }
}

/// Bounds that are ours to choose; those of the standards are where they apply.
enum Limits {
    /// Contacts that ring at once.
    static let branchCountMax = 10
    /// Early dialogs of one call; who rings beyond it is heard without one, and gets one when he answers.
    static let forkCountMax = 16
    /// Requests inside dialogs on their way through one call.
    static let relayCountMax = 8
    static let streamCountMax = 8
    /// RTP and RTCP, both ways: what an ordinary call takes of the media table.
    static let flowsPerCall = 4
    /// How long a re-INVITE may wait after a provisional response, as nobody rings; then CANCEL. Less than 64·T1: it may
    /// stand for an UPDATE, whose sender waits no longer than that.
    static let reinviteDuration = Duration.seconds(25)
    /// Calls that are over but for an answer of the other end, and all others; beyond it 503.
    static let endingCallCountMax = 4_096
    /// Beyond it a 2xx nobody waits for is acknowledged, but its BYE is left out: the peer ends that dialog itself.
    static let clientTransactionCountMax = 4_096
    static let authorizationCountMax = 2
    /// How long those called back ring alone before the next ones ring as well.
    static let callbackRingDuration = Duration.seconds(20)
    static let retryAfterSeconds = 10
    /// Announcements at once; one more fails.
    static let announcementCountMax = 64
    /// Port pairs of a realm that announcements leave to others.
    static let portReserveForOthers = 16
    /// What a listener's jitter buffer still holds when the last packet of an announcement has left.
    static let announcementTail = Duration.milliseconds(300)
    /// How long the last media counters are waited for before the summary goes without them.
    static let summaryDelay = Duration.seconds(1)
}

/// What went by since start; every refusal has its own.
struct CallEngineCounters: Sendable {
    var callsAdmitted: UInt64 = 0
    var callsAnswered: UInt64 = 0
    var callsRefused: UInt64 = 0
    var unknownSources: UInt64 = 0
    var malformed: UInt64 = 0
    var challenges: UInt64 = 0
    var authenticationFailures: UInt64 = 0
    var unknownDialogs: UInt64 = 0
    var loops: UInt64 = 0
    var glare: UInt64 = 0
    var headersWithheld: UInt64 = 0
    var strayAnswers: UInt64 = 0
    var capacityRefusals: UInt64 = 0
    var preemptions: UInt64 = 0
    var callbacks: UInt64 = 0
    var emergenciesBlocked: UInt64 = 0
}
