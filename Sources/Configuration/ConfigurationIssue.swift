/// One thing wrong, or odd, in the configuration: where it stands, what it is and what is allowed.
package struct ConfigurationIssue: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Severity: String, Sendable { case error, warning }

    package var severity: Severity
    /// Name of the file, or of the directory when no file is to blame.
    package var file: String
    /// From 1; 0 when the whole file is meant.
    package var line: Int
    /// In characters from 1; 0 when the whole file is meant.
    package var column: Int
    /// Path of the key, as `trunks.carrier-a.peer`; empty when no key is to blame.
    package var key: String
    package var message: String

    package init(severity: Severity, file: String, line: Int, column: Int, key: String, message: String) {
        self.severity = severity
        self.file = file
        self.line = line
        self.column = column
        self.key = key
        self.message = message
    }

    /// `file:line:column`, or the file alone.
    package var place: String { line > 0 ? "\(file):\(line):\(column)" : file }

    /// `key: message`, or the message alone.
    package var explanation: String { key.isEmpty ? message : "\(key): \(message)" }

    /// `file:line:column: error: key: message`, which editors jump to.
    package var description: String { "\(place): \(severity.rawValue): \(explanation)" }
}

/// What reading the configuration gave: a value unless there was an error, and everything there is to say.
package struct ConfigurationOutcome: Equatable, Sendable {
    /// nil when `issues` holds an error.
    package var configuration: BoxConfiguration?
    /// Errors and warnings, by file and place.
    package var issues: [ConfigurationIssue]

    package init(configuration: BoxConfiguration?, issues: [ConfigurationIssue]) {
        self.configuration = configuration
        self.issues = issues
    }

    package var errors: [ConfigurationIssue] { issues.filter { $0.severity == .error } }
    package var warnings: [ConfigurationIssue] { issues.filter { $0.severity == .warning } }
}
