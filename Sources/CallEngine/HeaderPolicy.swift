import Primitives
import SIPEngine
import SignallingFormats

/// What crosses from one side to the other, and what never does.
///
/// A header not named here is carried byte for byte, unless its value shows something of the side it comes from.
enum HeaderPolicy {
    enum Rule: Hashable, Sendable {
        /// Belongs to one dialog or one hop; each leg has its own.
        case own
        /// Describes the body and crosses with it.
        case body
        /// Crosses with other hosts in it, written by the functions below.
        case rebuilt
        /// Reveals who or where the other side is, or names dialogs that exist on one side only.
        case dropped
        /// Crosses byte for byte.
        case carried

        var mayCross: Bool { self == .carried || self == .rebuilt }
    }

    static func rule(for name: SIPHeaderName) -> Rule { table[name] ?? .carried }

    /// Those that describe a body.
    static let bodyHeaders = table.filter { $0.value == .body }.map(\.key)

    private static let table: [SIPHeaderName: Rule] = [
        // RFC 3261: the dialog, the hops, and what we ourselves can do.
        "Via": .own, "From": .own, "To": .own, "Call-ID": .own, "CSeq": .own, "Contact": .own, "Max-Forwards": .own,
        "Route": .own, "Record-Route": .own, "Allow": .own, "Supported": .own, "Require": .own, "Proxy-Require": .own,
        "Unsupported": .own, "Timestamp": .own, "Content-Length": .own, "Accept": .own, "Accept-Encoding": .own,
        "Min-Expires": .own, "User-Agent": .own, "Server": .own,
        // Credentials and challenges are between two neighbours.
        "Authorization": .own, "WWW-Authenticate": .own, "Proxy-Authorization": .own, "Proxy-Authenticate": .own,
        "Authentication-Info": .own, "Proxy-Authentication-Info": .own,
        // RFC 3329, security agreement of the first hop.
        "Security-Client": .own, "Security-Server": .own, "Security-Verify": .own,
        // RFC 3262 and RFC 4028 run on each leg by itself.
        "RSeq": .own, "RAck": .own, "Session-Expires": .own, "Min-SE": .own,
        // Registration (RFC 3327, 3608, 5626) and events we do not serve.
        "Path": .own, "Service-Route": .own, "Flow-Timer": .own, "Allow-Events": .own,
        // RFC 3323: the request for privacy itself crosses, the P- headers below are ours to assert.
        "Privacy": .carried,
        // RFC 3325: a station's claim is replaced by what we know; a trunk's is shown with our domain.
        "P-Asserted-Identity": .rebuilt, "P-Preferred-Identity": .dropped, "Remote-Party-ID": .dropped,
        // RFC 5806: who was called first stays, the hosts do not.
        "Diversion": .rebuilt,
        // RFC 7044: a list of the hosts the call went through.
        "History-Info": .dropped,
        // RFC 3261 §20.43: the agent is a host name.
        "Warning": .rebuilt,
        // Dialog identifiers of one side mean nothing on the other (RFC 3891, 3911, 4538; RFC 3261 §20.21).
        "Replaces": .dropped, "Join": .dropped, "Target-Dialog": .dropped, "In-Reply-To": .dropped,
        // Transfer is not offered, and these carry URIs of one side (RFC 3515, 3892).
        "Refer-To": .dropped, "Referred-By": .dropped, "Refer-Sub": .dropped,
        // RFC 7315: charging functions, cells and networks of the carrier.
        "P-Charging-Vector": .dropped, "P-Charging-Function-Addresses": .dropped, "P-Access-Network-Info": .dropped,
        "P-Visited-Network-ID": .dropped, "P-Associated-URI": .dropped, "P-Called-Party-ID": .dropped,
        // RFC 3261 §7.4: what the body is.
        "Content-Type": .body, "Content-Disposition": .body, "Content-Encoding": .body, "Content-Language": .body,
        "MIME-Version": .body, "Content-ID": .body,
    ]

