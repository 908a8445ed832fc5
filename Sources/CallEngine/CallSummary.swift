import MediaFormats
import Primitives

/// Identifies a call while the engine lives; never reused.
package struct CallID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    package var description: String { String(rawValue) }
}

/// Which leg of a call: the one that brought the INVITE, or the one we placed.
package enum CallSide: String, Hashable, Sendable, CaseIterable {
    case caller, callee

    package var other: CallSide { self == .caller ? .callee : .caller }
}

/// A party of a call as we know it: who it is to us, and what it calls itself.
package struct CallParty: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case station(user: String)
        case trunk(name: String)
        /// No route was found, or nobody answered.
        case none
    }

    package var kind: Kind
    /// User part of its URI: an extension or a number.
    package var number: String

    package init(_ kind: Kind, number: String) {
        self.kind = kind
        self.number = number
    }
}

/// One INVITE we sent for a call, and what came of it.
package struct CallAttempt: Hashable, Sendable {
    package enum Outcome: Hashable, Sendable {
        case pending
        /// The final status code.
        case response(Int)
        /// Neither a ringing indication nor a final response within the attempt's limit.
        case timedOut
        case transportFailed(String)
        /// Given up by us: the caller hung up, another branch answered, or the ring timeout.
        case cancelled
    }

    package var target: CallParty
    package var outcome: Outcome
    /// From INVITE to outcome; so far, when pending.
    package var milliseconds: Int64
    /// Until the first provisional response other than 100; nil when there was none.
    package var millisecondsToRinging: Int64?

    package init(target: CallParty, outcome: Outcome, milliseconds: Int64, millisecondsToRinging: Int64? = nil) {
        self.target = target
        self.outcome = outcome
        self.milliseconds = milliseconds
        self.millisecondsToRinging = millisecondsToRinging
    }
}

/// Why a call is over.
package enum CallEnding: Hashable, Sendable {
    /// BYE of this side.
    case hungUp(CallSide)
    /// CANCEL of the caller before an answer.
    case cancelled
    /// The final status code the caller got.
    case rejected(Int)
    case ringTimeout
    /// No ACK came for our 2xx.
    case acknowledgementMissing
    /// The session was not refreshed in time (RFC 4028) on this side.
    case sessionExpired(CallSide)
    /// A request inside the dialog was answered 481 or 408, or not at all, by this side.
    case dialogLost(CallSide)
    case mediaInactive
    /// The TCP connection or the path of this side failed.
    case transportFailed(CallSide)
    /// It had to make room for a call for help.
    case preempted
    case shutdown
}

/// Packets and bytes that came from one side of a call, RTP and RTCP together.
package struct CallMediaCounters: Hashable, Sendable {
    package var packets: UInt64
    package var bytes: UInt64
    package var wrongSource: UInt64
    package var malformed: UInt64
    /// As in SDP, lower case; nil: unknown. This and the rest are of the stream that most packets came on.
    package var codec: String?
    package var quality: MediaQuality
    /// What this side's RTCP said, of what it receives.
    package var reports: MediaReports

    package init(
        packets: UInt64 = 0, bytes: UInt64 = 0, wrongSource: UInt64 = 0, malformed: UInt64 = 0, codec: String? = nil,
        quality: MediaQuality = MediaQuality(), reports: MediaReports = MediaReports()
    ) {
        self.packets = packets
        self.bytes = bytes
        self.wrongSource = wrongSource
        self.malformed = malformed
        self.codec = codec
        self.quality = quality
        self.reports = reports
    }
}

/// What is left of a call: one for each INVITE that was admitted, given out once when the call is over.
package struct CallSummary: Equatable, Sendable {
    package var id: CallID
    package var caller: CallParty
    /// Who answered; the last one tried when nobody did.
    package var callee: CallParty
    /// As dialled, before any rewriting.
    package var dialled: String
    /// Call-ID on the caller's leg, and on the callee's once there is one.
    package var callerCallID: String
    package var calleeCallID: String?
    package var attempts: [CallAttempt]
    package var start: MonotonicTime
    package var answer: MonotonicTime?
    package var end: MonotonicTime
    package var ending: CallEnding
    /// Received from the caller and from the callee.
    package var fromCaller: CallMediaCounters
    package var fromCallee: CallMediaCounters

    package init(
        id: CallID, caller: CallParty, callee: CallParty, dialled: String, callerCallID: String, calleeCallID: String?,
        attempts: [CallAttempt], start: MonotonicTime, answer: MonotonicTime?, end: MonotonicTime, ending: CallEnding,
        fromCaller: CallMediaCounters, fromCallee: CallMediaCounters
    ) {
        self.id = id
        self.caller = caller
        self.callee = callee
        self.dialled = dialled
        self.callerCallID = callerCallID
        self.calleeCallID = calleeCallID
        self.attempts = attempts
        self.start = start
        self.answer = answer
        self.end = end
        self.ending = ending
        self.fromCaller = fromCaller
        self.fromCallee = fromCallee
    }

    /// Time in conversation; nil when the call was not answered.
    package var duration: Duration? { answer.map { end - $0 } }
}
