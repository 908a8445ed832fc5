import CFastPath
import Primitives

/// What the kernel's shield is to do; `FastPath.setShield` takes it.
package struct ShieldRules: Equatable, Sendable {
    /// A token bucket: so many a second in the long run, so many at once after a pause.
    package struct Rate: Equatable, Sendable {
        /// A second; 0 means no limit.
        package var perSecond: Int
        /// At least 1.
        package var burst: Int

        package init(perSecond: Int, burst: Int) {
            self.perSecond = perSecond
            self.burst = burst
        }
    }

    /// One of our addresses, and its SIP port.
    package struct Endpoint: Equatable, Sendable {
        package var address: TransportAddress
        package var usesUDP: Bool
        package var usesTCP: Bool
        /// Ports of this address without a socket answer no unknown source: no ICMP, no reset.
        package var isSilent: Bool
        /// Phones are there: over UDP an INVITE to an emergency number passes, whoever sends it, blocked or not; TCP does
        /// altogether, for cressetd to hear only that of it.
        package var hearsEmergencies: Bool

        package init(
            address: TransportAddress, usesUDP: Bool, usesTCP: Bool, isSilent: Bool, hearsEmergencies: Bool = false
        ) {
            self.hearsEmergencies = hearsEmergencies
            self.address = address
            self.usesUDP = usesUDP
            self.usesTCP = usesTCP
            self.isSilent = isSilent
        }
    }

    /// Requests for help of an interface that pass whatever else is exhausted; a forged flood of them ends here.
    static let emergency = Rate(perSecond: 20, burst: 40)

    /// At most sixteen.
    package var endpoints: [Endpoint]
    /// Datagrams to the SIP port and new TCP connections, of one unknown source.
    package var source: Rate
    /// Of one registered station's address.
    package var station: Rate
    /// Of all unknown sources of one interface together.
    package var unknown: Rate

    package init(endpoints: [Endpoint], source: Rate, station: Rate, unknown: Rate) {
        self.endpoints = endpoints
        self.source = source
        self.station = station
        self.unknown = unknown
    }
}

/// Why the shield serves a source better than an unknown one. The longest prefix decides alone: give it the highest
/// standing of all that contain it.
package enum ShieldStanding: UInt32, Comparable, Sendable {
    /// Registered: a bucket of its own, apart from the unknown ones.
    case station = 1
    /// Configured: its requests over UDP have a bucket as wide as a station's, its responses and connections none.
    case trunk = 2
    /// By the operator: never limited, and stronger than a block that is not longer.
    case allowed = 3

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

extension ShieldRules.Rate {
    var row: shield_rate {
        guard perSecond > 0 else { return shield_rate(interval: 0, tolerance: 0) }
        let interval = UInt64(1_000_000_000 / perSecond)
        return shield_rate(interval: max(1, interval), tolerance: UInt64(max(1, burst) - 1) * interval)
    }
}

extension ShieldRules {
    /// The endpoints must fit.
    var settings: shield_settings {
        var settings = shield_settings()
        settings.is_on = 1
        settings.endpoint_count = UInt32(endpoints.count)
        settings.source = source.row
        settings.station = station.row
        settings.unknown = unknown.row
        settings.emergency = Self.emergency.row
        withUnsafeMutableBytes(of: &settings.endpoints) { rows in  // borrowed for the copy only
            for (index, endpoint) in endpoints.enumerated() {
                var row = shield_endpoint()
                fill(&row.address, with: endpoint.address.address.mappedBytes)
                row.port = endpoint.address.port.bigEndian
                row.flags =
                    (endpoint.usesUDP ? UInt16(SHIELD_SIP_UDP.rawValue) : 0)
                    | (endpoint.usesTCP ? UInt16(SHIELD_SIP_TCP.rawValue) : 0)
                    | (endpoint.isSilent ? UInt16(SHIELD_SILENT.rawValue) : 0)
                    | (endpoint.hearsEmergencies ? UInt16(SHIELD_EMERGENCY.rawValue) : 0)
                rows.storeBytes(
                    of: row, toByteOffset: index * MemoryLayout<shield_endpoint>.stride, as: shield_endpoint.self)
            }
        }
        return settings
    }
}

extension shield_prefix_key {
    init(_ prefix: IPPrefix) {
        self.init()
        bit_length = UInt32(prefix.bitLength + (prefix.address.family == .v4 ? 96 : 0))
        fill(&address, with: prefix.address.mappedBytes)
    }
}
