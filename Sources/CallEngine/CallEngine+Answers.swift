import MediaEngine
import Primitives
import SIPEngine
import SignallingFormats

// Provisional and successful answers of a callee on their way to the caller: forks, early media, 100rel.
extension CallEngine {
    // MARK: Forks

    /// The fork this response belongs to, made when its To tag is new; nil without a tag, and for a provisional response
    /// beyond the limit: whoever answers has a dialog, however many ring.
    mutating func findFork(
        _ call: inout Call, _ index: Int, _ response: SIPResponse, from path: TransportPath, at now: MonotonicTime
    ) -> Int? {
        guard let remoteTag = response.toTag, !remoteTag.isEmpty else { return nil }
        if let known = call.forkIndex(of: call.attempts[index].id, remoteTag: remoteTag) {
            call.forks[known].callee.dialog.update(from: response)
            learn(&call.forks[known].callee, from: response, path: path)
            return known
        }
        guard call.forks.count < Limits.forkCountMax || response.statusCode >= 200 else { return nil }
        let attempt = call.attempts[index]
        let localTag = random.hexToken(digitCount: 16)
        let callerContact = contact(
            user: call.dialled, realm: call.callerPath.realm, transport: call.callerPath.transport)
        guard let calleeDialog = Dialog(uacRequest: attempt.request, response: response),
            let callerDialog = Dialog(uasRequest: call.invite, localTag: localTag, localContact: callerContact)
        else { return nil }
        let id = ForkID(rawValue: call.forks.count)
        var caller = CallLeg(
            side: .caller, peer: call.callerPeer, dialog: callerDialog, nextHop: NextHop(call.callerPath),
            contactUser: call.dialled, negotiation: attempt.callerNegotiation, timer: makeTimer())
        caller.allowsUpdate = call.invite.headers.contains("UPDATE", in: .allow)
        var callee = CallLeg(
            side: .callee, peer: attempt.target.peer, dialog: calleeDialog, nextHop: attempt.target.nextHop,
            contactUser: Self.user(of: attempt.request.contacts.first?.uri), negotiation: attempt.calleeNegotiation,
            timer: makeTimer())
        learn(&callee, from: response, path: path)
        call.forks.append(Fork(id: id, attempt: attempt.id, caller: caller, callee: callee))
        register(&call, call.forks.count - 1)
        return call.forks.count - 1
    }

    private mutating func register(_ call: inout Call, _ fork: Int) {
        for side in CallSide.allCases {
            dialogs[call.forks[fork].legs[side.legIndex].dialog.id] = DialogReference(
                call: call.id, fork: call.forks[fork].id, side: side)
        }
    }

    /// What a message of the peer tells about it: where it is, what it can do.
    mutating func learn(_ leg: inout CallLeg, from message: some SIPMessageContent, path: TransportPath) {
        if message.headers.contains(.allow) { leg.allowsUpdate = message.headers.contains("UPDATE", in: .allow) }
        switch leg.peer {
        case .station: leg.nextHop = NextHop(path)
        case .trunk(_, let trunk): leg.nextHop = Self.nextHop(for: leg.dialog, trunk: trunk, path: path)
        }
    }

    /// RFC 3261 §12.2.1.1 where route set or remote target name an address, else the path the peer used.
    static func nextHop(for dialog: Dialog, trunk: CallEngineSettings.Trunk, path: TransportPath) -> NextHop {
        let uri = dialog.routeSet.first?.uri ?? dialog.remoteTarget
        guard case .address(let address)? = uri.sip?.host else { return NextHop(path) }
        let isTCP = trunk.transport == .tcp || uri.sip?.parameters.value("transport")?.lowercased() == "tcp"
        return NextHop(
            realm: path.realm, remote: TransportAddress(address, uri.sip?.port ?? 5060),
            policy: isTCP ? .tcp : trunk.transport == .udp ? .udp : .automatic)
    }

    // MARK: Provisional responses

    mutating func relayProvisional(
        _ call: inout Call, _ fork: Int, _ response: SIPResponse, isReliable: Bool, at now: MonotonicTime
    ) {
        var shown: SessionDescription?
        var waitsForAnswer = false
        if let description = description(in: response), !call.forks[fork].isSettled {
            if call.offer != nil {
                // What does not fit the offer is ignored here; the 2xx will show whether there is anything better.
                if let answer = relayAnswer(&call, fork, description, from: .callee) {
                    connectMedia(&call, fork, answer.streams, offerer: .caller, answered: false, at: now)
                    call.forks[fork].answerForCaller = answer.description
                    if isReliable { call.forks[fork].isSettled = true }
                    shown = answer.description
                }
            } else if isReliable, call.callerTakesReliableProvisional {
                // The callee's offer (RFC 3261 §13.2.1): answered by the caller's PRACK.
                shown = relayLateOffer(&call, fork, description, at: now)
                waitsForAnswer = shown != nil
            }
        }
        if waitsForAnswer {
            call.forks[fork].waitingPRACK = response
        } else if isReliable {
            sendPRACK(&call, fork, for: response, answer: nil, at: now)
        }
        if call.forks[fork].caller.answeredReliably { shown = nil }
        let asksForReliability =
            call.callerRequiresReliableProvisional
            || call.callerPeer.reliableProvisional == .required || shown != nil
        var relayed = makeAnswer(call, fork, response, description: shown)
        relayed.headers.append(.allow, Self.allowedMethods)
        if call.callerTakesReliableProvisional, asksForReliability {
            if transactions.respondReliably(relayed, to: call.inviteTransaction, at: now) {
                call.forks[fork].unacknowledged.append(shown != nil)
            }
        } else {
            transactions.respond(relayed, to: call.inviteTransaction, at: now)
        }
    }

