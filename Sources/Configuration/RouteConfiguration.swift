import Primitives

/// One `[[routes]]`: numbers a station dials, and the trunks that carry them.
package struct RouteConfiguration: Equatable, Sendable {
    package var pattern: DialPattern
    /// How many leading characters are removed before `prepend` is put in front.
    package var strip: Int
    package var prepend: String
    /// Tried in order; at least one.
    package var trunks: [String]

    package init(pattern: DialPattern, strip: Int = 0, prepend: String = "", trunks: [String]) {
        self.pattern = pattern
        self.strip = strip
        self.prepend = prepend
        self.trunks = trunks
    }

    /// The number to send for what was dialled.
    package func transformed(_ digits: String) -> String { prepend + digits.dropFirst(strip) }
}
