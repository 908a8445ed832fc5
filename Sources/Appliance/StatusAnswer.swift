import CallEngine
import FastPath
import Primitives

/// The daemon's answers to `cresset status` and `cresset calls`, as JSON; `Console` renders them for people.
enum StatusAnswer {
    /// What the engine cannot know about the box.
    struct Box {
        var name: String
        /// What somebody must look at, in sentences.
        var alarms: [String]
        /// Why every 911 is blocked; nil: none is.
        var testMode: String?
        /// How long an operator keeps it so.
        var testModeLeft: Duration?
        var beacon: JSONValue
        var uptime: Duration
        var configurationDirectory: String
        var configurationLoaded: WallClockTime
        /// By interface.
        var datapath: [(realm: String, interface: String, mode: String, reason: String)]
        var flowsInKernel: Int
        var flowsInUserSpace: Int
        /// What the kernel did with packets of known flows, by the interface they arrived at.
        var received: [(interface: String, outcomes: FastPathOutcomes)]
        var packetsBySocket: UInt64
        /// Announcements and tones, by the way they went.
        var playedByRing: UInt64
        var playedBySocket: UInt64
        /// Multicast groups that hear something now.
        var pages: [(group: String, way: String)]
        /// What speaks: `espeak-ng`, `recordings` or `none`.
        var voice: String
        /// nil when /proc does not tell.
        var residentBytes: Int?
        var openDescriptors: Int?
        /// Counters of the adapters, by name.
        var counters: [(String, UInt64)]
    }

    static func status(_ engine: CallEngineStatus, _ box: Box) -> JSONValue {
        [
            "name": .string(box.name),
            "version": .string(Version.text),
            "alarms": .array(box.alarms.map { .string($0) }),
            "emergency": [
                "test-mode": .init(box.testMode),
                "test-mode-seconds-left": box.testModeLeft.map { .init($0.wholeSeconds) } ?? .null,
            ],
            "beacon": box.beacon,
            "uptime-seconds": .init(box.uptime.wholeSeconds),
            "resident-bytes": box.residentBytes.map { .init($0) } ?? .null,
            "open-descriptors": box.openDescriptors.map { .init($0) } ?? .null,
            "configuration": [
                "directory": .string(box.configurationDirectory),
                "loaded-at": .string(box.configurationLoaded.rfc3339),
                "stations": .init(engine.stations.count),
                "trunks": .init(engine.trunks.count),
            ],
            "datapath": .array(
                box.datapath.map { path in
                    [
                        "interface": .string(path.interface), "realm": .string(path.realm),
                        "mode": .string(path.mode), "reason": .string(path.reason),
                    ]
                }),
            "stations": .array(engine.stations.map(station)),
            "trunks": .array(engine.trunks.map(trunk)),
            "calls": [
                "active": .init(engine.activeCalls),
                "maximum": .init(engine.callsMax),
            ],
            "media": [
                "flows": .init(box.flowsInKernel + box.flowsInUserSpace),
                "flows-kernel": .init(box.flowsInKernel),
                "packets-kernel": .init(box.received.reduce(0) { $0 + $1.outcomes.relayed }),
                "packets-socket": .init(box.packetsBySocket),
                "played-ring": .init(box.playedByRing), "played-socket": .init(box.playedBySocket),
                "pages": .array(box.pages.map { ["group": .string($0.group), "path": .string($0.way)] }),
                "voice": .string(box.voice),
                "wrong-source": .init(
                    box.received.reduce(0) { $0 + $1.outcomes.droppedWrongSource + $1.outcomes.passedWrongSource }),
                "received": .array(
                    box.received.map { interface, outcomes in
                        [
                            "interface": .string(interface), "relayed": .init(outcomes.relayed),
                            "dropped-wrong-source": .init(outcomes.droppedWrongSource),
                            "dropped-malformed": .init(outcomes.droppedMalformed),
                            "dropped-closed-port": .init(outcomes.droppedClosedPort),
                            "passed-wrong-source": .init(outcomes.passedWrongSource),
                            "passed-no-neighbour": .init(outcomes.passedNoNeighbour),
                            "passed-no-route": .init(outcomes.passedNoRoute),
                            "passed-too-large": .init(outcomes.passedTooLarge),
                            "passed-unusual": .init(
                                outcomes.passedUnusual + outcomes.passedTimeToLive + outcomes.passedForeignInterface),
                        ]
                    }),
            ],
            "counters": .object(
                engine.counters.map { .init($0.name, .init($0.value)) } + box.counters.map { .init($0.0, .init($0.1)) }),
        ]
    }

