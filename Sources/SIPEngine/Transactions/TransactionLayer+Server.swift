import Primitives
import SignallingFormats

/// What every server transaction keeps about its peer.
struct ServerPeer: Sendable {
    /// nil once the final response is given: what remains is small.
    var request: SIPRequest?
    let key: ServerTransactionKey
    let mergeKey: MergeKey?
    let source: TransportPath
    /// Where responses go.
    var path: TransportPath
    /// Where they go when the connection is lost (RFC 3261 §18.2.2).
    var fallback: TransportPath?
    /// The last response, rendered.
    var lastResponse: [UInt8]?
    /// The To tag of our responses, once there was one.
    var localTag: String?
}

struct InviteServerEntry: Sendable {
    var transaction: InviteServerTransaction
    var peer: ServerPeer
    var inviteKeys: Set<InviteKey> = []
    var success: SuccessRetransmission?
    var provisionals: ReliableProvisionals?
    /// A 2xx that waits for the PRACK of an offer or answer (RFC 3262 §3).
    var heldSuccess: SIPResponse?
    var wasCancelled = false

    var nextDeadline: MonotonicTime? {
        [transaction.nextDeadline, success?.nextDeadline, provisionals?.nextDeadline].compactMap { $0 }.min()
    }
}

struct NonInviteServerEntry: Sendable {
    var transaction: NonInviteServerTransaction
    var peer: ServerPeer
}

// The server side: RFC 3261 §17.2, §18.2, §8.2.2.2, §9.2.
extension TransactionLayer {
    // MARK: Requests

    mutating func receive(_ received: SIPRequest, from path: TransportPath, at now: MonotonicTime) {
        guard var via = received.topVia, let cseq = received.cseq else {
            counters.malformed += 1
            return
        }
        guard cseq.method == received.method else {
            counters.malformed += 1
            if received.method != .ack { respondStatelessly(to: received, 400, via: via, from: path) }
            return
        }
        var request = received
        if Self.noteSource(&via, path) { request.headers.replaceFirstValue(.via, via.text) }
        let key = ServerTransactionKey(realm: path.realm, request: request, via: via, cseq: cseq)
        if request.method == .ack { return receiveACK(request, key, cseq, at: now) }
        if let id = serverIDs[key] { return receiveRetransmission(id, at: now) }

        let load = serverTransactionCount * Self.weight(of: request)
        if load >= serverTransactionCountMax, isRefusedForCapacity(request, load: load) {
            counters.refusedForCapacity += 1
            return respondStatelessly(to: request, 503, via: via, from: path)
        }
        switch request.method {
        case .cancel: receiveCANCEL(request, key, via, cseq, from: path, at: now)
        case .prack: receivePRACK(request, key, via, cseq, from: path, at: now)
        default:
            var mergeKey: MergeKey?
            if request.toTag == nil {
                let merge = MergeKey(
                    realm: path.realm, callID: request.callID, fromTag: request.fromTag ?? "", cseq: cseq)
                if mergeIDs[merge] != nil {
                    counters.mergedRequests += 1
                    return respondStatelessly(to: request, 482, via: via, from: path)
                }
                mergeKey = merge
            }
            let id = open(request, key, via, mergeKey, from: path, at: now)
            outputs.append(.request(request, id, from: path))
        }
    }

    /// Notes in the Via where the request came from (RFC 3261 §18.2.1, RFC 3581 §4); false when nothing changed.
    private static func noteSource(_ via: inout Via, _ path: TransportPath) -> Bool {
        if via.hasRport {
            via.rport = path.remote.port
            via.received = path.remote.address
            return true
        }
        guard via.host != .address(path.remote.address) else { return false }
        via.received = path.remote.address
        return true
    }

    /// Where the response goes (RFC 3261 §18.2.2, RFC 3581 §4); maddr is ignored: nobody steers our answers elsewhere.
    private static func responsePaths(
        _ via: Via, _ path: TransportPath
    ) -> (first: TransportPath, fallback: TransportPath?) {
        let sentBy = TransportAddress(path.remote.address, via.port ?? SpecificationConstants.defaultPort)
        var other = path
        other.remote = sentBy
        other.connection = nil
        guard path.transport.isReliable else { return (via.hasRport ? path : other, nil) }
        return (path, other)
    }

