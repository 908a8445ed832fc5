import Primitives
import SIPEngine
import SignallingFormats

// A request inside a dialog that passes through: to the other leg, and its response back.
extension CallEngine {
    /// A request with a new offer; 488 when nothing of it can be relayed.
    mutating func relayOffer(
        _ call: inout Call, _ fork: Int, from side: CallSide, _ request: SIPRequest,
        _ transaction: ServerTransactionID, as method: SIPMethod, at now: MonotonicTime
    ) {
        guard let offer = description(in: request),
            let made = relayOffer(&call, fork, offer, from: side, at: now)
        else { return respond(request, transaction, 488, at: now) }
        relay(&call, fork, from: side, request, transaction, as: method, description: made, at: now)
    }

    mutating func relay(
        _ call: inout Call, _ fork: Int, from side: CallSide, _ request: SIPRequest,
        _ transaction: ServerTransactionID, as method: SIPMethod, description: SessionDescription?,
        at now: MonotonicTime
    ) {
        guard call.relays.count < Limits.relayCountMax else {
            if description != nil { OfferAnswer.abandonOffer(on: &call.forks[fork][side.other].negotiation) }
            return respondBusyDialog(request, transaction, at: now)
        }
        let other = side.other
        var outgoing = call.forks[fork][other].dialog.makeRequest(method)
        let maxForwards = min(request.maxForwards ?? 70, 255) - 1
        outgoing.headers.set(.maxForwards, String(max(0, maxForwards)))
        if method == .invite || method == .update {
            outgoing.headers.set(.contact, contact(of: call.forks[fork][other]).text)
            outgoing.headers.append(.allow, Self.allowedMethods)
            call.forks[fork][other].timer.prepare(&outgoing)
        }
        carryHeaders(
            from: request.headers, source: call.forks[fork][side].nextHop.remote.address, to: &outgoing.headers,
            realm: call.forks[fork][other].peer.realm)
        carryBody(from: request, to: &outgoing, description: description)
        if case .station = call.forks[fork][side].peer { Self.dropEmergencyServices(from: &outgoing.headers) }
        if method == .invite, side == .caller {
            let target = call.attempts[call.forks[fork].attempt.rawValue].target
            prepareForHelp(&outgoing, from: request, call, target, at: now)
        }
        call.lastRelayID += 1
        let id = RelayID(rawValue: call.lastRelayID)
        let callID = call.id
        let sent = send(outgoing, &call, fork, other, at: now) { _ in .relay(callID, id) }
        serverOwners[transaction] = .relay(call.id, id)
        call.relays[id] = Relay(
            id: id, fork: call.forks[fork].id, from: side, request: request, serverTransaction: transaction,
            clientTransaction: sent, sent: outgoing, hasOffer: description != nil)
    }

    // MARK: The response

    mutating func handleRelayResponse(
        _ response: SIPResponse, _ id: CallID, _ relayID: RelayID, _ transaction: ClientTransactionID,
        from path: TransportPath, at now: MonotonicTime
    ) {
        guard response.statusCode >= 200 else { return noteProgress(id, relayID, at: now) }
        timers.stop(.relay(id, relayID))
        withCall(id, at: now) { engine, call in
            guard let relay = call.relays[relayID], relay.clientTransaction == transaction,
                case .waiting = relay.phase
            else { return engine.repeatACK(call, response, at: now) }
            call.openTransactions -= 1
            guard !call.isEnding else {
                call.relays[relayID] = nil
                if response.statusCode < 300, relay.sent.method == .invite {
                    engine.acknowledgeLate(&call, relay, at: now)
                }
                return
            }
            let fork = relay.fork.rawValue
            engine.learn(&call.forks[fork][relay.from.other], from: response, path: path)
            if response.statusCode < 300 {
                engine.relaySuccess(&call, relay, response, at: now)
            } else {
                engine.relayFailure(&call, relay, response, at: now)
            }
        }
    }

    /// A re-INVITE does not ring; but a provisional response ends its retransmissions, and with them every other limit.
    private mutating func noteProgress(_ id: CallID, _ relayID: RelayID, at now: MonotonicTime) {
        withCall(id, at: now) { engine, call in
            guard let relay = call.relays[relayID], relay.sent.method == .invite, case .waiting = relay.phase,
                relay.cancellation == nil, engine.timers.deadline(of: .relay(id, relayID)) == nil
            else { return }
            engine.timers.start(.relay(id, relayID), at: now + Limits.reinviteDuration)
        }
    }

    mutating func relayTimedOut(_ id: CallID, _ relayID: RelayID, at now: MonotonicTime) {
        withCall(id, at: now) { engine, call in engine.cancel(&call, relayID, .timeout, at: now) }
    }

