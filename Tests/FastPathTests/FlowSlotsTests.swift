import CFastPath
import Glibc
import MediaFormats
import Primitives
import TestSupport
import Testing

@testable import FastPath

/// The flow table of the BPF program: whatever falls on one head, each packet finds its own flow and no other.
@Suite("Flow table of the program", .serialized, .enabled(if: isRoot, "BPF needs root"))
struct FlowSlotsTests {
    static let stranger = TransportAddress(IPAddress("192.0.2.99")!, 4000)

    /// Addresses of ours, and for each those ports of the range whose head is among three: collisions are the rule.
    static let locals: [TransportAddress] = {
        let heads = Set((20_000..<20_003).map { head(TransportAddress(IPAddress("192.0.2.1")!, $0)) })
        let addresses = [IPAddress("192.0.2.1")!, IPAddress("198.51.100.1")!, IPAddress("203.0.113.1")!]
        return addresses.flatMap { address in
            (1...UInt16.max).map { TransportAddress(address, $0) }.filter { heads.contains(head($0)) }
        }
    }()

    static func head(_ local: TransportAddress) -> UInt32 {
        var key = relay_flow_key(local)
        return relay_head_index(&key)
    }

    /// Drops the stranger's packets, and counts them at its index.
    static func row(_ local: TransportAddress, index: UInt32) -> relay_flow {
        relay_flow(
            MediaFlow(
                local: local, kind: .rtp, acceptedSource: TransportAddress(IPAddress("192.0.2.10")!, 10_000),
                wrongSource: .drop, rewrittenSource: TransportAddress(IPAddress("198.51.100.1")!, 30_000),
                rewrittenDestination: TransportAddress(IPAddress("198.51.100.10")!, 30_000)),
            counterIndex: index, generation: 1)
    }

    /// True if a packet to this address and port meets a flow.
    func meets(_ program: RelayProgram, _ local: TransportAddress) throws -> Bool {
        let frame = Frame(
            destinationMAC: MAC("02:00:00:00:00:01"), sourceMAC: MAC("02:00:00:00:00:02"), source: Self.stranger,
            destination: local, payload: Frame.rtp()
        ).bytes
        var output = [UInt8](repeating: 0, count: 2048)
        var result = relay_run_result()
        let code = relay_run(
            program.xdp, true, 1, 1, frame, UInt32(frame.count), &output, UInt32(output.count), &result)
        try #require(code == 0, "\(String(cString: strerror(-code)))")
        return result.action == XDP_DROP.rawValue
    }

    @Test("agrees with a dictionary after every change, where most keys fall on the same heads")
    func collisions() throws {
        let flowCountMax = 7
        let program = try RelayProgram(flowCountMax: flowCountMax)
        var model: [TransportAddress: UInt32] = [:]
        var counted = [UInt64](repeating: 0, count: flowCountMax)
        var random = RandomSource(seed: 1)
        let locals = Array(Self.locals.prefix(4) + Self.locals.suffix(8))
        #expect(Set(locals.map(Self.head)).count <= 3)

        for _ in 0..<400 {
            let local = locals[Int.random(in: locals.indices, using: &random)]
            if model[local] != nil, Bool.random(using: &random) {
                #expect(program.remove(relay_flow_key(local)))
                model[local] = nil
            } else if model[local] == nil, model.count == flowCountMax {
                #expect(!program.remove(relay_flow_key(local)))
            } else {
                // A replaced flow gets another index now and then: the old one must not be met any more.
                let taken = Set(model.filter { $0.key != local }.values)
                let free = (0..<UInt32(flowCountMax)).filter { !taken.contains($0) }
                let index = free[Int.random(in: free.indices, using: &random)]
                try program.update(relay_flow_key(local), Self.row(local, index: index))
                model[local] = index
            }
            for local in locals {
                #expect(try meets(program, local) == (model[local] != nil), "\(local)")
                #expect(program.flow(relay_flow_key(local))?.counter_index == model[local])
                if let index = model[local] { counted[Int(index)] += 1 }
            }
        }
        for index in 0..<flowCountMax {
            #expect(program.counters(at: UInt32(index)).reduce(0) { $0 + $1.wrong_source } == counted[index])
        }
    }

    @Test("takes as many flows as it says, replaces each of them, and gives all places back")
    func capacity() throws {
        let flowCountMax = 64
        let program = try RelayProgram(flowCountMax: flowCountMax)
        for _ in 0..<3 {
            let locals = (0..<flowCountMax).map { TransportAddress(IPAddress("192.0.2.1")!, UInt16(40_000 + 2 * $0)) }
            for _ in 0..<3 {
                for (index, local) in locals.enumerated() {
                    try program.update(relay_flow_key(local), Self.row(local, index: UInt32(index)))
                }
            }
            for local in locals { #expect(try meets(program, local)) }
            for local in locals { #expect(program.remove(relay_flow_key(local))) }
            for local in locals { #expect(try !meets(program, local)) }
        }
    }
}