    mutating func relayPlainProvisional(
        _ call: inout Call, _ response: SIPResponse, from source: IPAddress, at now: MonotonicTime
    ) {
        let relayed = makeResponse(
            to: call.invite, response.statusCode, reasonPhrase(of: response, from: source), toTag: call.localTag)
        transactions.respond(relayed, to: call.inviteTransaction, at: now)
    }

    /// The response of a callee as the caller gets it, in the dialog of this fork.
    private mutating func makeAnswer(
        _ call: Call, _ fork: Int, _ response: SIPResponse, description: SessionDescription?
    ) -> SIPResponse {
        var relayed = makeResponse(
            to: call.invite, response.statusCode,
            reasonPhrase(of: response, from: call.forks[fork].callee.nextHop.remote.address),
            toTag: call.forks[fork].caller.dialog.localTag)
        relayed.headers.append(
            .contact,
            contact(
                user: call.forks[fork].caller.contactUser, realm: call.callerPath.realm,
                transport: call.callerPath.transport
            ).text)
        carryHeaders(
            from: response.headers, source: call.forks[fork].callee.nextHop.remote.address, to: &relayed.headers,
            realm: call.callerPath.realm)
        carryBody(from: response, to: &relayed, description: description)
        return relayed
    }

    // MARK: PRACK (RFC 3262), on each leg by itself

    mutating func sendPRACK(
        _ call: inout Call, _ fork: Int, for response: SIPResponse, answer: SessionDescription?,
        at now: MonotonicTime
    ) {
        guard var prack = call.forks[fork].callee.dialog.makePRACK(for: response) else { return }
        if let answer { prack.setBody(answer.bytes, type: .sdp) }
        send(prack, &call, fork, .callee, at: now) { .prack($0) }
    }

    mutating func provisionalAcknowledged(
        _ transaction: ServerTransactionID, _ prack: SIPRequest, _ prackTransaction: ServerTransactionID,
        at now: MonotonicTime
    ) {
        guard case .invite(let id)? = serverOwners[transaction],
            let reference = DialogID(incoming: prack).flatMap({ dialogs[$0] }), reference.call == id, calls[id] != nil
        else { return respond(prack, prackTransaction, 481, at: now) }
        withCall(id, at: now) { engine, call in
            let fork = reference.fork.rawValue
            guard call.state == .proceeding, case .accepted = call.forks[fork].caller.dialog.receive(prack) else {
                return engine.respond(prack, prackTransaction, 481, at: now)
            }
            if !call.forks[fork].unacknowledged.isEmpty, call.forks[fork].unacknowledged.removeFirst(),
                call.offer != nil
            {
                call.forks[fork].caller.answeredReliably = true
            }
            engine.answerPRACK(&call, fork, prack, prackTransaction, at: now)
            guard call.state == .proceeding, !call.forks[fork].unacknowledged.contains(true),
                let answer = call.forks[fork].waitingAnswer
            else { return }
            call.forks[fork].waitingAnswer = nil
            engine.transition(&call, .answered(call.forks[fork].id, answer), at: now)
        }
    }

    private mutating func answerPRACK(
        _ call: inout Call, _ fork: Int, _ prack: SIPRequest, _ transaction: ServerTransactionID,
        at now: MonotonicTime
    ) {
        let description = description(in: prack)
        if let provisional = call.forks[fork].waitingPRACK {
            call.forks[fork].waitingPRACK = nil
            guard let description, let answer = relayAnswer(&call, fork, description, from: .caller) else {
                respond(prack, transaction, 488, at: now)
                return reject(&call, 488, nil, at: now)
            }
            call.forks[fork].isSettled = true
            connectMedia(&call, fork, answer.streams, offerer: .callee, answered: false, at: now)
            sendPRACK(&call, fork, for: provisional, answer: answer.description, at: now)
            call.forks[fork].caller.answeredReliably = true
            return respond(prack, transaction, 200, at: now)
        }
        guard description != nil else { return respond(prack, transaction, 200, at: now) }
        // A new offer: the callee gets it as an UPDATE, for its own PRACK has long been sent.
        guard call.forks[fork].isSettled, call.forks[fork].callee.allowsUpdate else {
            return respond(prack, transaction, 488, at: now)
        }
        relayOffer(&call, fork, from: .caller, prack, transaction, as: .update, at: now)
    }