    /// Copies what crosses from `source`, a message of one side, to a message under construction for the other.
    ///
    /// `source` is where the message came from, `host` what hosts become. Returns how many headers were withheld because
    /// they showed the source's side.
    static func carry(
        from headers: SIPHeaders, source: IPAddress, to destination: inout SIPHeaders, host: () -> String
    ) -> Int {
        var secrets = LegSecrets(of: headers, source: source)
        var withheldCount = 0
        for field in headers.fields(where: { rule(for: $0).mayCross }) {
            switch rule(for: field.name) {
            case .own, .body, .dropped: break
            case .rebuilt:
                guard let value = rebuilt(field.name, field.value, host: host()) else { break }
                // Texts and parameters may still name the source's side; our own host would be taken for a secret.
                if let text = rebuilt(field.name, field.value, host: "host.invalid"), secrets.appear(in: text) {
                    withheldCount += 1
                } else {
                    destination.append(field.name, value)
                }
            case .carried:
                if secrets.appear(in: field.value) {
                    withheldCount += 1
                } else {
                    destination.append(field.name, field.value)
                }
            }
        }
        return withheldCount
    }

    /// Copies the headers of the body; the body itself is the caller's business.
    static func carryBody(from source: SIPHeaders, to destination: inout SIPHeaders) {
        destination.append(contentsOf: source) { rule(for: $0) == .body }
    }

    private static func rebuilt(_ name: SIPHeaderName, _ value: String, host: String) -> String? {
        switch name {
        case "Warning": warning(value, host: host)
        case "Diversion": rehosted(value, host: host)
        default: nil  // P-Asserted-Identity is written by the routing, which knows who is calling
        }
    }

    /// `399 carrier.example "text"` with our host as agent; nil when it is not that.
    private static func warning(_ value: String, host: String) -> String? {
        guard let first = value.firstIndex(of: " ") else { return nil }
        let rest = value[value.index(after: first)...]
        guard let second = rest.firstIndex(of: " ") else { return nil }
        return "\(value[..<first]) \(host)\(rest[second...])"
    }

    /// A name-address with our host in its URI; nil when it cannot be read.
    private static func rehosted(_ value: String, host: String) -> String? {
        guard var address = NameAddress(value), let newHost = SIPHost(host) else { return nil }
        switch address.uri {
        case .sip(var uri):
            uri.host = newHost
            uri.port = nil
            address.uri = .sip(uri)
        case .tel: break
        case .other: return nil
        }
        return address.text
    }
}

/// What must not be seen on the other side: addresses and identifiers of the side a message came from.
///
/// They are gathered when the first text is looked at: most messages have none that might show them.
struct LegSecrets: Sendable {
    private let headers: SIPHeaders
    private let source: IPAddress
    private var isGathered = false
    private var texts: [[UInt8]] = []
    /// A message may name thousands of hops; what is beyond the first of them is looked for no more, or one message
    /// would keep us busy for a second.
    static let countMax = 64

    init(of headers: SIPHeaders, source: IPAddress) {
        self.headers = headers
        self.source = source
    }

    private mutating func gather() {
        guard !isGathered else { return }
        isGathered = true
        add(source.description)
        if let callID = headers.first(.callID), callID.utf8.count >= 8 { add(callID) }
        for name in [SIPHeaderName.from, .to] {
            guard let address = headers.first(name).flatMap({ NameAddress($0) }) else { continue }
            if let tag = address.tag, tag.utf8.count >= 6 { add(tag) }
            add(address.uri)
        }
        for via in headers.values(.via).compactMap({ Via($0) }) {
            add(via.host)
            if let branch = via.branch, branch.utf8.count >= 12 { add(branch) }
            if let received = via.received { add(received.description) }
        }
        for name in [SIPHeaderName.contact, .recordRoute] {
            for value in headers.values(name) { if let host = NameAddress(value)?.uri.sip?.host { add(host) } }
        }
    }

    private mutating func add(_ text: String) {
        guard texts.count < Self.countMax else { return }
        texts.append(Array(text.utf8))
    }

    /// Where a peer is, by address or by name; a name without a dot would be found in any word.
    private mutating func add(_ host: SIPHost) {
        switch host {
        case .address(let address): add(address.description)
        case .name(let name): if name.utf8.contains(UInt8(ascii: ".")), name.utf8.count >= 6 { add(name) }
        }
    }

    private mutating func add(_ uri: URI) {
        guard case .address(let address)? = uri.sip?.host else { return }
        add(address.description)
    }

    mutating func appear(in value: String) -> Bool {
        gather()
        let bytes = Array(value.utf8)
        return texts.contains { Self.contains(bytes, $0) }
    }

    private static func contains(_ bytes: [UInt8], _ text: [UInt8]) -> Bool {
        guard let first = text.first, bytes.count >= text.count else { return false }
        for start in 0...(bytes.count - text.count) where bytes[start] == first {
            if bytes[start..<(start + text.count)].elementsEqual(text) { return true }
        }
        return false
    }
}
