import FlatFiles
import Glibc
import LinuxIO
import Primitives
import Testing

/// A directory of its own, gone with its owner.
final class TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/cresset-flatfiles-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in (try? Files.list(path)) ?? [] { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    func read(_ name: String) throws -> String {
        String(decoding: try Files.read("\(path)/\(name)"), as: UTF8.self)
    }

    func write(_ text: String, to name: String) throws {
        try Files.writeAtomically(Array(text.utf8), to: "\(path)/\(name)", mode: 0o600)
    }
}

@Suite("A file of lines")
struct LineFileTests {
    let directory: TemporaryDirectory
    let file: LineFile

    init() throws {
        directory = try TemporaryDirectory()
        file = LineFile(path: directory.path + "/log.jsonl")
    }

    private func lines() throws -> [String] {
        var lines: [String] = []
        try file.forEachLine { bytes, isWhole in
            lines.append(String(decoding: bytes, as: UTF8.self) + (isWhole ? "" : " (torn)"))
        }
        return lines
    }

    @Test("grows by whole lines, readable by its owner only")
    func append() throws {
        #expect(try file.append(Array("one\n".utf8)) == 0)
        #expect(try file.append(Array("two\nthree\n".utf8)) == 0)
        #expect(try lines() == ["one", "two", "three"])
        #expect(try Files.mode(of: file.path) == 0o600)
        #expect(try file.lastLine().map { String(decoding: $0, as: UTF8.self) } == "three")
    }

    @Test(
        "is repaired after a power cut",
        arguments: [("", 0, []), ("one\n", 0, ["one"]), ("one\ntw", 2, ["one"]), ("half", 4, []), ("\n", 0, [""])])
    func repair(_ before: String, _ torn: Int, _ after: [String]) throws {
        try directory.write(before, to: "log.jsonl")
        #expect(try file.repair() == torn)
        #expect(try lines() == after)
    }

    @Test("is repaired by the next append, too")
    func repairOnAppend() throws {
        try directory.write("one\ntwo tor", to: "log.jsonl")
        #expect(try lines() == ["one", "two tor (torn)"])
        #expect(try file.append(Array("two\n".utf8)) == 7)
        #expect(try lines() == ["one", "two"])
    }

    @Test("has a last line however long it is", arguments: [1, 65_535, 65_536, 300_000])
    func longLine(_ byteCount: Int) throws {
        let long = String(repeating: "x", count: byteCount)
        try directory.write("first\n\(long)\n", to: "log.jsonl")
        #expect(try file.lastLine()?.count == byteCount)
        try directory.write("\(long)\n", to: "log.jsonl")
        #expect(try file.lastLine()?.count == byteCount)
        try directory.write(long, to: "log.jsonl")
        #expect(try file.lastLine() == nil)
    }

    @Test("that is not there is empty")
    func missing() throws {
        #expect(try lines() == [])
        #expect(try file.repair() == 0)
        #expect(try file.lastLine() == nil)
    }

    @Test("says which file it could not write")
    func refused() {
        let file = LineFile(path: "/proc/none/log.jsonl")
        #expect(throws: SystemCallError(call: "open", code: .noSuchFile, context: "/proc/none/log.jsonl")) {
            try file.append([])
        }
    }
}
