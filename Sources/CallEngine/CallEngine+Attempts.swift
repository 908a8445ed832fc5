import EmergencyCalling
import MediaEngine
import Primitives
import SIPEngine
import SignallingFormats

// From an admitted INVITE to its answer: attempts, provisional responses, failover.
extension CallEngine {
    /// Runs `body` on a call taken out of the table, then puts it back or, when nothing is left to do, forgets it.
    mutating func withCall(_ id: CallID, at now: MonotonicTime, _ body: (inout CallEngine, inout Call) -> Void) {
        guard var call = calls.removeValue(forKey: id) else { return }
        body(&self, &call)
        settle(call, at: now)
    }

    mutating func startCall(
        _ request: SIPRequest, _ transaction: ServerTransactionID, from path: TransportPath,
        peer: Peer, offer: SessionDescription?, dialled: String, plan: [[Target]], emergency: EmergencyDispatch? = nil,
        isCallback: Bool = false, at now: MonotonicTime
    ) {
        let id = newCallID()
        var identity = identity(of: request, from: peer)
        // Help must know whom to call back (RFC 3325 §10 leaves it to the law).
        if emergency != nil { identity.isAnonymous = false }
        let party = CallParty(peer.kind, number: identity.user)
        var call = Call(
            id: id, callerPeer: peer, invite: request, inviteTransaction: transaction,
            callerPath: path, offer: offer, dialled: dialled, emergency: emergency, isCallback: isCallback,
            callerParty: party,
            identity: identity, start: now,
            plan: plan, localTag: random.hexToken(digitCount: 16),
            callerNegotiation: makeNegotiation(for: peer))
        serverOwners[transaction] = .invite(id)
        activeCallCount += 1
        counters.callsAdmitted += 1
        emit(.callStarted(id, caller: party, dialled: dialled))
        if emergency == nil, !isCallback { timers.start(.ring(id), at: now + settings.calls.ringTimeout) }
        transactions.respond(makeResponse(to: request, 100), to: transaction, at: now)
        if let offer {
            call.callerMedia = openMedia(
                for: call, .caller, realm: peer.realm, streamCount: OfferAnswer.streamCount(of: offer), at: now)
        }
        if offer != nil, call.callerMedia == nil {
            reject(&call, 503, "No media port free", at: now)
        } else if isCallback {
            widenCallback(&call, at: now)
        } else {
            startNextGroup(&call, at: now)
        }
        if let emergency {
            emitAfterTransmission(.emergencyCall(id, caller: party, source: path.remote, emergency.number))
        }
        if isCallback { emitAfterTransmission(.emergencyCallback(id, caller: party, called: dialled)) }
        settle(call, at: now)
    }

    func makeNegotiation(for peer: Peer, sessionID: UInt64 = 0) -> NegotiationLeg {
        NegotiationLeg(
            sessionID: sessionID, address: settings.realms[peer.realm]?.endpoint.address ?? .v4(0),
            telephoneEvent: peer.telephoneEvent)
    }

    /// The next destinations of the plan; without any, the best failure goes to the caller.
    mutating func startNextGroup(_ call: inout Call, at now: MonotonicTime) {
        while !call.plan.isEmpty {
            let group = call.plan.removeFirst()
            for target in group { startAttempt(&call, target, at: now) }
            if call.attempts.contains(where: \.isOpen) { return }
        }
        rejectWithBestFailure(&call, at: now)
    }

