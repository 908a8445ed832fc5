import CFastPath
import MediaFormats
import Primitives
import Testing

@testable import FastPath

@Suite("Flow entries")
struct FlowEntryTests {
    static let v4 = MediaFlow(
        local: .init(.v4(0xC000_0201), 20000), kind: .rtp, acceptedSource: .init(.v4(0xC000_020A), 4000),
        wrongSource: .drop, rewrittenSource: .init(.v4(0xC633_6401), 30000),
        rewrittenDestination: .init(.v4(0xC633_640A), 5000), payloadTypes: [.init(from: 96, to: 101)])

    struct Case: Sendable, CustomStringConvertible {
        var description: String
        var reason: FastPathResult.Reason?
        var change: @Sendable (inout MediaFlow) -> Void
    }

    static let cases: [Case] = [
        Case(description: "plain", reason: nil) { _ in },
        Case(description: "four mappings", reason: nil) {
            $0.payloadTypes = (0..<4).map { .init(from: 96 + $0, to: 127) }
        },
        Case(description: "five mappings", reason: .payloadTypes) {
            $0.payloadTypes = (0..<5).map { .init(from: 96 + $0, to: 127) }
        },
        Case(description: "payload type 128", reason: .payloadTypes) { $0.payloadTypes = [.init(from: 96, to: 128)] },
        Case(description: "mapping on RTCP", reason: .payloadTypes) { $0.kind = .rtcp },
        Case(description: "RTCP", reason: nil) {
            $0.kind = .rtcp
            $0.payloadTypes = []
        },
        Case(description: "port 0", reason: .address) { $0.rewrittenDestination.port = 0 },
        Case(description: "multicast", reason: .address) { $0.rewrittenDestination.address = .v4(0xE000_0001) },
        Case(description: "unspecified", reason: .address) { $0.acceptedSource.address = .v4(0) },
        Case(description: "IPv4 to IPv6", reason: nil) {
            $0.rewrittenSource.address = .v6(1, 1)
            $0.rewrittenDestination.address = .v6(1, 2)
        },
        Case(description: "mixed families on one side", reason: .mixedFamilies) {
            $0.acceptedSource.address = .v6(1, 1)
        },
        Case(description: "mixed families", reason: .mixedFamilies) { $0.rewrittenSource.address = .v6(1, 1) },
    ]

    @Test("says what the kernel cannot do", arguments: cases)
    func obstacles(_ sample: Case) {
        var flow = Self.v4
        sample.change(&flow)
        #expect(relay_flow.obstacle(to: flow) == sample.reason)
    }

    @Test("holds the differences the checksums need")
    func differences() {
        let entry = relay_flow(Self.v4, counterIndex: 7, generation: 3)
        var sum = OnesComplementSum()
        for word: UInt16 in [0xC000, 0x020A, 0xC000, 0x0201, 17] { sum.add(word) }
        #expect(entry.pseudo_header_sum == sum.word.bigEndian)
        sum = OnesComplementSum()
        for word: UInt16 in [0xC633, 0x6401, 0xC633, 0x640A, ~0xC000, ~0x020A, ~0xC000, ~0x0201] { sum.add(word) }
        #expect(entry.address_difference == sum.word.bigEndian)
        sum.add(~0x0100)
        #expect(entry.header_difference == sum.word.bigEndian)
        #expect(entry.counter_index == 7)
    }
}
