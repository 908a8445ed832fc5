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

// Which engine relays media on which interface.
extension Daemon {
    /// Without the kernel's help calls still work: the sockets relay.
    static func openFastPath(_ configuration: BoxConfiguration, _ log: StandardErrorLog) -> (FastPath?, String?) {
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

    static func interfaces(of configuration: BoxConfiguration) -> [FastPathInterface] {
        var interfaces: [FastPathInterface] = []
        for realm in configuration.realms where !interfaces.contains(where: { $0.name == realm.interface }) {
            let mode = FastPathInterface.Mode(rawValue: realm.datapath.rawValue) ?? .auto
            interfaces.append(FastPathInterface(name: realm.interface, mode: mode))
        }
        return interfaces
    }

    static func tellAttachments(of fastPath: FastPath, _ log: StandardErrorLog) {
        for attachment in fastPath.attachments {
            log.write(
                attachment.mode == .none ? .warning : .notice,
                "datapath of \(attachment.interface): \(attachment.mode.rawValue), \(attachment.reason)")
        }
    }

    /// Another datapath under live calls: each flow moves to the engine its interface has now.
    func changeDatapath(to new: BoxConfiguration) {
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
    static func guardMediaPorts(
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
}