    private mutating func startAttempt(_ call: inout Call, _ target: Target, at now: MonotonicTime) {
        if let reason = reasonToBlock(target, of: call, at: now) {
            return noteFailure(&call, code: 503, reason: reason, at: now)
        }
        if let name = target.peer.trunkName { makeRoom(on: name, for: call, at: now) }
        let id = AttemptID(rawValue: call.attempts.count)
        var callerNegotiation = call.callerNegotiation
        var calleeNegotiation = makeNegotiation(for: target.peer, sessionID: random.next() & 0x7FFF_FFFF)
        var mediaLeg: MediaLegID?
        var description: SessionDescription?
        if let offer = call.offer {
            let count = OfferAnswer.streamCount(of: offer)
            mediaLeg = openMedia(for: call, .callee, realm: target.peer.realm, streamCount: count, at: now)
            guard let leg = mediaLeg else {
                return noteFailure(&call, code: 503, reason: "No media port free", at: now)
            }
            do throws(OfferAnswerError) {
                description = try OfferAnswer.relay(
                    offer: offer, from: &callerNegotiation, to: &calleeNegotiation,
                    local: localAddresses(of: leg))
            } catch {
                closeMedia(leg, of: &call, at: now)
                return noteFailure(&call, code: 488, reason: nil, at: now)
            }
        }
        var request = makeInvite(for: call, target: target, description: description)
        prepareForHelp(&request, from: call.invite, call, target, at: now)
        let timer = makeTimer()
        timer.prepare(&request)
        if let name = target.peer.trunkName { trunks[name]?.authorizePreemptively(&request) }
        let transaction = transactions.send(request, to: target.nextHop, at: now)
        clientOwners[transaction] = .invite(call.id, id)
        call.openTransactions += 1
        call.attempts.append(
            Attempt(
                id: id, target: target, request: request, transaction: transaction, media: mediaLeg,
                callerNegotiation: callerNegotiation, calleeNegotiation: calleeNegotiation, start: now, timer: timer))
        if case .trunk(let name, let trunk) = target.peer {
            if let emergency = call.emergency { emergencies.attemptStarted(emergency.id, trunk: name, at: now) }
            let limit =
                call.emergency == nil
                ? trunk.attemptTimeout : min(trunk.attemptTimeout, settings.emergency.attemptTimeout)
            timers.start(.attempt(call.id, id), at: now + limit)
        }
    }

    // MARK: Responses to our INVITE

    mutating func handleInviteResponse(
        _ response: SIPResponse, _ id: CallID, _ attempt: AttemptID, from path: TransportPath, at now: MonotonicTime
    ) {
        withCall(id, at: now) { engine, call in
            guard call.attempts.indices.contains(attempt.rawValue) else { return }
            let index = attempt.rawValue
            engine.noteEvidence(of: call.attempts[index], response.statusCode, at: now)
            call.attempts[index].isHeard = true
            switch response.statusCode {
            case ...100: break
            case 101...199: engine.provisional(&call, index, response, from: path, at: now)
            case 200...299: engine.success(&call, index, response, from: path, at: now)
            default: engine.failure(&call, index, response, at: now)
            }
        }
    }

    private mutating func provisional(
        _ call: inout Call, _ index: Int, _ response: SIPResponse, from path: TransportPath, at now: MonotonicTime
    ) {
        guard call.state == .proceeding, call.attempts[index].isOpen else { return }
        if call.attempts[index].state == .trying {
            call.attempts[index].state = .ringing
            call.attempts[index].ringing = now
            if let emergency = call.emergency, let trunk = call.attempts[index].target.peer.trunkName {
                emergencies.ringing(emergency.id, trunk: trunk, at: now)
            }
            timers.stop(.attempt(call.id, call.attempts[index].id))
        }
        if !call.hasRung {
            call.hasRung = true
            emit(.callRinging(call.id, callee: call.attempts[index].target.party))
        }
        guard let fork = findFork(&call, index, response, from: path, at: now) else {
            // No To tag, so no dialog: RFC 2543 peers; the caller hears of it without one.
            return relayPlainProvisional(&call, response, from: path.remote.address, at: now)
        }
        switch call.forks[fork].callee.dialog.receiveProvisional(response) {
        case .unreliable: relayProvisional(&call, fork, response, isReliable: false, at: now)
        case .acknowledge: relayProvisional(&call, fork, response, isReliable: true, at: now)
        case .duplicate, .outOfOrder: break
        }
    }

