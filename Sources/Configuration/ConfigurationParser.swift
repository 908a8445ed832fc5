import Primitives

/// One file of the configuration directory.
package struct ConfigurationFile: Equatable, Sendable {
    /// As it is shown in findings.
    package var name: String
    package var bytes: [UInt8]

    package init(name: String, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }
}

/// Why a password file cannot be used, as a sentence that says how to mend it.
package struct SecretFileError: Error, Equatable, Sendable {
    package var message: String
    package init(_ message: String) { self.message = message }
}

/// Turns TOML files into a configuration. Pure: the caller reads the files, and the password files when asked.
package enum ConfigurationParser {
    /// Gives the bytes of a password file named relative to the directory.
    package typealias SecretReader = (_ path: String) -> Result<[UInt8], SecretFileError>

    /// The tables there are, each in exactly one file.
    static let tables = [
        "system", "realms", "stations", "trunks", "routes", "numbers", "sites", "emergency", "notify", "calls",
        "media", "qos", "signalling", "shield", "log",
    ]

    /// Checks everything and reports every finding. Any bytes are safe.
    ///
    /// A file with a syntax error is left out; the others are still checked, but what they refer to is not, because it
    /// may stand in the file left out.
    /// `isComplete` is false when the caller knows of files it could not read.
    package static func parse(
        files: [ConfigurationFile], directory: String = "configuration", isComplete allFilesAreThere: Bool = true,
        readingSecrets: @escaping SecretReader = { _ in .failure(SecretFileError("password files are not read here")) }
    ) -> ConfigurationOutcome {
        let findings = Findings(directory: directory)
        let root = TOMLTable(.root, at: TextPosition(line: 1, column: 1))
        var fileOfTable: [String: String] = [:]
        var isComplete = allFilesAreThere
        for file in files {
            do throws(TOMLError) {
                for entry in try TOMLParser.parse(file.bytes).entries {
                    let place = Findings.Place(file: file.name, position: entry.keyPosition)
                    let path = TOMLKeyPath(entry.key)
                    if let other = fileOfTable[entry.key] {
                        findings.error(
                            path, "is in \(other), too; each table lives in exactly one file: move it there", at: place)
                        isComplete = false
                    } else {
                        fileOfTable[entry.key] = file.name
                        findings.note(path, place)
                        _ = root.insert(entry)
                    }
                }
            } catch {
                isComplete = false
                findings.add(
                    ConfigurationIssue(
                        severity: .error, file: file.name, line: error.position.line, column: error.position.column,
                        key: "", message: error.message))
            }
        }
        var decoder = SectionDecoder(
            root: root, fileOfTable: fileOfTable, findings: findings, readSecret: readingSecrets)
        decoder.decode(isComplete: isComplete)
        if isComplete { ConfigurationValidator(decoder, findings).validate() }
        return ConfigurationOutcome(
            configuration: findings.hasErrors ? nil : decoder.configuration, issues: sorted(findings.issues))
    }

    /// By file and place; findings at the same place keep their order.
    private static func sorted(_ issues: [ConfigurationIssue]) -> [ConfigurationIssue] {
        issues.enumerated().sorted { left, right in
            (left.element.file, left.element.line, left.element.column, left.offset)
                < (right.element.file, right.element.line, right.element.column, right.offset)
        }.map(\.element)
    }
}
