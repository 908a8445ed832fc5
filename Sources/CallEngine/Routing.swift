import Primitives
import SIPEngine
import SignallingFormats

/// Who is calling, as the other side is to see it.
struct CallerIdentity: Sendable {
    var displayName: String?
    /// User part of From: an extension or a number.
    var user: String
    /// The caller asked to be hidden (RFC 3323): From says nothing, the asserted identity crosses with Privacy.
    var isAnonymous = false
    /// What we vouch for (RFC 3325).
    var assertedUser: String?
    var assertedDisplayName: String?
}

/// Where an INVITE is to go, or why nowhere.
enum RoutingResult: Sendable {
    case targets([[Target]])
    case refused(Int, reason: String? = nil, retryAfterSeconds: Int? = nil)
}

// Routing decides where; admission (CallEngine+Admission) decides whether. Calls for help take neither step
// (CallEngine+Emergency).
extension CallEngine {
    /// The user part of the Request-URI, and of a tel URI its number; nil for a scheme or host we do not serve.
    func dialledUser(of request: SIPRequest, realm: RealmID) -> RoutingURI {
        switch request.requestURI {
        case .tel(let uri): .user(uri.digits)
        case .other: .unsupportedScheme
        case .sip(let uri) where uri.isSecure: .unsupportedScheme
        case .sip(let uri): isOurs(uri.host, realm: realm) ? .user(uri.user ?? "") : .foreign
        }
    }

    enum RoutingURI: Sendable {
        case user(String)
        case foreign
        case unsupportedScheme
    }

    /// Whether a host in a URI means this box.
    func isOurs(_ host: SIPHost, realm: RealmID) -> Bool {
        switch host {
        case .name(let name): name.lowercased() == settings.domain.lowercased()
        case .address(let address): settings.realms.values.contains { $0.endpoint.address == address }
        }
    }

    func route(_ request: SIPRequest, from peer: Peer, user: String, callerPath: TransportPath) -> RoutingResult {
        switch peer {
        case .station(let caller, _): routeFromStation(user: user, caller: caller, callerPath: callerPath)
        case .trunk(_, let trunk): routeFromTrunk(request, trunk: trunk, user: user, callerPath: callerPath)
        }
    }

    private func routeFromStation(user: String, caller: String, callerPath: TransportPath) -> RoutingResult {
        if settings.stations[user] != nil { return ring([user], except: caller, at: callerPath) }
        guard let number = DialledNumber.normalized(user) else { return .refused(404) }
        if settings.stations[number] != nil { return ring([number], except: caller, at: callerPath) }
        if let users = DialledNumber.lookUp(number, in: settings.numbers) {
            return ring(users, except: caller, at: callerPath)
        }
        guard let route = settings.routes.first(where: { $0.pattern.matches(number) }) else { return .refused(404) }
        return trunkTargets(route.trunks, number: route.prepend + number.dropFirst(route.strip))
    }

    private func routeFromTrunk(
        _ request: SIPRequest, trunk: CallEngineSettings.Trunk, user: String, callerPath: TransportPath
    ) -> RoutingResult {
        guard let number = DialledNumber.normalized(calledUser(request, trunk: trunk, user: user)),
            let users = DialledNumber.lookUp(number, in: settings.numbers)
        else { return .refused(404) }
        return ring(users, except: nil, at: callerPath)
    }

    /// A carrier we register with may send calls to the registered contact; the number is then in To.
    func calledUser(_ request: SIPRequest, trunk: CallEngineSettings.Trunk, user: String) -> String {
        guard user == trunk.registration?.credentials.username else { return user }
        switch request.to?.uri {
        case .sip(let uri)?: return uri.user ?? user
        case .tel(let uri)?: return uri.digits
        case .other?, nil: return user
        }
    }

    /// All contacts of these stations ring together; one that is in a call for help has no call waiting.
    private func ring(_ users: [String], except caller: String?, at callerPath: TransportPath) -> RoutingResult {
        let reachable = users.filter { !isInEmergencyCall($0) }
        if reachable.isEmpty, !users.isEmpty { return .refused(486) }
        var targets: [Target] = []
        for user in reachable {
            guard let station = settings.stations[user] else { continue }
            for binding in registrar.bindings(for: user)
            // A phone with several lines registers them over one path; only the caller's own line does not ring.
            where user != caller || binding.path != callerPath {
                targets.append(
                    Target(
                        peer: .station(user: user, station), number: user, requestURI: binding.contact,
                        nextHop: NextHop(binding.path)))
            }
        }
        guard !targets.isEmpty else { return .refused(480) }
        return .targets([Array(targets.prefix(Limits.branchCountMax))])
    }

