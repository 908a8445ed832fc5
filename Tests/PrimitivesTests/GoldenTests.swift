import Glibc
import TestSupport
import Testing

@Suite("Golden files")
struct GoldenTests {
    @Test("a difference is told line by line, a missing file with what to do")
    func differences() throws {
        var template = Array("/tmp/cresset-golden-XXXXXX".utf8CString)
        #expect(mkdtemp(&template) != nil)
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let golden = directory + "/Golden"
        let file = directory + "/Tests.swift"
        mkdir(golden, 0o700)
        defer {
            for name in ["a.ok", "a.in"] { unlink(golden + "/" + name) }
            rmdir(golden)
            rmdir(directory)
        }
        for (name, text) in [("a.ok", "one\ntwo\r\nthree"), ("a.in", "input")] {
            let stream = try #require(fopen(golden + "/" + name, "w"))
            fputs(text, stream)
            fclose(stream)
        }
        #expect(Golden.names(file: file) == ["a"])
        #expect(try Golden.input("a", file: file) == Array("input".utf8))
        guard getenv("UPDATE_GOLDEN") == nil else { return }
        try Golden.check("a", "one\ntwo\r\nthree", file: file)
        do {
            try Golden.check("a", "one\ntwo\nthree\nfour", file: file)
            Issue.record("a difference was not seen")
        } catch let failure as Golden.Failure {
            #expect(failure.description.contains("2 expected: two\\r\n2   actual: two\n4   actual: four"))
        }
        do {
            try Golden.check("b", "", file: file)
            Issue.record("a missing file was not seen")
        } catch let failure as Golden.Failure {
            #expect(failure.description.contains("UPDATE_GOLDEN=1"))
        }
    }
}
