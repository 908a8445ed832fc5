import Primitives

/// `[emergency]`: calls for help. Without the table they are placed all the same.
package struct EmergencyConfiguration: Equatable, Sendable {
    /// How long after a call a call back still finds the caller (RFC 6881 asks for 30 minutes).
    package static let callbackWindows: ClosedRange<Duration> = .seconds(5 * 60)...(.seconds(1_440 * 60))

    /// Tried after those of the caller's site, in this order; every other trunk follows, those that are down last.
    package var trunks: [String]
    /// Before the next trunk is tried; a trunk's own shorter limit stands.
    package var attemptTimeout: Duration
    /// Of callers whom no address range and no station's table places; nil: the only site there is, or the first.
    package var defaultSite: String?
    /// What some dial for an outside line, also before 911.
    package var outsidePrefixes: [String]
    /// What else means 911.
    package var numbers: [String]
    package var callbackWindow: Duration
    package var proof = EmergencyProofConfiguration()

    package init(
        trunks: [String] = [], attemptTimeout: Duration = .seconds(3), defaultSite: String? = nil,
        outsidePrefixes: [String] = EmergencyNumberPlan.outsidePrefixesDefault,
        numbers: [String] = EmergencyNumberPlan.additionalDefault, callbackWindow: Duration = .seconds(30 * 60)
    ) {
        self.trunks = trunks
        self.attemptTimeout = attemptTimeout
        self.defaultSite = defaultSite
        self.outsidePrefixes = outsidePrefixes
        self.numbers = numbers
        self.callbackWindow = callbackWindow
    }

    package var numberPlan: EmergencyNumberPlan {
        EmergencyNumberPlan(outsidePrefixes: outsidePrefixes, additional: numbers)
    }
}

extension EmergencyConfiguration {
    mutating func read(_ reader: TableReader) {
        reader.allow([
            "trunks", "proof", "attempt-timeout", "default-site", "outside-prefixes", "numbers", "callback-window",
        ])
        if let inner = reader.subtable("proof", EmergencyProofConfiguration.table) { proof.read(inner) }
        trunks = reader.strings("trunks", "a trunk or a list of trunks", single: true) ?? trunks
        attemptTimeout = reader.duration("attempt-timeout", in: .seconds(1)...(.seconds(30))) ?? attemptTimeout
        defaultSite = reader.string("default-site", "the name of a site") ?? defaultSite
        outsidePrefixes =
            reader.texts(
                "outside-prefixes", "a list of prefixes of 1 to 3 digits, '*' or '#', as [\"9\"]",
                isAllowed: {
                    (1...3).contains($0.utf8.count) && Text.isPrepend($0) && !$0.hasPrefix("+")
                }) ?? outsidePrefixes
        numbers =
            reader.texts(
                "numbers", "a list of numbers of 2 to 6 digits that mean 911, as [\"112\"]",
                isAllowed: {
                    (2...6).contains($0.utf8.count) && Text.isCalledNumber($0) && !$0.hasPrefix("+")
                        && EmergencyNumberPlan(additional: []).number(dialled: $0) != .test
                }) ?? numbers
        callbackWindow = reader.duration("callback-window", in: Self.callbackWindows) ?? callbackWindow
    }

    var rendered: RenderedTable {
        var table = RenderedTable("[emergency]")
        if !trunks.isEmpty { table.add("trunks", TOMLText.array(trunks)) }
        table.add("attempt-timeout", attemptTimeout)
        if let defaultSite { table.add("default-site", text: defaultSite) }
        table.add("outside-prefixes", TOMLText.array(outsidePrefixes))
        table.add("numbers", TOMLText.array(numbers))
        table.add("callback-window", callbackWindow)
        return table
    }
}