    private mutating func success(
        _ call: inout Call, _ index: Int, _ response: SIPResponse, from path: TransportPath, at now: MonotonicTime
    ) {
        finishTransaction(&call, index)
        let attempt = call.attempts[index].id
        if call.attempts[index].state == .answered {
            let remoteTag = response.toTag ?? ""
            if let known = call.forkIndex(of: attempt, remoteTag: remoteTag),
                let ack = call.forks[known].callee.lastACK
            {
                // Repeated: our ACK was lost (RFC 3261 §13.2.2.4).
                transactions.sendACK(ack.request, to: call.forks[known].callee.nextHop, at: now)
                return
            }
            if call.answeredFork.map({ call.forks[$0.rawValue].callee.dialog.remoteTag }) == remoteTag {
                return  // repeated while the caller's ACK, with the answer, is awaited
            }
        }
        guard call.state == .proceeding, call.attempts[index].isOpen else {
            return hangUpOnStray(&call, index, response, at: now)
        }
        guard let fork = findFork(&call, index, response, from: path, at: now) else {
            // A 2xx without To tag: what we cannot connect is acknowledged and ended (RFC 3261 §13.2.2.4).
            finish(&call, index, .response(response.statusCode), at: now)
            hangUpOnStray(&call, index, response, at: now)
            return reject(&call, 502, nil, at: now)
        }
        call.attempts[index].state = .answered
        call.attempts[index].finished = now
        call.attempts[index].outcome = .response(response.statusCode)
        noteEmergencyAttempt(call, index, at: now)
        timers.stop(.attempt(call.id, attempt))
        answer(&call, fork, response, at: now)
    }

    /// The first final response ends what was counted as open; repetitions and forks of 2xx do not count again.
    private mutating func finishTransaction(_ call: inout Call, _ index: Int) {
        guard !call.attempts[index].isTransactionFinished else { return }
        call.attempts[index].isTransactionFinished = true
        call.openTransactions -= 1
    }

    private mutating func failure(_ call: inout Call, _ index: Int, _ response: SIPResponse, at now: MonotonicTime) {
        finishTransaction(&call, index)
        guard call.attempts[index].isOpen else { return }
        if retry(&call, index, after: response, at: now) { return }
        finish(&call, index, .response(response.statusCode), at: now)
        noteFailure(&call, index, response)
        if call.attempts[index].target.peer.trunkName == nil, response.statusCode >= 600, !call.isCallback {
            // A person said no for all contacts (RFC 3261 §16.7).
            cancelOpenAttempts(&call, reason: nil, at: now)
            return rejectWithBestFailure(&call, at: now)
        }
        proceed(&call, index, failsOver: call.emergency != nil || Self.failsOver(response.statusCode), at: now)
    }

    /// 401, 407 and 422 have an answer: the INVITE again. false when it has none.
    private mutating func retry(
        _ call: inout Call, _ index: Int, after response: SIPResponse, at now: MonotonicTime
    ) -> Bool {
        guard call.state == .proceeding, call.attempts[index].authorizationCount < Limits.authorizationCountMax,
            var request = Self.next(call.attempts[index].request)
        else { return false }
        switch response.statusCode {
        case 401, 407:
            guard authorize(&request, after: response, peer: call.attempts[index].target.peer) else { return false }
        case 422:
            guard call.attempts[index].timer.raise(for: response) else { return false }
            call.attempts[index].timer.prepare(&request)
        default: return false
        }
        call.attempts[index].authorizationCount += 1
        call.attempts[index].request = request
        call.attempts[index].isTransactionFinished = false
        let transaction = transactions.send(request, to: call.attempts[index].target.nextHop, at: now)
        clientOwners[transaction] = .invite(call.id, call.attempts[index].id)
        call.attempts[index].transaction = transaction
        call.openTransactions += 1
        return true
    }