    /// For how many a request counts: its answer is kept, and repeats most of its headers.
    private static func weight(of request: SIPRequest) -> Int {
        max(1, request.headers.byteCount / Limits.headerByteCountOfOne)
    }

    private func isRefusedForCapacity(_ request: SIPRequest, load: Int) -> Bool {
        guard emergencyNumbers.number(askedBy: request) != .emergency, request.method != .cancel else { return false }
        // What belongs to a dialog mostly ends it, or keeps a call alive.
        let isInDialog = request.toTag != nil
        let hardMax = max(serverTransactionCountMax, serverTransactionCountMax &* 2)
        return !isInDialog || load >= min(hardMax, Limits.serverTransactionCountHardMax)
    }

    private mutating func open(
        _ request: SIPRequest, _ key: ServerTransactionKey, _ via: Via, _ mergeKey: MergeKey?,
        from path: TransportPath, at now: MonotonicTime
    ) -> ServerTransactionID {
        let id = ServerTransactionID(rawValue: nextServerNumber, isInvite: request.method == .invite)
        nextServerNumber += 1
        let (responsePath, fallback) = Self.responsePaths(via, path)
        let peer = ServerPeer(
            request: request, key: key, mergeKey: mergeKey, source: path, path: responsePath, fallback: fallback)
        serverIDs[key] = id
        if let mergeKey { mergeIDs[mergeKey] = id }
        let isReliable = path.transport.isReliable
        if isReliable { serversByRemote.insertElement(id, into: RemoteKey(responsePath)) }
        if id.isInvite {
            var entry = InviteServerEntry(
                transaction: InviteServerTransaction(isReliable: isReliable, at: now), peer: peer)
            settle(id, &entry)
        } else {
            var entry = NonInviteServerEntry(
                transaction: NonInviteServerTransaction(isReliable: isReliable, at: now), peer: peer)
            settle(id, &entry)
        }
        return id
    }

    private mutating func receiveRetransmission(_ id: ServerTransactionID, at now: MonotonicTime) {
        counters.retransmissionsReceived += 1
        if var entry = inviteServers.removeValue(forKey: id) {
            entry.transaction.handle(.retransmission, at: now)
            settle(id, &entry)
        } else if var entry = nonInviteServers.removeValue(forKey: id) {
            entry.transaction.handle(.retransmission, at: now)
            settle(id, &entry)
        }
    }

    private mutating func receiveACK(
        _ request: SIPRequest, _ key: ServerTransactionKey, _ cseq: CSeq, at now: MonotonicTime
    ) {
        // By branch for 3xx to 6xx, by dialog for 2xx; some peers reuse the branch for the latter.
        let inviteKey = DialogID(incoming: request).map {
            InviteKey(realm: key.realm, dialog: $0, sequenceNumber: cseq.number)
        }
        guard let id = serverIDs[key] ?? inviteKey.flatMap({ inviteIDs[$0] }),
            var entry = inviteServers.removeValue(forKey: id)
        else {
            counters.strayACKs += 1
            return
        }
        if entry.success != nil {
            entry.success = nil
            outputs.append(.acknowledged(id, request))
        } else {
            entry.transaction.handle(.acknowledgement, at: now)
        }
        settle(id, &entry)
    }

