import Primitives
import SIPEngine
import SignallingFormats

// Trunks: OPTIONS ping, evidence from calls, registration, credentials.
extension CallEngine {
    mutating func addTrunk(_ name: String, _ settings: CallEngineSettings.Trunk, at now: MonotonicTime) {
        let source = random.fork()
        trunks[name] = Trunk(
            name: name, settings: settings, health: Trunk.Health(settings.health),
            registration: settings.registration.map { makeRegistration($0, of: settings, random: source) },
            digest: DigestClient(hash: hash, random: random.fork()))
        startPing(name, at: now)
        startRegistration(name, at: now)
    }

    private mutating func startPing(_ name: String, at now: MonotonicTime) {
        guard let health = trunks[name]?.settings.health else { return }
        // Spread over the interval, so that trunks are not all asked in the same instant.
        let share = Int64(random.next() % 1_000)
        timers.start(.ping(trunk: name), at: now + health.interval * Int(share) / 1_000)
    }

    /// New settings of a trunk that stays in its realm: what they do not concern goes on, above all its registration.
    mutating func changeTrunk(_ name: String, to new: CallEngineSettings.Trunk, at now: MonotonicTime) {
        guard var trunk = trunks[name] else { return }
        let old = trunk.settings
        let isElsewhere = old.peer != new.peer || old.transport != new.transport
        let isRegistrationKept = old.registration == new.registration && old.transport == new.transport
        // The same contact at the same registrar is written over by the next REGISTER; taking it back as well would
        // race that.
        let isContactKept =
            old.transport == new.transport && old.registration?.registrar == new.registration?.registrar
            && old.registration?.domain == new.registration?.domain
            && old.registration?.credentials.username == new.registration?.credentials.username
        if !isRegistrationKept, !isContactKept { leave(name, at: now) }
        trunk.settings = new
        if !isRegistrationKept {
            let source = random.fork()
            trunk.registration = new.registration.map { makeRegistration($0, of: new, random: source) }
            trunk.registering = nil
        }
        if !isRegistrationKept || old.authentication != new.authentication {
            trunk.digest = DigestClient(hash: hash, random: random.fork())
        }
        let asksAnew = isElsewhere || old.health != new.health
        if asksAnew {
            timers.stop(.ping(trunk: name))
            timers.stop(.pingTimeout(trunk: name))
            trunk.ping = nil
            trunk.roundTrip = nil
            trunk.health = Trunk.Health(new.health)
        }
        trunks[name] = trunk
        if asksAnew { startPing(name, at: now) }
        if !isRegistrationKept { startRegistration(name, at: now) }
    }

    mutating func removeTrunk(_ name: String, at now: MonotonicTime) {
        timers.stop(.ping(trunk: name))
        timers.stop(.pingTimeout(trunk: name))
        leave(name, at: now)
        trunks[name] = nil
    }

    // MARK: Health

    mutating func ping(_ name: String, at now: MonotonicTime) {
        guard let trunk = trunks[name], let health = trunk.settings.health else { return }
        timers.start(.ping(trunk: name), at: now + health.interval)
        var request = makeTrunkRequest(.options, trunk.settings)
        request.headers.append(.accept, "application/sdp")
        let transaction = transactions.send(request, to: trunk.nextHop, at: now)
        clientOwners[transaction] = .ping(trunk: name, sent: now)
        trunks[name]?.ping = transaction
        timers.start(.pingTimeout(trunk: name), at: now + health.timeout)
    }

