import Primitives

/// `[emergency]`: calls for help. Without the table they are placed all the same.
package struct EmergencyConfiguration: Equatable, Sendable {
    /// Tried first and in this order; every other trunk follows, those that are down last.
    package var trunks: [String]
    /// Before the next trunk is tried; a trunk's own shorter limit stands.
    package var attemptTimeout: Duration

    package init(trunks: [String] = [], attemptTimeout: Duration = .seconds(4)) {
        self.trunks = trunks
        self.attemptTimeout = attemptTimeout
    }
}

extension EmergencyConfiguration {
    mutating func read(_ reader: TableReader) {
        reader.allow(["trunks", "attempt-timeout"])
        trunks = reader.strings("trunks", "a trunk or a list of trunks", single: true) ?? trunks
        attemptTimeout = reader.duration("attempt-timeout", in: .seconds(1)...(.seconds(30))) ?? attemptTimeout
    }

    var rendered: RenderedTable {
        var table = RenderedTable("[emergency]")
        if !trunks.isEmpty { table.add("trunks", TOMLText.array(trunks)) }
        table.add("attempt-timeout", attemptTimeout)
        return table
    }
}
