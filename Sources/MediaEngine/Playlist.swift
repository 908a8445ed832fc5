import MediaFormats
import Primitives

/// Something to hear.
package enum PlayoutItem: Hashable, Sendable {
    case clip(AudioClip)
    case tone(CallTone, for: Duration)
    case silence(Duration)
}

/// Tones of the North American precise tone plan.
package enum CallTone: String, Hashable, Sendable, CaseIterable {
    case dial, ringback, busy, reorder
    /// Before an announcement, over paging speakers too.
    case attention
    /// A short sign that a key was understood.
    case confirmation
}

/// What is played to one leg or group: items in a row, once or more often.
package struct Playlist: Hashable, Sendable {
    package var items: [PlayoutItem]
    /// How often the row is played; nil: until it is stopped.
    package var repetitions: Int?
    /// Silence between two repetitions.
    package var pause: Duration

    package init(_ items: [PlayoutItem], repetitions: Int? = 1, pause: Duration = .seconds(1)) {
        self.items = items
        self.repetitions = repetitions
        self.pause = pause
    }
}
