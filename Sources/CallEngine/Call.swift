import EmergencyCalling
import MediaEngine
import Primitives
import SIPEngine
import SignallingFormats

/// A call: the INVITE somebody sent us, the INVITEs we sent for it, and the dialogs that came of them.
struct Call: Sendable {
    /// Where the call stands as the caller sees it.
    enum State: Hashable, Sendable {
        /// The caller waits; attempts run.
        case proceeding
        /// 2xx sent to the caller, its ACK awaited.
        case answered(ForkID)
        case confirmed(ForkID)
        /// Over for the caller; loose ends are tied up: attempts being cancelled, BYEs, counters.
        case ending
    }

    /// What moves a call from one state to the next.
    enum Trigger: Sendable {
        /// The first 2xx, of this fork; it becomes the caller's answer.
        case answered(ForkID, SIPResponse)
        /// The caller's ACK.
        case acknowledged(SIPRequest)
        /// The caller hung up before the answer.
        case cancelled(reason: String?)
        /// No destination is left: what the caller gets.
        case rejected(SIPResponse)
        /// This side is gone already (its BYE came, or it answers no more); nil: neither is.
        case released(CallEnding, goneSide: CallSide?, reason: String?)
    }

    let id: CallID
    var state = State.proceeding
    /// Who called, from where, and the request itself.
    let callerPeer: Peer
    let invite: SIPRequest
    let inviteTransaction: ServerTransactionID
    /// Where requests of the caller come from.
    var callerPath: TransportPath
    let offer: SessionDescription?
    let dialled: String
    /// A call for help, or its test, and what was decided for it; nil for an ordinary call.
    let emergency: EmergencyDispatch?
    /// Help calls back.
    let isCallback: Bool
    let callerParty: CallParty
    /// From and identity of the caller as the other side is to see it.
    let identity: CallerIdentity
    let start: MonotonicTime
    var answer: MonotonicTime?
    var end: MonotonicTime?
    var ending: CallEnding?

    /// Groups of destinations, tried one after the other; those of one group ring together.
    var plan: [[Target]]
    var attempts: [Attempt] = []
    var forks: [Fork] = []
    /// Requests inside a dialog on their way from one leg to the other.
    var relays: [RelayID: Relay] = [:]
    var bestFailure: Failure?
    /// Client transactions without a final response; the call stays until there are none.
    var openTransactions = 0
    /// To tag of responses that belong to no fork.
    let localTag: String
    /// What the caller offered, before any attempt answers it.
    let callerNegotiation: NegotiationLeg
    var hasRung = false
    /// The call is over but for the caller's ACK: its BYE waits for that (RFC 3261 §15).
    var hangsUpOnACK = false
    var lastRelayID = 0

    var callerMedia: MediaLegID?
    /// What the media legs were last connected for; nil before.
    var connection: Connection?
    /// Media legs closed whose last counters are awaited.
    var closingMedia: Set<MediaLegID> = []
    var fromCaller = CallMediaCounters()
    var fromCallee = CallMediaCounters()
    var summaryGiven = false

    /// Whose agreement the media legs follow, and since when.
    struct Connection: Equatable, Sendable {
        let fork: ForkID
        /// false: early media.
        let isAnswered: Bool
        let time: MonotonicTime
    }

    /// The fork the call was answered by; nil before.
    var answeredFork: ForkID? {
        switch state {
        case .proceeding, .ending: nil
        case .answered(let fork), .confirmed(let fork): fork
        }
    }

    var isEnding: Bool { state == .ending }

    /// Where the fork is that this To tag of an attempt's answerer made; nil when there is none.
    func forkIndex(of attempt: AttemptID, remoteTag: String) -> Int? {
        forks.indices.first { forks[$0].attempt == attempt && forks[$0].legs[1].dialog.remoteTag == remoteTag }
    }
}

struct AttemptID: Hashable, Sendable { let rawValue: Int }
struct ForkID: Hashable, Sendable { let rawValue: Int }
struct RelayID: Hashable, Sendable { let rawValue: Int }

/// Who is at the other end of a leg; settings as they were when the leg began.
enum Peer: Sendable {
    case station(user: String, CallEngineSettings.Station)
    case trunk(name: String, CallEngineSettings.Trunk)

    var realm: RealmID {
        switch self {
        case .station(_, let station): station.realm
        case .trunk(_, let trunk): trunk.realm
        }
    }

    var kind: CallParty.Kind {
        switch self {
        case .station(let user, _): .station(user: user)
        case .trunk(let name, _): .trunk(name: name)
        }
    }

    var trunkName: String? {
        guard case .trunk(let name, _) = self else { return nil }
        return name
    }

    var reliableProvisional: CallEngineSettings.ReliableProvisional {
        switch self {
        case .station(_, let station): station.reliableProvisional
        case .trunk(_, let trunk): trunk.reliableProvisional
        }
    }

    var isPSAPTrusted: Bool {
        guard case .trunk(_, let trunk) = self else { return false }
        return trunk.emergency.isPSAPTrusted
    }

