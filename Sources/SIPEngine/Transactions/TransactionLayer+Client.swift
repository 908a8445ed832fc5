import Primitives
import SignallingFormats

/// A request under way: rendered once, kept for retransmission.
struct OutgoingRequest: Sendable {
    /// With our Via.
    var request: SIPRequest
    var bytes: [UInt8]
    var path: TransportPath
    /// What to try when `path` fails before any response.
    var fallbacks: [TransportPath]
    var transmissionCount = 0
}

struct InviteClientEntry: Sendable {
    var transaction: InviteClientTransaction
    var outgoing: OutgoingRequest
    var cancelReason: String?
    /// The ACK for a final response other than 2xx.
    var acknowledgement: [UInt8]?
}

struct NonInviteClientEntry: Sendable {
    var transaction: NonInviteClientTransaction
    var outgoing: OutgoingRequest
}

// The client side: RFC 3261 §17.1, §18.1, §9.1.
extension TransactionLayer {
    /// Sends a request in a new transaction; the layer adds Via, and Max-Forwards when missing.
    package mutating func send(
        _ request: SIPRequest, to hop: NextHop, at now: MonotonicTime
    ) -> ClientTransactionID {
        let kind = request.method == .invite ? ClientTransactionID.Kind.invite : .nonInvite
        let id = ClientTransactionID(branchNumber: random.next(), kind: kind)
        guard let outgoing = prepare(request, branch: id.branch, to: hop) else {
            outputs.append(.transportFailed(id, reason: "no transport for \(hop.policy) in realm \(hop.realm)"))
            outputs.append(.endedClient(id))
            return id
        }
        start(id, outgoing, at: now)
        return id
    }

    /// Sends the ACK for a 2xx: no transaction, a branch of its own (RFC 3261 §13.2.2.4). For each repeated 2xx
    /// the user sends it again.
    package mutating func sendACK(_ request: SIPRequest, to hop: NextHop, at now: MonotonicTime) {
        let id = ClientTransactionID(branchNumber: random.next(), kind: .nonInvite)
        guard let outgoing = prepare(request, branch: id.branch, to: hop) else { return }
        outputs.append(.transmit(outgoing.bytes, to: outgoing.path))
    }

    /// Cancels an INVITE: at once after a provisional response, else when the first one comes (RFC 3261 §9.1).
    /// A 2xx that crosses the CANCEL is delivered: the user acknowledges it and sends BYE.
    ///
    /// `reason` is the value of a Reason field (RFC 3326).
    package mutating func cancel(_ id: ClientTransactionID, reason: String? = nil, at now: MonotonicTime) {
        guard var entry = inviteClients.removeValue(forKey: id) else { return }
        entry.cancelReason = reason
        entry.transaction.handle(.cancel, at: now)
        settle(id, &entry, from: entry.outgoing.path, at: now)
    }

    private mutating func start(_ id: ClientTransactionID, _ outgoing: OutgoingRequest, at now: MonotonicTime) {
        clientsByRemote.insertElement(id, into: RemoteKey(outgoing.path))
        let isReliable = outgoing.path.transport.isReliable
        switch id.kind {
        case .invite:
            var entry = InviteClientEntry(
                transaction: InviteClientTransaction(isReliable: isReliable, at: now), outgoing: outgoing)
            settle(id, &entry, from: outgoing.path, at: now)
        case .nonInvite, .cancel:
            var entry = NonInviteClientEntry(
                transaction: NonInviteClientTransaction(isReliable: isReliable, at: now), outgoing: outgoing)
            settle(id, &entry, from: outgoing.path, at: now)
        }
    }

    /// Chooses the transport and renders; nil when the realm has none that fits.
    private func prepare(_ request: SIPRequest, branch: String, to hop: NextHop) -> OutgoingRequest? {
        guard let endpoint = endpoints[hop.realm] else { return nil }
        let hasUDP = endpoint.transports.contains(.udp)
        let hasTCP = endpoint.transports.contains(.tcp)
        let udp = TransportPath(realm: hop.realm, transport: .udp, remote: hop.remote)
        let newTCP = TransportPath(realm: hop.realm, transport: .tcp, remote: hop.remote)
        var tcp = [newTCP]
        if let connection = hop.connection {
            tcp.insert(
                TransportPath(realm: hop.realm, transport: .tcp, remote: hop.remote, connection: connection), at: 0)
        }

        var request = request
        request.headers.remove(.via)
        if !request.headers.contains(.maxForwards) {
            request.headers.append(.maxForwards, String(SpecificationConstants.maxForwards))
        }
        func rendered(_ paths: [TransportPath]) -> OutgoingRequest? {
            guard let first = paths.first else { return nil }
            request.headers.remove(.via)
            request.headers.prepend(.via, Self.viaText(first.transport, endpoint, branch))
            return OutgoingRequest(
                request: request, bytes: request.bytes, path: first, fallbacks: Array(paths.dropFirst()))
        }
        switch hop.policy {
        case .udp: return rendered(hasUDP ? [udp] : [])
        case .tcp: return rendered(hasTCP ? tcp : [])
        case .automatic:
            guard hop.connection == nil || !hasTCP else { return rendered(tcp) }
            guard hasUDP else { return rendered(hasTCP ? tcp : []) }
            let small = rendered([udp])
            guard hasTCP, let small, small.bytes.count > hop.datagramByteCountMax else { return small }
            return rendered(tcp + [udp])
        }
    }

