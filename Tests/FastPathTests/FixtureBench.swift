import CFastPath
import Glibc
import MediaFormats
import Primitives

@testable import FastPath

extension FixtureTests {
    /// One network and one of each engine for all cases: they run one after the other.
    struct Bench {
        let topology: Topology
        let fastPath: FastPath
        let ring: RingEngine
        let lan0: UInt32
        let wan0: UInt32

        init() throws {
            topology = try Topology()
            fastPath = try topology.fastPath(.xdp)
            ring = try topology.box.run { try RingEngine(flowCountMax: 64) }
            guard fastPath.attachments.allSatisfy({ $0.mode == .xdp }) else {
                throw SetupError("\(fastPath.attachments)")  // frames need a queue that knows XDP
            }
            (lan0, wan0) = (try topology.index("lan0"), try topology.index("wan0"))
        }

        func setRows(_ rows: [relay_interface]) throws {
            try fastPath.program?.setInterfaces(rows)
            ring.setRows(rows.map { (name: $0.index == lan0 ? "lan0" : "wan0", row: $0) })
        }

        func apply(_ flow: MediaFlow, to hook: Hook) throws -> FastPathResult {
            hook == .ring
                ? try ring.apply(flow, generation: fastPath.nextGeneration()) : try topology.apply(flow, to: fastPath)
        }

        func remove(_ local: TransportAddress) {
            fastPath.remove(local)
            _ = ring.remove(local)
        }

        func counters(of local: TransportAddress, _ hook: Hook) -> MediaFlowCounters? {
            hook == .ring ? ring.counters(for: local) : fastPath.counters(for: local)
        }

        /// Of what arrived at lan0.
        func totals(of hook: Hook) -> FastPathOutcomes {
            (hook == .ring ? ring.totals() : fastPath.totals().interfaces)["lan0"] ?? FastPathOutcomes()
        }

        static func end(_ outcome: UInt32) -> End {
            switch outcome {
            case RELAY_RELAYED.rawValue: .relayed
            case ...RELAY_LAST_DROPPED.rawValue: .dropped
            default: .passed
            }
        }

        /// One frame that arrives at lan0; what became of it, and its bytes then.
        func run(_ packet: [UInt8], _ hook: Hook) throws -> (End, [UInt8]) {
            if hook == .ring {
                var output = [UInt8](repeating: 0, count: 2048)
                let result = try topology.box.run {
                    // Both arrays live during the call.
                    try output.withUnsafeMutableBufferPointer { output in
                        try packet.withUnsafeBufferPointer { try ring.run($0, at: lan0, output) }
                    }
                }
                output.removeLast(output.count - Int(result.byte_count))
                return (Self.end(result.outcome), output)
            }
            guard let program = fastPath.program else { throw SetupError("no program") }
            var output = [UInt8](repeating: 0, count: 2048)
            var result = relay_run_result()
            let code = try topology.box.run {
                relay_run(
                    hook == .xdp ? program.xdp : program.tc, hook == .xdp, lan0, 1, packet, UInt32(packet.count),
                    &output, UInt32(output.count), &result)
            }
            guard code == 0 else { throw SetupError("BPF_PROG_RUN: \(String(cString: strerror(-code)))") }
            output.removeLast(output.count - Int(result.byte_count))
            switch (hook, result.action) {
            case (.xdp, XDP_REDIRECT.rawValue), (.tc, 7): return (.relayed, output)  // TC_ACT_REDIRECT
            case (.xdp, XDP_PASS.rawValue), (.tc, .max): return (.passed, output)  // TC_ACT_UNSPEC
            case (.xdp, XDP_DROP.rawValue), (.tc, 2): return (.dropped, output)  // TC_ACT_SHOT
            default: throw SetupError("action \(result.action)")
            }
        }
    }
}
