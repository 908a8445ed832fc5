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

// What `cresset` asks over the control socket.
extension Daemon {
    func answer(_ request: JSONValue, by peer: ControlServer.Peer) -> JSONValue {
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
    func path(of local: TransportAddress) -> String {
        playouts.way(of: local)?.rawValue ?? flows.path(of: local)
    }

    func box(at now: MonotonicTime) -> StatusAnswer.Box {
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
