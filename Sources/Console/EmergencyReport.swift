import Primitives

/// A month of calls for help: how many, how fast, over what, and who was told.
///
/// Made from the records alone, so that it can be had without the daemon and checked against them.
package struct EmergencyReport: Sendable {
    /// Milliseconds or microseconds of several calls.
    package struct Times: Equatable, Sendable {
        package private(set) var sorted: [Int64]

        init(_ values: [Int64]) { sorted = values.sorted() }

        /// The value that this share of all does not exceed (nearest rank); nil of none.
        package func percentile(_ percent: Int) -> Int64? {
            guard !sorted.isEmpty else { return nil }
            let rank = (sorted.count * percent + 99) / 100
            return sorted[max(0, min(sorted.count - 1, rank - 1))]
        }

        package var median: Int64? { percentile(50) }
        package var worst: Int64? { percentile(99) }

        var json: JSONValue {
            ["count": .init(sorted.count), "median": .init(of: median), "p99": .init(of: worst)]
        }
    }

    /// What one trunk did when it was asked.
    package struct TrunkUse: Equatable, Sendable {
        package var asked = 0
        package var answered = 0
        /// How often each failure was seen, by its name.
        package var failures: [String: Int] = [:]
    }

    /// How one channel did.
    package struct ChannelUse: Equatable, Sendable {
        package var count = 0
        package var delivered = 0
        package var retried = 0
    }

    /// The proofs of one site over one trunk.
    package struct ProofUse: Equatable, Sendable {
        package var count = 0
        package var good = 0
        package var last: JSONValue = .null
    }

    /// `2026-11`.
    package let month: String
    /// nil: all.
    package let site: String?
    /// As kept, those of the month and site, in the order they began.
    package let records: [JSONValue]

    /// People who asked for help; what test mode kept back is not among them.
    package var calls: [JSONValue] { records.filter { Self.kind($0) == .call } }
    package var tests: [JSONValue] { records.filter { Self.kind($0) == .test } }
    package var proofs: [JSONValue] { records.filter { Self.kind($0) == .proof } }
    package var blocked: [JSONValue] { records.filter { Self.kind($0) == .blocked } }

    private enum Kind { case call, test, proof, blocked }

    private static func kind(_ record: JSONValue) -> Kind {
        if record["blocked-by"]?.stringValue != nil { return .blocked }
        if record["proof"]?.boolValue == true { return .proof }
        return record["number"]?.stringValue == "933" ? .test : .call
    }

    /// - Parameter records: Of any time and place.
    package init(month: String, site: String?, records: [JSONValue]) {
        self.month = month
        self.site = site
        self.records = records.filter { record in
            record["start"]?.stringValue?.hasPrefix(month + "-") == true
                && (site == nil || record["site"]?.stringValue == site)
        }
        .sorted { ($0["start"]?.stringValue ?? "") < ($1["start"]?.stringValue ?? "") }
    }

    // MARK: Figures

    package var inviteOutMicroseconds: Times { times("invite-out-us") }
    package var ringingMilliseconds: Times { times("ringing-ms") }
    package var answerMilliseconds: Times { times("answer-ms") }

    private func times(_ name: String) -> Times { Times(calls.compactMap { $0[name]?.integerValue }) }

    package var answeredCount: Int { calls.count { $0["answer-ms"]?.integerValue != nil } }
    package var interruptedCount: Int { calls.count { $0["state"]?.stringValue == "interrupted" } }

    /// Calls that the first trunk asked did not take.
    package var failoverCount: Int { calls.count { $0.elements("attempts").count > 1 } }

    package var completeLocationCount: Int {
        calls.count { $0["location"]?["missing"]?.arrayValue?.isEmpty == true }
    }

    package var incompleteLocationCount: Int {
        calls.count { $0["location"]?["missing"]?.arrayValue?.isEmpty == false }
    }

    /// Calls nobody was told of.
    package var untoldCount: Int {
        calls.count { !$0.elements("notifications").contains { $0["delivered"]?.boolValue == true } }
    }

    package var acknowledgedCount: Int { calls.count { $0["acknowledged"]?["by"]?.stringValue != nil } }

    /// From the INVITE out to the first notification under way.
    package var notificationStartMilliseconds: Times {
        Times(
            calls.compactMap { record in
                guard let out = record["invite-out-us"]?.integerValue,
                    let start = record.elements("notifications").compactMap({ $0["start-ms"]?.integerValue }).min()
                else { return nil }
                return max(0, start - out / 1_000)
            })
    }

    package var trunks: [String: TrunkUse] {
        var uses: [String: TrunkUse] = [:]
        for attempt in calls.flatMap({ $0.elements("attempts") }) {
            guard let trunk = attempt["trunk"]?.stringValue else { continue }
            let outcome = attempt["outcome"]?.stringValue ?? "unfinished"
            uses[trunk, default: TrunkUse()].asked += 1
            if Self.isAnswer(outcome) {
                uses[trunk]?.answered += 1
            } else {
                uses[trunk]?.failures[outcome, default: 0] += 1
            }
        }
        return uses
    }

    static func isAnswer(_ outcome: String) -> Bool { outcome.hasPrefix("2") || outcome == "answered" }

    package var channels: [String: ChannelUse] {
        var uses: [String: ChannelUse] = [:]
        for notification in calls.flatMap({ $0.elements("notifications") }) {
            guard let channel = notification["channel"]?.stringValue else { continue }
            uses[channel, default: ChannelUse()].count += 1
            if notification["delivered"]?.boolValue == true { uses[channel]?.delivered += 1 }
            if (notification["tries"]?.integerValue ?? 1) > 1 { uses[channel]?.retried += 1 }
        }
        return uses
    }

    package var elins: [String: Int] {
        calls.reduce(into: [:]) { uses, record in
            if let elin = record["elin"]?.stringValue { uses[elin, default: 0] += 1 }
        }
    }

    /// By site and trunk, "office over carrier-a".
    package var proofUses: [String: ProofUse] {
        var uses: [String: ProofUse] = [:]
        for record in proofs {
            let name = "\(record["site"]?.stringValue ?? "no site") over \(EmergencyRecordText.lastTrunk(record))"
            uses[name, default: ProofUse()].count += 1
            if Self.isGood(record) { uses[name]?.good += 1 }
            uses[name]?.last = record
        }
        return uses
    }

    /// A proof that was answered and heard.
    package static func isGood(_ record: JSONValue) -> Bool {
        record["answer-ms"]?.integerValue != nil && (record["packets"]?["from-called"]?.integerValue ?? 0) > 0
    }

    // MARK: For programs

    package func json(revealed: Bool) -> JSONValue {
        [
            "month": .string(month), "site": .init(site),
            "calls": [
                "count": .init(calls.count), "answered": .init(answeredCount), "interrupted": .init(interruptedCount),
                "blocked-in-test-mode": .init(blocked.count), "tests": .init(tests.count),
                "proofs": .init(proofs.count),
            ],
            "times": [
                "invite-out-microseconds": inviteOutMicroseconds.json,
                "ringing-milliseconds": ringingMilliseconds.json, "answer-milliseconds": answerMilliseconds.json,
                "notification-start-milliseconds": notificationStartMilliseconds.json,
            ],
            "location": [
                "complete": .init(completeLocationCount), "incomplete": .init(incompleteLocationCount),
                "none": .init(calls.count - completeLocationCount - incompleteLocationCount),
            ],
            "failovers": .init(failoverCount),
            "trunks": .object(
                trunks.sorted { $0.key < $1.key }.map { name, use in
                    .init(
                        name,
                        [
                            "asked": .init(use.asked), "answered": .init(use.answered),
                            "failures": .object(
                                use.failures.sorted { $0.key < $1.key }.map { .init($0.key, .init($0.value)) }),
                        ])
                }),
            "notifications": [
                "untold-calls": .init(untoldCount), "acknowledged-calls": .init(acknowledgedCount),
                "channels": .object(
                    channels.sorted { $0.key < $1.key }.map { name, use in
                        .init(
                            name,
                            [
                                "count": .init(use.count), "delivered": .init(use.delivered),
                                "retried": .init(use.retried),
                            ])
                    }),
            ],
            "elins": .object(
                elins.sorted { $0.key < $1.key }.map { .init($0.key, .init($0.value)) }),
            "proofs": .object(
                proofUses.sorted { $0.key < $1.key }.map { name, use in
                    .init(
                        name, ["count": .init(use.count), "good": .init(use.good), "last": use.last["start"] ?? .null])
                }),
            "records": .array(revealed ? records : records.map(EmergencyRecordText.masked)),
        ]
    }
}

extension JSONValue {
    fileprivate init(of number: Int64?) { self = number.map { .integer($0) } ?? .null }
}
