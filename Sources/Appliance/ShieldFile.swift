import LinuxIO
import Primitives
import Shield

/// Operators' blocks and allowances, kept over a restart in `shield.json` of the state directory.
struct ShieldFile {
    private let path: String

    init(directory: String) { path = directory + "/shield.json" }

    /// Empty when there is no file.
    func read() throws(SystemCallError) -> [Order] {
        let bytes: [UInt8]
        do throws(SystemCallError) {
            bytes = try Files.read(path)
        } catch {
            if error.code == .noSuchFile { return [] }
            throw error
        }
        do throws(JSONValue.ParseError) {
            let file = try JSONValue(parsing: bytes.span)
            return (file["orders"]?.arrayValue ?? []).compactMap { Order(json: $0) }
        } catch {
            throw SystemCallError(call: "parse", code: .invalidArgument, context: "\(path) (\(error))")
        }
    }

    func write(_ orders: [Order]) throws(SystemCallError) {
        let sorted = orders.sorted { $0.prefix.description < $1.prefix.description }
        let file: JSONValue = ["orders": .array(sorted.map(\.json))]
        try Files.writeAtomically(Array((file.prettyText + "\n").utf8), to: path, mode: 0o600)
    }
}

extension Order {
    var json: JSONValue {
        [
            "kind": .string(kind.rawValue), "prefix": .string("\(prefix)"), "reason": .string(reason),
            "by": .string(operatorName), "since": .init(since.secondsSinceEpoch),
            "until": until.map { .init($0.secondsSinceEpoch) } ?? .null,
        ]
    }

    init?(json: JSONValue) {
        guard let kind = json["kind"]?.stringValue.flatMap(Kind.init(rawValue:)),
            let prefix = json["prefix"]?.stringValue.flatMap({ IPPrefix($0) }),
            let since = json["since"]?.integerValue
        else { return nil }
        let until: WallClockTime?
        switch json["until"] {
        case .integer(let seconds)?: until = WallClockTime(secondsSinceEpoch: seconds)
        case .null?: until = nil
        default: return nil  // damaged: better no order than one for ever
        }
        self.init(
            kind: kind, prefix: prefix, reason: json["reason"]?.stringValue ?? "",
            operatorName: json["by"]?.stringValue ?? "", since: WallClockTime(secondsSinceEpoch: since), until: until)
    }
}
