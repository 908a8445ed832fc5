import CallEngine
import Configuration
import FastPath
import LinuxIO
import Primitives
import SIPEngine
import Shield
import SignallingFormats

/// Carries the shield's decisions to the kernel, feeds it what the engine and the kernel see, and answers the operator.
/// Where a realm has no program in the kernel, it stands before the parser instead (`admits`).
final class ShieldSupervisor {
    private enum Limits {
        static let tick = Duration.seconds(1)
        /// Packets of one source dropped beyond its rate between two looks that count as an offence.
        static let excess: UInt64 = 500
        static let reasonByteCountMax = 200
    }

    /// What a prefix would cut, apart from trunks: asked of the call engine.
    var uses: (IPPrefix) -> [SourceUse] = { _ in [] }
    var stationSources: () -> [(address: IPAddress, expires: MonotonicTime?)] = { [] }

    private var shield: ShieldEngine
    private var configuration: BoxConfiguration
    private let fastPath: FastPath?
    private let file: ShieldFile
    private let loop: EventLoop
    private let log: StandardErrorLog
    /// As the kernel has them.
    private var applied: [IPPrefix: Standing] = [:]
    private var rulesInKernel = false
    /// Realms whose packets pass the kernel's shield.
    private var kernelRealms: Set<RealmID> = []
    private var trunkRealms: Set<RealmID> = []
    private var users: Set<String> = []
    private var emergencyNumbers = EmergencyNumberPlan()
    private var droppedBefore: [IPAddress: UInt64] = [:]
    private var droppedTotalBefore: UInt64 = 0
    private var kernelFailed = false

    init(
        _ configuration: BoxConfiguration, fastPath: FastPath?, stateDirectory: String, loop: EventLoop,
        log: StandardErrorLog
    ) {
        self.configuration = configuration
        self.fastPath = fastPath
        self.loop = loop
        self.log = log
        file = ShieldFile(directory: stateDirectory)
        shield = ShieldEngine(policy: ShieldPolicy(configuration))
    }

    /// Before the first packet; `uses` and `stationSources` must be set.
    func start() {
        do throws(SystemCallError) {
            shield.restore(try file.read(), at: Clock.monotonic, wall: Clock.wall)
        } catch {
            log.write(.error, "shield: blocks and allowances of the last run are lost: \(error)")
        }
        take(configuration)
        applyStandings()
        drain()
        tick()
    }

    func reconfigure(_ new: BoxConfiguration) {
        shield.reconfigure(ShieldPolicy(new))
        take(new)
        drain()
    }

    private func take(_ configuration: BoxConfiguration) {
        self.configuration = configuration
        users = Set(configuration.stations.map(\.name))
        emergencyNumbers = configuration.emergency.numberPlan
        trunkRealms = Set(configuration.realms.filter { $0.role == .trunks }.map { RealmID($0.name) })
        rulesInKernel = false
        guard let fastPath else { return }
        do throws(FastPathError) {
            let rules = ShieldRules(configuration)
            switch try fastPath.setShield(rules) {
            case .applied: rulesInKernel = rules != nil
            case .unsupported(.notAttached): break
            case .unsupported(let reason):
                log.write(.warning, "shield: not in the kernel, only in cressetd: \(reason.rawValue)")
            }
        } catch {
            log.write(.warning, "shield: not in the kernel, only in cressetd: \(error)")
        }
        noteRealms()
    }

    private func noteRealms() {
        // A packet ring sees what arrives before the program does.
        guard rulesInKernel, configuration.signalling.receive == .socket, let attachments = fastPath?.attachments
        else { return kernelRealms = [] }
        kernelRealms = Set(
            configuration.realms.filter { realm in
                realm.datapath != .off
                    && attachments.contains { $0.interface == realm.interface && [.xdp, .tc].contains($0.mode) }
            }.map { RealmID($0.name) })
    }

    private func tick() {
        let now = Clock.monotonic
        shield.advance(to: now)
        noteRealms()
        shield.noteStations(stationSources().map { ($0.address, $0.expires ?? now) }, at: now)
        noteExcess(at: now)
        drain()
        loop.schedule(at: now + Limits.tick) { [weak self] in self?.tick() }
    }

    // MARK: What is seen

    /// Whether a message is read or a connection taken up. Of phones' realms every source is read, if it is not too
    /// much: somebody may ask for help.
    func admits(_ source: IPAddress, in realm: RealmID) -> Bool {
        let hears = !trunkRealms.contains(realm)
        // What passed the kernel has been counted there; a block may be younger than what waits in the socket.
        if kernelRealms.contains(realm) { return hears || !shield.isBlocked(source) }
        return shield.admits(source, hearsEmergencies: hears, at: Clock.monotonic)
    }

    /// A message before the engine has it; false: it goes no further.
    func inspect(_ message: SIPMessage, from path: TransportPath) -> Bool {
        let source = path.remote.address
        guard shield.isBlocked(source) else {
            blame(message, path)
            return true
        }
        // Whoever asks for help is heard, and so is what follows in that call.
        guard case .request(let request) = message, emergencyNumbers.number(askedBy: request) == .emergency,
            !trunkRealms.contains(path.realm)
        else {
            shield.countRefused()
            return false
        }
        return true
    }

