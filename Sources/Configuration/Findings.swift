/// The path of a key from the top of the configuration, as `trunks.carrier-a.peer`.
struct TOMLKeyPath: Hashable, CustomStringConvertible {
    private(set) var parts: [String]

    init(_ parts: String...) { self.parts = parts }

    static func + (path: TOMLKeyPath, key: String) -> TOMLKeyPath {
        var longer = path
        longer.parts.append(key)
        return longer
    }

    /// The element of an array, counted from 1: `routes[2]`.
    func element(_ index: Int) -> TOMLKeyPath {
        var longer = self
        if let last = longer.parts.popLast() { longer.parts.append("\(last)[\(index + 1)]") }
        return longer
    }

    /// nil at the top.
    var parent: TOMLKeyPath? {
        guard !parts.isEmpty else { return nil }
        var shorter = self
        shorter.parts.removeLast()
        return shorter
    }

    var description: String { parts.map(Self.written).joined(separator: ".") }

    /// As it is written in TOML: bare when possible. An element's index stays bare, too.
    private static func written(_ part: String) -> String {
        part.hasSuffix("]") ? part : TOMLText.key(part)
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
