import Primitives

/// One difference between the configuration in service and a new one.
package enum ConfigurationChange: Equatable, Sendable {
    /// Something with a name came, went, or has other values under some of its keys.
    package enum Kind: Equatable, Sendable {
        case added
        case removed
        case changed([KeyChange])
    }

    /// One key with its value before and after, as TOML; nil where it is not written. Passwords are masked.
    package struct KeyChange: Equatable, Sendable {
        package let key: String
        package let before: String?
        package let after: String?

        package init(key: String, before: String?, after: String?) {
            self.key = key
            self.before = before
            self.after = after
        }
    }

    case system([KeyChange])
    case realm(String, Kind)
    case station(String, Kind)
    case trunk(String, Kind)
    /// The list of routes as a whole: order matters.
    case routes(countBefore: Int, countAfter: Int)
    /// By digits, without `+`.
    case number(String, Kind)
    case site(String, Kind)
    case calls([KeyChange])
    case media([KeyChange])
    case emergency([KeyChange])
    case notify([KeyChange])
    case contact(String, Kind)
    case qos([KeyChange])
    case signalling([KeyChange])
    case shield([KeyChange])
    case log([KeyChange])
}

extension ConfigurationChange: CustomStringConvertible {
    /// One line for people: `trunk carrier-a: calls-max 60 → 30`.
    package var description: String {
        switch self {
        case .system(let changes): "system: \(Self.text(changes))"
        case .realm(let name, let kind): "realm \(name): \(Self.text(kind))"
        case .station(let name, let kind): "station \(name): \(Self.text(kind))"
        case .trunk(let name, let kind): "trunk \(name): \(Self.text(kind))"
        case .routes(let before, let after) where before == after: "routes: changed (\(after))"
        case .routes(let before, let after): "routes: changed (\(before) → \(after))"
        case .number(let digits, let kind): "number \(digits): \(Self.text(kind))"
        case .site(let name, let kind): "site \(name): \(Self.text(kind))"
        case .calls(let changes): "calls: \(Self.text(changes))"
        case .media(let changes): "media: \(Self.text(changes))"
        case .emergency(let changes): "emergency: \(Self.text(changes))"
        case .notify(let changes): "notify: \(Self.text(changes))"
        case .contact(let name, let kind): "contact \(name): \(Self.text(kind))"
        case .qos(let changes): "qos: \(Self.text(changes))"
        case .signalling(let changes): "signalling: \(Self.text(changes))"
        case .shield(let changes): "shield: \(Self.text(changes))"
        case .log(let changes): "log: \(Self.text(changes))"
        }
    }

    private static func text(_ kind: Kind) -> String {
        switch kind {
        case .added: "added"
        case .removed: "removed"
        case .changed(let changes): text(changes)
        }
    }

    private static func text(_ changes: [KeyChange]) -> String {
        changes.map { change in
            switch (change.before, change.after) {
            case (let before?, let after?) where before == after: "\(change.key) changed"  // two masks
            case (let before, let after): "\(change.key) \(before ?? "none") → \(after ?? "none")"
            }
        }.joined(separator: ", ")
    }
}

extension BoxConfiguration {
    /// What has to change to get from `old` to this configuration; empty when they are equal.
    package func difference(from old: BoxConfiguration) -> [ConfigurationChange] {
        typealias Change = ConfigurationChange
        var changes: [Change] = []
        func compare(_ before: RenderedTable, _ after: RenderedTable, _ make: ([Change.KeyChange]) -> Change) {
            let keys = Self.keyChanges(before, after)
            if !keys.isEmpty { changes.append(make(keys)) }
        }
        compare(old.system.rendered, system.rendered) { .system($0) }
        changes += Self.compare(old.realms, realms, name: \.name, \.rendered) { .realm($0, $1) }
        changes += Self.compare(old.stations, stations, name: \.name, \.rendered) { .station($0, $1) }
        changes += Self.compare(old.trunks, trunks, name: \.name, \.rendered) { .trunk($0, $1) }
        if old.routes != routes {
            changes.append(.routes(countBefore: old.routes.count, countAfter: routes.count))
        }
        changes += Self.compare(old.numbers, numbers, name: \.digits, \.renderedAlone) { .number($0, $1) }
        changes += Self.compare(old.sites, sites, name: \.name, \.rendered) { .site($0, $1) }
        compare(old.emergency.rendered, emergency.rendered) { .emergency($0) }
        compare(old.notify.rendered, notify.rendered) { .notify($0) }
        changes += Self.compare(old.notify.contacts, notify.contacts, name: \.name, \.rendered) { .contact($0, $1) }
        compare(old.emergency.proof.rendered, emergency.proof.rendered) { .emergency($0) }
        compare(old.calls.rendered, calls.rendered) { .calls($0) }
        compare(old.media.rendered, media.rendered) { .media($0) }
        compare(old.qos.rendered, qos.rendered) { .qos($0) }
        compare(old.signalling.rendered, signalling.rendered) { .signalling($0) }
        compare(old.shield.rendered, shield.rendered) { .shield($0) }
        compare(old.log.rendered, log.rendered) { .log($0) }
        return changes
    }

    /// Removed first, so that a port or a name is free before it is taken again.
    private static func compare<Element: Equatable>(
        _ old: [Element], _ new: [Element], name: (Element) -> String, _ rendered: (Element) -> RenderedTable,
        _ make: (String, ConfigurationChange.Kind) -> ConfigurationChange
    ) -> [ConfigurationChange] {
        let before = Dictionary(old.map { (name($0), $0) }, uniquingKeysWith: { first, _ in first })
        let names = Set(new.map(name))
        var changes = old.filter { !names.contains(name($0)) }.map { make(name($0), .removed) }
        for element in new {
            guard let previous = before[name(element)] else {
                changes.append(make(name(element), .added))
                continue
            }
            if previous != element {
                changes.append(
                    make(name(element), .changed(keyChanges(rendered(previous), rendered(element)))))
            }
        }
        return changes
    }

    private static func keyChanges(
        _ before: RenderedTable, _ after: RenderedTable
    ) -> [ConfigurationChange.KeyChange] {
        var changes: [ConfigurationChange.KeyChange] = []
        for entry in before.entries {
            let other = after.entries.first { $0.key == entry.key }
            if other?.identity != entry.identity {
                changes.append(.init(key: entry.key, before: entry.shown, after: other?.shown))
            }
        }
        for entry in after.entries where !before.entries.contains(where: { $0.key == entry.key }) {
            changes.append(.init(key: entry.key, before: nil, after: entry.shown))
        }
        return changes
    }
}

extension NumberConfiguration {
    fileprivate var renderedAlone: RenderedTable {
        var table = RenderedTable("[numbers]")
        table.add("stations", TOMLText.array(stations))
        return table
    }
}
