import Primitives

/// One call for help, as proof of what was done. What is not known stays nil; nothing here is ever guessed.
package struct EmergencyRecord: Equatable, Sendable {
    /// One trunk that was asked.
    package struct Attempt: Equatable, Sendable {
        package var trunk: String
        package var start: MonotonicTime
        /// Its first 180 or 183.
        package var ringing: MonotonicTime?
        package var end: MonotonicTime?
        /// What came of it, "200", "503", "timed out", "Connection refused"; nil while it runs.
        package var outcome: String?

        package init(trunk: String, start: MonotonicTime) {
            self.trunk = trunk
            self.start = start
        }
    }

    /// Where the caller is, as the INVITE said it.
    package struct Location: Equatable, Sendable {
        /// One line for people.
        package var text: String
        /// The PIDF-LO as sent, every byte; nil where the trunk is not given one.
        package var pidf: String?
        /// What a dispatchable location (47 CFR 9.3) still lacks, "room", "street"; empty when it is complete.
        package var missing: [String]

        package init(text: String, pidf: String? = nil, missing: [String] = []) {
            self.text = text
            self.pidf = pidf
            self.missing = missing
        }

        package init(_ location: DispatchableLocation) {
            self.init(text: location.description, missing: location.missingElements)
        }
    }

    /// Somebody who was told, or should have been (47 CFR 9.16(b)(2)).
    package struct Notification: Equatable, Sendable {
        /// `call`, `page`, `multicast`, `mail`, `webhook`, `state-file`.
        package var channel: String
        /// Whom it was for: the station, address or name of the configuration.
        package var target: String
        /// What it told: `started`, `answered`, `failed`, `ended`, `blocked`.
        package var occasion: String
        package var start: MonotonicTime
        package var end: MonotonicTime?
        package var tries: Int
        package var isDelivered: Bool
        /// What came of it, in words: "200", "heard twice", "connection refused"; nil while it runs.
        package var result: String?

        package init(channel: String, target: String, occasion: String, start: MonotonicTime) {
            self.channel = channel
            self.target = target
            self.occasion = occasion
            self.start = start
            tries = 1
            isDelivered = false
        }
    }

    /// Somebody said: I know of it.
    package struct Acknowledgement: Equatable, Sendable {
        /// The station or the operator.
        package var by: String
        /// `key`, `console`, `panel`.
        package var means: String
        package var time: MonotonicTime

        package init(by: String, means: String, time: MonotonicTime) {
            self.by = by
            self.means = means
            self.time = time
        }
    }

    package let id: EmergencyCallID
    package let number: EmergencyNumber
    /// As dialled, before it became 911.
    package let dialled: String
    package let caller: EmergencyCaller
    package let site: String?
    /// The INVITE came in; every other time counts from here.
    package let start: MonotonicTime
    /// Placed by the box itself to prove that the way is open, not by a person.
    package var isProof = false
    package var location: Location?
    /// The number of the place that went out as calling number, leased for a call back.
    package var elin: String?
    /// The calling number the carrier was given.
    package var callbackNumber: String?
    /// Why it was kept from every trunk: the sign of test mode; nil when it was not.
    package var blockedBy: String?
    /// The ordinary call that had to go for it.
    package var preemptedCall: String?
    /// The first INVITE was given to the kernel.
    package var inviteLeft: MonotonicTime?
    package var attempts: [Attempt] = []
    package var answer: MonotonicTime?
    /// The first audio packet from the called side.
    package var firstAudio: MonotonicTime?
    package var end: MonotonicTime?
    /// Why it ended; nil while it lasts.
    package var ending: String?
    /// Packets from the caller and from the called side.
    package var packetsFromCaller: UInt64 = 0
    package var packetsFromCallee: UInt64 = 0
    package var notifications: [Notification] = []
    package var acknowledgement: Acknowledgement?

    package init(
        id: EmergencyCallID, number: EmergencyNumber, dialled: String, caller: EmergencyCaller, site: String?,
        start: MonotonicTime
    ) {
        self.id = id
        self.number = number
        self.dialled = dialled
        self.caller = caller
        self.site = site
        self.start = start
    }
}
