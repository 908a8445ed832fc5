import Primitives
import SignallingFormats

/// The session timer of one dialog, in both roles (RFC 4028).
///
/// As caller: `prepare` each INVITE and UPDATE, then `accepted(by:)` its 2xx, or `raise(for:)` its 422. As callee:
/// `evaluate` each INVITE and UPDATE, and on `.accept` put `apply(to:)` on the 2xx. `advance` says when to refresh, and
/// when the session is over.
package struct SessionTimer: Sendable {
    package enum Refresher: Equatable, Sendable { case local, remote }

    package enum Evaluation: Equatable, Sendable {
        case accept
        /// 422; the response needs this Min-SE.
        case tooSmall(minSE: Int)
    }

    package enum Output: Equatable, Sendable {
        /// Send UPDATE or re-INVITE, prepared.
        case refresh
        /// Nobody refreshed the session: send BYE.
        case expired
    }

    private enum Timer: Int, Sendable { case refresh, expiry }

    /// What is in force; nil while the session has no timer.
    package private(set) var agreed: (refresher: Refresher, interval: Duration)?
    private var sessionExpiresSeconds: Int
    private var minSESeconds: Int
    private var peerSupportsTimer = false
    private var offered: (refresher: String, seconds: Int)?
    private var timers = TransactionTimers<Timer>()
    private var outputs = Queue<Output>()

    /// The smallest Min-SE there is (RFC 4028 §5).
    package static let minSESecondsMin = 90

    package init(sessionExpires: Duration = .seconds(1_800), minSE: Duration = .seconds(90)) {
        minSESeconds = Int(clamping: max(minSE.wholeSeconds, Int64(Self.minSESecondsMin)))
        sessionExpiresSeconds = max(Int(clamping: sessionExpires.wholeSeconds), minSESeconds)
    }

    package var nextDeadline: MonotonicTime? { timers.earliest }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    // MARK: Our requests

    /// Puts Supported, Session-Expires and Min-SE on an INVITE or UPDATE of ours (RFC 4028 §7.1, §7.4).
    package func prepare(_ request: inout SIPRequest) {
        if !request.headers.contains("timer", in: .supported) {
            request.headers.append(.supported, "timer")
        }
        var value = String(sessionExpiresSeconds)
        // A refresh keeps the roles (§7.4); the first request leaves the choice to the callee.
        switch agreed?.refresher {
        case .local?: value += ";refresher=uac"
        case .remote?: value += ";refresher=uas"
        case nil: break
        }
        request.headers.set(.sessionExpires, value)
        if minSESeconds > Self.minSESecondsMin { request.headers.set(.minSE, String(minSESeconds)) }
    }

    /// Takes what the 2xx to a request of ours says (RFC 4028 §7.2); without Session-Expires there is no timer.
    package mutating func accepted(by response: SIPResponse, at now: MonotonicTime) {
        guard let seconds = response.number(.sessionExpires), seconds > 0 else { return stop() }
        // Without a refresher parameter we refresh: nothing is lost when the peer does too.
        let refresher: Refresher = Self.refresher(response) == "uas" ? .remote : .local
        begin(refresher, seconds, at: now)
    }

    /// Takes the Min-SE of a 422 to a request of ours: the request is to be prepared again and repeated. false: give up.
    package mutating func raise(for response: SIPResponse) -> Bool {
        guard response.statusCode == 422, let minimum = response.number(.minSE),
            minimum > sessionExpiresSeconds
                || minimum > minSESeconds, minimum <= 86_400
        else { return false }
        minSESeconds = max(minSESeconds, minimum)
        sessionExpiresSeconds = max(sessionExpiresSeconds, minimum)
        return true
    }

    // MARK: The peer's requests

    /// Looks at an INVITE or UPDATE of the peer before it is answered (RFC 4028 §9).
    package mutating func evaluate(_ request: SIPRequest) -> Evaluation {
        peerSupportsTimer = request.headers.contains("timer", in: .supported)
        let wish = request.number(.sessionExpires)
        if let wish, wish < minSESeconds, peerSupportsTimer { return .tooSmall(minSE: minSESeconds) }
        let refresher: String
        switch (peerSupportsTimer, Self.refresher(request)) {
        case (true, "uac"): refresher = "uac"
        case (true, "uas"): refresher = "uas"
        case (true, _): refresher = "uac"  // left to us: who asked does the work
        case (false, _): refresher = "uas"
        }
        // Never longer than asked for, never shorter than either Min-SE; and never below 90 s, which only a peer that
        // does not know 422 can ask for.
        let floor = max(minSESeconds, request.number(.minSE) ?? 0)
        let wanted = max(min(wish ?? sessionExpiresSeconds, sessionExpiresSeconds), floor)
        offered = (refresher, max(min(wanted, wish ?? wanted), Self.minSESecondsMin))
        return .accept
    }

    /// Puts what was evaluated on our 2xx, and starts the timer.
    package mutating func apply(to response: inout SIPResponse, at now: MonotonicTime) {
        guard let offered else { return }
        self.offered = nil
        response.headers.set(.sessionExpires, "\(offered.seconds);refresher=\(offered.refresher)")
        if offered.refresher == "uac", !response.headers.contains("timer", in: .require) {
            response.headers.append(.require, "timer")
        }
        begin(offered.refresher == "uac" ? .remote : .local, offered.seconds, at: now)
    }

    // MARK: Time

    /// No more refreshes: the dialog ends, or has no timer.
    package mutating func stop() {
        agreed = nil
        timers.stopAll()
    }

    package mutating func advance(to now: MonotonicTime) {
        while let timer = timers.popDue(now) {
            switch timer {
            case .refresh: outputs.append(.refresh)
            case .expiry:
                stop()
                outputs.append(.expired)
            }
        }
    }

    private mutating func begin(_ refresher: Refresher, _ seconds: Int, at now: MonotonicTime) {
        let interval = Duration.seconds(min(seconds, 86_400 * 7))
        agreed = (refresher, interval)
        timers.stopAll()
        if refresher == .local { timers.start(.refresh, at: now + interval / 2) }
        // §10: BYE the smaller of 32 s and a third of the interval before the end.
        timers.start(.expiry, at: now + (interval - min(.seconds(32), interval / 3)))
    }

    /// The refresher parameter in lower case.
    private static func refresher(_ message: some SIPMessageContent) -> String? {
        message.headers.first(.sessionExpires).flatMap { text in
            text.firstIndex(of: ";").flatMap { SIPParameters(String(text[$0...])) }?.value("refresher")?.lowercased()
        }
    }
}