    private static func viaText(_ transport: SIPTransport, _ endpoint: LocalSIPEndpoint, _ branch: String) -> String {
        "SIP/2.0/\(transport.text) \(endpoint.address);branch=\(branch);rport"
    }

    // MARK: Responses

    mutating func receive(_ response: SIPResponse, from path: TransportPath, at now: MonotonicTime) {
        // §8.1.3.3: more than one Via means it is not for us. That the branch is in our table says more than the sent-by
        // (§18.1.2): it is 64 random bits.
        let vias = response.vias
        guard vias.count == 1, let branch = vias[0].branch, let cseq = response.cseq,
            let id = ClientTransactionID(branch: branch, method: cseq.method)
        else {
            counters.strayResponses += 1
            return
        }
        if id.isInvite {
            guard let known = inviteClients[id]?.outgoing.path.realm, known == path.realm,
                var entry = inviteClients.removeValue(forKey: id)
            else {
                counters.strayResponses += 1
                return
            }
            if entry.acknowledgement != nil, response.statusCode >= 300 { counters.retransmissionsReceived += 1 }
            switch response.statusCode {
            case ..<200: entry.transaction.handle(.provisional(response), at: now)
            case ..<300: entry.transaction.handle(.success(response), at: now)
            default: entry.transaction.handle(.rejection(response), at: now)
            }
            settle(id, &entry, from: path, at: now)
        } else {
            guard let known = nonInviteClients[id]?.outgoing.path.realm, known == path.realm,
                nonInviteClients[id]?.outgoing.request.method == cseq.method,
                var entry = nonInviteClients.removeValue(forKey: id)
            else {
                counters.strayResponses += 1
                return
            }
            if response.statusCode < 200 {
                entry.transaction.handle(.provisional(response), at: now)
            } else {
                entry.transaction.handle(.final(response), at: now)
            }
            settle(id, &entry, from: path, at: now)
        }
    }

    mutating func advanceClient(_ id: ClientTransactionID, to now: MonotonicTime) {
        if var entry = inviteClients.removeValue(forKey: id) {
            entry.transaction.advance(to: now)
            settle(id, &entry, from: entry.outgoing.path, at: now)
        } else if var entry = nonInviteClients.removeValue(forKey: id) {
            entry.transaction.advance(to: now)
            settle(id, &entry, from: entry.outgoing.path, at: now)
        }
    }

    /// Tries the next transport for what is unanswered; without one tells the transaction.
    mutating func failClients(on path: TransportPath, reason: String, at now: MonotonicTime) {
        for id in clientsByRemote[RemoteKey(path)] ?? [] {
            if let entry = inviteClients[id] {
                guard Self.concerns(path, entry.outgoing.path) else { continue }
                inviteClients[id] = nil
                guard !entry.transaction.isUnanswered || !retry(id, entry.outgoing, at: now)
                else { continue }
                var failed = entry
                failed.transaction.handle(.transportFailed(reason: reason), at: now)
                settle(id, &failed, from: path, at: now)
            } else if let entry = nonInviteClients[id] {
                guard Self.concerns(path, entry.outgoing.path) else { continue }
                nonInviteClients[id] = nil
                guard !entry.transaction.isUnanswered || !retry(id, entry.outgoing, at: now) else { continue }
                var failed = entry
                failed.transaction.handle(.transportFailed(reason: reason), at: now)
                settle(id, &failed, from: path, at: now)
            }
        }
    }

    /// A failed connection concerns what was sent on it, or to where it leads without naming one.
    static func concerns(_ failed: TransportPath, _ used: TransportPath) -> Bool {
        used.connection == nil || used.connection == failed.connection
    }

    /// The same request and branch over the next transport; its entry is out of the table.
    private mutating func retry(
        _ id: ClientTransactionID, _ outgoing: OutgoingRequest, at now: MonotonicTime
    ) -> Bool {
        guard let next = outgoing.fallbacks.first, let endpoint = endpoints[next.realm] else { return false }
        clientsByRemote.removeElement(id, from: RemoteKey(outgoing.path))
        if next.transport == .udp { counters.fallbacksToUDP += 1 } else { counters.reconnections += 1 }
        var again = outgoing
        again.path = next
        again.fallbacks.removeFirst()
        if next.transport != outgoing.path.transport {
            again.request.headers.replaceFirstValue(.via, Self.viaText(next.transport, endpoint, id.branch))
            again.bytes = again.request.bytes
        }
        again.transmissionCount = 0
        start(id, again, at: now)
        return true
    }

