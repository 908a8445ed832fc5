import Primitives

/// Something an operator may want to know; composition writes it to the log.
package enum CallEvent: Equatable, Sendable {
    // Calls
    case callStarted(CallID, caller: CallParty, dialled: String)
    case callRinging(CallID, callee: CallParty)
    case callAnswered(CallID, callee: CallParty)
    /// An attempt failed and another one follows.
    case attemptFailed(CallID, target: CallParty, outcome: CallAttempt.Outcome)
    case callHeld(CallID, by: CallSide)
    case callResumed(CallID, by: CallSide)
    /// An INVITE was refused before it became a call.
    case callRefused(source: TransportAddress, dialled: String, statusCode: Int, reason: String)

    /// A phone dialled 911, or 933: said once its INVITE has left, never before.
    case emergencyCall(CallID, caller: CallParty, source: TransportAddress, EmergencyNumber)

    /// Somebody dialled 911 in test mode: no trunk was asked.
    case emergencyBlocked(caller: CallParty, source: TransportAddress, reason: String)
    /// Somebody calls a number that stands for a caller for help.
    case emergencyCallback(CallID, caller: CallParty, called: String)
    /// An ordinary call was ended for one for help.
    case callPreempted(CallID, by: CallID)

    // Media
    case mediaLearned(CallID, CallSide, source: TransportAddress)
    /// The first packet from a source that may not send to this leg.
    case mediaWrongSource(CallID, CallSide, source: TransportAddress)
    /// No packets from this side for so long.
    case mediaSilent(CallID, CallSide, for: Duration)
    case mediaResumed(CallID, CallSide)
    /// Both sides silent: the call is ended.
    case mediaInactive(CallID)
    case mediaPortsExhausted(RealmID)
    case mediaBindFailed(TransportAddress, reason: String)

    // Stations
    case stationRegistered(user: String, contact: String, source: TransportAddress, expires: Duration)
    case stationUnregistered(user: String, contact: String, reason: UnregistrationReason)
    case authenticationFailed(user: String, source: TransportAddress)

    // Trunks
    case trunkUp(String)
    case trunkDown(String, reason: String)
    case trunkRegistered(String, expires: Duration)
    case trunkRegistrationFailed(String, reason: String)
    case trunkUnregistered(String)

    // Configuration
    /// A setting differs but takes effect only after a restart.
    case restartRequired(setting: String)

    package enum UnregistrationReason: String, Hashable, Sendable, CaseIterable {
        case requested, expired, connectionClosed, removed, replaced
    }
}
