/// A place in a text: line and column from 1, the column in characters (Unicode scalars).
struct TextPosition: Equatable, Comparable, Sendable {
    var line: Int
    var column: Int

    static func < (left: TextPosition, right: TextPosition) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// A value of TOML 1.0.
enum TOMLValue {
    case string(String)
    case integer(Int64)
    case float(Double)
    case boolean(Bool)
    /// Dates and times, as written; no key of ours takes one.
    case dateTime(String)
    case array(TOMLArray)
    case table(TOMLTable)

    /// With its article, for messages.
    var kind: String {
        switch self {
        case .string: "a string"
        case .integer: "an integer"
        case .float: "a float"
        case .boolean: "a boolean"
        case .dateTime: "a date or time"
        case .array(let array): array.isOfTables ? "an array of tables" : "an array"
        case .table: "a table"
        }
    }
}

/// Elements with their places. A reference, because later headers of the text add to it.
final class TOMLArray {
    struct Element {
        let value: TOMLValue
        let position: TextPosition
    }

    /// Made by `[[name]]`, which may append; one written as `[1, 2]` is closed.
    let isOfTables: Bool
    var elements: [Element] = []

    init(isOfTables: Bool) { self.isOfTables = isOfTables }
}

/// Keys with their values and places, in the order written. A reference, because later headers of the text add to it.
final class TOMLTable {
    /// How it came to be, which decides who may add to it.
    enum Origin { case root, header, parentOfHeader, dottedKey, inline }

    struct Entry {
        let key: String
        let keyPosition: TextPosition
        let value: TOMLValue
        let valuePosition: TextPosition
    }

    var origin: Origin
    let position: TextPosition
    private(set) var entries: [Entry] = []
    private var indexes: [String: Int] = [:]

    init(_ origin: Origin, at position: TextPosition) {
        self.origin = origin
        self.position = position
    }

    subscript(_ key: String) -> Entry? { indexes[key].map { entries[$0] } }

    /// false, and nothing changed, when the key is there already.
    func insert(_ entry: Entry) -> Bool {
        guard indexes[entry.key] == nil else { return false }
        indexes[entry.key] = entries.count
        entries.append(entry)
        return true
    }
}

/// Why a text is no TOML, and where.
struct TOMLError: Error, Equatable, Sendable {
    let position: TextPosition
    let message: String
}
