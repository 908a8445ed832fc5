import CallEngine
import Configuration
import Crypto
import EmergencyCalling
import FastPath
import LinuxIO
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats

/// `cressetd`: the call engine, the sockets and the kernel's flow table, put together on one thread.
///
/// Everything that arrives becomes an input of the engine, and every output is carried out at once. The engine is
/// never called while it runs: what happens during an output (a refused connection, counters read back) is handed
/// in as a new input, and the outermost `drain` works until nothing is left.
package final class Daemon {
    private enum Limits {
        /// How long hung-up calls may take to say goodbye at shutdown.
        static let farewell = Duration.seconds(4)
        static let descriptorCount: UInt64 = 65_536  // four media sockets a call and the rest
        /// Before sockets are looked at again: what a flood left to be repeated must not keep a call for help waiting.
        static let transactionTimerCountMax = 64
        static let bindingInterval = Duration.seconds(2)  // what a power cut may cost of registrations
        static let lockedBytes: UInt64 = 256 << 20  // what BPF maps count as on kernels before 5.11
    }

    private let options: DaemonOptions
    private let log: StandardErrorLog
    private let loop: EventLoop
    private let started: MonotonicTime
    private var configuration: BoxConfiguration
    private var configurationLoaded: WallClockTime
    private var engine: CallEngine
    private var transports: SignallingTransports
    private let sockets: MediaSockets
    private let flows: MediaFlows
    private let fastPath: FastPath?
    private let fastPathError: String?
    private let shield: ShieldSupervisor
    private let emergencies: EmergencySupervisor
    private let leases: CallbackLeaseKeeper
    private let testMode: TestModeSupervisor
    private let notifications: NotificationSupervisor
    private let announcements: AnnouncementDesk
    private let speech: Speech
    private let emergencyRecords: EmergencyRecordKeeper
    private let pager: MulticastPager
    private let playouts: PlayoutSender
    private let announcementCommands: AnnouncementCommands
    private let emergencyProver: EmergencyProver
    private let bindingFile: BindingFile
    private var bindingsWritten: UInt64 = 0
    private var bindingsFailed = false
    private let service = ServiceNotification()
    private var signals: SignalSource?
    private var control: ControlServer?
    private var isDraining = false
    private var isStopping = false

    /// Runs until SIGTERM or SIGINT; returns the exit status (sysexits.h).
    package static func run(_ options: DaemonOptions) -> Int32 {
        let log = StandardErrorLog()
        let outcome = BoxConfiguration.load(directory: options.configurationDirectory)
        log.write(outcome.issues)
        guard let configuration = outcome.configuration else {
            log.write(.error, "not starting: \(options.configurationDirectory) has \(outcome.errors.count) error(s)")
            return 78  // EX_CONFIG
        }
        log.level = .init(configuration.log.level)
        let signs = TestModeSupervisor.signs(configuration: options.configurationDirectory)
        if let refusal = TestModeSupervisor.refusal(configuration.system, signs: signs) {
            log.write(.error, "not starting: \(refusal)")
            return 78  // EX_CONFIG
        }
        do throws(SystemCallError) {
            let daemon = try Daemon(options, configuration, log)
            try daemon.run()
            return 0
        } catch {
            log.write(.error, "stopped: \(error)")
            return 71  // EX_OSERR
        }
    }

    private init(
        _ options: DaemonOptions, _ configuration: BoxConfiguration, _ log: StandardErrorLog
    ) throws(SystemCallError) {
        self.options = options
        self.log = log
        self.configuration = configuration
        configurationLoaded = Clock.wall
        started = Clock.monotonic
        try ProcessResources.raise(.openDescriptors, to: Limits.descriptorCount)
        try ProcessResources.raise(.lockedMemory, to: Limits.lockedBytes)
        try Files.createDirectory(options.stateDirectory, mode: 0o750)
        bindingFile = BindingFile(directory: options.stateDirectory)
        loop = try EventLoop()
        emergencyRecords = try EmergencyRecordKeeper(stateDirectory: options.stateDirectory, loop: loop, log: log)
        leases = try CallbackLeaseKeeper(stateDirectory: options.stateDirectory, loop: loop, log: log)
        testMode = TestModeSupervisor(loop: loop, log: log)
        (fastPath, fastPathError) = Self.openFastPath(configuration, log)
        flows = MediaFlows(fastPath: fastPath) { log.write(.warning, $0) }
        shield = ShieldSupervisor(
            configuration, fastPath: fastPath, stateDirectory: options.stateDirectory, loop: loop, log: log)
        announcements = AnnouncementDesk(log: log)
        speech = Speech(
            loop: loop, log: log, synthesizer: options.synthesizerPath, directory: options.phrasesDirectory)
        notifications = try NotificationSupervisor(
            configuration, stateDirectory: options.stateDirectory,
            courierPath: options.courierPath ?? ProcessResources.neighbour("cresset-courier"),
            announcements: announcements, loop: loop, log: log)
        notifications.speak = { [speech] parts, then in speech.speak(parts, then: then) }
        notifications.keep = { [emergencyRecords] record in emergencyRecords.keep(record) }
        emergencies = EmergencySupervisor(notifications: notifications, leases: leases, log: log)
        emergencyProver = EmergencyProver(configuration, announcements: announcements, loop: loop, log: log)
        sockets = MediaSockets(loop: loop)
        pager = MulticastPager(loop: loop, log: log, fastPath: fastPath)
        notifications.page = { [pager] page, then in pager.start(page, then: then) }
        announcementCommands = AnnouncementCommands(announcements, speech, pager)
        playouts = PlayoutSender(fastPath: fastPath, sockets: sockets, trafficClass: configuration.qos.media)
        sockets.takePassed = { [fastPath] in fastPath?.takePassed($0) }
        fastPath?.sockets = sockets
        transports = SignallingTransports(loop: loop)
        engine = CallEngine(
            settings: CallEngineSettings(configuration), hash: OpenSSLDigestHash(), random: RandomSource(),
            testMode: EmergencyTestMode(
                signs: TestModeSupervisor.signs(configuration: options.configurationDirectory)),
            at: Clock.monotonic)
    }

    /// Without the kernel's help calls still work: the sockets relay.
    private static func openFastPath(_ configuration: BoxConfiguration, _ log: StandardErrorLog) -> (FastPath?, String?)
    {
        do throws(FastPathError) {
            let fastPath = try FastPath(
                interfaces: interfaces(of: configuration), flowCountMax: configuration.calls.mediaFlowCountMax)
            tellAttachments(of: fastPath, log)
            guardMediaPorts(of: configuration, fastPath, log)
            return (fastPath, nil)
        } catch {
            log.write(.warning, "the kernel relays no media, sockets do: \(error)")
            return (nil, "\(error)")
        }
    }

    private static func interfaces(of configuration: BoxConfiguration) -> [FastPathInterface] {
        var interfaces: [FastPathInterface] = []
        for realm in configuration.realms where !interfaces.contains(where: { $0.name == realm.interface }) {
            let mode = FastPathInterface.Mode(rawValue: realm.datapath.rawValue) ?? .auto
            interfaces.append(FastPathInterface(name: realm.interface, mode: mode))
        }
        return interfaces
    }

    private static func tellAttachments(of fastPath: FastPath, _ log: StandardErrorLog) {
        for attachment in fastPath.attachments {
            log.write(
                attachment.mode == .none ? .warning : .notice,
                "datapath of \(attachment.interface): \(attachment.mode.rawValue), \(attachment.reason)")
        }
    }

    /// Another datapath under live calls: each flow moves to the engine its interface has now.
    private func changeDatapath(to new: BoxConfiguration) {
        let interfaces = Self.interfaces(of: new)
        guard let fastPath, interfaces != Self.interfaces(of: configuration) else { return }
        do throws(FastPathError) {
            try fastPath.reconfigure(interfaces)
            Self.tellAttachments(of: fastPath, log)
            Self.guardMediaPorts(of: new, fastPath, log)
        } catch {
            log.write(.warning, "the datapath stays as it was: \(error)")
        }
        for (local, isInKernel) in flows.applyAgain() {
            deliver(.flowApplied(local: local, inKernel: isInKernel))
        }
    }

    /// Media to a port no call uses ends in silence, where the kernel's help is wanted.
    private static func guardMediaPorts(
        of configuration: BoxConfiguration, _ fastPath: FastPath, _ log: StandardErrorLog
    ) {
        let ranges = configuration.realms.filter { $0.datapath != .off }.map {
            (address: $0.address, ports: $0.mediaPorts)
        }
        guard !ranges.isEmpty else { return }
        let consequence = "closed media ports answer ICMP port unreachable"
        do throws(FastPathError) {
            if case .unsupported(let reason) = try fastPath.guardPorts(ranges) {
                log.write(.warning, "\(consequence): \(reason.rawValue)")
            }
        } catch {
            log.write(.warning, "\(consequence): \(error)")
        }
    }

    // MARK: Running

    private func run() throws(SystemCallError) {
        try openSignalling()
        sockets.onDatagram = { [unowned self] local, source, bytes in
            deliver(.mediaDatagram(local: local, source: source, bytes: bytes))
        }
        announcements.deliver = { [unowned self] input in deliver(input) }
        pager.trafficClass = configuration.qos.media
        pager.place = { [unowned self] name in
            configuration.realm(named: name.rawValue).map { ($0.address, $0.interface) }
        }
        SignalSource.ignoreBrokenPipes()
        signals = try SignalSource([.terminate, .interrupt, .hangUp], loop: loop) { [unowned self] signal in
            switch signal {
            case .hangUp: reload()
            case .terminate, .interrupt: stop()
            }
        }
        control = try ControlServer(path: options.controlPath, loop: loop) { [unowned self] request in
            let value = answer(request.value, by: request.peer)
            guard let notice = testMode.notice, case .object(let members) = value else { return value }
            return .object(members + [.init("notice", .string(notice))])
        }
        testMode.current = { [unowned self] in engine.testMode }
        testMode.hasEmergencyCall = { [unowned self] in engine.hasEmergencyCall }
        testMode.arm = { [unowned self] in engine.armTestMode($0) }
        testMode.tell(engine.testMode.signs)
        engine.restoreLeases(leases.read(window: engine.settings.emergency.callbackWindow), at: Clock.monotonic)
        log.write(
            .notice,
            "cressetd \(Version.text) of \(configuration.system.name) is ready: \(configuration.stations.count) stations,"
                + " \(configuration.trunks.count) trunks, \(configuration.routes.count) routes")
        service.notify(.ready)
        feedWatchdog()
        restoreBindings()
        shield.uses = { [unowned self] prefix in engine.uses(of: prefix) }
        shield.stationSources = { [unowned self] in engine.stationSources }
        shield.start()
        engine.setWallTime(Clock.wall, at: Clock.monotonic)
        emergencyRecords.packets = { [unowned self] calls in
            engine.refreshMediaCounters(at: Clock.monotonic)
            drain()
            return calls.reduce(into: [:]) { $0[$1] = engine.emergencyPackets(of: $1) }
        }
        emergencyRecords.start()
        notifications.start()
        emergencies.proofEnded = { [unowned self] in emergencyProver.note($0) }
        emergencyProver.isHelpNeeded = { [unowned self] in emergencyRecords.isHelpNeeded }
        emergencyProver.start()
        drain()
        // Reading the configuration and loading the program took memory that is not needed again.
        ProcessResources.returnFreeMemory()
        defer {
            saveBindings()
            notifications.flush()
            emergencyRecords.flush()
            leases.flush()
        }
        try loop.run(
            nextDeadline: { [unowned self] in engine.nextDeadline },
            advance: { [unowned self] now in
                engine.advance(to: now, transactionTimerCountMax: Limits.transactionTimerCountMax)
                drain()
            })
        log.write(.notice, "cressetd stopped")
    }

    private func openSignalling() throws(SystemCallError) {
        transports.trafficClass = configuration.qos.signalling
        transports.admits = { [unowned self] source, realm in shield.admits(source, in: realm) }
        transports.onMessage = { [unowned self] message, path in
            guard shield.inspect(message, from: path) else { return }
            deliver(.received(message, from: path))
        }
        transports.onMalformed = { [unowned self] salvaged, path in
            guard shield.noteMalformed(from: path) else { return }
            deliver(.malformed(salvaged, from: path))
        }
        transports.onFailure = { [unowned self] path, reason in deliver(.transportFailed(path, reason: reason)) }
        transports.onClosed = { [unowned self] path in deliver(.connectionClosed(path)) }
        for realm in configuration.realms {
            try transports.open(
                RealmID(realm.name), at: TransportAddress(realm.address, realm.sipPort),
                udp: realm.transports.contains(.udp), tcp: realm.transports.contains(.tcp))
        }
        transports.onRingRefused = { [unowned self] realm, reason in
            log.write(.warning, "SIP of realm \(realm) is read from its socket from now on: \(reason)")
        }
        if configuration.signalling.receive == .ring { chooseReception() }
    }

    /// As `signalling.receive` says. What cannot be read from a ring is read from the socket: SIP comes in either way.
    private func chooseReception() {
        let usesRing = configuration.signalling.receive == .ring
        for realm in configuration.realms where realm.transports.contains(.udp) {
            do throws(RingReception.Failure) {
                guard try transports.useRing(on: usesRing ? realm.interface : nil, in: RealmID(realm.name)) else {
                    continue  // a realm that came with a reload has no sockets yet
                }
                log.write(
                    .notice,
                    usesRing
                        ? "SIP of realm \(realm.name) is read from a ring on \(realm.interface), before any firewall"
                        : "SIP of realm \(realm.name) is read from its socket")
            } catch {
                log.write(.warning, "SIP of realm \(realm.name) is read from its socket: \(error.text)")
            }
        }
    }

    private func deliver(_ input: CallEngine.Input) {
        engine.handle(input, at: Clock.monotonic)
        drain()
    }

    private func drain() {
        guard !isDraining else { return }
        isDraining = true
        defer { isDraining = false }
        while let output = engine.nextOutput() { perform(output) }
    }

    private func perform(_ output: CallEngine.Output) {
        switch output {
        case .transmit(let bytes, let path): transports.transmit(bytes, to: path)
        case .closeConnection(let path): transports.close(path)
        case .bindMedia(let address):
            do throws(SystemCallError) {
                try sockets.bind(address)
            } catch {
                deliver(.mediaBindFailed(local: address, reason: "\(error)"))
            }
        case .releaseMedia(let address):
            sockets.release(address)
            playouts.forget(address)
        case .applyFlow(let flow):
            sockets.setTrafficClass(flow.trafficClass, of: flow.rewrittenSource)
            deliver(.flowApplied(local: flow.local, inKernel: flows.apply(flow)))
            for eviction in flows.takeEvictions() {
                log.write(.notice, "flow at \(eviction.local) gives way to an emergency call: sockets relay it")
                deliver(.mediaCounters(local: eviction.local, eviction.counters))
                deliver(.flowApplied(local: eviction.local, inKernel: false))
            }
        case .removeFlow(let local): deliver(.mediaCounters(local: local, flows.remove(local)))
        case .readCounters(let local): deliver(.mediaCounters(local: local, flows.counters(of: local)))
        case .forwardMedia(let bytes, let local, let destination):
            sockets.forward(bytes, from: local, to: destination)
        case .playMedia(let bytes, let local, let destination): playouts.send(bytes, from: local, to: destination)
        case .event(let event):
            log.write(event.level, event.text)
            shield.note(event)
        case .announcement(let id, let event): announcements.take(id, event)
        case .callEnded(let summary): log.write(.info, summary.text)
        case .emergency(let output): emergencies.perform(output)
        }
    }

    private func feedWatchdog() {
        guard let interval = service.watchdogInterval else { return }
        service.notify(.watchdog)
        loop.schedule(at: Clock.monotonic + interval / 2) { [unowned self] in feedWatchdog() }
    }

    // MARK: Registrations over a restart

    private func restoreBindings() {
        do throws(SystemCallError) {
            let bindings = try bindingFile.read(at: Clock.wall)
            engine.restoreBindings(bindings, at: Clock.monotonic)
            if !bindings.isEmpty { log.write(.notice, "\(bindings.count) registrations taken over from the last run") }
        } catch {
            log.write(.warning, "registrations of the last run are lost, phones will register again: \(error)")
        }
        bindingsWritten = engine.bindingsVersion
        saveBindingsLater()
    }

    private func saveBindingsLater() {
        loop.schedule(at: Clock.monotonic + Limits.bindingInterval) { [unowned self] in
            engine.setWallTime(Clock.wall, at: Clock.monotonic)
            saveBindings()
            saveBindingsLater()
        }
    }

    private func saveBindings() {
        let version = engine.bindingsVersion
        guard version != bindingsWritten else { return }
        do throws(SystemCallError) {
            try bindingFile.write(engine.exportBindings(at: Clock.monotonic), at: Clock.wall)
            bindingsWritten = version
            if bindingsFailed { log.write(.notice, "registrations can be written down again") }
            bindingsFailed = false
        } catch {
            // Tried again next time; said once.
            if !bindingsFailed { log.write(.error, "registrations cannot be written down: \(error)") }
            bindingsFailed = true
        }
    }

    // MARK: Reload and stop

    /// SIGHUP: all or nothing, and live calls stay up either way.
    private func reload() {
        service.notify(.reloading)
        defer { service.notify(.ready) }
        let outcome = BoxConfiguration.load(directory: options.configurationDirectory)
        log.write(outcome.issues)
        guard let new = outcome.configuration else {
            log.write(
                .error,
                "configuration not changed: \(options.configurationDirectory) has \(outcome.errors.count) error(s)")
            return
        }
        let signs = TestModeSupervisor.signs(configuration: options.configurationDirectory)
        if let refusal = TestModeSupervisor.refusal(new.system, signs: signs) {
            return log.write(.error, "configuration not changed: \(refusal)")
        }
        if signs != engine.testMode.signs {
            engine.setTestModeSigns(signs)
            testMode.tell(signs)
            if signs.isEmpty { log.write(.notice, "test mode is over: 911 is placed again") }
        }
        let changes = new.difference(from: configuration)
        for change in changes { log.write(.notice, "configuration: \(change)") }
        log.level = .init(new.log.level)
        for realm in new.realms {
            // The engine knows nothing of interfaces, so it cannot say this.
            guard let old = configuration.realm(named: realm.name),
                old.interface != realm.interface
            else { continue }
            log.write(.warning, "realms.\(realm.name) changed: takes effect after a restart of cressetd")
        }
        if transports.trafficClass != new.qos.signalling { transports.trafficClass = new.qos.signalling }
        playouts.trafficClass = new.qos.media
        pager.trafficClass = new.qos.media
        if new.calls.mediaFlowCountMax > configuration.calls.mediaFlowCountMax {
            log.write(.warning, "calls.maximum: the kernel's flow table grows with a restart of cressetd only")
        }
        changeDatapath(to: new)
        engine.reconfigure(CallEngineSettings(new), at: Clock.monotonic)
        let receptionChanged = configuration.signalling != new.signalling
        shield.reconfigure(new)
        notifications.reconfigure(new)
        emergencyProver.reconfigure(new)
        configuration = new
        if receptionChanged { chooseReception() }
        configurationLoaded = Clock.wall
        drain()
        log.write(.notice, changes.isEmpty ? "configuration read again, nothing changed" : "configuration applied")
    }

    /// SIGTERM: hang up, unregister, wait a moment for the answers; a second signal does not wait.
    private func stop() {
        guard !isStopping else {
            loop.stop()
            return
        }
        isStopping = true
        service.notify(.stopping)
        log.write(.notice, "stopping: ending \(engine.status(at: Clock.monotonic).activeCalls) call(s)")
        engine.shutdown(at: Clock.monotonic)
        drain()
        loop.schedule(at: Clock.monotonic + Limits.farewell) { [unowned self] in loop.stop() }
        waitForFarewells()
    }

    private func waitForFarewells() {
        if engine.calls(at: Clock.monotonic).isEmpty {
            loop.stop()
        } else {
            loop.schedule(at: Clock.monotonic + .milliseconds(50)) { [unowned self] in waitForFarewells() }
        }
    }

    // MARK: Control socket

    private func answer(_ request: JSONValue, by peer: ControlServer.Peer) -> JSONValue {
        let now = Clock.monotonic
        switch request["command"]?.stringValue {
        case "status": return ["ok": true, "result": StatusAnswer.status(engine.status(at: now), box(at: now))]
        case "calls":
            engine.refreshMediaCounters(at: now)
            drain()
            let calls = engine.calls(at: now)
            guard let wanted = request["id"]?.stringValue else {
                return ["ok": true, "result": StatusAnswer.calls(calls, at: now, path: path)]
            }
            guard let call = calls.first(where: { "\($0.id)" == wanted }) else {
                return ["ok": false, "error": .string("there is no call \(wanted); `cresset calls` lists them")]
            }
            return ["ok": true, "result": StatusAnswer.calls([call], at: now, path: path)]
        case "elins":
            return [
                "ok": true,
                "result": CallbackLeaseAnswer.list(engine.callbackLeases, engine.settings.emergency, at: now),
            ]
        case "test-mode": return testMode.answer(request, by: peer.user, configuration.system)
        case "emergency-notices": return notifications.notices
        case "emergency-acknowledge": return notifications.acknowledge(request, by: peer.user)
        case "announce", "page": return announcementCommands.answer(request)
        case "emergency-prove": return emergencyProver.answer(request, by: peer.user)
        case "shield": return shield.answer(request, by: peer.user)
        case let command?: return ["ok": false, "error": .string("unknown command “\(command)”")]
        case nil: return ["ok": false, "error": "the request has no command"]
        }
    }

    /// Which way packets at one of our media addresses go.
    private func path(of local: TransportAddress) -> String {
        playouts.way(of: local)?.rawValue ?? flows.path(of: local)
    }

    private func box(at now: MonotonicTime) -> StatusAnswer.Box {
        let totals = flows.totals
        let attachments = fastPath?.attachments ?? []
        return StatusAnswer.Box(
            name: configuration.system.name,
            alarms: [testMode.notice, leases.alarm, notifications.alarm].compactMap { $0 } + emergencyRecords.alarms
                + emergencyProver.alarms,
            testMode: engine.testMode.reason(at: now),
            testModeLeft: testMode.left,
            beacon: notifications.beacon,
            uptime: now - started,
            configurationDirectory: options.configurationDirectory,
            configurationLoaded: configurationLoaded,
            datapath: configuration.realms.map { realm in
                let attachment = attachments.first { $0.interface == realm.interface }
                return (
                    realm.name, realm.interface, attachment?.mode.rawValue ?? "none",
                    attachment?.reason ?? fastPathError ?? "switched off"
                )
            },
            flowsInKernel: flows.kernelCount,
            flowsInUserSpace: flows.userSpaceCount,
            received: totals.sorted { $0.key < $1.key }.map { ($0.key, $0.value) },
            packetsBySocket: sockets.packetsForwarded,
            playedByRing: playouts.packetsByRing, playedBySocket: playouts.packetsBySocket,
            pages: pager.ways.map { ("\($0.group)", $0.way.rawValue) },
            voice: speech.voice.rawValue,
            residentBytes: try? ProcessResources.residentBytes(),
            openDescriptors: try? ProcessResources.openDescriptorCount(),
            counters: transports.counters + shield.counters + emergencyRecords.counters + [
                ("media-send-failures", sockets.sendFailures), ("flow-refusals", flows.refusals),
                ("flow-evictions", flows.evictionCount),
                ("media-marking-failures", sockets.markingFailures),
                ("media-filter-failures", sockets.filterFailures),
                ("ring-lost", fastPath?.ringLosses.ringFull ?? 0),
                ("ring-passed-lost", fastPath?.ringLosses.passed ?? 0),
            ])
    }
}

extension StandardErrorLog.Level {
    fileprivate init(_ level: LogConfiguration.Level) {
        self =
            switch level {
            case .error: .error
            case .warning: .warning
            case .notice: .notice
            case .info: .info
            case .debug: .debug
            }
    }
}

extension StandardErrorLog {
    fileprivate func write(_ issues: [ConfigurationIssue]) {
        for issue in issues {
            write(issue.severity == .error ? .error : .warning, "\(issue.place): \(issue.explanation)")
        }
    }
}