    private func blame(_ message: SIPMessage, _ path: TransportPath) {
        guard shield.policy.isOn, case .request(let request) = message else { return }
        let source = path.remote.address
        // Whoever asks for help is nobody's offender, whatever his phone is.
        guard shield.standing(of: source) == .unknown, emergencyNumbers.number(askedBy: request) == nil else { return }
        if let scanner = request.headers.first(.userAgent).flatMap({ shield.scanner(inUserAgent: $0) }) {
            return note(.scanner(scanner), from: source)
        }
        if trunkRealms.contains(path.realm) { return note(.notATrunk, from: source) }
        guard request.method == .register || request.method == .invite else { return }
        let user = (request.method == .register ? request.to?.uri : request.from?.uri)?.sip?.user
        if let user, user != "anonymous", !users.contains(user) { note(.unknownUser, from: source) }
    }

    /// False: it goes no further.
    func noteMalformed(from path: TransportPath) -> Bool {
        guard !shield.isBlocked(path.remote.address) else { return false }
        note(.malformed, from: path.remote.address)
        return true
    }

    func note(_ event: CallEvent) {
        switch event {
        // An unknown user is counted by `inspect`.
        case .authenticationFailed(let user, let source) where users.contains(user):
            note(.authenticationFailed, from: source.address)
        case .stationRegistered(_, _, let source, let expires):
            noteStation(source.address, for: expires)
        case .emergencyCall(_, _, let source, .emergency):
            shield.noteEmergency(source.address, at: Clock.monotonic)
            drain()
        default: break
        }
    }

    private func noteStation(_ source: IPAddress, for time: Duration) {
        let now = Clock.monotonic
        shield.noteStations([(source, now + time)], at: now)
        drain()
    }

    private func note(_ offence: Offence, from source: IPAddress) {
        shield.note(offence, from: source, at: Clock.monotonic, protections: protections)
        drain()
    }

    private func protections(_ prefix: IPPrefix) -> [Protection] {
        uses(prefix).map { use in
            switch use {
            case .station(let user): .station(user)
            case .call(let call, let isEmergency): isEmergency ? .emergencyCall("\(call)") : .call("\(call)")
            }
        }
    }

    /// Sources that go on although the kernel drops what they send.
    private func noteExcess(at now: MonotonicTime) {
        guard rulesInKernel, let fastPath else { return }
        let total = fastPath.totals().sum.droppedSourceRate
        guard total != droppedTotalBefore else { return }
        droppedTotalBefore = total
        var dropped: [IPAddress: UInt64] = [:]
        for (source, count) in fastPath.limitedSources() {
            dropped[source] = count
            let before = droppedBefore[source] ?? 0
            let excess = count >= before ? count - before : count
            if excess >= Limits.excess {
                shield.note(.excess(excess), from: source, at: now, protections: protections)
            }
        }
        droppedBefore = dropped
    }

    // MARK: What is done

    private func drain() {
        while let output = shield.nextOutput() {
            switch output {
            case .block(let prefix, let until):
                inKernel { fastPath throws(FastPathError) in
                    try fastPath.block(prefix, until: until)
                }
            case .unblock(let prefix): fastPath?.unblock(prefix)
            case .standingsChanged: applyStandings()
            case .event(let event):
                log.write(event.level, event.text)
                switch event {
                case .ordered, .orderWithdrawn, .orderEnded: save()
                case .blocked, .blockEnded, .blockRefused, .tableFull, .unblocked: break
                }
            }
        }
    }

    private func applyStandings() {
        let wanted = shield.standings
        for prefix in applied.keys where wanted[prefix] == nil { fastPath?.disallow(prefix) }
        for (prefix, standing) in wanted where applied[prefix] != standing {
            guard let standing = ShieldStanding(standing) else { continue }
            inKernel { fastPath throws(FastPathError) in try fastPath.allow(prefix, as: standing) }
        }
        applied = wanted
    }

    private func inKernel(_ action: (FastPath) throws(FastPathError) -> FastPathResult) {
        guard let fastPath else { return }
        do throws(FastPathError) {
            switch try action(fastPath) {
            case .applied, .unsupported(.notAttached): kernelFailed = false
            case .unsupported(let reason): kernelRefused(reason.rawValue)
            }
        } catch {
            kernelRefused("\(error)")
        }
    }

    /// Said once until it works again.
    private func kernelRefused(_ reason: String) {
        if !kernelFailed { log.write(.error, "shield: the kernel takes no more prefixes: \(reason)") }
        kernelFailed = true
    }

    private func save() {
        do throws(SystemCallError) {
            try file.write(Array(shield.orders.values))
        } catch {
            log.write(.error, "shield: blocks and allowances cannot be written down: \(error)")
        }
    }

    // MARK: The operator

