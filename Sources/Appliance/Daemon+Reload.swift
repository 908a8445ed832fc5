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

// New settings under live calls, and the end.
extension Daemon {
    /// SIGHUP: all or nothing, and live calls stay up either way.
    func reload() {
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
    func stop() {
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

    func waitForFarewells() {
        if engine.calls(at: Clock.monotonic).isEmpty {
            loop.stop()
        } else {
            loop.schedule(at: Clock.monotonic + .milliseconds(50)) { [unowned self] in waitForFarewells() }
        }
    }
}
