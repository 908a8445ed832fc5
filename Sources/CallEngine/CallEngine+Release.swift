import EmergencyCalling
import MediaEngine
import Primitives
import SIPEngine
import SignallingFormats

// The states of a call, and how it ends.
extension CallEngine {
    /// The one place where a call changes its state.
    mutating func transition(_ call: inout Call, _ trigger: Call.Trigger, at now: MonotonicTime) {
        switch (call.state, trigger) {
        case (.proceeding, .answered(let fork, let response)):
            transactions.respond(response, to: call.inviteTransaction, at: now)
            establish(&call, fork, at: now)
            call.state = .answered(fork)
        case (.proceeding, .cancelled(let reason)):
            let response = makeResponse(to: call.invite, 487, toTag: call.localTag)
            transactions.respond(response, to: call.inviteTransaction, at: now)
            releaseCallees(&call, reason: reason, at: now)
            end(&call, .cancelled, at: now)
            call.state = .ending
        case (.proceeding, .rejected(let response)):
            transactions.respond(response, to: call.inviteTransaction, at: now)
            releaseCallees(&call, reason: nil, at: now)
            end(&call, .rejected(response.statusCode), at: now)
            call.state = .ending
        case (.proceeding, .released(let ending, _, let reason)):
            let response = makeResponse(to: call.invite, Self.finalCode(for: ending), toTag: call.localTag)
            transactions.respond(response, to: call.inviteTransaction, at: now)
            releaseCallees(&call, reason: reason, at: now)
            end(&call, ending, at: now)
            call.state = .ending
        case (.answered(let fork), .acknowledged(let ack)):
            let isComplete = completeAnswer(&call, fork.rawValue, ack, at: now)
            call.state = .confirmed(fork)
            if !isComplete {
                transition(
                    &call,
                    .released(.dialogLost(.caller), goneSide: nil, reason: "SIP;cause=488;text=\"No answer in ACK\""),
                    at: now)
            }
        case (.answered(let fork), .released(let ending, let goneSide, let reason)):
            // Our BYE to the caller waits for its ACK, or for the end of that wait (RFC 3261 §15).
            call.hangsUpOnACK = goneSide != .caller && ending != .acknowledgementMissing
            if call.forks[fork.rawValue].callee.lastACK == nil {
                acknowledge(
                    &call, fork.rawValue, .callee, number: inviteNumber(call, fork.rawValue), answer: nil, at: now)
            }
            if goneSide != .callee { sendBye(&call, fork.rawValue, .callee, reason: reason, at: now) }
            if goneSide != .caller, !call.hangsUpOnACK {
                sendBye(&call, fork.rawValue, .caller, reason: reason, at: now)
            }
            end(&call, ending, at: now)
            call.state = .ending
        case (.confirmed(let fork), .released(let ending, let goneSide, let reason)):
            for side in CallSide.allCases where side != goneSide {
                sendBye(&call, fork.rawValue, side, reason: reason, at: now)
            }
            end(&call, ending, at: now)
            call.state = .ending
        case (.ending, .acknowledged):
            hangUpAfterACK(&call, at: now)
        case (.answered, .cancelled), (.confirmed, .cancelled):
            break  // CANCEL crossed our 2xx and has no effect (RFC 3261 §9.2)
        case (.answered, .answered), (.confirmed, .answered), (.answered, .rejected), (.confirmed, .rejected),
            (.proceeding, .acknowledged), (.confirmed, .acknowledged), (.ending, .answered), (.ending, .cancelled),
            (.ending, .rejected), (.ending, .released):
            break  // late news of a question already settled
        }
    }

    private static func finalCode(for ending: CallEnding) -> Int {
        switch ending {
        case .ringTimeout: 480
        case .shutdown, .preempted: 503
        case .rejected(let code): code
        case .cancelled, .hungUp: 487
        case .acknowledgementMissing, .sessionExpired, .dialogLost, .mediaInactive, .transportFailed: 500
        }
    }

    func inviteNumber(_ call: Call, _ fork: Int) -> UInt32 {
        call.attempts[call.forks[fork].attempt.rawValue].request.cseq?.number ?? 1
    }

    // MARK: What states entail

    /// The 2xx has gone out: one fork stays, the others go.
    private mutating func establish(_ call: inout Call, _ fork: ForkID, at now: MonotonicTime) {
        timers.stop(.ring(call.id))
        call.answer = now
        counters.callsAnswered += 1
        if let emergency = call.emergency { emergencies.answered(emergency.id, at: now) }
        cancelOpenAttempts(&call, reason: "SIP;cause=200;text=\"Call completed elsewhere\"", at: now)
        for other in call.forks.indices where call.forks[other].id != fork { forget(&call, other) }
        call.forks[fork.rawValue].caller.dialog.confirm()
        connectMedia(asAgreedBy: &call, fork.rawValue, at: now)
        emit(
            .callAnswered(
                call.id, callee: call.attempts[call.forks[fork.rawValue].attempt.rawValue].target.party))
    }