    private static func station(_ station: StationStatus) -> JSONValue {
        [
            "station": .string(station.user),
            "realm": .string(station.realm.rawValue),
            "contacts": .array(
                station.contacts.map { contact in
                    [
                        "uri": .string(contact.uri), "source": .string("\(contact.source)"),
                        "transport": .string(contact.transport),
                        "expires-seconds": .init(contact.expiresIn.wholeSeconds),
                    ]
                }),
        ]
    }

    private static func trunk(_ trunk: TrunkStatus) -> JSONValue {
        var members: [JSONValue.Member] = [
            .init("trunk", .string(trunk.name)),
            .init("realm", .string(trunk.realm.rawValue)),
            .init("peer", .string("\(trunk.peer)")),
            .init("state", .string(trunk.health.rawValue)),
            .init("calls", .init(trunk.calls)),
        ]
        switch trunk.registration {
        case .none: members.append(.init("registration", "none"))
        case .trying: members.append(.init("registration", "trying"))
        case .registered(let expiresIn):
            members.append(.init("registration", "registered"))
            members.append(.init("registration-expires-seconds", .init(expiresIn.wholeSeconds)))
        case .failed(let reason):
            members.append(.init("registration", "failed"))
            members.append(.init("last-reason", .string(reason)))
        }
        if let callsMax = trunk.callsMax { members.append(.init("calls-maximum", .init(callsMax))) }
        if let roundTrip = trunk.roundTrip {
            members.append(.init("round-trip-milliseconds", .init(roundTrip.wholeMilliseconds)))
        }
        return .object(members)
    }

    /// `path` tells for one of our media addresses whether its flow is in the kernel.
    static func calls(
        _ calls: [CallStatus], at now: MonotonicTime, path: (TransportAddress) -> String
    ) -> JSONValue {
        ["calls": .array(calls.map { call($0, at: now, path: path) })]
    }

    private static func call(
        _ call: CallStatus, at now: MonotonicTime, path: (TransportAddress) -> String
    ) -> JSONValue {
        var members: [JSONValue.Member] = [
            .init("id", .string("\(call.id)")),
            .init("state", .string(call.phase.rawValue)),
            .init("from", .string(call.caller.number)),
            .init("to", .string(call.dialled)),
            .init("caller", .init(call.caller.name)),
            .init("callee", .init(call.callee.name)),
            .init("age-seconds", .init((now - call.start).wholeSeconds)),
            .init("talk-seconds", call.answer.map { .init((now - $0).wholeSeconds) } ?? .null),
            .init(
                "attempts",
                .array(
                    call.attempts.map { attempt in
                        [
                            "target": .string(attempt.target.name ?? attempt.target.number),
                            "outcome": .string(attempt.outcome.text),
                            "milliseconds": .init(attempt.milliseconds),
                        ]
                    })),
        ]
        if case .trunk(let name) = call.callee.kind { members.append(.init("trunk", .string(name))) }
        if case .trunk(let name) = call.caller.kind { members.append(.init("trunk", .string(name))) }
        guard call.announcement == nil else {
            let local = call.calleeMedia.first
            members.append(
                .init(
                    "flows",
                    .array([
                        flow("box-to-callee", call.fromCaller, call.callerToCallee, local, path),
                        flow("callee-to-box", call.fromCallee, call.calleeToCaller, local) { _ in "socket" },
                    ])))
            return .object(members)
        }
        members.append(
            .init(
                "flows",
                .array([
                    flow("caller-to-callee", call.fromCaller, call.callerToCallee, call.callerMedia.first, path),
                    flow("callee-to-caller", call.fromCallee, call.calleeToCaller, call.calleeMedia.first, path),
                ])))
        return .object(members)
    }

    private static func flow(
        _ direction: String, _ counters: CallMediaCounters, _ quality: CallQuality, _ local: TransportAddress?,
        _ path: (TransportAddress) -> String
    ) -> JSONValue {
        [
            "direction": .string(direction), "local": .init(local.map { "\($0)" }),
            "packets": .init(counters.packets), "bytes": .init(counters.bytes),
            "wrong-source": .init(counters.wrongSource), "malformed": .init(counters.malformed),
            "path": .string(local.map(path) ?? "none"), "codec": .init(counters.codec),
            "quality": QualityAnswer.quality(quality),
        ]
    }
}
