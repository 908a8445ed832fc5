import MediaEngine
import Primitives
import SignallingFormats

/// Names one call the box places itself; chosen by whoever asks for it, never used again.
package struct AnnouncementID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    package var description: String { "announcement-\(rawValue)" }
}

/// A call the box places itself: it rings somebody, plays to whoever answers and waits for a key.
///
/// It counts against no limit, takes nobody's place, and there is no way to connect it with another call.
package struct AnnouncementRequest: Equatable, Sendable {
    /// Whom to ring.
    package enum Target: Hashable, Sendable {
        /// All registered contacts of a station; the first to answer hears it.
        case station(user: String)
        /// A paging adapter: its host is an address, for the box resolves no names.
        case uri(SIPURI, realm: RealmID)
        /// A telephone number as this trunk is to be given it.
        case number(String, trunk: String)
    }

    package var id: AnnouncementID
    package var target: Target
    package var playlist: Playlist
    /// `0` to `9`, `*`, `#` or `A` to `D`, pressed by whoever listens (RFC 4733); nil asks for none.
    package var acknowledgementKey: Character?
    /// Heard after the key, before we hang up.
    package var confirmation: [PlayoutItem]
    /// Whom the called phone shows, and calls back: an extension, or a number for a trunk. nil: towards a trunk the user we
    /// are registered as, else the box.
    package var callingNumber: String?
    package var displayName: String?
    /// From the INVITE to the answer.
    package var ringTimeout: Duration
    /// From the answer to our BYE, and therefore also for a key after the last repetition.
    package var durationMax: Duration
    /// How long a key is waited for after the last repetition.
    package var keyTimeout: Duration
    /// A 933 call is proof that 911 would get through: it goes out and is on record as a caller's would be.
    package var proof: EmergencyProof?

    package init(
        id: AnnouncementID, target: Target, playlist: Playlist, acknowledgementKey: Character? = nil,
        confirmation: [PlayoutItem] = [.tone(.confirmation, for: .milliseconds(600))],
        callingNumber: String? = nil, displayName: String? = nil,
        ringTimeout: Duration = .seconds(30), durationMax: Duration = .seconds(120),
        keyTimeout: Duration = .seconds(5), proof: EmergencyProof? = nil
    ) {
        self.id = id
        self.target = target
        self.playlist = playlist
        self.acknowledgementKey = acknowledgementKey
        self.confirmation = confirmation
        self.callingNumber = callingNumber
        self.displayName = displayName
        self.ringTimeout = ringTimeout
        self.durationMax = durationMax
        self.keyTimeout = keyTimeout
        self.proof = proof
    }
}

/// What became of an announcement, in this order; `failed` or `ended` is the last, exactly one of them comes.
package enum AnnouncementEvent: Equatable, Sendable {
    case ringing
    /// `by` is the contact, adapter or trunk that answered.
    case answered(by: String)
    /// So many repetitions have been heard to the end.
    case played(times: Int)
    /// The key asked for was pressed; any other is ignored.
    case acknowledged(key: Character)
    /// Nobody answered: the SIP status; 408 for silence, 404 for a station, realm or trunk there is not, 480 for a station
    /// without a registered phone, 487 for `stopAnnouncement`, 503 for lack of ports and for shutdown.
    case failed(statusCode: Int, reason: String)
    /// It was answered and is over.
    case ended(AnnouncementEnd)
}

/// Who or what ended an answered announcement.
package enum AnnouncementEnd: String, Hashable, Sendable, CaseIterable {
    /// Acknowledged and confirmed.
    case acknowledged
    /// Played as often as asked for; no key was asked for, or none came.
    case played
    /// The listener hung up.
    case hungUp = "hung-up"
    case stopped
    /// `durationMax`, or nobody could be heard or reached any more.
    case timedOut = "timed-out"
    case shutdown
}
