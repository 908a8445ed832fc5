/// A password: printing, logging or dumping it shows dots, never the value.
package struct Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package static let mask = "••••"

    /// The password itself; only for computing a digest or writing the configuration back.
    package let revealed: String
    /// The file it was read from, relative to the configuration directory; nil when it stood in the TOML text.
    package let file: String?

    package init(_ revealed: String, file: String? = nil) {
        self.revealed = revealed
        self.file = file
    }

    package var description: String { Self.mask }
    package var debugDescription: String { Self.mask }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