    /// The caller's ACK is here; with a late offer it holds the answer. false when that is missing.
    private mutating func completeAnswer(
        _ call: inout Call, _ fork: Int, _ ack: SIPRequest, at now: MonotonicTime
    ) -> Bool {
        guard !call.forks[fork].isSettled else { return true }
        let number = inviteNumber(call, fork)
        guard let description = description(in: ack), let answer = relayAnswer(&call, fork, description, from: .caller)
        else {
            acknowledge(&call, fork, .callee, number: number, answer: nil, at: now)
            return false
        }
        call.forks[fork].isSettled = true
        connectMedia(&call, fork, answer.streams, offerer: .callee, answered: true, at: now)
        acknowledge(&call, fork, .callee, number: number, answer: answer.description, at: now)
        return true
    }

    /// Nobody answered for the caller: attempts are cancelled, an answer that waits for a PRACK is hung up on.
    private mutating func releaseCallees(_ call: inout Call, reason: String?, at now: MonotonicTime) {
        cancelOpenAttempts(&call, reason: reason, at: now)
        for index in call.forks.indices where call.forks[index].callee.dialog.isConfirmed {
            if call.forks[index].callee.lastACK == nil {
                acknowledge(&call, index, .callee, number: inviteNumber(call, index), answer: nil, at: now)
            }
            sendBye(&call, index, .callee, reason: reason, at: now)
        }
    }

    private mutating func hangUpAfterACK(_ call: inout Call, at now: MonotonicTime) {
        guard call.hangsUpOnACK else { return }
        call.hangsUpOnACK = false
        for index in call.forks.indices where call.forks[index].caller.dialog.isConfirmed {
            sendBye(&call, index, .caller, reason: nil, at: now)
        }
    }

    /// Everything but the loose ends: limits, timers, requests on their way through, media.
    private mutating func end(_ call: inout Call, _ ending: CallEnding, at now: MonotonicTime) {
        call.end = now
        call.ending = ending
        activeCallCount -= 1
        timers.stop(.ring(call.id))
        for fork in call.forks.indices {
            for side in CallSide.allCases {
                let reference = DialogReference(call: call.id, fork: call.forks[fork].id, side: side)
                timers.stop(.session(reference))
                timers.stop(.glare(reference))
                timers.stop(.refresh(reference))
            }
        }
        for relay in call.relays.values {
            timers.stop(.relay(call.id, relay.id))
            if case .waiting = relay.phase {
                let code = relay.request.method == .invite ? 487 : 481
                transactions.respond(makeResponse(to: relay.request, code), to: relay.serverTransaction, at: now)
                // A peer that answers our BYE but never this would keep the call for ever.
                transactions.cancel(relay.clientTransaction, reason: nil, at: now)
            }
        }
        for leg in [call.callerMedia].compactMap({ $0 }) { closeMedia(leg, of: &call, at: now) }
        call.callerMedia = nil
        for index in call.attempts.indices {
            guard let leg = call.attempts[index].media else { continue }
            call.attempts[index].media = nil
            closeMedia(leg, of: &call, at: now)
        }
        timers.start(.summary(call.id), at: now + Limits.summaryDelay)
    }

    // MARK: BYE

    mutating func sendBye(
        _ call: inout Call, _ fork: Int, _ side: CallSide, reason: String?, at now: MonotonicTime
    ) {
        guard !call.forks[fork].legs[side.legIndex].isOver else { return }
        call.forks[fork][side].isOver = true
        var request = call.forks[fork][side].dialog.makeRequest(.bye)
        if let reason { request.headers.append(.reason, reason) }
        send(request, &call, fork, side, at: now) { .bye($0, authorizationCount: 0) }
    }

    /// A request of our own inside a dialog.
    @discardableResult
    mutating func send(
        _ request: SIPRequest, _ call: inout Call, _ fork: Int, _ side: CallSide, at now: MonotonicTime,
        owner: (DialogReference) -> ClientOwner
    ) -> ClientTransactionID {
        var request = request
        if !settings.userAgent.isEmpty, !request.headers.contains(.userAgent) {
            request.headers.append(.userAgent, settings.userAgent)
        }
        if let name = call.forks[fork].legs[side.legIndex].peer.trunkName {
            trunks[name]?.authorizePreemptively(&request)
        }
        let transaction = transactions.send(request, to: call.forks[fork].legs[side.legIndex].nextHop, at: now)
        let reference = DialogReference(call: call.id, fork: call.forks[fork].id, side: side)
        clientOwners[transaction] = owner(reference)
        call.openTransactions += 1
        return transaction
    }

    /// The final response, or none, to a BYE of ours.
    mutating func byeFinished(
        _ reference: DialogReference, _ response: SIPResponse?, authorizationCount: Int, at now: MonotonicTime
    ) {
        withCall(reference.call, at: now) { engine, call in
            call.openTransactions -= 1
            let fork = reference.fork.rawValue
            guard let response, response.statusCode == 401 || response.statusCode == 407,
                authorizationCount < Limits.authorizationCountMax
            else { return }
            let peer = call.forks[fork][reference.side].peer
            var request = call.forks[fork][reference.side].dialog.makeRequest(.bye)
            guard engine.authorize(&request, after: response, peer: peer) else { return }
            engine.send(request, &call, fork, reference.side, at: now) {
                .bye($0, authorizationCount: authorizationCount + 1)
            }
        }
    }

