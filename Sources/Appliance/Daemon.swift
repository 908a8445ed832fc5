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
    enum Limits {
        /// How long hung-up calls may take to say goodbye at shutdown.
        static let farewell = Duration.seconds(4)
        static let descriptorCount: UInt64 = 65_536  // four media sockets a call and the rest
        /// Before sockets are looked at again: what a flood left to be repeated must not keep a call for help waiting.
        static let transactionTimerCountMax = 64
        static let bindingInterval = Duration.seconds(2)  // what a power cut may cost of registrations
        static let lockedBytes: UInt64 = 256 << 20  // what BPF maps count as on kernels before 5.11
    }

    let options: DaemonOptions
    let log: StandardErrorLog
    let loop: EventLoop
    let started: MonotonicTime
    var configuration: BoxConfiguration
    var configurationLoaded: WallClockTime
    var engine: CallEngine
    var transports: SignallingTransports
    let sockets: MediaSockets
    let flows: MediaFlows
    let fastPath: FastPath?
    let fastPathError: String?
    let shield: ShieldSupervisor
    let emergencies: EmergencySupervisor
    let leases: CallbackLeaseKeeper
    let testMode: TestModeSupervisor
    let notifications: NotificationSupervisor
    let announcements: AnnouncementDesk
    let speech: Speech
    let emergencyRecords: EmergencyRecordKeeper
    let pager: MulticastPager
    let playouts: PlayoutSender
    let announcementCommands: AnnouncementCommands
    let emergencyProver: EmergencyProver
    let bindingFile: BindingFile
    var bindingsWritten: UInt64 = 0
    var bindingsFailed = false
    let service = ServiceNotification()
    var signals: SignalSource?
    var control: ControlServer?
    var isDraining = false
    var isStopping = false

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
        ProcessResources.forgetCode()
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

    func openSignalling() throws(SystemCallError) {
        transports.trafficClass = configuration.qos.signalling
        transports.admits = { [unowned self] source, realm in shield.admits(source, in: realm) }
        transports.hearsEmergencies = { [unowned self] realm in
            configuration.realm(named: realm.rawValue)?.role == .stations
        }
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
    func chooseReception() {
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

    func deliver(_ input: CallEngine.Input) {
        engine.handle(input, at: Clock.monotonic)
        drain()
    }

    func drain() {
        guard !isDraining else { return }
        isDraining = true
        defer { isDraining = false }
        while let output = engine.nextOutput() { perform(output) }
    }

    func perform(_ output: CallEngine.Output) {
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

    func feedWatchdog() {
        guard let interval = service.watchdogInterval else { return }
        service.notify(.watchdog)
        loop.schedule(at: Clock.monotonic + interval / 2) { [unowned self] in feedWatchdog() }
    }
}
