import Primitives

/// What a source did that a phone or carrier of ours would not.
package enum Offence: Hashable, Sendable {
    /// A wrong digest response to a nonce of ours.
    case authenticationFailed
    /// Registers, or calls as, a user that does not exist.
    case unknownUser
    /// Asks for something on a realm of trunks, without being one.
    case notATrunk
    /// Bytes at the SIP port that are no message.
    case malformed
    /// A User-Agent that names a scanner.
    case scanner(String)
    /// So many packets beyond its rate were dropped since the last look.
    case excess(UInt64)

    /// What it weighs; `scoreLimit` of them in `scoreWindow` mean a block.
    package var points: Int {
        switch self {
        case .malformed, .notATrunk: 1
        case .authenticationFailed, .unknownUser: 2
        case .excess: 5
        case .scanner: .max
        }
    }

    package var text: String {
        switch self {
        case .authenticationFailed: "failed authentications"
        case .unknownUser: "unknown users"
        case .notATrunk: "requests of a stranger"
        case .malformed: "malformed messages"
        case .scanner(let name): "scanner \(name)"
        case .excess: "too many messages"
        }
    }
}

/// Why a source must not be cut off lightly.
package enum Protection: Hashable, Sendable {
    case emergencyCall(String)
    case trunk(String)
    case station(String)
    /// A call by its identifier.
    case call(String)
    case console(IPPrefix)
    case allowed(IPPrefix)

    package var text: String {
        switch self {
        case .emergencyCall(let call): "emergency call \(call)"
        case .trunk(let name): "trunk \(name)"
        case .station(let user): "registered station \(user)"
        case .call(let call): "call \(call)"
        case .console(let network): "the console's network \(network)"
        case .allowed(let prefix): "allowed prefix \(prefix)"
        }
    }
}

/// How the kernel and the sockets treat a source; the highest wins.
package enum Standing: Int, Comparable, Sendable {
    case unknown, station, trunk, allowed

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Something an operator said.
package struct Order: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable, CaseIterable { case block, allow }

    package var kind: Kind
    package var prefix: IPPrefix
    /// May be empty.
    package var reason: String
    /// Who said it, as the log is to name them.
    package var operatorName: String
    package var since: WallClockTime
    /// nil: until it is taken back.
    package var until: WallClockTime?

    package init(
        kind: Kind, prefix: IPPrefix, reason: String, operatorName: String, since: WallClockTime,
        until: WallClockTime? = nil
    ) {
        self.kind = kind
        self.prefix = prefix
        self.reason = reason
        self.operatorName = operatorName
        self.since = since
        self.until = until
    }
}

/// Why an order was not carried out.
package enum OrderRefusal: Error, Hashable, Sendable {
    /// It would cut these; with `force` it does.
    case wouldCut([Protection])
    /// Nothing is blocked or allowed under exactly this prefix.
    case noSuchPrefix(IPPrefix)
    /// As many orders as there may be.
    case tooMany(Int)

    package var text: String {
        switch self {
        case .wouldCut(let protections):
            "this would cut \(Self.list(protections)); repeat it with --force to do so"
        case .noSuchPrefix(let prefix):
            "\(prefix) is neither blocked nor allowed; `cresset shield list` shows what is"
        case .tooMany(let maximum): "there are \(maximum) orders already; unblock what is no longer needed"
        }
    }

    /// `trunk a, call 7 and 3 more`
    package static func list(_ protections: [Protection]) -> String {
        let shown = protections.prefix(5).map(\.text).joined(separator: ", ")
        return protections.count > 5 ? "\(shown) and \(protections.count - 5) more" : shown
    }
}

package enum ShieldEvent: Equatable, Sendable {
    case blocked(IPPrefix, for: Duration, reason: String, repetition: Int)
    case blockEnded(IPPrefix)
    /// An automatic block that was not made; once per source and block time.
    case blockRefused(IPPrefix, reason: String, protections: [Protection])
    case tableFull(maximum: Int)
    case ordered(Order, cuts: [Protection])
    case orderWithdrawn(Order, by: String)
    case orderEnded(Order)
    /// An operator ended an automatic block.
    case unblocked(IPPrefix, by: String)
}

/// The configured part.
package struct ShieldPolicy: Equatable, Sendable {
    package var isOn: Bool
    package var scoreLimit: Int
    package var scoreWindow: Duration
    package var blockTime: Duration
    package var blockTimeMax: Duration
    /// Lowercase parts of a User-Agent.
    package var scanners: [String]
    package var allowed: [IPPrefix]
    package var consoles: [IPPrefix]
    /// By name; their addresses and prefixes.
    package var trunks: [String: [IPPrefix]]
    /// Messages and connections a second of one source; only where the kernel does not count. 0: no limit.
    package var sourceRate: Int
    package var sourceBurst: Int
    /// Of all unknown sources together.
    package var unknownRate: Int
    package var unknownBurst: Int

    package init(
        isOn: Bool = true, scoreLimit: Int = 10, scoreWindow: Duration = .seconds(60),
        blockTime: Duration = .seconds(300), blockTimeMax: Duration = .seconds(86_400), scanners: [String] = [],
        allowed: [IPPrefix] = [], consoles: [IPPrefix] = [], trunks: [String: [IPPrefix]] = [:], sourceRate: Int = 50,
        sourceBurst: Int = 200, unknownRate: Int = 500, unknownBurst: Int = 1_000
    ) {
        self.isOn = isOn
        self.scoreLimit = scoreLimit
        self.scoreWindow = scoreWindow
        self.blockTime = blockTime
        self.blockTimeMax = blockTimeMax
        self.scanners = scanners
        self.allowed = allowed
        self.consoles = consoles
        self.trunks = trunks
        self.sourceRate = sourceRate
        self.sourceBurst = sourceBurst
        self.unknownRate = unknownRate
        self.unknownBurst = unknownBurst
    }
}

extension IPPrefix {
    /// The unit of blame: an IPv4 address, or an IPv6 /64.
    package init(source: IPAddress) {
        // Both lengths fit their family.
        self = IPPrefix(address: source, bitLength: source.family == .v4 ? 32 : 64) ?? Self.none
    }

    private static let none = IPPrefix("0.0.0.0/32")!

    /// Whether the two have an address in common.
    package func overlaps(_ other: IPPrefix) -> Bool {
        bitLength <= other.bitLength ? contains(other.address) : other.contains(address)
    }
}