    mutating func cancel(
        _ call: inout Call, _ id: RelayID, _ cancellation: Relay.Cancellation, at now: MonotonicTime
    ) {
        guard let relay = call.relays[id], case .waiting = relay.phase, relay.cancellation == nil else { return }
        timers.stop(.relay(call.id, id))
        call.relays[id]?.cancellation = cancellation
        transactions.cancel(relay.clientTransaction, reason: nil, at: now)
    }

    /// A repeated 2xx of a re-INVITE: our ACK was lost.
    mutating func repeatACK(_ call: Call, _ response: SIPResponse, at now: MonotonicTime) {
        guard response.statusCode < 300, let number = response.cseq?.number,
            let reference = DialogID(incoming: response).flatMap({ dialogs[$0] }), reference.call == call.id
        else { return }
        let leg = call.forks[reference.fork.rawValue][reference.side]
        guard let ack = leg.lastACK, ack.sequenceNumber == number else { return }
        transactions.sendACK(ack.request, to: leg.nextHop, at: now)
    }

    /// A 2xx to a re-INVITE of a call that is over: it must be acknowledged all the same.
    private mutating func acknowledgeLate(_ call: inout Call, _ relay: Relay, at now: MonotonicTime) {
        acknowledge(
            &call, relay.fork.rawValue, relay.from.other, number: relay.sent.cseq?.number ?? 1, answer: nil, at: now)
    }

    private mutating func relaySuccess(
        _ call: inout Call, _ relay: Relay, _ response: SIPResponse, at now: MonotonicTime
    ) {
        let fork = relay.fork.rawValue
        let answerer = relay.from.other
        let isInvite = relay.sent.method == .invite
        if isInvite || relay.sent.method == .update {
            call.forks[fork][answerer].dialog.refreshTarget(from: response)
            refreshTimer(&call, fork, answerer, asClientWith: response, at: now)
        }
        let description = description(in: response)
        var shown: SessionDescription?
        var offersInResponse = false
        if relay.hasOffer {
            guard let description, let answer = relayAnswer(&call, fork, description, from: answerer) else {
                if isInvite { acknowledgeLate(&call, relay, at: now) }
                return breakOff(&call, relay, at: now)
            }
            connectMedia(&call, fork, answer.streams, offerer: relay.from, answered: isAnswered(call), at: now)
            noteHold(&call, fork)
            shown = answer.description
        } else if isInvite {
            guard let description, let offer = relayOffer(&call, fork, description, from: answerer, at: now) else {
                acknowledgeLate(&call, relay, at: now)
                return breakOff(&call, relay, at: now)
            }
            shown = offer
            offersInResponse = true
        }
        if isInvite, !offersInResponse { acknowledgeLate(&call, relay, at: now) }
        var relayed = makeResponse(
            to: relay.request, response.statusCode,
            reasonPhrase(of: response, from: call.forks[fork][answerer].nextHop.remote.address))
        if relay.request.method == .invite || relay.request.method == .update {
            relayed.headers.append(.contact, contact(of: call.forks[fork][relay.from]).text)
            relayed.headers.append(.allow, Self.allowedMethods)
            refreshTimer(&call, fork, relay.from, asServerOf: relay.request, &relayed, at: now)
        }
        carryHeaders(
            from: response.headers, source: call.forks[fork][answerer].nextHop.remote.address, to: &relayed.headers,
            realm: call.forks[fork][relay.from].peer.realm)
        carryBody(from: response, to: &relayed, description: shown)
        transactions.respond(relayed, to: relay.serverTransaction, at: now)
        if relay.request.method == .invite {
            call.relays[relay.id]?.phase = .answered(offersInResponse: offersInResponse)
        } else {
            call.relays[relay.id] = nil
        }
    }

    private func isAnswered(_ call: Call) -> Bool { call.answeredFork != nil }

    /// The answer cannot be relayed, and what the two sides believe differs: better no call than half a call.
    private mutating func breakOff(_ call: inout Call, _ relay: Relay, at now: MonotonicTime) {
        respond(relay.request, relay.serverTransaction, 488, at: now)
        call.relays[relay.id] = nil
        guard isAnswered(call) else { return reject(&call, 488, nil, at: now) }
        transition(
            &call,
            .released(
                .dialogLost(relay.from.other), goneSide: nil, reason: "SIP;cause=488;text=\"Not Acceptable Here\""),
            at: now)
    }

