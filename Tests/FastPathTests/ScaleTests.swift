import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

/// Many flows, and more than there is room for.
@Suite("Flow table", .serialized, .enabled(if: isRoot, "BPF needs root"))
struct ScaleTests {
    /// One stream of its own per number.
    static func flow(_ number: Int, isEmergency: Bool = false) -> MediaFlow {
        var flow = Topology.Ends(.v4, offset: UInt16(2 * number)).outward
        flow.isEmergency = isEmergency
        return flow
    }

    static func table(_ flowCountMax: Int, in topology: Topology) throws -> FastPath {
        try topology.box.run {
            try FastPath(
                interfaces: [.init(name: "lan0", mode: .tc), .init(name: "wan0", mode: .tc)],
                flowCountMax: flowCountMax)
        }
    }

    @Test("4 000 flows come, change and go; says what that costs")
    func thousands() throws {
        let topology = try Topology()
        let fastPath = try Self.table(4_000, in: topology)
        let flows = (0..<4_000).map { Self.flow($0) }
        try topology.box.run {
            let clock = ContinuousClock()
            var applied = 0
            let setUp = try clock.measure {
                for flow in flows where try fastPath.apply(flow) == .applied { applied += 1 }
            }
            #expect(applied == 4_000)
            #expect(fastPath.flowCount == 4_000)
            let overflow = try fastPath.apply(Self.flow(4_000))
            #expect(overflow == .unsupported(.tableFull))
            let change = try clock.measure {
                for var flow in flows {
                    flow.wrongSource = .pass
                    if try fastPath.apply(flow) == .applied { applied += 1 }
                }
            }
            #expect(applied == 8_000)
            let tearDown = clock.measure { for flow in flows where fastPath.remove(flow.local) != nil { applied -= 1 } }
            #expect(applied == 4_000)
            #expect(fastPath.flowCount == 0)
            for (name, time) in [("set-up", setUp), ("change", change), ("tear-down", tearDown)] {
                let nanoseconds = Int(time / .nanoseconds(1)) / flows.count
                print("flow \(name): \(nanoseconds) ns each, \(1_000_000_000 / max(1, nanoseconds)) a second")
            }
        }
    }

    @Test("in a full table a flow of an emergency call takes the youngest ordinary one's place")
    func full() throws {
        let topology = try Topology()
        let fastPath = try Self.table(4, in: topology)
        for number in 0..<4 { #expect(try topology.apply(Self.flow(number), to: fastPath) == .applied) }
        // A change makes a flow no younger.
        #expect(try topology.apply(Self.flow(0), to: fastPath) == .applied)
        #expect(try topology.apply(Self.flow(4), to: fastPath) == .unsupported(.tableFull))
        #expect(fastPath.evictions.isEmpty)

        #expect(try topology.apply(Self.flow(10, isEmergency: true), to: fastPath) == .applied)
        #expect(fastPath.evictions.map(\.local) == [Self.flow(3).local])
        #expect(fastPath.counters(for: Self.flow(3).local) == nil)
        // An ordinary flow that becomes one of an emergency call is safe from then on.
        #expect(try topology.apply(Self.flow(2, isEmergency: true), to: fastPath) == .applied)
        for number in [11, 12] {
            #expect(try topology.apply(Self.flow(number, isEmergency: true), to: fastPath) == .applied)
        }
        #expect(fastPath.evictions.map(\.local) == [3, 1, 0].map { Self.flow($0).local })
        #expect(try topology.apply(Self.flow(13, isEmergency: true), to: fastPath) == .unsupported(.tableFull))

        // Room again: for anybody.
        fastPath.remove(Self.flow(11).local)
        #expect(try topology.apply(Self.flow(3), to: fastPath) == .applied)
        #expect(fastPath.flowCount == 4)
    }
}
