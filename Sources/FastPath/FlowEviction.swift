import MediaFormats
import Primitives

/// An ordinary flow that gave way to one of an emergency call.
package struct FlowEviction: Hashable, Sendable {
    package var local: TransportAddress
    /// What the kernel counted until then.
    package var counters: MediaFlowCounters
}

/// In which order flows came, and which of them may have to go.
struct FlowAges {
    private var last: UInt64 = 0
    private var flows: [TransportAddress: (order: UInt64, isEmergency: Bool)] = [:]

    /// A flow that is known keeps its age.
    mutating func note(_ flow: MediaFlow) {
        last += 1
        flows[flow.local] = (flows[flow.local]?.order ?? last, flow.isEmergency)
    }

    mutating func remove(_ local: TransportAddress) { flows[local] = nil }

    /// Looked for only when the table is full, hence not kept sorted.
    var youngestOrdinary: TransportAddress? {
        flows.lazy.filter { !$0.value.isEmergency }.max { $0.value.order < $1.value.order }?.key
    }
}