    /// The answer to `{"command": "shield", "action": …}`.
    func answer(_ request: JSONValue, by user: UInt32) -> JSONValue {
        let action = request["action"]?.stringValue
        if action == "list" { return ["ok": true, "result": list] }
        guard let action, ["block", "allow", "unblock"].contains(action) else {
            return Self.no("the action is one of list, block, allow, unblock")
        }
        let prefix: IPPrefix
        switch PrefixText.parse(request["prefix"]?.stringValue ?? "") {
        case .success(let parsed): prefix = parsed
        case .failure(let mistake): return Self.no(mistake.description)
        }
        defer { drain() }
        let name = user == 0 ? "root" : "user \(user)"
        if action == "unblock" {
            switch shield.unblock(prefix, by: name) {
            case .success: return ["ok": true, "result": ["prefix": .string("\(prefix)"), "cuts": []]]
            case .failure(let refusal): return Self.no(refusal.text)
            }
        }
        let reason = request["reason"]?.stringValue ?? ""
        guard reason.utf8.count <= Limits.reasonByteCountMax else {
            return Self.no("the reason is longer than \(Limits.reasonByteCountMax) bytes")
        }
        let wall = Clock.wall
        var until: WallClockTime?
        if let seconds = request["seconds"]?.integerValue {
            guard (1...315_360_000).contains(seconds) else { return Self.no("the duration is from 1s to ten years") }
            until = wall + .seconds(seconds)
        }
        let order = Order(
            kind: action == "block" ? .block : .allow, prefix: prefix, reason: reason, operatorName: name, since: wall,
            until: until)
        let result = shield.carryOut(
            order, force: request["force"]?.boolValue ?? false,
            console: request["console"]?.stringValue.flatMap { IPAddress($0) }, at: Clock.monotonic, wall: wall,
            protections: protections)
        switch result {
        case .success(let cuts):
            return [
                "ok": true,
                "result": ["prefix": .string("\(prefix)"), "cuts": .array(cuts.map { .string($0.text) })],
            ]
        case .failure(let refusal): return Self.no(refusal.text)
        }
    }

    private static func no(_ reason: String) -> JSONValue { ["ok": false, "error": .string(reason)] }

    private var list: JSONValue {
        let (now, wall) = (Clock.monotonic, Clock.wall)
        let orders = shield.orders.values.sorted { $0.prefix.description < $1.prefix.description }
        func row(_ order: Order) -> JSONValue {
            [
                "prefix": .string("\(order.prefix)"), "by": .string(order.operatorName),
                "reason": .string(order.reason), "since": .string(order.since.rfc3339),
                "remaining-seconds": order.until.map { .init(max(0, ($0 - wall).wholeSeconds)) } ?? .null,
                "packets": packets(order.prefix),
            ]
        }
        let automatic: [JSONValue] = shield.blocked.map { blocked in
            [
                "prefix": .string("\(blocked.prefix)"), "by": "cressetd", "reason": .string(blocked.reason),
                "remaining-seconds": .init(max(0, (blocked.until - now).wholeSeconds)),
                "repetition": .init(blocked.repetition), "packets": packets(blocked.prefix),
            ]
        }
        return [
            "enabled": .bool(shield.policy.isOn),
            "kernel-realms": .array(kernelRealms.map(\.rawValue).sorted().map { .string($0) }),
            "blocks": .array(orders.filter { $0.kind == .block }.map(row) + automatic),
            "allowed": .array(
                orders.filter { $0.kind == .allow }.map(row)
                    + shield.policy.allowed.map { ["prefix": .string("\($0)"), "by": "configuration"] }),
            "stations-known": .init(applied.values.count { $0 == .station }),
        ]
    }

    private func packets(_ prefix: IPPrefix) -> JSONValue {
        fastPath?.blockedPackets(of: prefix).map { .init($0) } ?? .null
    }

    /// For `cresset status`.
    var counters: [(String, UInt64)] {
        let outcomes = fastPath?.totals().sum ?? FastPathOutcomes()
        return [
            ("shield-blocked-now", UInt64(shield.blocked.count + shield.orders.values.count { $0.kind == .block })),
            ("shield-dropped-blocked", outcomes.droppedBlocked),
            ("shield-dropped-unusual", outcomes.droppedUnusual),
            ("shield-dropped-not-sip", outcomes.droppedNotSIP),
            ("shield-dropped-source-rate", outcomes.droppedSourceRate),
            ("shield-dropped-unknown-rate", outcomes.droppedUnknownRate),
            ("shield-dropped-closed-port", outcomes.droppedClosedPort),
            ("shield-offences", shield.counters.offences), ("shield-blocks", shield.counters.blocks),
            ("shield-blocks-refused", shield.counters.refusedBlocks),
            ("shield-socket-blocked", shield.counters.refusedBlocked),
            ("shield-socket-rate", shield.counters.refusedRate),
        ]
    }
}

extension ShieldStanding {
    /// nil for the unknown.
    fileprivate init?(_ standing: Standing) {
        switch standing {
        case .unknown: return nil
        case .station: self = .station
        case .trunk: self = .trunk
        case .allowed: self = .allowed
        }
    }
}