    // MARK: Outputs of the machines

    private mutating func settle(
        _ id: ClientTransactionID, _ entry: inout InviteClientEntry, from path: TransportPath, at now: MonotonicTime
    ) {
        while let output = entry.transaction.nextOutput() {
            switch output {
            case .transmitRequest: transmit(&entry.outgoing)
            case .transmitACK(let response):
                let bytes = entry.acknowledgement ?? Self.acknowledgement(of: response, to: entry.outgoing.request)
                entry.acknowledgement = bytes
                outputs.append(.transmit(bytes, to: entry.outgoing.path))
            case .transmitCANCEL: sendCANCEL(id, entry, at: now)
            case .deliver(let response): outputs.append(.response(response, id, from: path))
            case .timedOut:
                counters.timeouts += 1
                outputs.append(.timedOut(id))
            case .transportFailed(let reason): outputs.append(.transportFailed(id, reason: reason))
            case .terminated: end(id, entry.outgoing.path)
            }
        }
        guard !entry.transaction.isTerminated else { return }
        schedule(.client(id), at: entry.transaction.nextDeadline)
        inviteClients[id] = entry
    }

    private mutating func settle(
        _ id: ClientTransactionID, _ entry: inout NonInviteClientEntry, from path: TransportPath,
        at now: MonotonicTime
    ) {
        let isOurs = id.kind == .cancel
        while let output = entry.transaction.nextOutput() {
            switch output {
            case .transmitRequest: transmit(&entry.outgoing)
            case .deliver(let response): if !isOurs { outputs.append(.response(response, id, from: path)) }
            case .timedOut:
                counters.timeouts += 1
                if !isOurs { outputs.append(.timedOut(id)) }
            case .transportFailed(let reason):
                if !isOurs { outputs.append(.transportFailed(id, reason: reason)) }
            case .terminated: end(id, entry.outgoing.path)
            }
        }
        guard !entry.transaction.isTerminated else { return }
        schedule(.client(id), at: entry.transaction.nextDeadline)
        nonInviteClients[id] = entry
    }

    private mutating func transmit(_ outgoing: inout OutgoingRequest) {
        if outgoing.transmissionCount > 0 { counters.retransmissionsSent += 1 }
        outgoing.transmissionCount += 1
        outputs.append(.transmit(outgoing.bytes, to: outgoing.path))
    }

    private mutating func end(_ id: ClientTransactionID, _ path: TransportPath) {
        timers.stop(.client(id))
        clientsByRemote.removeElement(id, from: RemoteKey(path))
        if id.kind != .cancel { outputs.append(.endedClient(id)) }
    }

    // MARK: ACK and CANCEL

    /// The ACK for a final response other than 2xx (RFC 3261 §17.1.1.3).
    private static func acknowledgement(of response: SIPResponse, to invite: SIPRequest) -> [UInt8] {
        var ack = hopByHop(.ack, for: invite)
        ack.headers.append(contentsOf: .to, from: response.headers)
        return ack.bytes
    }

    private mutating func sendCANCEL(_ id: ClientTransactionID, _ entry: InviteClientEntry, at now: MonotonicTime) {
        var cancel = Self.hopByHop(.cancel, for: entry.outgoing.request)
        cancel.headers.append(contentsOf: .to, from: entry.outgoing.request.headers)
        if let reason = entry.cancelReason { cancel.headers.append(.reason, reason) }
        start(
            ClientTransactionID(branchNumber: id.branchNumber, kind: .cancel),
            OutgoingRequest(request: cancel, bytes: cancel.bytes, path: entry.outgoing.path, fallbacks: []), at: now)
    }

    /// What ACK and CANCEL take from their INVITE; To is the caller's to add.
    private static func hopByHop(_ method: SIPMethod, for invite: SIPRequest) -> SIPRequest {
        var request = SIPRequest(method: method, requestURI: invite.requestURI)
        request.headers.append(contentsOf: .via, from: invite.headers)
        request.headers.append(.maxForwards, String(SpecificationConstants.maxForwards))
        request.headers.append(contentsOf: .route, from: invite.headers)
        request.headers.append(contentsOf: .from, from: invite.headers)
        request.headers.append(contentsOf: .callID, from: invite.headers)
        request.headers.append(.cseq, CSeq(number: invite.cseq?.number ?? 1, method: method).text)
        return request
    }
}
