import FastPath
import LinuxIO
import MediaFormats
import Primitives

/// The desired media flows and where each of them lives: in the fast path, or with the sockets in user space.
///
/// `MediaEngine` says what should be; this makes the fast path agree.
final class MediaFlows {
    private struct Entry {
        var flow: MediaFlow
        var isInKernel: Bool
    }

    private let fastPath: FastPath?
    private var entries: [TransportAddress: Entry] = [:]
    private(set) var refusals: UInt64 = 0
    private(set) var evictionCount: UInt64 = 0
    private let log: (String) -> Void

    /// Without a fast path every flow is the sockets'.
    init(fastPath: FastPath?, log: @escaping (String) -> Void) {
        self.fastPath = fastPath
        self.log = log
    }

    /// Relayed by the fast path, whichever of its engines it is.
    var kernelCount: Int { entries.values.count(where: \.isInKernel) }
    var userSpaceCount: Int { entries.count - kernelCount }

    /// `kernel`, `ring`, `socket`, or `none` when there is no flow at this address.
    func path(of local: TransportAddress) -> String {
        switch entries[local]?.isInKernel {
        case true?: fastPath?.engines(of: local).contains(.program) == true ? "kernel" : "ring"
        case false?: "socket"
        case nil: "none"
        }
    }

    /// Returns whether the fast path relays the flow from now on.
    func apply(_ flow: MediaFlow) -> Bool {
        let isInKernel = applyToFastPath(flow)
        entries[flow.local] = Entry(flow: flow, isInKernel: isInKernel)
        return isInKernel
    }

    /// After the interfaces have changed: all flows once more, and what became of each.
    func applyAgain() -> [(local: TransportAddress, isInKernel: Bool)] {
        entries.values.map(\.flow).map { ($0.local, apply($0)) }
    }

    /// The flows that gave way to those of emergency calls since the last call of this.
    func takeEvictions() -> [FlowEviction] {
        guard let fastPath, !fastPath.evictions.isEmpty else { return [] }
        let evictions = fastPath.evictions
        fastPath.evictions = []
        for eviction in evictions { entries[eviction.local]?.isInKernel = false }
        evictionCount += UInt64(evictions.count)
        return evictions
    }

    /// Returns the last counters; zeros when the flow was never in the kernel.
    func remove(_ local: TransportAddress) -> MediaFlowCounters {
        entries[local] = nil
        return fastPath?.remove(local) ?? MediaFlowCounters()
    }

    func counters(of local: TransportAddress) -> MediaFlowCounters {
        fastPath?.counters(for: local) ?? MediaFlowCounters()
    }

    /// What the program did with packets of known flows, by the interface they arrived at.
    var totals: [String: FastPathOutcomes] { fastPath?.totals().interfaces ?? [:] }

    private func applyToFastPath(_ flow: MediaFlow) -> Bool {
        guard let fastPath else { return false }
        do throws(FastPathError) {
            // Unsupported means the sockets relay it: a full table, an interface without the program.
            return try fastPath.apply(flow) == .applied
        } catch {
            refusals += 1
            log("flow at \(flow.local) stays in user space: \(error)")
            return false
        }
    }
}
