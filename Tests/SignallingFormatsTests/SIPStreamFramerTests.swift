import SignallingFormats
import Testing

@Suite("SIP stream framer (RFC 3261 §18.3, RFC 5626 §4.4.1)")
struct SIPStreamFramerTests {
    typealias Event = SIPStreamFramer.Event

    static let first = SIPMessageParserTests.request(extra: ["Content-Length: 5"], body: "hello")
    static let second = SIPMessageParserTests.request(extra: ["l :\r\n 0"])
    static let third = SIPMessageParserTests.request(
        extra: ["X: Content-Length: 9", "CONTENT-LENGTH: 4"], body: "\r\n\r\n")

    func drain(_ framer: inout SIPStreamFramer) throws -> [Event] {
        var events: [Event] = []
        while let event = try framer.next() { events.append(event) }
        return events
    }

    @Test("two pieces, cut at every place")
    func everySplit() throws {
        let bytes = Array((Self.first + "\r\n\r\n" + Self.second + Self.third).utf8)
        let expected: [Event] = [
            .message(Array(Self.first.utf8)), .ping, .message(Array(Self.second.utf8)),
            .message(Array(Self.third.utf8)),
        ]
        for cut in 0...bytes.count {
            var framer = SIPStreamFramer()
            framer.append(bytes.span.extracting(0..<cut))
            var events = try drain(&framer)
            framer.append(bytes.span.extracting(cut..<bytes.count))
            events += try drain(&framer)
            #expect(events == expected, "cut at \(cut)")
            #expect(framer.pendingByteCount == 0)
        }
    }

    @Test("pieces of every size")
    func everyPieceSize() throws {
        let bytes = Array((Self.third + Self.first + Self.second + "\r\n\r\n" + Self.third + Self.first).utf8)
        for size in 1...200 {
            var framer = SIPStreamFramer()
            var events: [Event] = []
            var offset = 0
            while offset < bytes.count {
                let end = min(offset + size, bytes.count)
                framer.append(bytes.span.extracting(offset..<end))
                events += try drain(&framer)
                offset = end
            }
            #expect(events.count == 6, "pieces of \(size)")
        }
    }

    @Test("what it frames parses")
    func parses() throws {
        var framer = SIPStreamFramer()
        framer.append(Array((Self.first + Self.second + Self.third).utf8).span)
        for event in try drain(&framer) {
            guard case .message(let bytes) = event else { continue }
            _ = try SIPMessage(parsing: bytes.span)
        }
    }

    @Test("a ping is two line ends, an answer to ours one")
    func keepalive() throws {
        var framer = SIPStreamFramer()
        framer.append(Array("\r\n".utf8).span)
        #expect(try drain(&framer) == [], "may be half a ping")
        framer.append(Array("\r\n\r\n\r\n".utf8).span)
        #expect(try drain(&framer) == [.ping, .ping])
        framer.append(Array(("\r\n" + Self.second).utf8).span)
        #expect(try drain(&framer) == [.pong, .message(Array(Self.second.utf8))])
    }

    @Test("the answer to a ping of ours is reported at once, then a lone line end is half a ping again")
    func expectedPong() throws {
        var framer = SIPStreamFramer()
        framer.expectsPong = true
        framer.append(Array("\r".utf8).span)
        #expect(try drain(&framer) == [])
        framer.append(Array("\n".utf8).span)
        #expect(try drain(&framer) == [.pong])
        framer.append(Array("\r\n".utf8).span)
        #expect(try drain(&framer) == [] && !framer.expectsPong)
        framer.append(Array("\r\n".utf8).span)
        #expect(try drain(&framer) == [.ping])
    }

    struct Broken: Sendable {
        let name: String
        let text: String
        let failure: SIPStreamFramer.Failure
    }

    static let broken: [Broken] = [
        .init(name: "no length", text: SIPMessageParserTests.request(extra: []), failure: .contentLengthMissing),
        .init(
            name: "length only in the start line", text: "Content-Length: 1\r\nX: y\r\n\r\n",
            failure: .contentLengthMissing),
        .init(name: "length x", text: "A\r\nl: x\r\n\r\n", failure: .contentLengthMalformed),
        .init(name: "length -1", text: "A\r\nContent-Length: -1\r\n\r\n", failure: .contentLengthMalformed),
        .init(name: "length without colon", text: "A\r\nContent-Length 1\r\n\r\n", failure: .contentLengthMalformed),
        .init(name: "length empty", text: "A\r\nl:\r\n\r\n", failure: .contentLengthMalformed),
        .init(name: "two lengths", text: "A\r\nl: 1\r\nContent-Length: 1\r\n\r\n", failure: .contentLengthRepeated),
        .init(name: "body one too large", text: "A\r\nl: 65537\r\n\r\n", failure: .bodyTooLarge),
        .init(name: "body of 2^64", text: "A\r\nl: 18446744073709551616\r\n\r\n", failure: .bodyTooLarge),
        .init(
            name: "endless header", text: "A\r\n" + String(repeating: "X: y\r\n", count: 11_000),
            failure: .headerTooLarge),
        .init(name: "endless line", text: String(repeating: "x", count: 66_000), failure: .headerTooLarge),
    ]

    @Test("gives the stream up", arguments: broken)
    func givesUp(_ sample: Broken) throws {
        var framer = SIPStreamFramer()
        framer.append(Array(sample.text.utf8).span)
        #expect(throws: sample.failure) { try framer.next() }
        framer.append(Array(Self.second.utf8).span)
        #expect(throws: sample.failure, "and stays so") { try framer.next() }
    }

    @Test("a body of exactly the limit passes")
    func largestBody() throws {
        var framer = SIPStreamFramer()
        let message = Array("A\r\nl: 65536\r\n\r\n".utf8) + [UInt8](repeating: 7, count: 65_536)
        framer.append(message.span)
        #expect(try drain(&framer) == [.message(message)])
    }

    @Test("long streams do not grow the buffer")
    func longStream() throws {
        var framer = SIPStreamFramer()
        let chunk = Array((Self.first + Self.second).utf8)
        var count = 0
        for _ in 0..<2_000 {
            framer.append(chunk.span)
            count += try drain(&framer).count
        }
        #expect(count == 4_000 && framer.pendingByteCount == 0)
    }
}
