import Configuration
import EmergencyCalling
import Primitives

/// Whether the box does what the law and good practice ask of an office's 911, point by point.
///
/// Asks the configuration by placing calls in an engine of its own (`EmergencyProbe`), the running daemon's status for
/// what only lives there, and the records for when it was proved last.
package struct EmergencyVerification {
    /// One thing that must be so.
    package struct Point: Equatable, Sendable {
        package enum State: String, Sendable {
            case pass, missing
            /// Only the running daemon, or a record, could tell.
            case unknown
        }

        package var title: String
        /// Section of 47 CFR, or what else asks for it.
        package var law: String
        package var state: State
        /// What was found.
        package var detail: String
        /// What to do; empty when it passes.
        package var remedy: String

        package var json: JSONValue {
            [
                "title": .string(title), "law": .string(law), "state": .string(state.rawValue),
                "detail": .string(detail), "remedy": .string(remedy),
            ]
        }
    }

    private enum Limits {
        static let proofAge = Duration.seconds(48 * 3_600)
        static let namesShown = 6  // of stations that lack something; the rest is counted
    }

    private let configuration: BoxConfiguration
    /// The daemon's answer to `status`; nil: it does not run.
    private let status: JSONValue?
    private let records: [JSONValue]
    private let recordsError: String?
    private let now: WallClockTime
    private let probe: EmergencyProbe

    /// - Parameters:
    ///   - records: The latest line of each record there is.
    ///   - recordsError: Why they cannot be read or written; nil: they can.
    package init(
        _ configuration: BoxConfiguration, status: JSONValue?, records: [JSONValue], recordsError: String?,
        now: WallClockTime
    ) {
        self.configuration = configuration
        self.status = status
        self.records = records
        self.recordsError = recordsError
        self.now = now
        probe = EmergencyProbe(configuration)
    }

    /// All of them, in the order in which they are told.
    package var points: [Point] {
        [
            directDialling, prefixes, anyPhone, sitePaths, trunksUp, notification, contacts, locations, callback,
            logging, testMode, proof,
        ]
    }

    package var json: JSONValue {
        let points = points
        return [
            "complete": .bool(!points.contains { $0.state == .missing }), "live": .bool(status != nil),
            "points": .array(points.map(\.json)),
        ]
    }

    // MARK: Dialling

    private var anyStation: String { configuration.stations.first?.name ?? "unregistered" }

    private var directDialling: Point {
        let finding = probe.dial("911", as: anyStation)
        return point(
            "911 is dialled directly", "47 CFR 9.16(b)(1)", finding.trunk != nil,
            pass: "911 leaves over \(finding.trunk ?? "") as \(finding.requestURI ?? "")",
            missing: "911 leaves nowhere" + (finding.refusal.map { ", the caller gets \($0)" } ?? ""),
            remedy: "configure a trunk")
    }

    private var prefixes: Point {
        let forms = ["9911", "9-911"] + configuration.emergency.outsidePrefixes.map { $0 + "911" }
        let failing = forms.filter { probe.dial($0, as: anyStation).trunk == nil }
        return point(
            "no prefix is required, and none stops it", "47 CFR 9.16(b)(1)",
            failing.isEmpty && probe.dial("911", as: anyStation).trunk != nil,
            pass: "911 alone and \(Set(forms).sorted().joined(separator: ", ")) all reach a trunk",
            missing: "these leave nowhere: \((failing.isEmpty ? ["911"] : failing).joined(separator: ", "))",
            remedy: "configure a trunk; see emergency.outside-prefixes")
    }

    private var anyPhone: Point {
        let finding = probe.dial("911", as: "nobody-knows-me")
        return point(
            "any phone reaches 911, also one that never registered", "47 CFR 9.16(a)", finding.trunk != nil,
            pass: "a phone without a password reaches \(finding.trunk ?? "")",
            missing: "a phone without a password reaches nobody", remedy: "configure a trunk")
    }

    // MARK: Trunks

    private var sitePaths: Point {
        let names = Set(configuration.trunks.map(\.name))
        let without = configuration.sites.filter { site in !site.trunks.contains(where: names.contains) }
        let anyTrunk = !names.isEmpty
        let sites = configuration.sites.map { site in
            let first = site.trunks.first(where: names.contains) ?? configuration.emergency.trunks.first ?? "any trunk"
            return "\(site.name) over \(first)"
        }
        return point(
            "every site has a trunk", "47 CFR 9.16(b)(1)", anyTrunk && !configuration.sites.isEmpty,
            pass: some(sites)
                + (without.isEmpty ? "" : "; no trunk of their own: \(some(without.map(\.name)))"),
            missing: anyTrunk ? "no site is configured" : "no trunk is configured",
            remedy: anyTrunk ? "describe each place in [sites.NAME]" : "configure a trunk")
    }

    private var trunksUp: Point {
        let title = "the trunks are up"
        let law = "47 CFR 9.16(b)(1)"
        guard let trunks = status?["trunks"]?.arrayValue else { return unknown(title, law) }
        let down = trunks.filter { $0["state"]?.stringValue == "down" }.compactMap { $0["trunk"]?.stringValue }
        return point(
            title, law, down.isEmpty && !trunks.isEmpty, pass: "\(trunks.count) of \(trunks.count)",
            missing: trunks.isEmpty ? "there are none" : "down: \(some(down))",
            remedy: "see `cresset status` for the last reason; call the carrier")
    }

    // MARK: People

    private var notification: Point {
        let contacts = configuration.notifyContacts
        let silent = configuration.sites.map(\.name).filter { site in
            !contacts.contains { $0.sites.isEmpty || $0.sites.contains(site) }
        }
        return point(
            "somebody is told of every 911 call", "47 CFR 9.16(b)(2)",
            !contacts.isEmpty && silent.isEmpty && configuration.notifyAdvice == nil,
            pass: some(contacts.map(\.name)),
            missing: contacts.isEmpty
                ? "nobody is" : silent.isEmpty ? "only by e-mail" : "nobody is told at \(some(silent))",
            remedy: "name who is there, or is likely to see or hear it, in [notify.contacts] or sites.NAME.contacts")
    }

    private var contacts: Point {
        let everyone = configuration.notifyContacts
        let named = Set(everyone.compactMap { if case .station(let name) = $0.way { name } else { nil } }).sorted()
        let title = "the contacts can be reached"
        let law = "47 CFR 9.16(b)(2)"
        guard !named.isEmpty else {
            return point(
                title, law, !everyone.isEmpty, pass: "none of them is a station", missing: "no contact is defined",
                remedy: "name somebody in [notify.contacts] or sites.NAME.contacts")
        }
        guard let stations = status?["stations"]?.arrayValue else { return unknown(title, law, some(named)) }
        let silent = named.filter { name in
            stations.contains {
                $0["station"]?.stringValue == name && ($0["contacts"]?.arrayValue ?? []).isEmpty
            }
        }
        return point(
            title, law, silent.isEmpty, pass: some(named), missing: "not registered: \(some(silent))",
            remedy: "look at those phones")
    }

    // MARK: Where

    private var locations: Point {
        let stations = configuration.stations.map(\.name)
        var lacking: [String] = []
        for station in stations {
            let source = source(of: station)
            let location = probe.dial("911", as: station, from: source).location
            guard let location else {
                lacking.append("\(station) (everything)")
                continue
            }
            // Of a phone that is not registered nobody knows the address yet.
            let missing = location.missing.filter { source != nil || $0 != DispatchableLocation.siteProof }
            if !missing.isEmpty { lacking.append("\(station) (\(missing.joined(separator: ", ")))") }
        }
        return point(
            "every station has a dispatchable location", "47 CFR 9.16(b)(3), 9.3", lacking.isEmpty,
            pass: stations.isEmpty ? "there are no stations" : "\(stations.count) of \(stations.count)",
            missing: "\(lacking.count) of \(stations.count) lack something: \(some(lacking))",
            remedy: "complete sites.NAME.address; give stations or subnets floor and room (`cresset emergency audit`)")
    }

    /// Where the phone is now, else nowhere a site speaks of.
    private func source(of station: String) -> IPAddress? {
        let contacts = status?["stations"]?.arrayValue?.first { $0["station"]?.stringValue == station }?["contacts"]
        guard let text = contacts?.arrayValue?.first?["source"]?.stringValue else { return nil }
        return TransportAddress(text)?.address
    }

    private var callback: Point {
        let pools = configuration.sites.filter { !$0.elins.isEmpty }.map(\.name)
        let unnumbered = configuration.stations.filter { station in
            guard station.number == nil else { return false }
            return probe.dial("911", as: station.name, from: source(of: station.name)).elin == nil
        }.map(\.name)
        return point(
            "every caller can be called back", "47 CFR 9.16(b)(2), (b)(3)", unnumbered.isEmpty,
            pass: pools.isEmpty
                ? "by the stations' own numbers" : "ELINs at \(some(pools)), else stations' own numbers",
            missing: "neither a number of their own nor an ELIN: \(some(unnumbered))",
            remedy: "give sites.NAME.elins, or the stations a number")
    }

    // MARK: Proof

    private var logging: Point {
        let alarms = (status?["alarms"]?.arrayValue ?? []).compactMap(\.stringValue).filter { $0.hasPrefix("911 rec") }
        let problems = [recordsError].compactMap { $0 } + alarms
        return point(
            "calls are put on record", "good practice", problems.isEmpty,
            pass: records.isEmpty ? "none so far" : "\(records.count) in the last months",
            missing: some(problems), remedy: "make room on the disk; see `cresset status`")
    }

    private var testMode: Point {
        let title = "test mode is off"
        guard let status else { return unknown(title, "good practice") }
        let sign = status["emergency"]?["test-mode"]?.stringValue
        return point(
            title, "good practice", sign == nil, pass: "911 calls leave the box",
            missing: "911 is blocked: \(sign ?? "")", remedy: "take the sign of test mode away, restart cressetd")
    }

    /// A 933 that was answered and heard, of each site, by the box or by a person.
    private var proof: Point {
        let since = (now + (.zero - Limits.proofAge)).rfc3339
        let good = records.filter { record in
            record["number"]?.stringValue == "933" && record["answer-ms"]?.integerValue != nil
                && (record["packets"]?["from-called"]?.integerValue ?? 0) > 0
                && (record["start"]?.stringValue ?? "") >= since
        }
        let proved = Set(good.compactMap { $0["site"]?.stringValue })
        let without = configuration.sites.map(\.name).filter { !proved.contains($0) }
        return point(
            "a test call (933) was heard in the last 48 hours", "good practice", !good.isEmpty && without.isEmpty,
            pass: configuration.sites.isEmpty ? "\(good.count)" : "at \(some(proved.sorted()))",
            missing: without.isEmpty ? "none was" : "not at \(some(without))",
            remedy: "`cresset emergency prove`, or dial 933; [emergency.proof] does it every night")
    }

    // MARK: Words

    private func point(
        _ title: String, _ law: String, _ passes: Bool, pass: String, missing: String, remedy: String
    ) -> Point {
        Point(
            title: title, law: law, state: passes ? .pass : .missing, detail: passes ? pass : missing,
            remedy: passes ? "" : remedy)
    }

    private func unknown(_ title: String, _ law: String, _ detail: String = "") -> Point {
        Point(
            title: title, law: law, state: .unknown,
            detail: detail.isEmpty ? "cressetd does not run" : "\(detail); cressetd does not run",
            remedy: "start cressetd and ask again")
    }

    private func some(_ names: [String]) -> String {
        let rest = names.count - Limits.namesShown
        return names.prefix(Limits.namesShown).joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
    }
}