    /// No PRACK for 64·T1: the caller is refused (RFC 3262 §3).
    mutating func provisionalNotAcknowledged(_ transaction: ServerTransactionID, at now: MonotonicTime) {
        guard case .invite(let id)? = serverOwners[transaction] else { return }
        withCall(id, at: now) { engine, call in
            guard call.state != .proceeding else { return engine.reject(&call, 504, "No PRACK", at: now) }
            // The 2xx waited below for this PRACK and never went out, so no ACK will come.
            let response = engine.makeResponse(to: call.invite, 504, "No PRACK", toTag: call.localTag)
            engine.transactions.respond(response, to: transaction, at: now)
            call.hangsUpOnACK = false
            engine.transition(
                &call,
                .released(.acknowledgementMissing, goneSide: .caller, reason: "SIP;cause=504;text=\"No PRACK\""),
                at: now)
        }
    }

    // MARK: The answer

    mutating func answer(_ call: inout Call, _ fork: Int, _ response: SIPResponse, at now: MonotonicTime) {
        cancelOpenAttempts(&call, reason: "SIP;cause=200;text=\"Call completed elsewhere\"", at: now)
        var shown = call.forks[fork].answerForCaller
        var callerAnswers = false
        let description = description(in: response)
        if !call.forks[fork].isSettled {
            if call.offer != nil {
                if let description {
                    guard let answer = relayAnswer(&call, fork, description, from: .callee) else {
                        return refuseAnswer(&call, fork, response, at: now)
                    }
                    connectMedia(&call, fork, answer.streams, offerer: .caller, answered: true, at: now)
                    shown = answer.description
                } else if shown == nil {
                    return refuseAnswer(&call, fork, response, at: now)
                }
            } else {
                guard let description, let offer = relayLateOffer(&call, fork, description, at: now) else {
                    return refuseAnswer(&call, fork, response, at: now)
                }
                shown = offer
                callerAnswers = true
            }
        }
        if call.forks[fork].caller.answeredReliably { shown = nil }
        if !callerAnswers {
            call.forks[fork].isSettled = true
            acknowledge(
                &call, fork, .callee,
                number: call.attempts[call.forks[fork].attempt.rawValue].request.cseq?.number ?? 1, answer: nil, at: now
            )
        }
        var answer = makeAnswer(call, fork, response, description: shown)
        answer.headers.append(.allow, Self.allowedMethods)
        startTimer(onCalleeOf: &call, fork, response, at: now)
        addTimer(toAnswer: &answer, &call, fork, at: now)
        if call.forks[fork].unacknowledged.contains(true) {
            call.forks[fork].waitingAnswer = answer
        } else {
            transition(&call, .answered(call.forks[fork].id, answer), at: now)
        }
    }

    /// The callee answered with something we cannot relay: it is hung up on, the caller told so.
    private mutating func refuseAnswer(
        _ call: inout Call, _ fork: Int, _ response: SIPResponse, at now: MonotonicTime
    ) {
        acknowledge(
            &call, fork, .callee, number: call.attempts[call.forks[fork].attempt.rawValue].request.cseq?.number ?? 1,
            answer: nil, at: now)
        sendBye(&call, fork, .callee, reason: "SIP;cause=488;text=\"Not Acceptable Here\"", at: now)
        reject(&call, 502, "Answer Not Acceptable", at: now)
    }

    /// ACK to a 2xx of this leg, kept to be repeated.
    mutating func acknowledge(
        _ call: inout Call, _ fork: Int, _ side: CallSide, number: UInt32, answer: SessionDescription?,
        at now: MonotonicTime
    ) {
        let invite = side == .callee ? call.attempts[call.forks[fork].attempt.rawValue].request : nil
        var ack = call.forks[fork][side].dialog.makeACK(for: number, credentialsOf: invite)
        if let answer { ack.setBody(answer.bytes, type: .sdp) }
        call.forks[fork][side].lastACK = (number, ack)
        transactions.sendACK(ack, to: call.forks[fork][side].nextHop, at: now)
    }

    /// A 2xx nobody waits for any more, after CANCEL or from a second fork: ACK, then BYE (RFC 3261 §13.2.2.4).
    mutating func hangUpOnStray(_ call: inout Call, _ index: Int, _ response: SIPResponse, at now: MonotonicTime) {
        hangUpOnStray(call.attempts[index].request, call.attempts[index].target.nextHop, response, at: now)
    }

    mutating func hangUpOnStray(
        _ request: SIPRequest, _ nextHop: NextHop, _ response: SIPResponse, at now: MonotonicTime
    ) {
        counters.strayAnswers += 1
        guard var dialog = Dialog(uacRequest: request, response: response) else { return }
        transactions.sendACK(
            dialog.makeACK(for: request.cseq?.number ?? 1, credentialsOf: request), to: nextHop, at: now)
        // Each repetition of the 2xx comes by here, and a peer may invent To tags.
        guard transactions.clientTransactionCount < Limits.clientTransactionCountMax else { return }
        _ = transactions.send(dialog.makeRequest(.bye), to: nextHop, at: now)
    }
}
