import Primitives

/// One call as it is now.
package struct CallStatus: Equatable, Sendable {
    package enum Phase: String, Hashable, Sendable, CaseIterable {
        case trying, ringing, answered, held
        /// Over, but answers of the other ends are outstanding; no longer counted against limits.
        case ending
    }

    package var id: CallID
    package var phase: Phase
    package var caller: CallParty
    package var callee: CallParty
    package var dialled: String
    package var start: MonotonicTime
    package var answer: MonotonicTime?
    package var attempts: [CallAttempt]
    package var fromCaller: CallMediaCounters
    package var fromCallee: CallMediaCounters
    /// Our media addresses (RTP) on each leg.
    package var callerMedia: [TransportAddress]
    package var calleeMedia: [TransportAddress]
    /// The box placed the call itself: there is no caller, and `fromCaller` is what was played.
    package var announcement: AnnouncementID?

    package init(
        id: CallID, phase: Phase, caller: CallParty, callee: CallParty, dialled: String, start: MonotonicTime,
        answer: MonotonicTime?, attempts: [CallAttempt], fromCaller: CallMediaCounters, fromCallee: CallMediaCounters,
        callerMedia: [TransportAddress], calleeMedia: [TransportAddress], announcement: AnnouncementID? = nil
    ) {
        self.id = id
        self.phase = phase
        self.caller = caller
        self.callee = callee
        self.dialled = dialled
        self.start = start
        self.answer = answer
        self.attempts = attempts
        self.fromCaller = fromCaller
        self.fromCallee = fromCallee
        self.callerMedia = callerMedia
        self.calleeMedia = calleeMedia
        self.announcement = announcement
    }
}

package struct StationStatus: Equatable, Sendable {
    package struct Contact: Equatable, Sendable {
        package var uri: String
        package var source: TransportAddress
        /// "udp" or "tcp".
        package var transport: String
        package var expiresIn: Duration

        package init(uri: String, source: TransportAddress, transport: String, expiresIn: Duration) {
            self.uri = uri
            self.source = source
            self.transport = transport
            self.expiresIn = expiresIn
        }
    }

    package var user: String
    package var realm: RealmID
    package var contacts: [Contact]

    package init(user: String, realm: RealmID, contacts: [Contact]) {
        self.user = user
        self.realm = realm
        self.contacts = contacts
    }
}

package struct TrunkStatus: Equatable, Sendable {
    package enum Health: String, Hashable, Sendable, CaseIterable {
        /// The ping is switched off.
        case unchecked
        case up, down
    }

    package enum Registration: Equatable, Sendable {
        /// None is configured.
        case none
        case trying
        case registered(expiresIn: Duration)
        case failed(reason: String)
    }

    package var name: String
    package var realm: RealmID
    package var peer: TransportAddress
    package var health: Health
    package var registration: Registration
    package var calls: Int
    package var callsMax: Int?
    /// Answers to OPTIONS: the latest round trip; nil before the first.
    package var roundTrip: Duration?

    package init(
        name: String, realm: RealmID, peer: TransportAddress, health: Health, registration: Registration, calls: Int,
        callsMax: Int?, roundTrip: Duration?
    ) {
        self.name = name
        self.realm = realm
        self.peer = peer
        self.health = health
        self.registration = registration
        self.calls = calls
        self.callsMax = callsMax
        self.roundTrip = roundTrip
    }
}

/// The engine at a glance, for `cresset status`.
package struct CallEngineStatus: Equatable, Sendable {
    package struct Counter: Equatable, Sendable {
        package var name: String
        package var value: UInt64

        package init(_ name: String, _ value: UInt64) {
            self.name = name
            self.value = value
        }
    }

    package var activeCalls: Int
    package var callsMax: Int
    /// Sorted by user and by name.
    package var stations: [StationStatus]
    package var trunks: [TrunkStatus]
    /// Since start, in a fixed order; names are stable: they end in monitoring systems.
    package var counters: [Counter]

    package init(
        activeCalls: Int, callsMax: Int, stations: [StationStatus], trunks: [TrunkStatus], counters: [Counter]
    ) {
        self.activeCalls = activeCalls
        self.callsMax = callsMax
        self.stations = stations
        self.trunks = trunks
        self.counters = counters
    }
}
