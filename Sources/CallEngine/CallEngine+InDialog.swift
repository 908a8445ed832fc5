import Primitives
import SIPEngine
import SignallingFormats

// Requests inside a dialog: BYE and refreshes are answered here, what concerns the other side is passed on.
extension CallEngine {
    mutating func handleInDialog(
        _ request: SIPRequest, _ transaction: ServerTransactionID, from path: TransportPath, at now: MonotonicTime
    ) {
        if let id = DialogID(incoming: request).flatMap({ announcementDialogs[$0] }) {
            return handleInAnnouncement(id, request, transaction, from: path, at: now)
        }
        guard let reference = DialogID(incoming: request).flatMap({ dialogs[$0] }),
            realm(of: reference) == path.realm
        else {
            counters.unknownDialogs += 1
            return respond(request, transaction, 481, at: now)
        }
        withCall(reference.call, at: now) { engine, call in
            let fork = reference.fork.rawValue
            guard case .accepted = call.forks[fork][reference.side].dialog.receive(request) else {
                return engine.respond(request, transaction, 500, reason: "CSeq Out Of Order", at: now)
            }
            if let refusal = Self.refusal(ofHeaders: request) {
                return engine.refuse(request, transaction, refusal, at: now)
            }
            engine.learn(&call.forks[fork][reference.side], from: request, path: path)
            engine.take(request, transaction, &call, fork, reference.side, at: now)
        }
    }

    /// nil for a dialog of no call.
    func realm(of dialog: DialogReference) -> RealmID? {
        // Read where it lies: a call is large.
        calls.index(forKey: dialog.call).map {
            calls.values[$0].forks[dialog.fork.rawValue].legs[dialog.side.legIndex].peer.realm
        }
    }

    private mutating func take(
        _ request: SIPRequest, _ transaction: ServerTransactionID, _ call: inout Call, _ fork: Int, _ side: CallSide,
        at now: MonotonicTime
    ) {
        if request.method == .bye { return takeBye(request, transaction, &call, fork, side, at: now) }
        guard !call.isEnding, !call.forks[fork][side].isOver else {
            return respond(request, transaction, 481, at: now)
        }
        switch request.method {
        case .invite: takeReinvite(request, transaction, &call, fork, side, at: now)
        case .update: takeUpdate(request, transaction, &call, fork, side, at: now)
        case .info, .message, .notify:
            relay(&call, fork, from: side, request, transaction, as: request.method, description: nil, at: now)
        case .options:
            var response = makeResponse(to: request, 200)
            response.headers.append(.allow, Self.allowedMethods)
            transactions.respond(response, to: transaction, at: now)
        case .prack:
            respond(request, transaction, 481, at: now)  // of no reliable provisional of ours (RFC 3262 §3)
        case .refer:
            // The target would be resolved with our topology hidden from it; transfer comes with its own feature.
            respond(request, transaction, 603, reason: "Transfer Not Offered", at: now)
        case .register, .subscribe, .publish: respond(request, transaction, 405, allow: true, at: now)
        default: respond(request, transaction, 501, allow: true, at: now)
        }
    }

    private mutating func takeBye(
        _ request: SIPRequest, _ transaction: ServerTransactionID, _ call: inout Call, _ fork: Int, _ side: CallSide,
        at now: MonotonicTime
    ) {
        respond(request, transaction, 200, at: now)
        var secrets = LegSecrets(of: request.headers, source: call.forks[fork][side].nextHop.remote.address)
        var reason = request.headers.first(.reason)
        if let text = reason, secrets.appear(in: text) { reason = nil }
        switch call.state {
        case .proceeding where side == .caller:
            // A BYE in an early dialog is a CANCEL in other words (RFC 3261 §15).
            transition(&call, .cancelled(reason: reason), at: now)
        case .proceeding, .ending:
            call.forks[fork][side].isOver = true  // BYEs crossed
        case .answered, .confirmed:
            call.forks[fork][side].isOver = true
            transition(&call, .released(.hungUp(side), goneSide: side, reason: reason), at: now)
        }
    }

    // MARK: re-INVITE (RFC 3261 §14)

    private mutating func takeReinvite(
        _ request: SIPRequest, _ transaction: ServerTransactionID, _ call: inout Call, _ fork: Int, _ side: CallSide,
        at now: MonotonicTime
    ) {
        guard case .confirmed = call.state else {
            return respondUnready(request, transaction, call, side, at: now)
        }
        if let refusal = obstacle(to: request, call, fork, side, at: now) {
            return obstruct(request, transaction, refusal, at: now)
        }
        if let refusal = intervalRefusal(of: request) { return refuse(request, transaction, refusal, at: now) }
        switch readDescription(in: request) {
        case .none:
            relay(&call, fork, from: side, request, transaction, as: .invite, description: nil, at: now)
        case .description(let offer) where isForbiddenHold(offer, call, side):
            refuse(request, transaction, Self.holdRefusal, at: now)
        case .description(let offer):
            if let answer = OfferAnswer.answer(unchanged: offer, on: &call.forks[fork][side].negotiation) {
                answerRefresh(request, transaction, &call, fork, side, answer: answer, at: now)
                call.forks[fork][side].inviteInProgress = true
                serverOwners[transaction] = .localReinvite(
                    DialogReference(call: call.id, fork: call.forks[fork].id, side: side))
            } else {
                relayOffer(&call, fork, from: side, request, transaction, as: .invite, at: now)
            }
        case .malformed: respond(request, transaction, 488, at: now)
        case .unsupportedType: refuse(request, transaction, Self.unsupportedType, at: now)
        case .unsupportedEncoding: refuse(request, transaction, Self.unsupportedEncoding, at: now)
        }
    }