    /// The same request with the next CSeq, without credentials.
    static func next(_ request: SIPRequest) -> SIPRequest? {
        guard let cseq = request.cseq, cseq.number < UInt32.max else { return nil }
        var next = request
        next.headers.set(.cseq, CSeq(number: cseq.number + 1, method: cseq.method).text)
        next.headers.remove(.authorization)
        next.headers.remove(.proxyAuthorization)
        next.headers.remove(.via)
        return next
    }

    /// No response at all, or no way to send.
    mutating func inviteFailed(
        _ id: CallID, _ attempt: AttemptID, _ outcome: CallAttempt.Outcome, at now: MonotonicTime
    ) {
        withCall(id, at: now) { engine, call in
            guard call.attempts.indices.contains(attempt.rawValue) else { return }
            let index = attempt.rawValue
            engine.finishTransaction(&call, index)
            guard call.attempts[index].isOpen else { return }
            engine.noteEvidence(of: call.attempts[index], 408, at: now)
            engine.finish(&call, index, outcome, at: now)
            engine.noteFailure(&call, code: call.attempts[index].target.peer.trunkName == nil ? 480 : 504, at: now)
            engine.proceed(&call, index, failsOver: true, at: now)
        }
    }

    /// A trunk has not even rung within its limit: give it up and go on.
    mutating func attemptTimedOut(_ id: CallID, _ attempt: AttemptID, at now: MonotonicTime) {
        withCall(id, at: now) { engine, call in
            guard call.attempts.indices.contains(attempt.rawValue), call.state == .proceeding else { return }
            let index = attempt.rawValue
            guard call.attempts[index].state == .trying else { return }
            if Self.isLastHope(&call, index) { return }
            engine.noteEvidence(of: call.attempts[index], 408, at: now)
            engine.cancel(&call, index, .timedOut, reason: nil, at: now)
            engine.noteFailure(&call, code: 504, at: now)
            engine.proceed(&call, index, failsOver: true, at: now)
        }
    }

    mutating func ringTimedOut(_ id: CallID, at now: MonotonicTime) {
        withCall(id, at: now) { engine, call in
            guard call.state == .proceeding else { return }
            if call.isCallback, !call.plan.isEmpty { return engine.widenCallback(&call, at: now) }
            engine.transition(
                &call, .released(.ringTimeout, goneSide: nil, reason: "SIP;cause=408;text=\"No answer\""), at: now)
        }
    }

    // MARK: What follows a failed attempt

    private mutating func proceed(_ call: inout Call, _ index: Int, failsOver: Bool, at now: MonotonicTime) {
        guard call.state == .proceeding, !call.attempts.contains(where: \.isOpen) else { return }
        planPlainAttempt(&call, index)
        let isOfTrunk = call.attempts[index].target.peer.trunkName != nil
        guard call.isCallback || (failsOver && isOfTrunk), !call.plan.isEmpty else {
            return rejectWithBestFailure(&call, at: now)
        }
        emit(
            .attemptFailed(
                call.id, target: call.attempts[index].target.party, outcome: call.attempts[index].outcome))
        if call.isCallback { return widenCallback(&call, at: now) }
        startNextGroup(&call, at: now)
    }

    private mutating func finish(
        _ call: inout Call, _ index: Int, _ outcome: CallAttempt.Outcome, at now: MonotonicTime
    ) {
        call.attempts[index].state = .failed
        call.attempts[index].outcome = outcome
        call.attempts[index].finished = now
        noteEmergencyAttempt(call, index, at: now)
        timers.stop(.attempt(call.id, call.attempts[index].id))
        if let leg = call.attempts[index].media {
            call.attempts[index].media = nil
            closeMedia(leg, of: &call, at: now)
        }
    }

    /// CANCEL; the attempt stays until its transaction ends, for a 2xx may already be on its way.
    mutating func cancel(
        _ call: inout Call, _ index: Int, _ outcome: CallAttempt.Outcome, reason: String?, at now: MonotonicTime
    ) {
        guard call.attempts[index].isOpen else { return }
        finish(&call, index, outcome, at: now)
        transactions.cancel(call.attempts[index].transaction, reason: reason, at: now)
    }

