import LinuxIO
import Primitives
import TestSupport
import Testing

@Suite("A helper spoken to in lines")
struct HelperProcessTests {
    @Test("takes lines, gives lines, and ends at the end of its input")
    func lines() throws {
        let loop = try EventLoop()
        var lines: [String] = []
        var end: String?
        let helper = try HelperProcess(
            path: "/bin/cat", loop: loop, onLine: { lines.append(String(decoding: $0, as: UTF8.self)) },
            onEnd: {
                end = $0
                loop.stop()
            })
        let long = String(repeating: "x", count: 300_000)  // more than a socket takes at once
        for line in ["one", long, ""] { helper.send(Array(line.utf8)) }
        helper.finish()
        try loop.run(until: Clock.monotonic + .seconds(20))
        #expect(lines == ["one", long, ""])
        #expect(end == "exit status 0")
        #expect(loop.registrationCount == 0)
    }

    @Test("a program that is not there is an error with its path")
    func missing() throws {
        let loop = try EventLoop()
        #expect(throws: SystemCallError(call: "start", code: .noSuchFile, context: "/nonexistent")) {
            _ = try HelperProcess(path: "/nonexistent", loop: loop, onLine: { _ in }, onEnd: { _ in })
        }
        #expect(loop.registrationCount == 0)
    }

    @Test("one that ends by itself is told as it ended")
    func death() throws {
        let loop = try EventLoop()
        var end: String?
        let helper = try HelperProcess(
            path: "/bin/false", loop: loop, onLine: { _ in },
            onEnd: {
                end = $0
                loop.stop()
            })
        try loop.run(until: Clock.monotonic + .seconds(20))
        #expect(end != nil)
        helper.send([1])  // too late, and no harm
        #expect(loop.registrationCount == 0)
    }
}
