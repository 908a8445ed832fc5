import LinuxIO
import Primitives
import SIPEngine

/// Where phones are, kept over a restart: without it nobody could call them until they register again.
///
/// A convenience, not a record: a file that cannot be read or written is a warning, and the box works on.
struct BindingFile {
    private let path: String

    init(directory: String) { path = directory + "/bindings.json" }

    /// What was written last and has not expired; empty when there is no file.
    func read(at wall: WallClockTime) throws(SystemCallError) -> [Registrar.ExportedBinding] {
        let bytes: [UInt8]
        do throws(SystemCallError) {
            bytes = try Files.read(path)
        } catch {
            if error.code == .noSuchFile { return [] }
            throw error
        }
        do throws(JSONValue.ParseError) {
            let file = try JSONValue(parsing: bytes.span)
            return (file["bindings"]?.arrayValue ?? []).compactMap { Registrar.ExportedBinding(json: $0, at: wall) }
        } catch {
            throw SystemCallError(call: "parse", code: .invalidArgument, context: "\(path) (\(error))")
        }
    }

    func write(_ bindings: [Registrar.ExportedBinding], at wall: WallClockTime) throws(SystemCallError) {
        let file: JSONValue = ["bindings": .array(bindings.map { $0.json(at: wall) })]
        try Files.writeAtomically(Array((file.prettyText + "\n").utf8), to: path, mode: 0o600)
    }
}
