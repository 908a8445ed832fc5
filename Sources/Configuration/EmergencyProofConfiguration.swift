import Primitives

/// `[emergency.proof]`: 933 calls the box places by itself, to know before somebody needs it that the way is open.
package struct EmergencyProofConfiguration: Equatable, Sendable {
    /// nil: none is placed by itself; `cresset emergency prove` works all the same.
    package var every: Duration?
    /// Since midnight UTC, of one of them; the others follow from `every`.
    package var timeOfDay: Duration
    /// How long is listened after the answer.
    package var listen: Duration

    package init(
        every: Duration? = nil, timeOfDay: Duration = .seconds(3 * 3_600 + 10 * 60), listen: Duration = .seconds(10)
    ) {
        self.every = every
        self.timeOfDay = timeOfDay
        self.listen = listen
    }
}

extension EmergencyProofConfiguration {
    static let table = "[emergency.proof] with every, at, listen"

    mutating func read(_ reader: TableReader) {
        reader.allow(["every", "at", "listen"])
        every = reader.duration("every", in: .seconds(3_600)...(.seconds(31 * 86_400)))
        timeOfDay =
            reader.value("at", "a time of day in UTC, as \"03:10\"") { Self.timeOfDay($0) } ?? timeOfDay
        listen = reader.duration("listen", in: .seconds(1)...(.seconds(120))) ?? listen
    }

    /// `03:10`
    private static func timeOfDay(_ text: String) -> Duration? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.utf8.count == 2 }), let hour = Int(parts[0]),
            let minute = Int(parts[1]), 0...23 ~= hour, 0...59 ~= minute
        else { return nil }
        return .seconds(hour * 3_600 + minute * 60)
    }

    var rendered: RenderedTable {
        var table = RenderedTable("[emergency.proof]")
        if let every { table.add("every", every) }
        let minutes = Int(timeOfDay.wholeSeconds / 60)
        table.add("at", text: "\((minutes / 60).padded(2)):\((minutes % 60).padded(2))")
        table.add("listen", listen)
        return table
    }

    /// The first time after `now` at which one is due; nil: never.
    package func next(after now: WallClockTime) -> WallClockTime? {
        guard let period = every?.wholeSeconds, period > 0 else { return nil }
        let first = timeOfDay.wholeSeconds % period
        let passed = now.secondsSinceEpoch - first
        return WallClockTime(secondsSinceEpoch: first + (passed / period + (passed < 0 ? 0 : 1)) * period)
    }
}