    /// A request to the carrier itself, outside any dialog.
    private mutating func makeTrunkRequest(_ method: SIPMethod, _ trunk: CallEngineSettings.Trunk) -> SIPRequest {
        let host = trunk.registration?.domain.flatMap { SIPHost($0) } ?? .address(trunk.peer.address)
        let port = trunk.registration?.domain == nil && trunk.peer.port != 5060 ? trunk.peer.port : nil
        let uri = URI.sip(SIPURI(host: host, port: port))
        let own = contact(user: nil, realm: trunk.realm, transport: trunk.transport == .tcp ? .tcp : .udp)
        var from = NameAddress(
            uri: .sip(
                SIPURI(host: settings.realms[trunk.realm].map { .address($0.endpoint.address) } ?? .name("invalid"))))
        from.tag = random.hexToken(digitCount: 16)
        var request = SIPRequest(method: method, requestURI: uri)
        request.headers.append(.maxForwards, "70")
        request.headers.append(.from, from.text)
        request.headers.append(.to, NameAddress(uri: uri).text)
        request.headers.append(.callID, random.hexToken(digitCount: 32))
        request.headers.append(.cseq, CSeq(number: 1, method: method).text)
        request.headers.append(.contact, own.text)
        if !settings.userAgent.isEmpty { request.headers.append(.userAgent, settings.userAgent) }
        return request
    }

    mutating func pingTimedOut(_ name: String, at now: MonotonicTime) {
        guard let transaction = trunks[name]?.ping else { return }
        trunks[name]?.ping = nil
        clientOwners[transaction] = nil
        note(name, success: false, reason: "no answer to OPTIONS", at: now)
    }

    mutating func pingAnswered(
        _ name: String, _ transaction: ClientTransactionID, _ response: SIPResponse, sent: MonotonicTime,
        at now: MonotonicTime
    ) {
        guard response.statusCode >= 200, trunks[name]?.ping == transaction else { return }
        trunks[name]?.ping = nil
        trunks[name]?.roundTrip = now - sent
        timers.stop(.pingTimeout(trunk: name))
        // Any answer shows a living SIP stack; 503 and a 408 of somebody in between say it is of no use.
        let isAlive = response.statusCode != 503 && response.statusCode != 408
        note(name, success: isAlive, reason: "OPTIONS answered \(response.statusCode)", at: now)
    }

    mutating func pingFailed(
        _ name: String, _ transaction: ClientTransactionID, reason: String, at now: MonotonicTime
    ) {
        guard trunks[name]?.ping == transaction else { return }
        trunks[name]?.ping = nil
        timers.stop(.pingTimeout(trunk: name))
        note(name, success: false, reason: reason, at: now)
    }

    private mutating func note(_ name: String, success: Bool, reason: String, at now: MonotonicTime) {
        switch trunks[name]?.health.note(success: success) {
        case .wentUp?: emit(.trunkUp(name))
        case .wentDown?: emit(.trunkDown(name, reason: reason))
        case .some(.none), nil: break
        }
    }

    /// What a response to an INVITE, or its absence (408), says about the trunk.
    ///
    /// One attempt is one piece of evidence. 100 is none, for a proxy says it before it knows; nor is the 487 of an
    /// attempt we gave up.
    mutating func noteEvidence(of attempt: Attempt, _ statusCode: Int, at now: MonotonicTime) {
        guard let name = attempt.target.peer.trunkName, statusCode > 100, attempt.isOpen else { return }
        let isFailure = statusCode == 408 || statusCode == 503
        guard isFailure || attempt.state == .trying else { return }
        note(
            name, success: !isFailure,
            reason: statusCode == 408 ? "no answer to INVITE" : "INVITE answered \(statusCode)", at: now)
    }

    // MARK: Credentials

    /// Answers a challenge of a trunk; of one that is configured no more with the credentials the call began with.
    mutating func authorize(_ request: inout SIPRequest, after response: SIPResponse, peer: Peer) -> Bool {
        guard case .trunk(let name, let settings) = peer else { return false }
        if trunks[name] != nil { return trunks[name]?.authorize(&request, after: response) ?? false }
        guard let credentials = settings.authentication ?? settings.registration?.credentials else { return false }
        var digest = DigestClient(hash: hash, random: random.fork())
        return digest.authorize(
            &request, after: response, username: credentials.username, password: credentials.password)
    }
}