    // MARK: CANCEL, ACK

    mutating func cancelled(_ transaction: ServerTransactionID, at now: MonotonicTime) {
        switch serverOwners[transaction] {
        case .invite(let id)?:
            withCall(id, at: now) { engine, call in engine.transition(&call, .cancelled(reason: nil), at: now) }
        case .relay(let id, let relay)?:
            // The other side decides: its 487, or a 2xx that was faster, is passed on.
            withCall(id, at: now) { engine, call in engine.cancel(&call, relay, .bySender, at: now) }
        case .localReinvite?, nil: break
        }
    }

    mutating func acknowledged(_ transaction: ServerTransactionID, _ ack: SIPRequest, at now: MonotonicTime) {
        switch serverOwners[transaction] {
        case .invite(let id)?:
            withCall(id, at: now) { engine, call in engine.transition(&call, .acknowledged(ack), at: now) }
        case .relay(let id, let relay)?: relayAcknowledged(id, relay, ack, at: now)
        case .localReinvite(let reference)?:
            withCall(reference.call, at: now) { _, call in
                call.forks[reference.fork.rawValue][reference.side].inviteInProgress = false
            }
        case nil: break
        }
    }

    mutating func acknowledgementMissing(_ transaction: ServerTransactionID, at now: MonotonicTime) {
        let id: CallID
        switch serverOwners[transaction] {
        case .invite(let call)?: id = call
        case .relay(let call, _)?: id = call
        case .localReinvite(let reference)?: id = reference.call
        case nil: return
        }
        withCall(id, at: now) { engine, call in
            engine.hangUpAfterACK(&call, at: now)
            engine.transition(
                &call,
                .released(.acknowledgementMissing, goneSide: nil, reason: "SIP;cause=408;text=\"ACK missing\""),
                at: now)
        }
    }

    // MARK: The end of the record

    mutating func giveSummary(_ id: CallID, at now: MonotonicTime) {
        withCall(id, at: now) { engine, call in engine.giveSummary(&call, at: now) }
    }

    mutating func giveSummaryIfComplete(_ call: inout Call, at now: MonotonicTime) {
        if call.isEnding, call.closingMedia.isEmpty { giveSummary(&call, at: now) }
    }

    private mutating func giveSummary(_ call: inout Call, at now: MonotonicTime) {
        guard call.isEnding, !call.summaryGiven else { return }
        call.summaryGiven = true
        timers.stop(.summary(call.id))
        if let emergency = call.emergency {
            emergencies.ended(
                emergency.id, ending: (call.ending ?? .shutdown).text, packetsFromCaller: call.fromCaller.packets,
                packetsFromCallee: call.fromCallee.packets, at: call.end ?? now)
        }
        let attempt = call.attempts.first { $0.state == .answered } ?? call.attempts.last
        output(
            .callEnded(
                CallSummary(
                    id: call.id, caller: call.callerParty, callee: call.callee, dialled: call.dialled,
                    callerCallID: call.invite.callID, calleeCallID: attempt?.request.callID,
                    attempts: call.attempts.map { $0.summary(at: now) }, start: call.start, answer: call.answer,
                    end: call.end ?? now, ending: call.ending ?? .shutdown, fromCaller: call.fromCaller,
                    fromCallee: call.fromCallee)))
    }

    /// Puts a call back, or forgets it when it is over and nothing of it is open.
    mutating func settle(_ call: consuming Call, at now: MonotonicTime) {
        giveSummaryIfComplete(&call, at: now)
        guard call.isEnding, call.summaryGiven, call.openTransactions <= 0, !call.hangsUpOnACK else {
            let id = call.id
            calls[id] = consume call
            return
        }
        for fork in call.forks.indices { forget(&call, fork) }
        for attempt in call.attempts where clientOwners[attempt.transaction] != nil {
            clientOwners[attempt.transaction] = .stray(attempt.request, attempt.target.nextHop)
        }
        for leg in call.closingMedia { mediaOwners[leg] = nil }
    }

    private mutating func forget(_ call: inout Call, _ fork: Int) {
        for side in CallSide.allCases { dialogs[call.forks[fork].legs[side.legIndex].dialog.id] = nil }
    }

    /// The part of `shutdown` that concerns calls.
    mutating func releaseAll(at now: MonotonicTime) {
        for id in calls.keys.sorted() {
            withCall(id, at: now) { engine, call in
                engine.transition(
                    &call, .released(.shutdown, goneSide: nil, reason: "SIP;cause=503;text=\"Shutdown\""), at: now)
            }
        }
    }
}

extension Call {
    /// Who answered; the last one tried when nobody did.
    var callee: CallParty {
        let attempt = attempts.first { $0.state == .answered } ?? attempts.last
        return attempt.map { CallParty($0.target.peer.kind, number: $0.target.number) }
            ?? CallParty(.none, number: dialled)
    }
}