    private mutating func receiveCANCEL(
        _ request: SIPRequest, _ key: ServerTransactionKey, _ via: Via, _ cseq: CSeq, from path: TransportPath,
        at now: MonotonicTime
    ) {
        let inviteKey = ServerTransactionKey(
            realm: path.realm, request: request, via: via, cseq: cseq, method: .invite)
        // Whoever guesses a branch still has to be where the INVITE came from.
        guard let inviteID = serverIDs[inviteKey], var entry = inviteServers.removeValue(forKey: inviteID) else {
            counters.strayCANCELs += 1
            return respondStatelessly(to: request, 481, via: via, from: path)
        }
        guard entry.peer.source.remote.address == path.remote.address else {
            inviteServers[inviteID] = entry
            counters.strayCANCELs += 1
            return respondStatelessly(to: request, 481, via: via, from: path)
        }
        let tag = entry.peer.localTag ?? random.hexToken(digitCount: 16)
        // A 2xx that waits for its PRACK is an answer given.
        let reported = !entry.wasCancelled && entry.heldSuccess == nil && entry.transaction.isProceeding
        if reported { entry.wasCancelled = true }
        settle(inviteID, &entry)
        let id = open(request, key, via, nil, from: path, at: now)
        respond(SIPResponse(to: request, 200, toTag: tag), to: id, at: now)
        if reported { outputs.append(.cancelled(inviteID)) }
    }

    private mutating func receivePRACK(
        _ request: SIPRequest, _ key: ServerTransactionKey, _ via: Via, _ cseq: CSeq, from path: TransportPath,
        at now: MonotonicTime
    ) {
        guard let rack = RAck(request.headers.first(.rack) ?? ""), rack.cseq.method == .invite,
            let dialog = DialogID(incoming: request),
            let inviteID = inviteIDs[
                InviteKey(realm: path.realm, dialog: dialog, sequenceNumber: rack.cseq.number)],
            var entry = inviteServers.removeValue(forKey: inviteID)
        else {
            counters.strayPRACKs += 1
            return respondStatelessly(to: request, 481, via: via, from: path)
        }
        guard entry.provisionals?.acknowledge(rack.responseNumber) == true else {
            inviteServers[inviteID] = entry
            counters.strayPRACKs += 1
            return respondStatelessly(to: request, 481, via: via, from: path)
        }
        let id = open(request, key, via, nil, from: path, at: now)
        outputs.append(.provisionalAcknowledged(inviteID, prack: request, id))
        if let next = entry.provisionals?.nextWaiting(), let bytes = entry.provisionals?.send(next, at: now) {
            entry.peer.lastResponse = bytes
            entry.transaction.handle(.provisional, at: now)
        }
        if let success = entry.heldSuccess, entry.provisionals?.holdsSuccess != true {
            entry.heldSuccess = nil
            sendSuccess(success, &entry, at: now)
        }
        settle(inviteID, &entry)
    }

    // MARK: Responses

    /// Answers a request. A 2xx to INVITE is repeated until its ACK; it waits while a reliable provisional response
    /// with a body is not acknowledged. What comes after the final response is dropped and counted.
    package mutating func respond(_ response: SIPResponse, to id: ServerTransactionID, at now: MonotonicTime) {
        if var entry = inviteServers.removeValue(forKey: id) {
            noteTag(of: response, id, &entry.peer, &entry.inviteKeys, isDialogForming: response.statusCode < 300)
            switch response.statusCode {
            case _ where !entry.transaction.isProceeding || entry.heldSuccess != nil && response.statusCode < 300:
                counters.lateResponses += 1
            case ..<200:
                entry.peer.lastResponse = response.bytes
                entry.transaction.handle(.provisional, at: now)
            case ..<300:
                if entry.provisionals?.holdsSuccess == true {
                    entry.heldSuccess = response
                } else {
                    sendSuccess(response, &entry, at: now)
                }
            default:
                entry.heldSuccess = nil
                entry.provisionals?.finish()
                if response.statusCode == 401 || response.statusCode == 407 { forgetMerge(&entry.peer, id) }
                entry.peer.lastResponse = response.bytes
                entry.transaction.handle(.rejection, at: now)
            }
            settle(id, &entry)
        } else if var entry = nonInviteServers.removeValue(forKey: id) {
            if response.statusCode == 401 || response.statusCode == 407 { forgetMerge(&entry.peer, id) }
            if !entry.transaction.isCompleted {
                entry.peer.lastResponse = response.bytes
                entry.transaction.handle(response.statusCode < 200 ? .provisional : .final, at: now)
            } else {
                counters.lateResponses += 1
            }
            settle(id, &entry)
        } else {
            counters.lateResponses += 1
        }
    }