    /// One trunk after the other; those that are down only when all are, those that are full never.
    private func trunkTargets(_ names: [String], number: String) -> RoutingResult {
        let known = names.compactMap { name in trunks[name].map { (name: name, trunk: $0) } }
        guard !known.isEmpty else { return .refused(404) }
        let free = known.filter { entry in
            entry.trunk.settings.callsMax.map { callCount(ofTrunk: entry.name) < $0 } ?? true
        }
        guard !free.isEmpty else {
            return .refused(503, reason: "All trunks busy", retryAfterSeconds: Limits.retryAfterSeconds)
        }
        let up = free.filter { !$0.trunk.health.isDown }
        return .targets(
            (up.isEmpty ? free : up).map { entry in
                [
                    Target(
                        peer: .trunk(name: entry.name, entry.trunk.settings), number: number,
                        requestURI: Self.trunkURI(user: number, entry.trunk.settings),
                        nextHop: entry.trunk.nextHop)
                ]
            })
    }

    /// `sip:<number>@<carrier's domain or peer>`.
    static func trunkURI(user: String, _ trunk: CallEngineSettings.Trunk) -> URI {
        if let domain = trunk.registration?.domain.flatMap({ SIPHost($0) }) {
            return .sip(SIPURI(user: user, host: domain))
        }
        return .sip(
            SIPURI(
                user: user, host: .address(trunk.peer.address), port: trunk.peer.port == 5060 ? nil : trunk.peer.port))
    }

    /// Calls that go through a trunk now, in either direction, but for those for help.
    func callCount(ofTrunk name: String) -> Int {
        calls.values.count { call in
            guard !call.isEnding, !call.isForHelp else { return false }
            return call.callerPeer.trunkName == name
                || call.attempts.contains { $0.target.peer.trunkName == name && ($0.isOpen || $0.state == .answered) }
        }
    }

    // Who is calling

    func identity(of request: SIPRequest, from peer: Peer) -> CallerIdentity {
        let from = request.from
        let privacy = request.headers.values(.privacy).flatMap { $0.split { $0 == ";" || $0 == " " } }
        let wantsPrivacy = privacy.contains { ["id", "user", "header", "full"].contains($0.lowercased()) }
        switch peer {
        case .station(let user, let station):
            let hidden = Self.isAnonymous(Self.user(of: from?.uri)) || wantsPrivacy
            let display = station.displayName ?? from?.displayName
            return CallerIdentity(
                displayName: display, user: user, isAnonymous: hidden, assertedUser: user, assertedDisplayName: display)
        case .trunk:
            let asserted = request.nameAddress(.pAssertedIdentity)
            let user = Self.user(of: from?.uri) ?? "anonymous"
            return CallerIdentity(
                displayName: from?.displayName, user: user,
                isAnonymous: wantsPrivacy || Self.isAnonymous(user),
                assertedUser: Self.user(of: asserted?.uri), assertedDisplayName: asserted?.displayName)
        }
    }

    /// The user part of a From that names nobody (RFC 3323 §4.1.1.3).
    static func isAnonymous(_ user: String?) -> Bool { user?.lowercased() == "anonymous" }

    package static func user(of uri: URI?) -> String? {
        switch uri {
        case .sip(let uri)?: uri.user
        case .tel(let uri)?: uri.digits
        case .other?, nil: nil
        }
    }

    /// From and, when there is one to give, P-Asserted-Identity towards a target.
    func present(_ identity: CallerIdentity, callerPeer: Peer, to peer: Peer) -> (from: NameAddress, asserted: String?)
    {
        var user = identity.user
        var asserted = identity.assertedUser
        let host: SIPHost
        switch peer {
        case .station: host = SIPHost(settings.domain) ?? .name("invalid")
        case .trunk(_, let trunk):
            // A trunk sees numbers, never extensions: the station's, or the registered user when it has none.
            if case .station(_, let station) = callerPeer {
                let number = station.number ?? trunk.registration?.credentials.username ?? user
                user = number
                asserted = number
            }
            host =
                trunk.registration?.domain.flatMap { SIPHost($0) }
                ?? settings.realms[trunk.realm].map { .address($0.endpoint.address) } ?? .name("invalid")
        }
        let assertedText = asserted.map {
            NameAddress(displayName: identity.assertedDisplayName, uri: .sip(SIPURI(user: $0, host: host))).text
        }
        guard !identity.isAnonymous else {
            let from = NameAddress(
                displayName: "Anonymous", uri: .sip(SIPURI(user: "anonymous", host: .name("anonymous.invalid"))))
            // Stations are not told who hides; trunks are, and see Privacy beside it.
            if case .station = peer { return (from, nil) }
            return (from, assertedText)
        }
        return (NameAddress(displayName: identity.displayName, uri: .sip(SIPURI(user: user, host: host))), assertedText)
    }
}