    /// Why a request that may change the session cannot be taken now.
    private enum Obstacle: Sendable {
        /// A request of ours, or of the other side, is on its way to this peer: both crossed (RFC 3261 §14.2).
        case glare
        /// This peer's previous one is not finished.
        case busy
    }

    private func obstacle(
        to request: SIPRequest, _ call: Call, _ fork: Int, _ side: CallSide, at now: MonotonicTime
    ) -> Obstacle? {
        if call.forks[fork][side].inviteInProgress { return .busy }
        for relay in call.relays.values where relay.fork.rawValue == fork && relay.concernsSession {
            return relay.from == side ? .busy : .glare
        }
        // A refresh of ours on either leg: on the other one the new offer could not be passed on.
        if call.forks[fork][side].refresh?.transaction != nil
            || call.forks[fork][side.other].refresh?.transaction != nil
            || call.forks[fork][side.other].inviteInProgress
        {
            return .glare
        }
        return nil
    }

    private mutating func obstruct(
        _ request: SIPRequest, _ transaction: ServerTransactionID, _ obstacle: Obstacle, at now: MonotonicTime
    ) {
        switch obstacle {
        case .busy: respondBusyDialog(request, transaction, at: now)
        case .glare:
            counters.glare += 1
            respond(request, transaction, 491, at: now)
        }
    }

    /// Before the caller's ACK the dialogs are not ready for another offer.
    private mutating func respondUnready(
        _ request: SIPRequest, _ transaction: ServerTransactionID, _ call: Call, _ side: CallSide,
        at now: MonotonicTime
    ) {
        switch side {
        case .caller: respondBusyDialog(request, transaction, at: now)
        case .callee:
            counters.glare += 1
            respond(request, transaction, 491, at: now)
        }
    }

    // MARK: UPDATE (RFC 3311)

    private mutating func takeUpdate(
        _ request: SIPRequest, _ transaction: ServerTransactionID, _ call: inout Call, _ fork: Int, _ side: CallSide,
        at now: MonotonicTime
    ) {
        if let refusal = intervalRefusal(of: request) { return refuse(request, transaction, refusal, at: now) }
        switch readDescription(in: request) {
        case .none: answerRefresh(request, transaction, &call, fork, side, answer: nil, at: now)
        case .description(let offer) where isForbiddenHold(offer, call, side):
            refuse(request, transaction, Self.holdRefusal, at: now)
        case .description(let offer):
            // Towards a caller whose own offer is still open there can be no second one (RFC 3311 §5.1).
            guard call.forks[fork].isSettled,
                side == .caller || call.state != .proceeding || call.forks[fork].caller.answeredReliably
            else {
                return respondUnready(request, transaction, call, side, at: now)
            }
            if let obstacle = obstacle(to: request, call, fork, side, at: now) {
                return obstruct(request, transaction, obstacle, at: now)
            }
            if let answer = OfferAnswer.answer(unchanged: offer, on: &call.forks[fork][side].negotiation) {
                return answerRefresh(request, transaction, &call, fork, side, answer: answer, at: now)
            }
            if call.forks[fork][side.other].allowsUpdate {
                relayOffer(&call, fork, from: side, request, transaction, as: .update, at: now)
            } else if case .confirmed = call.state {
                relayOffer(&call, fork, from: side, request, transaction, as: .invite, at: now)
            } else {
                respond(request, transaction, 488, at: now)
            }
        case .malformed: respond(request, transaction, 488, at: now)
        case .unsupportedType: refuse(request, transaction, Self.unsupportedType, at: now)
        case .unsupportedEncoding: refuse(request, transaction, Self.unsupportedEncoding, at: now)
        }
    }

    /// Nothing has changed: the other side need not know.
    private mutating func answerRefresh(
        _ request: SIPRequest, _ transaction: ServerTransactionID, _ call: inout Call, _ fork: Int, _ side: CallSide,
        answer: SessionDescription?, at now: MonotonicTime
    ) {
        var response = makeResponse(to: request, 200)
        response.headers.append(.contact, contact(of: call.forks[fork][side]).text)
        response.headers.append(.allow, Self.allowedMethods)
        if let answer { response.setBody(answer.bytes, type: .sdp) }
        refreshTimer(&call, fork, side, asServerOf: request, &response, at: now)
        transactions.respond(response, to: transaction, at: now)
    }

    func contact(of leg: CallLeg) -> NameAddress {
        contact(user: leg.contactUser, realm: leg.peer.realm, transport: Self.transport(of: leg.nextHop))
    }
}

extension Relay {
    /// Offers and answers run in it: nothing else may change the session meanwhile.
    var concernsSession: Bool { sent.method == .invite || request.method == .invite || hasOffer }
}
