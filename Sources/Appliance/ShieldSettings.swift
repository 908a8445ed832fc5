import Configuration
import FastPath
import LinuxIO
import Primitives
import Shield

extension ShieldPolicy {
    /// The part of the configuration that decides whom to block.
    init(_ configuration: BoxConfiguration) {
        let shield = configuration.shield
        self.init(
            isOn: shield.isOn, scoreLimit: shield.scoreLimit, scoreWindow: shield.scoreWindow,
            blockTime: shield.blockTime, blockTimeMax: shield.blockTimeMax, scanners: shield.scanners,
            allowed: shield.allow, consoles: shield.console,
            trunks: [String: [IPPrefix]](
                uniqueKeysWithValues: configuration.trunks.map { trunk in
                    let peers = [trunk.peer.address, trunk.registration?.registrar.address].compactMap { $0 }
                    let hosts = peers.compactMap { IPPrefix(address: $0, bitLength: $0.bitCount) }
                    return (trunk.name, trunk.sources + hosts.filter { host in !trunk.sources.contains(host) })
                }),
            sourceRate: shield.sourceRate, sourceBurst: shield.sourceBurst, unknownRate: shield.unknownRate,
            unknownBurst: shield.unknownBurst)
    }
}

extension ShieldRules {
    /// The part that the kernel acts on; nil when the shield is switched off.
    init?(_ configuration: BoxConfiguration) {
        let shield = configuration.shield
        guard shield.isOn else { return nil }
        self.init(
            endpoints: configuration.realms.filter { $0.datapath != .off }.map { realm in
                Endpoint(
                    address: TransportAddress(realm.address, realm.sipPort),
                    usesUDP: realm.transports.contains(.udp), usesTCP: realm.transports.contains(.tcp),
                    isSilent: shield.isSilent, hearsEmergencies: realm.role == .stations)
            },
            source: Rate(perSecond: shield.sourceRate, burst: shield.sourceBurst),
            station: Rate(perSecond: shield.stationRate, burst: shield.stationBurst),
            unknown: Rate(perSecond: shield.unknownRate, burst: shield.unknownBurst))
    }
}

extension ShieldEvent {
    package var level: StandardErrorLog.Level {
        switch self {
        case .blocked, .blockRefused, .tableFull: .warning
        case .ordered, .orderWithdrawn, .orderEnded, .unblocked: .notice
        case .blockEnded: .info
        }
    }

    /// One line.
    package var text: String {
        switch self {
        case .blocked(let prefix, let time, let reason, let repetition):
            "shield: \(prefix) blocked for \(time.wholeSeconds) s: \(reason)"
                + (repetition > 1 ? " (for the \(repetition). time)" : "")
        case .blockEnded(let prefix): "shield: \(prefix) is blocked no longer"
        case .blockRefused(let prefix, let reason, let protections):
            "shield: \(prefix) not blocked in spite of \(reason): \(OrderRefusal.list(protections)) is there"
        case .tableFull(let maximum): "shield: \(maximum) sources are blocked, no more fit"
        case .ordered(let order, let cuts):
            "shield: \(order.prefix) \(order.kind == .block ? "blocked" : "allowed") by \(order.operatorName)"
                + (order.until.map { " until \($0.rfc3339)" } ?? "")
                + (order.reason.isEmpty ? "" : ": \(order.reason)")
                + (cuts.isEmpty ? "" : "; this cuts \(OrderRefusal.list(cuts))")
        case .orderWithdrawn(let order, let by):
            "shield: \(order.prefix) no longer \(order.kind == .block ? "blocked" : "allowed"), by \(by)"
        case .orderEnded(let order):
            "shield: \(order.prefix) no longer \(order.kind == .block ? "blocked" : "allowed"), its time is over"
        case .unblocked(let prefix, let by): "shield: \(prefix) is blocked no longer, by \(by)"
        }
    }
}