    /// Answers an INVITE with a provisional response that is repeated until its PRACK (RFC 3262 §3); the layer adds
    /// RSeq and Require. The user does so only when the request has 100rel in Supported or Require, and with a To tag.
    ///
    /// false: no PRACK will come, for too many wait for theirs already and this one went out unreliably, or not at all.
    @discardableResult
    package mutating func respondReliably(
        _ response: SIPResponse, to id: ServerTransactionID, at now: MonotonicTime
    ) -> Bool {
        guard (101...199).contains(response.statusCode), response.toTag != nil, let existing = inviteServers[id],
            existing.provisionals?.isWaitingFull != true
        else {
            respond(response, to: id, at: now)
            return false
        }
        guard existing.transaction.isProceeding, existing.heldSuccess == nil,
            var entry = inviteServers.removeValue(forKey: id)
        else {
            counters.lateResponses += 1
            return false
        }
        noteTag(of: response, id, &entry.peer, &entry.inviteKeys, isDialogForming: true)
        if entry.provisionals == nil {
            entry.provisionals = ReliableProvisionals(
                firstSequenceNumber: UInt32(truncatingIfNeeded: random.next() >> 33))
        }
        if let bytes = entry.provisionals?.send(response, at: now) {
            entry.peer.lastResponse = bytes
            entry.transaction.handle(.provisional, at: now)
        }
        settle(id, &entry)
        return true
    }

    private mutating func sendSuccess(_ response: SIPResponse, _ entry: inout InviteServerEntry, at now: MonotonicTime)
    {
        entry.provisionals?.finish()
        entry.peer.lastResponse = response.bytes
        entry.transaction.handle(.success, at: now)
        entry.success = SuccessRetransmission(at: now)
    }

    /// Remembers under which dialog an ACK or PRACK will come.
    private mutating func noteTag(
        of response: SIPResponse, _ id: ServerTransactionID, _ peer: inout ServerPeer, _ keys: inout Set<InviteKey>,
        isDialogForming: Bool
    ) {
        guard let tag = response.toTag else { return }
        peer.localTag = tag
        guard isDialogForming, response.statusCode > 100, let request = peer.request, let number = request.cseq?.number
        else { return }
        let key = InviteKey(
            realm: peer.source.realm,
            dialog: DialogID(
                callID: request.callID, localTag: tag, remoteTag: request.fromTag ?? ""),
            sequenceNumber: number)
        if keys.insert(key).inserted { inviteIDs[key] = id }
    }

    private mutating func forgetMerge(_ peer: inout ServerPeer, _ id: ServerTransactionID) {
        // Some phones repeat a challenged request with the same CSeq.
        if let mergeKey = peer.mergeKey, mergeIDs[mergeKey] == id { mergeIDs[mergeKey] = nil }
    }

    /// An answer that leaves nothing in the table; its To tag is the same for each repetition (RFC 3261 §8.2.7).
    mutating func respondStatelessly(
        to request: SIPRequest, _ statusCode: Int, via: Via, from path: TransportPath
    ) {
        var request = request
        var via = via
        if Self.noteSource(&via, path) { request.headers.replaceFirstValue(.via, via.text) }
        var hasher = Hasher()
        hasher.combine(request.callID)
        hasher.combine(via.branch)
        let tag = String(UInt64(bitPattern: Int64(hasher.finalize())), radix: 16)
        var response = SIPResponse(to: request, statusCode, toTag: tag)
        if statusCode == 503 { response.headers.append(.retryAfter, String(Limits.retryAfterSeconds)) }
        outputs.append(.transmit(response.bytes, to: Self.responsePaths(via, path).first))
    }

    // MARK: Time and transport