    private mutating func relayFailure(
        _ call: inout Call, _ relay: Relay, _ response: SIPResponse, at now: MonotonicTime
    ) {
        let fork = relay.fork.rawValue
        if relay.cancellation == nil, retry(&call, relay, after: response, at: now) { return }
        if relay.hasOffer { OfferAnswer.abandonOffer(on: &call.forks[fork][relay.from.other].negotiation) }
        let code: Int
        switch response.statusCode {
        case 300...399, 401, 407, 422: code = 500
        case 487: code = relay.cancellation?.statusCode ?? 487
        default: code = response.statusCode
        }
        var relayed = makeResponse(
            to: relay.request, code,
            code == response.statusCode
                ? reasonPhrase(of: response, from: call.forks[fork][relay.from.other].nextHop.remote.address) : nil)
        carryHeaders(
            from: response.headers, source: call.forks[fork][relay.from.other].nextHop.remote.address,
            to: &relayed.headers, realm: call.forks[fork][relay.from].peer.realm)
        transactions.respond(relayed, to: relay.serverTransaction, at: now)
        call.relays[relay.id] = nil
        // RFC 3261 §12.2.1.2: the other end knows the dialog no more.
        if response.statusCode == 481 || (response.statusCode == 408 && relay.concernsSession) {
            loseDialog(&call, fork, relay.from.other, at: now)
        }
    }

    private mutating func retry(
        _ call: inout Call, _ relay: Relay, after response: SIPResponse, at now: MonotonicTime
    ) -> Bool {
        let fork = relay.fork.rawValue
        let side = relay.from.other
        guard relay.authorizationCount < Limits.authorizationCountMax else { return false }
        var request = relay.sent
        switch response.statusCode {
        case 401, 407:
            guard call.forks[fork][side].peer.trunkName != nil else { return false }
            renumber(&request, &call.forks[fork][side])
            guard authorize(&request, after: response, peer: call.forks[fork][side].peer) else { return false }
        case 422:
            renumber(&request, &call.forks[fork][side])
            guard call.forks[fork][side].timer.raise(for: response) else { return false }
            call.forks[fork][side].timer.prepare(&request)
        default: return false
        }
        let (callID, relayID) = (call.id, relay.id)
        let sent = send(request, &call, fork, side, at: now) { _ in .relay(callID, relayID) }
        call.relays[relay.id]?.clientTransaction = sent
        call.relays[relay.id]?.sent = request
        call.relays[relay.id]?.authorizationCount += 1
        return true
    }

    /// The same request again in its dialog, with the next number.
    func renumber(_ request: inout SIPRequest, _ leg: inout CallLeg) {
        let number = leg.dialog.makeRequest(request.method).cseq?.number ?? 1
        request.headers.set(.cseq, CSeq(number: number, method: request.method).text)
        request.headers.remove(.authorization)
        request.headers.remove(.proxyAuthorization)
        request.headers.remove(.via)
    }

    /// Nothing came back.
    mutating func relayFailed(_ id: CallID, _ relayID: RelayID, at now: MonotonicTime) {
        withCall(id, at: now) { engine, call in
            guard let relay = call.relays[relayID] else { return }
            call.openTransactions -= 1
            call.relays[relayID] = nil
            guard !call.isEnding else { return }
            if relay.hasOffer {
                OfferAnswer.abandonOffer(on: &call.forks[relay.fork.rawValue][relay.from.other].negotiation)
            }
            if let cancellation = relay.cancellation {
                return engine.respond(relay.request, relay.serverTransaction, cancellation.statusCode, at: now)
            }
            engine.respond(relay.request, relay.serverTransaction, 408, at: now)
            engine.loseDialog(&call, relay.fork.rawValue, relay.from.other, at: now)
        }
    }

    mutating func loseDialog(_ call: inout Call, _ fork: Int, _ side: CallSide, at now: MonotonicTime) {
        guard isAnswered(call) else { return }
        transition(
            &call, .released(.dialogLost(side), goneSide: nil, reason: "SIP;cause=481;text=\"Dialog lost\""), at: now)
    }

    // MARK: The ACK of a re-INVITE

    mutating func relayAcknowledged(_ id: CallID, _ relayID: RelayID, _ ack: SIPRequest, at now: MonotonicTime) {
        withCall(id, at: now) { engine, call in
            guard let relay = call.relays[relayID], case .answered(let offersInResponse) = relay.phase else { return }
            call.relays[relayID] = nil
            guard offersInResponse, !call.isEnding else { return }
            let fork = relay.fork.rawValue
            guard let description = engine.description(in: ack),
                let answer = engine.relayAnswer(&call, fork, description, from: relay.from)
            else {
                engine.acknowledgeLate(&call, relay, at: now)
                return engine.transition(
                    &call,
                    .released(
                        .dialogLost(relay.from), goneSide: nil, reason: "SIP;cause=488;text=\"No answer in ACK\""),
                    at: now)
            }
            engine.acknowledge(
                &call, fork, relay.from.other, number: relay.sent.cseq?.number ?? 1, answer: answer.description,
                at: now)
            engine.connectMedia(
                &call, fork, answer.streams, offerer: relay.from.other, answered: true, at: now)
            engine.noteHold(&call, fork)
        }
    }
}