    var telephoneEvent: UInt8? {
        switch self {
        case .station: nil
        case .trunk(_, let trunk): trunk.telephoneEvent
        }
    }
}

/// One place an INVITE may go to.
struct Target: Sendable {
    let peer: Peer
    /// User part towards this peer: an extension, or the number after the route's rewriting.
    let number: String
    let requestURI: URI
    var nextHop: NextHop
    /// The session description alone: of a call for help that this carrier did not take with all it carried.
    var isPlain = false

    var party: CallParty { CallParty(peer.kind, number: number) }
}

/// An INVITE we sent, until its transaction is over.
struct Attempt: Sendable {
    enum State: Hashable, Sendable {
        case trying
        /// A provisional response other than 100 came.
        case ringing
        case cancelling
        case answered
        case failed
    }

    let id: AttemptID
    let target: Target
    var state = State.trying
    var request: SIPRequest
    var transaction: ClientTransactionID
    var media: MediaLegID?
    /// What was offered, seen from the caller and from this peer; each fork goes on from here.
    var callerNegotiation: NegotiationLeg
    var calleeNegotiation: NegotiationLeg
    let start: MonotonicTime
    var ringing: MonotonicTime?
    var finished: MonotonicTime?
    var outcome = CallAttempt.Outcome.pending
    var timer: SessionTimer
    var authorizationCount = 0
    var isTransactionFinished = false
    /// Any response came, also 100: there is somebody.
    var isHeard = false

    var isOpen: Bool { state == .trying || state == .ringing }

    func summary(at now: MonotonicTime) -> CallAttempt {
        CallAttempt(
            target: target.party, outcome: outcome,
            milliseconds: ((finished ?? now) - start).wholeMilliseconds,
            millisecondsToRinging: ringing.map { ($0 - start).wholeMilliseconds })
    }
}

/// A pair of dialogs, one on each side, made by a To tag of an answerer (RFC 3261 §12.1).
struct Fork: Sendable {
    let id: ForkID
    let attempt: AttemptID
    /// The caller's and the callee's. In an array, for a leg is large: what is read of it is read where it lies.
    private(set) var legs: [CallLeg]
    /// The caller's answer, as far as we know it: a 2xx repeats what an unreliable provisional said.
    var answerForCaller: SessionDescription?
    /// The first offer has its answer on the callee's leg, in a 2xx or a reliable provisional (RFC 3262 §5).
    var isSettled = false
    /// Reliable provisionals sent to the caller whose PRACK is awaited, in order: whether each has a description.
    var unacknowledged: [Bool] = []
    /// A 2xx that waits for the PRACK of one with a description (RFC 3262 §3).
    var waitingAnswer: SIPResponse?
    /// The callee's provisional with an offer: its PRACK waits for the caller's answer.
    var waitingPRACK: SIPResponse?
    var heldBy: Set<CallSide> = []
    /// What the two sides last agreed on; forks share media legs, so the one that is answered is applied again.
    var agreed: Agreement?

    struct Agreement: Sendable {
        let streams: [StreamAgreement]
        let offerer: CallSide
    }

    init(id: ForkID, attempt: AttemptID, caller: CallLeg, callee: CallLeg) {
        self.id = id
        self.attempt = attempt
        legs = [caller, callee]
    }

    var caller: CallLeg {
        get { legs[0] }
        _modify { yield &legs[0] }
    }

    var callee: CallLeg {
        get { legs[1] }
        _modify { yield &legs[1] }
    }

    subscript(side: CallSide) -> CallLeg {
        get { legs[side.legIndex] }
        _modify { yield &legs[side.legIndex] }
    }
}

extension CallSide {
    /// In `Fork.legs`.
    var legIndex: Int { self == .caller ? 0 : 1 }
}

/// A request inside a dialog that one leg sent and we passed to the other.
struct Relay: Sendable {
    let id: RelayID
    let fork: ForkID
    let from: CallSide
    let request: SIPRequest
    let serverTransaction: ServerTransactionID
    var clientTransaction: ClientTransactionID
    /// As sent to the other leg; an UPDATE may have become an INVITE, a PRACK an UPDATE.
    var sent: SIPRequest
    let hasOffer: Bool
    var authorizationCount = 0
    var phase = Phase.waiting
    /// CANCEL was sent after it: without a final response it counts as cancelled (RFC 3261 §9.1), not the dialog as lost.
    var cancellation: Cancellation?

    enum Cancellation: Sendable {
        case bySender
        /// The other leg gave a provisional response and no more.
        case timeout

        /// What the sender gets for it.
        var statusCode: Int {
            switch self {
            case .bySender: 487
            case .timeout: 504
            }
        }
    }

    enum Phase: Sendable {
        /// For the other leg's final response.
        case waiting
        /// 2xx passed on; the ACK of the sender is awaited. With the 2xx's offer, the ACK carries the answer.
        case answered(offersInResponse: Bool)
    }
}
