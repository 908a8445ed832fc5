import Primitives

/// Where stations are, as far as the configuration says, and what is missing for help to find them.
package enum EmergencyAudit {
    package struct Station: Equatable, Sendable {
        package var name: String
        package var displayName: String?
        /// nil: no site is configured.
        package var location: DispatchableLocation?

        package init(name: String, displayName: String? = nil, location: DispatchableLocation?) {
            self.name = name
            self.displayName = displayName
            self.location = location
        }

        /// In words; empty when help finds its way.
        package var missing: [String] { location.map(\.missingElements) ?? ["site"] }
    }

    /// Those with something missing, one a line, and a sentence that sums up.
    package static func render(_ stations: [Station]) -> String {
        let incomplete = stations.filter { !$0.missing.isEmpty }
        guard !incomplete.isEmpty else {
            switch stations.count {
            case 0: return "There are no stations.\n"
            case 1: return "The only station has a dispatchable location (47 CFR 9.3).\n"
            case let count: return "All \(count) stations have a dispatchable location (47 CFR 9.3).\n"
            }
        }
        var table = TextTable(.init("STATION"), .init("NAME"), .init("SITE"), .init("MISSING"), .init("LOCATION"))
        for station in incomplete {
            table.add(
                station.name, station.displayName ?? "", station.location?.site ?? "",
                station.missing.joined(separator: "; "), station.location?.description ?? "none")
        }
        return table.rendered()
            + "\n\(incomplete.count) of \(counted(stations.count)) without a dispatchable location (47 CFR 9.3). "
            + "Give the station or its site what is missing;\na subnet of the site counts when the phone calls from it, "
            + "which is not known here.\n"
    }

    private static func counted(_ count: Int) -> String { "\(count) station\(count == 1 ? "" : "s")" }
}
