import EmergencyCalling
import MediaEngine
import Primitives
import SIPEngine
import SignallingFormats

/// A call the box placed itself, and its one dialog. No `Call`: nothing can connect it with somebody's audio.
struct AnnouncementCall: Sendable {
    enum State: Hashable, Sendable {
        case ringing
        case answered
        /// Over; the answer to our BYE and the last media counters are awaited.
        case ending
    }

    /// An INVITE to one of the places that ring.
    struct Branch: Sendable {
        let target: Target
        var request: SIPRequest
        var transaction: ClientTransactionID
        var isOpen = true
        var authorizationCount = 0
        /// By To tag: for the order of reliable provisionals, and their descriptions (RFC 3262 §5).
        var early: [String: (dialog: Dialog, answer: SessionDescription?)] = [:]
    }

    /// Our dialog with whoever answered.
    struct Leg: Sendable {
        let branch: Int
        var dialog: Dialog
        var nextHop: NextHop
        let ack: SIPRequest
    }

    let request: AnnouncementRequest
    /// Of a proof: what its INVITE carries, and its record.
    let proof: EmergencyDispatch?
    /// For `cresset calls`.
    let callID: CallID
    let realm: RealmID
    let media: MediaLegID
    var audio: OwnAudio
    let start: MonotonicTime
    var answer: MonotonicTime?
    var state = State.ringing
    var branches: [Branch] = []
    var leg: Leg?
    var hasRung = false
    var isAcknowledged = false
    /// The final response that is told when none succeeds.
    var failure: (statusCode: Int, reason: String)?
    var isMediaOpen = true
    var isByeOpen = false
    var fromCallee = CallMediaCounters()
    var playedPackets = 0
    var end: MonotonicTime?
    /// Why it is over, for the record of a proof.
    var ending = ""

    /// Nothing of it is awaited any more.
    var isOver: Bool { state == .ending && !isMediaOpen && !isByeOpen }

    var party: CallParty {
        let target = (leg.map { branches[$0.branch] } ?? branches.first)?.target
        return target.map(\.party) ?? CallParty(.none, number: request.target.number)
    }
}

extension AnnouncementRequest.Target {
    var number: String {
        switch self {
        case .station(let user): user
        case .uri(let uri, _): uri.user ?? uri.host.text
        case .number(let number, _): number
        }
    }
}

extension Target {
    /// Who answered, for people.
    var label: String {
        switch peer {
        case .station: requestURI.text
        case .trunk(let name, _): "\(number) by \(name)"
        }
    }
}
