import Primitives
import SignallingFormats

/// One TCP connection, numbered by composition.
package struct ConnectionID: Hashable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Where a message came from, or where it goes.
package struct TransportPath: Hashable, Sendable {
    package var realm: RealmID
    package var transport: SIPTransport
    package var remote: TransportAddress
    /// The connection of a stream transport; nil asks composition to use an open one to `remote`, or to open one.
    package var connection: ConnectionID?

    package init(
        realm: RealmID, transport: SIPTransport, remote: TransportAddress, connection: ConnectionID? = nil
    ) {
        self.realm = realm
        self.transport = transport
        self.remote = remote
        self.connection = connection
    }
}

/// Where to send a request.
package struct NextHop: Hashable, Sendable {
    package enum Policy: String, Hashable, Sendable, CaseIterable {
        case udp, tcp
        /// UDP; TCP for what is too large, and UDP again when TCP fails (RFC 3261 §18.1.1).
        case automatic
    }

    package var realm: RealmID
    package var remote: TransportAddress
    package var policy: Policy
    /// A connection to try first, as of a station that registered over it.
    package var connection: ConnectionID?
    /// nil when unknown: then requests above 1300 bytes are large.
    package var pathMTU: Int?

    package init(
        realm: RealmID, remote: TransportAddress, policy: Policy, connection: ConnectionID? = nil, pathMTU: Int? = nil
    ) {
        self.realm = realm
        self.remote = remote
        self.policy = policy
        self.connection = connection
        self.pathMTU = pathMTU
    }

    /// Back to where a message came from, over the same transport and connection.
    package init(_ path: TransportPath) {
        self.init(
            realm: path.realm, remote: path.remote, policy: path.transport == .udp ? .automatic : .tcp,
            connection: path.connection)
    }

    /// The largest request that goes over UDP.
    var datagramByteCountMax: Int {
        guard let pathMTU else { return SpecificationConstants.datagramByteCountMax }
        return max(pathMTU - SpecificationConstants.pathMTUMargin, 0)
    }
}

/// Our own address in one realm.
package struct LocalSIPEndpoint: Hashable, Sendable {
    /// The sent-by of our Via.
    package var address: TransportAddress
    package var transports: Set<SIPTransport>

    package init(address: TransportAddress, transports: Set<SIPTransport> = [.udp, .tcp]) {
        self.address = address
        self.transports = transports
    }
}

/// A transaction we started. The number is the random part of its branch, so a response finds it in one look-up.
package struct ClientTransactionID: Hashable, Sendable, CustomStringConvertible {
    enum Kind: UInt8, Sendable { case invite, nonInvite, cancel }
    let branchNumber: UInt64
    let kind: Kind

    package var isInvite: Bool { kind == .invite }
    package var description: String { branch }

    var branch: String {
        let digits = String(branchNumber, radix: 16)
        return Via.branchCookie + String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }

    init(branchNumber: UInt64, kind: Kind) {
        self.branchNumber = branchNumber
        self.kind = kind
    }

    /// nil when the branch is none of ours.
    init?(branch: String, method: SIPMethod) {
        let digits = branch.utf8.dropFirst(Via.branchCookie.utf8.count)
        guard branch.hasPrefix(Via.branchCookie), digits.count == 16 else { return nil }
        var number: UInt64 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): number = number << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): number = number << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        branchNumber = number
        kind = method == .invite ? .invite : method == .cancel ? .cancel : .nonInvite
    }
}

/// A transaction a peer started; numbered in order of arrival, never reused.
package struct ServerTransactionID: Hashable, Sendable, CustomStringConvertible {
    let rawValue: UInt64
    package let isInvite: Bool
    package var description: String { "server-\(rawValue)" }
}

/// By what a request finds its server transaction (RFC 3261 §17.2.3), the realm added: one side cannot touch the
/// transactions of the other.
struct ServerTransactionKey: Hashable, Sendable {
    let realm: RealmID
    /// The branch; for a peer of RFC 2543 all that its requests have in common.
    let branch: String
    let sentByHost: SIPHost
    let sentByPort: UInt16
    /// ACK counts as INVITE.
    let method: SIPMethod

    init(realm: RealmID, request: SIPRequest, via: Via, cseq: CSeq, method: SIPMethod? = nil) {
        self.realm = realm
        let own = method ?? cseq.method
        self.method = own == .ack ? .invite : own
        switch via.host {
        case .address: sentByHost = via.host
        case .name(let name): sentByHost = .name(name.lowercased())
        }
        sentByPort = via.port ?? SpecificationConstants.defaultPort
        if let branch = via.branch, branch.hasPrefix(Via.branchCookie) {
            self.branch = branch
        } else {
            // To's tag is left out: the ACK for our response carries it, the INVITE did not.
            branch = [
                request.requestURI.text, request.fromTag ?? "", request.callID, String(cseq.number),
                via.branch ?? "",
            ].joined(separator: "\n")
        }
    }
}

/// By what a request that came twice on different ways is known (RFC 3261 §8.2.2.2).
struct MergeKey: Hashable, Sendable {
    let realm: RealmID
    let callID: String
    let fromTag: String
    let cseq: CSeq
}

/// By what the ACK of a 2xx and a PRACK find their INVITE: the dialog, and the number of the INVITE.
struct InviteKey: Hashable, Sendable {
    let realm: RealmID
    let dialog: DialogID
    let sequenceNumber: UInt32
}
