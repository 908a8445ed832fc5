import Primitives

/// Calls for help above the call engine: a plan for each at once, then what is done about it.
///
/// Driven by `CallEngine`: `begin` before the INVITE leaves, everything else after. Drain `nextOutput()` to nil.
package struct EmergencyEngine: Sendable {
    package enum Output: Equatable, Sendable {
        /// The record of a call as it stands; the last one given of a call has an end.
        case record(EmergencyRecord)
        /// All leases, to be written down: after a restart help must still find the caller.
        case leases([CallbackLease])
        /// A number was leased to one more caller, for want of an unused one; so many callers of the site have it.
        case elinShared(elin: String, site: String, callers: Int)
    }

    package private(set) var settings: EmergencySettings
    /// Calls that are not over.
    package internal(set) var records: [EmergencyCallID: EmergencyRecord] = [:]
    /// Who may be called back, under which number.
    package internal(set) var leases = ELINLeases()
    package internal(set) var testMode: EmergencyTestMode
    var random: RandomSource
    /// Civil time when the monotonic clock was zero; nil until somebody has said.
    private var wallAtZero: WallClockTime?
    var outputs = Queue<Output>()

    package init(
        settings: EmergencySettings, testMode: EmergencyTestMode = EmergencyTestMode(), random: RandomSource
    ) {
        self.settings = settings
        self.testMode = testMode
        self.random = random
    }

    /// Civil time may jump: to be told now and then.
    package mutating func setWallTime(_ wall: WallClockTime, at now: MonotonicTime) {
        wallAtZero = wall + (MonotonicTime(nanoseconds: 0) - now)
    }

    package func wallTime(at now: MonotonicTime) -> WallClockTime? {
        wallAtZero.map { $0 + (now - MonotonicTime(nanoseconds: 0)) }
    }

    package mutating func reconfigure(_ new: EmergencySettings) { settings = new }

    package mutating func nextOutput() -> Output? { outputs.popFirst() }

    /// The plan for a call; never fails and never waits. Nothing of it is told to anybody before `inviteLeft`.
    package mutating func begin(
        _ number: EmergencyNumber, dialled: String, by caller: EmergencyCaller, at now: MonotonicTime
    ) -> EmergencyDispatch {
        begin(number, dialled: dialled, by: caller, isBlocked: false, at: now)
    }

    mutating func begin(
        _ number: EmergencyNumber, dialled: String, by caller: EmergencyCaller, isBlocked: Bool, at now: MonotonicTime
    ) -> EmergencyDispatch {
        let id = EmergencyCallID(rawValue: random.hexToken(digitCount: 16))
        let site = settings.site(ofStation: caller.station, at: caller.source.address)
        let location = settings.location(ofStation: caller.station, at: caller.source.address)
        let trunks = (site?.trunks ?? []) + settings.trunks
        var record = EmergencyRecord(
            id: id, number: number, dialled: dialled, caller: caller, site: site?.name, start: now)
        record.location = location.map { .init($0) }
        record.elin = isBlocked ? nil : leaseNumber(of: site, to: caller, for: id, number, at: now)
        records[id] = record
        return EmergencyDispatch(
            id: id, number: number, site: site?.name, location: location, psap: site?.psap, trunks: trunks,
            elin: record.elin)
    }

    /// A 933 of the box's own, as if from a phone at this site without a place of its own. It may show the site's first
    /// number, which is leased to nobody for it: nobody calls back.
    package mutating func beginProof(
        site name: String?, source: TransportAddress, at now: MonotonicTime
    ) -> EmergencyDispatch {
        let id = EmergencyCallID(rawValue: random.hexToken(digitCount: 16))
        let site = name.flatMap { settings.sites[$0] }
        let location = site.map { DispatchableLocation(site: $0.name, address: $0.address) }
        var record = EmergencyRecord(
            id: id, number: .test, dialled: EmergencyNumber.test.dialString,
            caller: EmergencyCaller(station: nil, number: site?.elins.first ?? "", source: source),
            site: site?.name, start: now)
        record.isProof = true
        record.location = location.map { .init($0) }
        record.elin = site?.elins.first
        records[id] = record
        return EmergencyDispatch(
            id: id, number: .test, site: site?.name, location: location, psap: nil, trunks: [], elin: record.elin)
    }

    // MARK: What became of it

    /// What the INVITE about to leave says; told with `attemptStarted`.
    package mutating func presented(_ id: EmergencyCallID, callbackNumber: String, pidf: String?) {
        records[id]?.callbackNumber = callbackNumber
        records[id]?.location?.pidf = pidf
    }

    /// An INVITE to this trunk is on its way.
    package mutating func attemptStarted(_ id: EmergencyCallID, trunk: String, at now: MonotonicTime) {
        change(id) { $0.attempts.append(.init(trunk: trunk, start: now)) }
    }

    /// - Parameter outcome: A status code or a reason.
    package mutating func attemptEnded(
        _ id: EmergencyCallID, trunk: String, outcome: String, at now: MonotonicTime
    ) {
        change(id) { record in
            guard let index = record.attempts.lastIndex(where: { $0.trunk == trunk && $0.end == nil }) else { return }
            record.attempts[index].end = now
            record.attempts[index].outcome = outcome
        }
    }

    /// The called side rings or plays something, first of this attempt.
    package mutating func ringing(_ id: EmergencyCallID, trunk: String, at now: MonotonicTime) {
        change(id) { record in
            guard let index = record.attempts.lastIndex(where: { $0.trunk == trunk && $0.end == nil }) else { return }
            record.attempts[index].ringing = record.attempts[index].ringing ?? now
        }
    }

    package mutating func answered(_ id: EmergencyCallID, at now: MonotonicTime) { change(id) { $0.answer = now } }

    /// The call is over and forgotten here; its last record goes out.
    package mutating func ended(
        _ id: EmergencyCallID, ending: String, packetsFromCaller: UInt64, packetsFromCallee: UInt64,
        at time: MonotonicTime
    ) {
        change(id) { record in
            record.end = time
            record.ending = ending
            record.packetsFromCaller = packetsFromCaller
            record.packetsFromCallee = packetsFromCallee
        }
        records[id] = nil
        releaseLease(of: id, at: time)
    }

    mutating func change(_ id: EmergencyCallID, _ body: (inout EmergencyRecord) -> Void) {
        guard records[id] != nil else { return }
        body(&records[id]!)
        outputs.append(.record(records[id]!))
    }
}
