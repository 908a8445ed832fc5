import Primitives
import SIPEngine
import SignallingFormats

// Session timers (RFC 4028): each leg by itself, in whichever role falls to it.
extension CallEngine {
    func makeTimer() -> SessionTimer {
        SessionTimer(sessionExpires: settings.calls.sessionExpires, minSE: settings.calls.sessionExpiresMin)
    }

    /// 422 for a request whose interval is too short for us.
    func intervalRefusal(of request: SIPRequest) -> Refusal? {
        var timer = makeTimer()
        switch timer.evaluate(request) {
        case .accept: return nil
        case .tooSmall(let minSE): return Refusal(statusCode: 422, headers: [(.minSE, String(minSE))])
        }
    }

    // MARK: Where a leg's timer begins and goes on

    /// The callee's 2xx to our INVITE.
    mutating func startTimer(
        onCalleeOf call: inout Call, _ fork: Int, _ response: SIPResponse, at now: MonotonicTime
    ) {
        call.forks[fork].callee.timer = call.attempts[call.forks[fork].attempt.rawValue].timer
        call.forks[fork].callee.timer.accepted(by: response, at: now)
        schedule(&call, fork, .callee)
    }

    /// Our 2xx to the caller's INVITE.
    mutating func addTimer(toAnswer answer: inout SIPResponse, _ call: inout Call, _ fork: Int, at now: MonotonicTime) {
        _ = call.forks[fork].caller.timer.evaluate(call.invite)
        call.forks[fork].caller.timer.apply(to: &answer, at: now)
        schedule(&call, fork, .caller)
    }

    /// Our 2xx to a re-INVITE or UPDATE of this side.
    mutating func refreshTimer(
        _ call: inout Call, _ fork: Int, _ side: CallSide, asServerOf request: SIPRequest,
        _ response: inout SIPResponse, at now: MonotonicTime
    ) {
        _ = call.forks[fork][side].timer.evaluate(request)
        call.forks[fork][side].timer.apply(to: &response, at: now)
        schedule(&call, fork, side)
    }

    /// The 2xx of this side to a re-INVITE or UPDATE of ours.
    mutating func refreshTimer(
        _ call: inout Call, _ fork: Int, _ side: CallSide, asClientWith response: SIPResponse, at now: MonotonicTime
    ) {
        call.forks[fork][side].timer.accepted(by: response, at: now)
        schedule(&call, fork, side)
    }

    private mutating func schedule(_ call: inout Call, _ fork: Int, _ side: CallSide) {
        let key = TimerKey.session(DialogReference(call: call.id, fork: call.forks[fork].id, side: side))
        if let deadline = call.forks[fork].legs[side.legIndex].timer.nextDeadline {
            timers.start(key, at: deadline)
        } else {
            timers.stop(key)
        }
    }

    mutating func sessionTimerFired(_ reference: DialogReference, at now: MonotonicTime) {
        withCall(reference.call, at: now) { engine, call in
            let fork = reference.fork.rawValue
            guard !call.isEnding, call.forks.indices.contains(fork) else { return }
            call.forks[fork][reference.side].timer.advance(to: now)
            while let output = call.forks[fork][reference.side].timer.nextOutput() {
                switch output {
                case .refresh: engine.refresh(&call, fork, reference.side, at: now)
                case .expired:
                    engine.transition(
                        &call,
                        .released(
                            .sessionExpired(reference.side), goneSide: nil,
                            reason: "SIP;cause=408;text=\"Session expired\""),
                        at: now)
                }
            }
            if !call.isEnding { engine.schedule(&call, fork, reference.side) }
        }
    }

    // MARK: Refreshes of our own

    /// Again, after a collision.
    mutating func refresh(_ reference: DialogReference, at now: MonotonicTime) {
        withCall(reference.call, at: now) { engine, call in
            engine.refresh(&call, reference.fork.rawValue, reference.side, at: now)
        }
    }

    private mutating func refresh(_ call: inout Call, _ fork: Int, _ side: CallSide, at now: MonotonicTime) {
        guard case .confirmed(let confirmed) = call.state, confirmed.rawValue == fork,
            call.forks[fork][side].refresh == nil
        else { return }
        let reference = DialogReference(call: call.id, fork: call.forks[fork].id, side: side)
        let isBusy = call.forks[fork][side].inviteInProgress || call.relays.values.contains { $0.concernsSession }
        guard !isBusy else {
            timers.start(.glare(reference), at: now + .seconds(2))
            return
        }
        sendRefresh(&call, fork, side, as: call.forks[fork][side].allowsUpdate ? .update : .invite, at: now)
    }

    private mutating func sendRefresh(
        _ call: inout Call, _ fork: Int, _ side: CallSide, as method: SIPMethod, at now: MonotonicTime
    ) {
        var request = call.forks[fork][side].dialog.makeRequest(method)
        request.headers.set(.contact, contact(of: call.forks[fork][side]).text)
        request.headers.append(.allow, Self.allowedMethods)
        call.forks[fork][side].timer.prepare(&request)
        if method == .invite {
            // The whole session is repeated; UPDATE needs no description (RFC 4028 §7.4).
            guard let offer = OfferAnswer.repeatOffer(on: &call.forks[fork][side].negotiation) else { return }
            request.setBody(offer.bytes, type: .sdp)
        }
        let transaction = send(request, &call, fork, side, at: now) { .refresh($0) }
        call.forks[fork][side].refresh = CallLeg.Refresh(transaction: transaction, request: request)
    }

