import Primitives
import SIPEngine

/// What we have with somebody at an address: what would be lost if nobody listened to it any more.
package enum SourceUse: Hashable, Sendable {
    case station(user: String)
    /// A leg of this call is there.
    case call(CallID, isEmergency: Bool)
}

extension CallEngine {
    /// Registered stations and calls with somebody in this prefix. Trunks are settings: ask those.
    package func uses(of prefix: IPPrefix) -> [SourceUse] {
        var uses: [SourceUse] = []
        for user in settings.stations.keys.sorted()
        where registrar.bindings(for: user).contains(where: { prefix.contains($0.path.remote.address) }) {
            uses.append(.station(user: user))
        }
        for call in calls.values.sorted(by: { $0.id < $1.id })
        where !call.isEnding && call.remotes.contains(where: { prefix.contains($0) }) {
            uses.append(.call(call.id, isEmergency: call.isForHelp))
        }
        return uses
    }

    /// Addresses of stations: where they registered, until when, and where those in a call are (nil).
    package var stationSources: [(address: IPAddress, expires: MonotonicTime?)] {
        var sources: [(IPAddress, MonotonicTime?)] = []
        for user in settings.stations.keys {
            for binding in registrar.bindings(for: user) {
                sources.append((binding.path.remote.address, binding.expires))
            }
        }
        for call in calls.values {
            if case .station = call.callerPeer { sources.append((call.callerPath.remote.address, nil)) }
        }
        return sources
    }
}

extension Call {
    /// The addresses signalling of this call comes from and goes to.
    var remotes: Set<IPAddress> {
        var remotes: Set<IPAddress> = [callerPath.remote.address]
        for attempt in attempts where attempt.isOpen || attempt.state == .answered {
            remotes.insert(attempt.target.nextHop.remote.address)
        }
        for fork in forks {
            for side in CallSide.allCases { remotes.insert(fork[side].nextHop.remote.address) }
        }
        return remotes
    }
}
