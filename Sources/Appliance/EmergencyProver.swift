import CallEngine
import Configuration
import EmergencyCalling
import LinuxIO
import MediaEngine
import Primitives

/// Places 933 calls by itself, of each site over each of its trunks, one after the other, at the time configured or when
/// an operator asks; what became of them is in the records, like that of any call.
final class EmergencyProver {
    private enum Limits {
        static let ringTimeout = Duration.seconds(30)
        static let pause = Duration.seconds(5)  // between two calls, and while somebody asks for help
        static let queueMax = 256
        static let scheduleStep = Duration.seconds(3_600)  // the wall clock is looked at that often: it may be set
    }

    /// One way to be proved.
    struct Way: Hashable {
        var site: String?
        var trunk: String

        var text: String { "site \(site ?? "none") over \(trunk)" }
    }

    /// Whether a call for help lasts: proofs wait for its end.
    var isHelpNeeded: () -> Bool = { false }

    private let loop: EventLoop
    private let log: StandardErrorLog
    private let announcements: AnnouncementDesk
    private var configuration: BoxConfiguration
    private var queue: [Way] = []
    private var running: Way?
    /// What the last proof of each way came to; good ones too.
    private var outcomes: [Way: EmergencyRecord] = [:]
    private var timer: EventLoop.TimerToken?
    private var due: WallClockTime?

    init(_ configuration: BoxConfiguration, announcements: AnnouncementDesk, loop: EventLoop, log: StandardErrorLog) {
        self.configuration = configuration
        self.announcements = announcements
        self.loop = loop
        self.log = log
    }

    func start() {
        due = configuration.emergency.proof.next(after: Clock.wall)
        waitForNext()
    }

    func reconfigure(_ new: BoxConfiguration) {
        configuration = new
        let ways = Set(self.ways())
        outcomes = outcomes.filter { ways.contains($0.key) }
        due = new.emergency.proof.next(after: Clock.wall)
        waitForNext()
    }

    /// Ways whose last proof failed.
    var alarms: [String] {
        outcomes.filter { !$0.value.isGoodProof }.map { way, record in
            "911 is not proved at \(way.text): 933 got \(record.attempts.last?.outcome ?? record.ending ?? "nothing")"
        }.sorted()
    }

    // MARK: When

    private func waitForNext() {
        if let timer { loop.cancel(timer) }
        timer = nil
        guard let due else { return }
        let wait = max(.zero, min(due - Clock.wall, Limits.scheduleStep))
        timer = loop.schedule(at: Clock.monotonic + wait) { [unowned self] in
            timer = nil
            if Clock.wall >= due {
                enqueue(ways())
                self.due = configuration.emergency.proof.next(after: Clock.wall)
            }
            waitForNext()
        }
    }

    // MARK: What

    /// Of each site its own trunks, else those for emergencies, else all; without sites, the trunks.
    private func ways() -> [Way] {
        let all = configuration.trunks.map(\.name)
        let global = configuration.emergency.trunks.isEmpty ? all : configuration.emergency.trunks
        guard !configuration.sites.isEmpty else { return global.map { Way(site: nil, trunk: $0) } }
        return configuration.sites.flatMap { site in
            (site.trunks.isEmpty ? global : site.trunks).map { Way(site: site.name, trunk: $0) }
        }
    }

    private func enqueue(_ ways: [Way]) {
        for way in ways where !queue.contains(way) && running != way && queue.count < Limits.queueMax {
            queue.append(way)
        }
        placeNext()
    }

    private func placeNext() {
        guard running == nil, let way = queue.first else { return }
        guard !isHelpNeeded() else { return placeLater() }
        queue.removeFirst()
        running = way
        log.write(.info, "933 proof call: \(way.text)")
        let listen = configuration.emergency.proof.listen
        announcements.place(
            { id in
                AnnouncementRequest(
                    id: id, target: .number(EmergencyNumber.test.dialString, trunk: way.trunk),
                    playlist: Playlist([.silence(.seconds(1))], repetitions: nil, pause: .zero),
                    ringTimeout: Limits.ringTimeout, durationMax: listen, proof: .init(site: way.site))
            }, listener: { _ in })
    }

    private func placeLater() {
        loop.schedule(at: Clock.monotonic + Limits.pause) { [weak self] in self?.placeNext() }
    }

    /// The record of a proof that is over.
    func note(_ record: EmergencyRecord) {
        guard let way = running else { return }
        running = nil
        outcomes[way] = record
        log.write(
            record.isGoodProof ? .notice : .error,
            "933 proof call: \(way.text): "
                + (record.isGoodProof
                    ? "answered and heard, \(record.packetsFromCallee) packets"
                    : record.attempts.last?.outcome ?? record.ending ?? "nothing"))
        if !queue.isEmpty { placeLater() }
    }

    // MARK: Control socket

    /// `{"command":"emergency-prove"}` begins, with `site` and `trunk` where not all are wanted; with
    /// `"action":"results"` it tells how far it is.
    func answer(_ request: JSONValue, by user: UInt32) -> JSONValue {
        if request["action"]?.stringValue == "results" { return ["ok": true, "result": results] }
        var ways = ways()
        let site = request["site"]?.stringValue
        let trunk = request["trunk"]?.stringValue
        if let site {
            guard configuration.sites.contains(where: { $0.name == site }) else {
                return ["ok": false, "error": .string("there is no site “\(site)”")]
            }
            ways.removeAll { $0.site != site }
        }
        if let trunk {
            guard configuration.trunk(named: trunk) != nil else {
                return ["ok": false, "error": .string("there is no trunk “\(trunk)”")]
            }
            // Any trunk may have to carry a call for help, so any may be proved, for any site.
            let sites = site.map { [$0] } ?? configuration.sites.map(\.name)
            ways = sites.isEmpty ? [Way(site: nil, trunk: trunk)] : sites.map { Way(site: $0, trunk: trunk) }
        }
        guard !ways.isEmpty else { return ["ok": false, "error": "no trunk is configured"] }
        log.write(.notice, "933 proof calls asked for by user \(user): \(ways.count)")
        for way in ways { outcomes[way] = nil }
        enqueue(ways)
        return ["ok": true, "result": results]
    }

    private var results: JSONValue {
        let open = (running.map { [$0] } ?? []) + queue
        let done = outcomes.filter { !open.contains($0.key) }
            .sorted { ($0.key.site ?? "", $0.key.trunk) < ($1.key.site ?? "", $1.key.trunk) }
        return [
            "waiting": .init(open.count),
            "proofs": .array(
                done.map { way, record in
                    [
                        "site": .init(way.site), "trunk": .string(way.trunk), "id": .string(record.id.rawValue),
                        "good": .bool(record.isGoodProof),
                        "outcome": .init(record.attempts.last?.outcome ?? record.ending),
                        "answer-ms": record.answer.map { .init(($0 - record.start).wholeMilliseconds) } ?? .null,
                        "packets": .init(record.packetsFromCallee),
                    ]
                }),
        ]
    }
}

extension EmergencyRecord {
    /// Answered, and something was heard.
    var isGoodProof: Bool { answer != nil && packetsFromCallee > 0 }
}
