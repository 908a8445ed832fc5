import Primitives
import SignallingFormats

/// The registrar of RFC 3261 §10.3 with the flows of RFC 5626: which contacts reach a user, and over which path.
///
/// The user is known: composition has checked credentials. Contacts that were not refreshed go at their time.
package struct Registrar: Sendable {
    package struct Settings: Equatable, Sendable {
        /// Seconds, when the request names none.
        package var expiresDefault = 3_600
        /// Seconds; a shorter wish gets 423.
        package var expiresMin = 60
        /// Seconds; a longer wish is shortened.
        package var expiresMax = 7_200
        /// Bindings of all users together; beyond it 503 with Retry-After.
        package var bindingCountMax = 4_096
        /// What Flow-Timer tells clients of RFC 5626, in seconds; nil says nothing.
        package var flowTimerSeconds: Int? = 120

        package init() {}
    }

    /// One contact of a user.
    package struct Binding: Equatable, Sendable {
        /// Request-URI of requests to it.
        package var contact: URI
        /// Parameters of the Contact field, without expires.
        package var parameters: SIPParameters
        /// Where it registered from, and where requests to it go.
        package var path: TransportPath
        package var expires: MonotonicTime
        package var callID: String
        package var sequenceNumber: UInt32
        /// `+sip.instance`, with its angle brackets; nil when it named none.
        package var instance: String?
        /// RFC 5626; nil from clients without outbound.
        package var registrationID: UInt32?
        /// 0...1000, in thousandths.
        package var quality: Int
        package var userAgent: String?
    }

    /// A binding as it outlives a restart: what remains of its time instead of a point on the monotonic clock.
    package struct ExportedBinding: Equatable, Sendable {
        package let user: String
        package let binding: Binding
        package let remaining: Duration

        package init(user: String, binding: Binding, remaining: Duration) {
            self.user = user
            self.binding = binding
            self.remaining = remaining
        }
    }

    package enum Output: Equatable, Sendable {
        case expired(user: String, Binding)
    }

    package struct Counters: Equatable, Sendable {
        package var registrations: UInt64 = 0
        package var removals: UInt64 = 0
        package var expirations: UInt64 = 0
        package var refused: UInt64 = 0
    }

    package var settings: Settings
    package private(set) var counters = Counters()
    private var table: [String: [Binding]] = [:]
    private var bindingCount = 0
    private var timers = TimerTable<String>()
    private var outputs = Queue<Output>()

    package init(settings: Settings = Settings()) { self.settings = settings }

    package var nextDeadline: MonotonicTime? { timers.earliest }
    package var users: Dictionary<String, [Binding]>.Keys { table.keys }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    /// The contacts of a user, the most preferred first, among equals the latest refreshed last.
    package func bindings(for user: String) -> [Binding] {
        (table[user] ?? []).enumerated().sorted { ($1.element.quality, $0.offset) < ($0.element.quality, $1.offset) }
            .map(\.element)
    }

    // MARK: REGISTER

    /// Answers a REGISTER of `user`: all its changes are made, or none (RFC 3261 §10.3).
    ///
    /// Beyond `contactsMax` a new contact replaces the oldest one from the same source address, as left behind by a
    /// phone that started anew; else it gets 403.
    package mutating func handle(
        _ request: SIPRequest, from path: TransportPath, user: String, contactsMax: Int = 4, at now: MonotonicTime
    ) -> SIPResponse {
        advance(to: now)
        let tag = "r" + String(UInt64(truncatingIfNeeded: now.nanoseconds), radix: 36)
        do throws(Refusal) {
            let (bindings, usesOutbound) = try updated(
                request, from: path, user: user, contactsMax: contactsMax, at: now)
            counters.registrations += 1
            let before = table[user]?.count ?? 0
            if bindings.count < before { counters.removals += UInt64(before - bindings.count) }
            store(bindings, for: user)
            return success(request, user, tag, usesOutbound: usesOutbound, at: now)
        } catch {
            counters.refused += 1
            var response = SIPResponse(to: request, error.statusCode, error.reason, toTag: tag)
            switch error {
            case .intervalTooBrief: response.headers.append(.minExpires, String(settings.expiresMin))
            case .full: response.headers.append(.retryAfter, "60")
            case .malformed, .outOfOrder, .tooManyContacts, .firstHopLacksOutbound: break
            }
            return response
        }
    }

    private enum Refusal: Error {
        case malformed(String)
        case outOfOrder, intervalTooBrief, tooManyContacts, full, firstHopLacksOutbound

        var statusCode: Int {
            switch self {
            case .malformed: 400
            case .outOfOrder: 500
            case .intervalTooBrief: 423
            case .tooManyContacts: 403
            case .full: 503
            case .firstHopLacksOutbound: 439
            }
        }

        var reason: String? {
            switch self {
            case .malformed(let reason): reason
            case .outOfOrder: "CSeq Out Of Order"
            case .tooManyContacts: "Too Many Contacts"
            case .intervalTooBrief, .full, .firstHopLacksOutbound: nil
            }
        }
    }

    /// The user's bindings as the request wants them, and whether it registers a flow (RFC 5626 §6).
    private func updated(
        _ request: SIPRequest, from path: TransportPath, user: String, contactsMax: Int, at now: MonotonicTime
    ) throws(Refusal) -> ([Binding], usesOutbound: Bool) {
        guard let cseq = request.cseq else { throw .malformed("Bad CSeq") }
        var bindings = table[user] ?? []
        let contacts = request.contacts
        if request.hasContactWildcard {
            guard contacts.isEmpty, request.headers.values(.contact).count == 1, request.expires == 0 else {
                throw .malformed("Wildcard Needs Expires 0")
            }
            for binding in bindings where binding.callID == request.callID {
                guard cseq.number > binding.sequenceNumber else { throw .outOfOrder }
            }
            return ([], false)
        }
        guard contacts.count == request.headers.values(.contact).count else { throw .malformed("Bad Contact") }
        let flows = contacts.filter { $0.parameters.has("reg-id") && $0.parameters.has("+sip.instance") }
        let isOutbound = !flows.isEmpty && request.supported.contains { $0.lowercased() == "outbound" }
        if isOutbound {
            guard flows.count == 1, contacts.count == 1 else { throw .malformed("One Flow At A Time") }
            guard request.vias.count == 1 else { throw .firstHopLacksOutbound }
        }
        for contact in contacts {
            let expires = try lifetime(of: contact, request)
            let instance = contact.parameters.value("+sip.instance")
            let registrationID = isOutbound ? contact.parameters.value("reg-id").flatMap { UInt32($0) } : nil
            if isOutbound, registrationID.map({ $0 == 0 }) ?? true { throw .malformed("Bad reg-id") }
            let known = bindings.firstIndex { binding in
                if let instance, binding.instance == instance { return binding.registrationID == registrationID }
                return binding.registrationID == nil && registrationID == nil
                    && binding.contact.isEquivalent(to: contact.uri)
            }
            if let known, bindings[known].callID == request.callID {
                guard cseq.number > bindings[known].sequenceNumber else { throw .outOfOrder }
            }
            if let known { bindings.remove(at: known) }
            guard expires > 0 else { continue }
            var parameters = contact.parameters
            parameters.remove("expires")
            bindings.append(
                Binding(
                    contact: contact.uri, parameters: parameters, path: path,
                    expires: now + .seconds(expires), callID: request.callID, sequenceNumber: cseq.number,
                    instance: instance, registrationID: registrationID, quality: Self.quality(contact),
                    userAgent: request.headers.first(.userAgent)))
            while bindings.count > max(contactsMax, 1) {
                let left = bindings.dropLast().firstIndex { $0.path.remote.address == path.remote.address }
                guard let left else { throw .tooManyContacts }
                bindings.remove(at: left)
            }
        }
        let total = bindingCount - (table[user]?.count ?? 0) + bindings.count
        guard total <= settings.bindingCountMax || bindings.count <= table[user]?.count ?? 0 else { throw .full }
        return (bindings, isOutbound)
    }

    /// Seconds; the Contact's own wish goes before the Expires field (RFC 3261 §10.3 step 7).
    private func lifetime(of contact: NameAddress, _ request: SIPRequest) throws(Refusal) -> Int {
        let wish: Int
        if let text = contact.parameters.value("expires") {
            wish = UInt32(text).map { Int($0) } ?? settings.expiresDefault
        } else {
            wish = request.expires ?? settings.expiresDefault
        }
        guard wish == 0 || wish >= settings.expiresMin else { throw .intervalTooBrief }
        return min(wish, settings.expiresMax)
    }

    /// The q parameter in thousandths; 1000 when absent or malformed (RFC 3261 §20.10).
    private static func quality(_ contact: NameAddress) -> Int {
        guard let text = contact.parameters.value("q") else { return 1_000 }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, let whole = parts.first, let units = UInt8(whole.isEmpty ? "0" : whole), units <= 1
        else { return 1_000 }
        guard parts.count == 2 else { return Int(units) * 1_000 }
        guard parts[1].utf8.count <= 3, let digits = Int(parts[1] + String(repeating: "0", count: 3 - parts[1].count)),
            digits >= 0
        else { return 1_000 }
        return min(Int(units) * 1_000 + digits, 1_000)
    }

    private func success(
        _ request: SIPRequest, _ user: String, _ tag: String, usesOutbound: Bool, at now: MonotonicTime
    ) -> SIPResponse {
        var response = SIPResponse(to: request, 200, toTag: tag)
        for binding in bindings(for: user) {
            var parameters = binding.parameters
            let remaining = binding.expires - now
            parameters.set("expires", String(max(remaining.wholeSeconds, 1)))
            response.headers.append(.contact, NameAddress(uri: binding.contact, parameters: parameters).text)
        }
        if usesOutbound {
            response.headers.append(.require, "outbound")
            if let seconds = settings.flowTimerSeconds { response.headers.append(.flowTimer, String(seconds)) }
        }
        return response
    }

    // MARK: The end of bindings

    /// Drops what was registered over a connection that is gone.
    package mutating func connectionClosed(_ path: TransportPath) {
        guard path.transport.isReliable else { return }
        for (user, bindings) in table {
            let kept = bindings.filter {
                $0.path.realm != path.realm || $0.path.transport != path.transport
                    || $0.path.remote != path.remote || $0.path.connection != path.connection
            }
            guard kept.count != bindings.count else { continue }
            counters.removals += UInt64(bindings.count - kept.count)
            store(kept, for: user)
        }
    }

    /// Drops all contacts of a user, as when the station is taken out of the configuration.
    package mutating func removeAll(for user: String) {
        counters.removals += UInt64(table[user]?.count ?? 0)
        store([], for: user)
    }

    package mutating func advance(to now: MonotonicTime) {
        while let user = timers.popDue(now) {
            let bindings = table[user] ?? []
            for binding in bindings where binding.expires <= now {
                counters.expirations += 1
                outputs.append(.expired(user: user, binding))
            }
            store(bindings.filter { $0.expires > now }, for: user)
        }
    }

    private mutating func store(_ bindings: [Binding], for user: String) {
        bindingCount += bindings.count - (table[user]?.count ?? 0)
        table[user] = bindings.isEmpty ? nil : bindings
        if let earliest = bindings.map(\.expires).min() {
            timers.start(user, at: earliest)
        } else {
            timers.stop(user)
        }
    }

    // MARK: Restart

    /// All bindings, ordered by user.
    package func export(at now: MonotonicTime) -> [ExportedBinding] {
        table.sorted { $0.key < $1.key }.flatMap { user, bindings in
            bindings.filter { $0.expires > now }.map {
                ExportedBinding(user: user, binding: $0, remaining: $0.expires - now)
            }
        }
    }

    /// Takes exported bindings over; those over a connection are left out unless `keepsConnections`, since connections
    /// do not outlive a process. A user who registered meanwhile keeps what is there.
    package mutating func `import`(
        _ exported: [ExportedBinding], keepsConnections: Bool = false, at now: MonotonicTime
    ) {
        let present = Set(table.keys)
        for item in exported where !present.contains(item.user) && item.remaining > .zero {
            guard keepsConnections || !item.binding.path.transport.isReliable,
                bindingCount < settings.bindingCountMax
            else { continue }
            var binding = item.binding
            binding.expires = now + item.remaining
            store((table[item.user] ?? []) + [binding], for: item.user)
        }
    }
}