    mutating func cancelOpenAttempts(_ call: inout Call, reason: String?, at now: MonotonicTime) {
        for index in call.attempts.indices { cancel(&call, index, .cancelled, reason: reason, at: now) }
    }

    private func noteFailure(_ call: inout Call, _ index: Int, _ response: SIPResponse) {
        let code = FailureMapping.code(
            response.statusCode, fromTrunk: call.attempts[index].target.peer.trunkName != nil)
        let failure = Failure(
            statusCode: code,
            reason: code == response.statusCode
                ? reasonPhrase(of: response, from: call.attempts[index].target.nextHop.remote.address) : nil,
            response: response, peer: call.attempts[index].target.peer)
        if call.bestFailure.map({ FailureMapping.rank(code) <= FailureMapping.rank($0.statusCode) }) ?? true {
            call.bestFailure = failure
        }
    }

    private func noteFailure(_ call: inout Call, code: Int, reason: String? = nil, at now: MonotonicTime) {
        if call.bestFailure.map({ FailureMapping.rank(code) <= FailureMapping.rank($0.statusCode) }) ?? true {
            call.bestFailure = Failure(statusCode: code, reason: reason, response: nil, peer: nil)
        }
    }

    private mutating func rejectWithBestFailure(_ call: inout Call, at now: MonotonicTime) {
        let failure = call.bestFailure ?? Failure(statusCode: 480, reason: nil, response: nil, peer: nil)
        var response = makeResponse(to: call.invite, failure.statusCode, failure.reason, toTag: call.localTag)
        if let original = failure.response, let peer = failure.peer {
            carryHeaders(
                from: original.headers, source: Self.address(of: peer, in: call), to: &response.headers,
                realm: call.callerPeer.realm)
        }
        if failure.statusCode == 503, !response.headers.contains(.retryAfter) {
            response.headers.append(.retryAfter, String(Limits.retryAfterSeconds))
        }
        transition(&call, .rejected(response), at: now)
    }

    private static func address(of peer: Peer, in call: Call) -> IPAddress {
        let remote = call.attempts.last { $0.target.peer.kind == peer.kind }?.target.nextHop.remote
        return (remote ?? call.callerPath.remote).address
    }

    mutating func reject(_ call: inout Call, _ code: Int, _ reason: String?, at now: MonotonicTime) {
        var response = makeResponse(to: call.invite, code, reason, toTag: call.localTag)
        if code == 503 { response.headers.append(.retryAfter, String(Limits.retryAfterSeconds)) }
        transition(&call, .rejected(response), at: now)
    }

    /// Whether another trunk may do better. A busy or unknown number stays one.
    static func failsOver(_ code: Int) -> Bool {
        switch code {
        case 300...399, 401, 407, 408, 500, 501, 502, 503, 504, 505: true
        default: false
        }
    }
}

/// The best final response so far (RFC 3261 §16.7, step 6), mapped for the caller.
struct Failure: Sendable {
    let statusCode: Int
    let reason: String?
    let response: SIPResponse?
    let peer: Peer?
}

/// Which final response of a callee becomes which for the caller.
enum FailureMapping {
    /// What concerns our own message to the callee is not the caller's to solve.
    static func code(_ code: Int, fromTrunk: Bool) -> Int {
        switch code {
        case 300...399: fromTrunk ? 502 : 480  // redirection is not followed
        case 401, 407: fromTrunk ? 502 : 480  // credentials were missing or refused
        case 405, 406, 413, 414, 416, 420, 421, 422, 423, 494: fromTrunk ? 502 : 480
        case 408: fromTrunk ? 504 : 480
        case 481, 487, 491: 480
        case 505, 513: 502
        default: code
        }
    }

    /// Lower is better to tell the caller.
    static func rank(_ code: Int) -> Int {
        switch code {
        case 600...: 0
        case 486: 1
        case 480: 4
        case 408: 5
        case 400...499: 2
        case 503: 6
        case 500...599: 7
        default: 8
        }
    }
}
