/// The path of a key from the top of the configuration, as `trunks.carrier-a.peer`.
struct TOMLKeyPath: Hashable, CustomStringConvertible {
    private struct Part: Hashable {
        let key: String
        /// Of an element of an array, from 0; nil for the key itself.
        var index: Int?
    }

    private var parts: [Part]

    init(_ keys: String...) { parts = keys.map { Part(key: $0) } }

    static func + (path: TOMLKeyPath, key: String) -> TOMLKeyPath {
        var longer = path
        longer.parts.append(Part(key: key))
        return longer
    }

    /// The element of an array.
    func element(_ index: Int) -> TOMLKeyPath {
        var longer = self
        if let last = longer.parts.popLast() { longer.parts.append(Part(key: last.key, index: index)) }
        return longer
    }

    /// The array an element is in, or else the table around; nil at the top.
    var parent: TOMLKeyPath? {
        var shorter = self
        guard let last = shorter.parts.popLast() else { return nil }
        if last.index != nil { shorter.parts.append(Part(key: last.key)) }
        return shorter
    }

    /// Elements count from 1, as people do: `routes[2].pattern` is in the second route.
    var description: String {
        parts.map { part in TOMLText.key(part.key) + (part.index.map { "[\($0 + 1)]" } ?? "") }.joined(separator: ".")
    }
}

/// Everything found wrong so far, and where every key stands: later checks name a key, and the place is found here.
final class Findings {
    struct Place {
        let file: String
        let position: TextPosition
    }

    private(set) var issues: [ConfigurationIssue] = []
    private var places: [TOMLKeyPath: Place] = [:]
    /// Who is named when no file is to blame.
    private let directory: String

    init(directory: String) { self.directory = directory }

    var hasErrors: Bool { issues.contains { $0.severity == .error } }

    func note(_ path: TOMLKeyPath, _ place: Place) { places[path] = place }

    /// Where the key stands, or else the closest table around it.
    func place(of path: TOMLKeyPath) -> Place? {
        var candidate: TOMLKeyPath? = path
        while let path = candidate {
            if let place = places[path] { return place }
            candidate = path.parent
        }
        return nil
    }

    func error(_ path: TOMLKeyPath, _ message: String, at place: Place? = nil) {
        add(.error, path, message, place)
    }

    func warning(_ path: TOMLKeyPath, _ message: String) { add(.warning, path, message, nil) }

    func add(_ issue: ConfigurationIssue) { issues.append(issue) }

    private func add(
        _ severity: ConfigurationIssue.Severity, _ path: TOMLKeyPath, _ message: String, _ given: Place?
    ) {
        let place = given ?? place(of: path)
        issues.append(
            ConfigurationIssue(
                severity: severity, file: place?.file ?? directory, line: place?.position.line ?? 0,
                column: place?.position.column ?? 0, key: path.description, message: message))
    }
}