    mutating func refreshAnswered(
        _ reference: DialogReference, _ transaction: ClientTransactionID, _ response: SIPResponse,
        from path: TransportPath, at now: MonotonicTime
    ) {
        guard response.statusCode >= 200 else {
            // As for a re-INVITE of the other side; UPDATE has a limit of its own (RFC 3261 §17.1.2).
            if response.cseq?.method == .invite, timers.deadline(of: .refresh(reference)) == nil {
                timers.start(.refresh(reference), at: now + Limits.reinviteDuration)
            }
            return
        }
        withCall(reference.call, at: now) { engine, call in
            let (fork, side) = (reference.fork.rawValue, reference.side)
            guard let refresh = call.forks[fork][side].refresh, refresh.transaction == transaction else {
                return engine.repeatACK(call, response, at: now)
            }
            engine.timers.stop(.refresh(reference))
            call.openTransactions -= 1
            call.forks[fork][side].refresh = nil
            let isInvite = refresh.request.method == .invite
            if response.statusCode < 300 {
                if isInvite {
                    engine.acknowledge(
                        &call, fork, side, number: refresh.request.cseq?.number ?? 1, answer: nil, at: now)
                    engine.take(answer: response, &call, fork, side, at: now)
                }
                guard !call.isEnding else { return }
                call.forks[fork][side].dialog.refreshTarget(from: response)
                engine.learn(&call.forks[fork][side], from: response, path: path)
                return engine.refreshTimer(&call, fork, side, asClientWith: response, at: now)
            }
            if isInvite { OfferAnswer.abandonOffer(on: &call.forks[fork][side].negotiation) }
            guard !call.isEnding else { return }
            engine.refreshRefused(&call, reference, refresh, response, at: now)
        }
    }

    private mutating func take(
        answer response: SIPResponse, _ call: inout Call, _ fork: Int, _ side: CallSide, at now: MonotonicTime
    ) {
        guard let description = description(in: response) else {
            return OfferAnswer.abandonOffer(on: &call.forks[fork][side].negotiation)
        }
        do throws(OfferAnswerError) {
            try OfferAnswer.accept(answer: description, on: &call.forks[fork][side].negotiation)
            // Its media may have moved.
            if !call.isEnding { setRemotes(&call, fork, side, at: now) }
        } catch {
            // The session goes on as it was: a peer that answers its own repetition differently is not believed.
            OfferAnswer.abandonOffer(on: &call.forks[fork][side].negotiation)
        }
    }

    private mutating func refreshRefused(
        _ call: inout Call, _ reference: DialogReference, _ refresh: CallLeg.Refresh, _ response: SIPResponse,
        at now: MonotonicTime
    ) {
        let (fork, side) = (reference.fork.rawValue, reference.side)
        switch response.statusCode {
        case 491:
            counters.glare += 1
            // RFC 3261 §14.1, in units of 10 ms: who made the Call-ID waits longer. On the callee's leg that is us.
            let pause = side == .callee ? 2_100 + Int(random.next() % 191) * 10 : Int(random.next() % 201) * 10
            timers.start(.glare(reference), at: now + .milliseconds(pause))
        case 401, 407, 422:
            var request = call.forks[fork][side].dialog.makeRequest(refresh.request.method)
            request.headers.append(contentsOf: refresh.request.headers) { [.allow, .contentType].contains($0) }
            request.headers.set(.contact, contact(of: call.forks[fork][side]).text)
            request.body = refresh.request.body
            guard refresh.authorizationCount < Limits.authorizationCountMax else { return }
            let canRepeat: Bool
            if response.statusCode == 422 {
                canRepeat = call.forks[fork][side].timer.raise(for: response)
            } else {
                request.headers.append(contentsOf: refresh.request.headers) {
                    [.authorization, .proxyAuthorization].contains($0)
                }
                canRepeat = authorize(&request, after: response, peer: call.forks[fork][side].peer)
            }
            guard canRepeat else { return }
            call.forks[fork][side].timer.prepare(&request)
            if request.method == .invite { _ = OfferAnswer.repeatOffer(on: &call.forks[fork][side].negotiation) }
            let transaction = send(request, &call, fork, side, at: now) { .refresh($0) }
            call.forks[fork][side].refresh = CallLeg.Refresh(
                transaction: transaction, request: request, authorizationCount: refresh.authorizationCount + 1)
        case 408, 481: loseDialog(&call, fork, side, at: now)
        case 405, 501:
            // It does not know UPDATE after all.
            call.forks[fork][side].allowsUpdate = false
            if refresh.request.method == .update { sendRefresh(&call, fork, side, as: .invite, at: now) }
        default: break  // the session lives on until it expires (RFC 4028 §10)
        }
    }

    /// The peer's 487 leaves the session as it is; silence ends it (RFC 4028 §10).
    mutating func refreshTimedOut(_ reference: DialogReference, at now: MonotonicTime) {
        withCall(reference.call, at: now) { engine, call in
            guard !call.isEnding, let refresh = call.forks[reference.fork.rawValue][reference.side].refresh,
                let transaction = refresh.transaction
            else { return }
            engine.transactions.cancel(transaction, reason: nil, at: now)
        }
    }

    mutating func refreshFailed(
        _ reference: DialogReference, _ transaction: ClientTransactionID, at now: MonotonicTime
    ) {
        withCall(reference.call, at: now) { engine, call in
            let (fork, side) = (reference.fork.rawValue, reference.side)
            guard call.forks[fork][side].refresh?.transaction == transaction else { return }
            engine.timers.stop(.refresh(reference))
            call.openTransactions -= 1
            call.forks[fork][side].refresh = nil
            engine.loseDialog(&call, fork, side, at: now)
        }
    }
}
