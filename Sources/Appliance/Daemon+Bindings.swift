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

// Registrations over a restart.
extension Daemon {
    func restoreBindings() {
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

    func saveBindingsLater() {
        loop.schedule(at: Clock.monotonic + Limits.bindingInterval) { [unowned self] in
            engine.setWallTime(Clock.wall, at: Clock.monotonic)
            saveBindings()
            saveBindingsLater()
        }
    }

    func saveBindings() {
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
}
