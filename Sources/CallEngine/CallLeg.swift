import Primitives
import SIPEngine
import SignallingFormats

/// One side of a call: our dialog with a peer (RFC 3261 §12), its session timer and what was last agreed on it.
struct CallLeg: Sendable {
    let side: CallSide
    let peer: Peer
    var dialog: Dialog
    /// Where requests go: the path the peer used last.
    var nextHop: NextHop
    /// User part of our Contact on this leg.
    let contactUser: String?
    /// What we said and heard of media on this leg (RFC 3264).
    var negotiation: NegotiationLeg
    /// The peer's Allow names UPDATE, which saves a re-INVITE.
    var allowsUpdate = false
    var timer: SessionTimer
    /// The ACK of the latest 2xx we received, with the number of its INVITE: sent again for each repetition.
    var lastACK: (sequenceNumber: UInt32, request: SIPRequest)?
    /// The description has been answered on this leg by a reliable provisional.
    var answeredReliably = false
    /// An INVITE of ours or of the peer runs inside this dialog (RFC 3261 §14).
    var inviteInProgress = false
    /// A refresh of our own.
    var refresh: Refresh?
    /// BYE sent or received.
    var isOver = false

    struct Refresh: Sendable {
        var transaction: ClientTransactionID?
        var request: SIPRequest
        var authorizationCount = 0
    }
}

/// What a dialog belongs to.
struct DialogReference: Hashable, Sendable {
    let call: CallID
    let fork: ForkID
    let side: CallSide
}
