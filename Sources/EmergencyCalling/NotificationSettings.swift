import Primitives

/// Who is told of a call for help, and how stubbornly (47 CFR 9.16(b)(2)).
package struct NotificationSettings: Equatable, Sendable {
    package var contacts: [NotificationContact]
    /// Nobody has acknowledged for so long: the next level is told, too.
    package var escalationAfter: Duration
    /// Of each notice, the first try included.
    package var triesMax: Int
    /// Before the second try; doubled for each further one, up to a minute.
    package var retryAfter: Duration
    /// 933 is told like 911, as a test of the whole chain.
    package var tellsOfTests: Bool

    package init(
        contacts: [NotificationContact] = [], escalationAfter: Duration = .seconds(60), triesMax: Int = 5,
        retryAfter: Duration = .seconds(2), tellsOfTests: Bool = false
    ) {
        self.contacts = contacts
        self.escalationAfter = escalationAfter
        self.triesMax = triesMax
        self.retryAfter = retryAfter
        self.tellsOfTests = tellsOfTests
    }

    func contact(named name: String) -> NotificationContact? { contacts.first { $0.name == name } }
}

/// The ways people are told.
package enum NotificationChannel: String, Hashable, Sendable, CaseIterable {
    /// A telephone call with a spoken announcement, acknowledged by a key.
    case call
    /// A SIP paging adapter: spoken, nobody answers.
    case page
    /// Speakers that listen to a multicast group.
    case multicast
    case mail
    /// SMS, chat and whatever else takes an HTTP request.
    case webhook

    /// Heard in the moment, so what has changed since is not told again; the written ones get every change of state.
    var isSpoken: Bool {
        switch self {
        case .call, .page, .multicast: true
        case .mail, .webhook: false
        }
    }

    /// How long a try may take before it counts as lost; its carrier has its own, shorter limit.
    var patience: Duration { isSpoken ? .seconds(240) : .seconds(90) }
}

/// Somebody or something to be told. How it is reached is known to composition, by the name.
package struct NotificationContact: Equatable, Sendable {
    package var name: String
    package var channel: NotificationChannel
    /// 1 is told at once, each next level when nobody acknowledged.
    package var level: Int
    /// Told only of calls from these; empty: of all.
    package var sites: [String]

    package init(name: String, channel: NotificationChannel, level: Int = 1, sites: [String] = []) {
        self.name = name
        self.channel = channel
        self.level = level
        self.sites = sites
    }

    func isConcerned(with site: String?) -> Bool { sites.isEmpty || site.map { sites.contains($0) } ?? true }
}
