import Primitives

/// A sentence to be spoken, in parts: each knows how it is said from recordings when there is no synthesizer.
enum SpeechPart: Hashable, Sendable {
    /// One of those that are recorded.
    case phrase(Phrase)
    /// Said figure by figure: extensions, telephone numbers, room numbers. Letters in it are spelled.
    case digits(String)
    /// Anything else, such as an address; from recordings it is spelled word by word as far as it can be.
    case text(String)

    enum Phrase: String, Hashable, Sendable, CaseIterable {
        case emergencyCallFromExtension = "emergency call from extension"
        case callbackNumber = "callback number"
        case location, building, floor, room
        case press = "press"
        case toAcknowledge = "to acknowledge"
        case test = "this is a test"
        case blocked = "the call was blocked"
        case failed = "the call has failed"
        case acknowledged
    }
}