    mutating func advanceServer(_ id: ServerTransactionID, to now: MonotonicTime) {
        if var entry = inviteServers.removeValue(forKey: id) {
            while let output = entry.provisionals?.popDue(now) {
                switch output {
                case .transmit(let bytes):
                    counters.retransmissionsSent += 1
                    outputs.append(.transmit(bytes, to: entry.peer.path))
                case .notAcknowledged:
                    entry.heldSuccess = nil
                    outputs.append(.provisionalNotAcknowledged(id))
                }
            }
            while let output = entry.success?.popDue(now) {
                switch output {
                case .transmit:
                    counters.retransmissionsSent += 1
                    if let bytes = entry.peer.lastResponse { outputs.append(.transmit(bytes, to: entry.peer.path)) }
                case .acknowledgementMissing:
                    entry.success = nil
                    outputs.append(.acknowledgementMissing(id))
                }
            }
            entry.transaction.advance(to: now)
            settle(id, &entry, isRetransmission: true)
        } else if var entry = nonInviteServers.removeValue(forKey: id) {
            entry.transaction.advance(to: now)
            settle(id, &entry)
        }
    }

    /// A lost connection: the last response goes to the address of the Via over a new one, once.
    mutating func failServers(on path: TransportPath, at now: MonotonicTime) {
        for id in serversByRemote[RemoteKey(path)] ?? [] {
            if var entry = inviteServers[id], Self.concerns(path, entry.peer.path) {
                inviteServers[id] = nil
                if !reconnect(id, &entry.peer) { entry.transaction.handle(.transportFailed, at: now) }
                settle(id, &entry)
            } else if var entry = nonInviteServers[id], Self.concerns(path, entry.peer.path) {
                nonInviteServers[id] = nil
                if !reconnect(id, &entry.peer) { entry.transaction.handle(.transportFailed, at: now) }
                settle(id, &entry)
            }
        }
    }

    private mutating func reconnect(_ id: ServerTransactionID, _ peer: inout ServerPeer) -> Bool {
        guard let fallback = peer.fallback else { return false }
        serversByRemote.removeElement(id, from: RemoteKey(peer.path))
        serversByRemote.insertElement(id, into: RemoteKey(fallback))
        peer.path = fallback
        peer.fallback = nil
        counters.reconnections += 1
        if let bytes = peer.lastResponse { outputs.append(.transmit(bytes, to: fallback)) }
        return true
    }

    // MARK: Outputs of the machines

    private mutating func settle(
        _ id: ServerTransactionID, _ entry: inout InviteServerEntry, isRetransmission: Bool = false
    ) {
        while let output = entry.transaction.nextOutput() {
            switch output {
            case .transmitTrying:
                guard let request = entry.peer.request else { continue }
                let bytes = SIPResponse(to: request, 100, toTag: nil).bytes
                entry.peer.lastResponse = bytes
                outputs.append(.transmit(bytes, to: entry.peer.path))
            case .transmit:
                if isRetransmission { counters.retransmissionsSent += 1 }
                if let bytes = entry.peer.lastResponse { outputs.append(.transmit(bytes, to: entry.peer.path)) }
            case .terminated:
                for key in entry.inviteKeys where inviteIDs[key] == id { inviteIDs[key] = nil }
                end(id, entry.peer)
            }
        }
        guard !entry.transaction.isTerminated else { return }
        if !entry.transaction.isProceeding { entry.peer.request = nil }
        schedule(.server(id), at: entry.nextDeadline)
        inviteServers[id] = entry
    }

    private mutating func settle(_ id: ServerTransactionID, _ entry: inout NonInviteServerEntry) {
        while let output = entry.transaction.nextOutput() {
            switch output {
            case .transmit:
                if let bytes = entry.peer.lastResponse { outputs.append(.transmit(bytes, to: entry.peer.path)) }
            case .terminated: end(id, entry.peer)
            }
        }
        guard !entry.transaction.isTerminated else { return }
        if entry.transaction.isCompleted { entry.peer.request = nil }
        schedule(.server(id), at: entry.transaction.nextDeadline)
        nonInviteServers[id] = entry
    }

    private mutating func end(_ id: ServerTransactionID, _ peer: ServerPeer) {
        timers.stop(.server(id))
        if serverIDs[peer.key] == id { serverIDs[peer.key] = nil }
        if let mergeKey = peer.mergeKey, mergeIDs[mergeKey] == id { mergeIDs[mergeKey] = nil }
        serversByRemote.removeElement(id, from: RemoteKey(peer.path))
        if peer.key.method != .cancel { outputs.append(.ended(id)) }
    }
}
