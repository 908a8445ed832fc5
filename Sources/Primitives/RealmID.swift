/// The name of one side of the box (`lan`, `wan`): which interface and address a message or packet belongs to.
package struct RealmID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: String

    package init(_ rawValue: String) { self.rawValue = rawValue }

    package var description: String { rawValue }
}
