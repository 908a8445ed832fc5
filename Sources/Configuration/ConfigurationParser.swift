import Primitives

/// One file of the configuration directory.
package struct ConfigurationFile: Equatable, Sendable {
    package var name: String
    package var bytes: [UInt8]

    package init(name: String, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }
}

/// Turns TOML files into a configuration. Pure: the caller reads the files, and the password files when asked.
package enum ConfigurationParser {
    /// Gives the bytes of a password file named relative to the directory, or a sentence why it cannot be used.
    package typealias SecretReader = (_ path: String) -> Result<[UInt8], SecretFileError>
}

/// Why a password file cannot be used, as a sentence that says how to mend it.
package struct SecretFileError: Error, Equatable, Sendable {
    package var message: String
    package init(_ message: String) { self.message = message }
}
