import Primitives
import SignallingFormats

/// Keeps one registration of ours with a carrier alive (RFC 3261 §10.2), with digest, 423, and patience when it fails.
///
/// The user sends what `.send` says and hands back the final response, or that there was none.
package struct RegistrationClient: Sendable {
    package struct Settings: Equatable, Sendable {
        /// Request-URI: `sip:carrier.example`.
        package var registrar: URI
        /// To and From.
        package var addressOfRecord: URI
        package var contact: NameAddress
        package var username: String
        package var password: String
        /// Seconds.
        package var expires: Int

        package init(
            registrar: URI, addressOfRecord: URI, contact: NameAddress, username: String, password: String,
            expires: Int = 3_600
        ) {
            self.registrar = registrar
            self.addressOfRecord = addressOfRecord
            self.contact = contact
            self.username = username
            self.password = password
            self.expires = expires
        }
    }

    package enum State: Equatable, Sendable {
        case idle
        case registering
        case registered(until: MonotonicTime)
        /// Waits until `retry`; the carrier may still hold the last registration.
        case failed(reason: String, retry: MonotonicTime)
        case unregistering
    }

    package enum Input: Sendable {
        case start
        /// Removes the registration.
        case stop
        case response(SIPResponse)
        /// No response: timeout or transport failure.
        case failed(reason: String)
    }

    package enum Output: Equatable, Sendable {
        case send(SIPRequest)
        case changed(State)
    }

    private enum Timer: Hashable, Sendable { case refresh, retry }

    /// The first pause after a failure, doubled up to `retryDelayMax`.
    package static let retryDelayMin = Duration.seconds(10)
    package static let retryDelayMax = Duration.seconds(600)
    /// After the password was refused.
    package static let refusedDelay = Duration.seconds(300)

    package let settings: Settings
    package private(set) var state = State.idle
    private var digest: DigestClient
    private var random: RandomSource
    private var timers = TimerTable<Timer>()
    private var outputs = Queue<Output>()
    private let callID: String
    private let fromTag: String
    private var sequenceNumber: UInt32 = 0
    private var expires: Int
    private var lastRequest: SIPRequest?
    private var attemptCount = 0
    private var failureCount = 0

    package init(settings: Settings, hash: any DigestHash, random: RandomSource) {
        var random = random
        self.settings = settings
        expires = settings.expires
        callID = random.hexToken(digitCount: 32)
        fromTag = random.hexToken(digitCount: 16)
        digest = DigestClient(hash: hash, random: random)
        // The digest's cnonces and our jitter must not be the same numbers.
        _ = random.next()
        self.random = random
    }

    package var nextDeadline: MonotonicTime? { timers.earliest }
    package var isRegistered: Bool { if case .registered = state { true } else { false } }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    package mutating func handle(_ input: Input, at now: MonotonicTime) {
        switch (state, input) {
        case (.idle, .start), (.failed, .start):
            state = .registering
            register(for: expires)
        case (.registering, .start), (.registered, .start), (.unregistering, .start):
            break
        case (.registering, .response(let response)), (.registered, .response(let response)):
            answered(response, at: now)
        case (.registering, .failed(let reason)), (.registered, .failed(let reason)):
            fail(reason, after: nil, at: now)
        case (.registering, .stop), (.registered, .stop):
            timers.stop(.refresh)
            state = .unregistering
            register(for: 0)
        case (.failed, .stop), (.idle, .stop), (.unregistering, .stop):
            timers.stop(.retry)
            change(to: .idle)
        case (.unregistering, .response(let response)):
            unregistered(response)
        case (.unregistering, .failed):
            change(to: .idle)
        case (.idle, .response), (.idle, .failed), (.failed, .response), (.failed, .failed):
            break  // late
        }
    }

    package mutating func advance(to now: MonotonicTime) {
        while let timer = timers.popDue(now) {
            switch (state, timer) {
            case (.registered, .refresh): register(for: expires)
            case (.failed, .retry):
                state = .registering
                register(for: expires)
            case (.idle, _), (.registering, _), (.unregistering, _), (.registered, .retry), (.failed, .refresh):
                break
            }
        }
    }

    // MARK: Helpers

    private mutating func register(for seconds: Int) {
        attemptCount = 0
        var request = SIPRequest(method: .register, requestURI: settings.registrar)
        var from = NameAddress(uri: settings.addressOfRecord)
        from.tag = fromTag
        request.headers.append(.maxForwards, String(SpecificationConstants.maxForwards))
        request.headers.append(.from, from.text)
        request.headers.append(.to, NameAddress(uri: settings.addressOfRecord).text)
        request.headers.append(.callID, callID)
        request.headers.append(.cseq, CSeq(number: 0, method: .register).text)
        request.headers.append(.contact, settings.contact.text)
        request.headers.append(.expires, String(seconds))
        digest.authorizePreemptively(&request, username: settings.username, password: settings.password)
        send(request)
    }

    private mutating func send(_ request: SIPRequest) {
        var request = request
        sequenceNumber += 1
        request.headers.set(.cseq, CSeq(number: sequenceNumber, method: .register).text)
        lastRequest = request
        attemptCount += 1
        outputs.append(.send(request))
    }

    /// Whether the response belongs to the request under way; older ones are late.
    private func isCurrent(_ response: SIPResponse) -> Bool {
        response.statusCode >= 200 && response.cseq?.number == sequenceNumber && attemptCount > 0
    }

    private mutating func answered(_ response: SIPResponse, at now: MonotonicTime) {
        guard isCurrent(response) else { return }
        switch response.statusCode {
        case ..<300:
            attemptCount = 0
            failureCount = 0
            let granted = min(max(grantedSeconds(response), 1), 86_400 * 7)
            let share = granted <= 60 ? 500 : 500 + Int(random.next() % 401)  // a half to nine tenths
            timers.start(.refresh, at: now + .milliseconds(granted * share))
            timers.stop(.retry)
            change(to: .registered(until: now + .seconds(granted)))
        case 401, 407:
            guard attemptCount < 3, var request = lastRequest,
                digest.authorize(
                    &request, after: response, username: settings.username, password: settings.password)
            else { return fail("credentials refused", after: Self.refusedDelay, at: now) }
            send(request)
        case 423:
            guard let minimum = response.number(.minExpires), minimum > expires, minimum <= 86_400 * 7,
                attemptCount < 4, var request = lastRequest
            else { return fail("423 \(response.reasonPhrase)", after: nil, at: now) }
            expires = minimum
            request.headers.set(.expires, String(minimum))
            request.headers.remove(.authorization)
            request.headers.remove(.proxyAuthorization)
            digest.authorizePreemptively(&request, username: settings.username, password: settings.password)
            send(request)
        default:
            let wish = response.number(.retryAfter).map { Duration.seconds(min(max($0, 1), 3_600)) }
            let refused = response.statusCode == 403 || response.statusCode == 404
            fail(
                "\(response.statusCode) \(response.reasonPhrase)", after: wish ?? (refused ? Self.refusedDelay : nil),
                at: now)
        }
    }

    private mutating func unregistered(_ response: SIPResponse) {
        guard isCurrent(response) else { return }
        if response.statusCode == 401 || response.statusCode == 407, attemptCount < 3, var request = lastRequest,
            digest.authorize(&request, after: response, username: settings.username, password: settings.password)
        {
            return send(request)
        }
        change(to: .idle)
    }

    private mutating func fail(_ reason: String, after delay: Duration?, at now: MonotonicTime) {
        attemptCount = 0
        timers.stop(.refresh)
        let doubled = Self.retryDelayMin * (1 << min(failureCount, 6))
        failureCount += 1
        let base = delay ?? min(doubled, Self.retryDelayMax)
        // Half of it is chance, so that a fleet does not come back as one.
        let retry = now + base / 2 + base / 2 * Int(random.next() % 1_000) / 1_000
        timers.start(.retry, at: retry)
        change(to: .failed(reason: reason, retry: retry))
    }

    private mutating func change(to state: State) {
        self.state = state
        outputs.append(.changed(state))
    }

    /// What the registrar granted for our contact: its expires parameter, else Expires, else what we asked for.
    private func grantedSeconds(_ response: SIPResponse) -> Int {
        let contacts = response.contacts
        let own = contacts.first { $0.uri.isEquivalent(to: settings.contact.uri) }
        if let text = (own ?? (contacts.count == 1 ? contacts.first : nil))?.parameters.value("expires"),
            let seconds = UInt32(text)
        {
            return Int(seconds)
        }
        return response.expires ?? expires
    }
}
