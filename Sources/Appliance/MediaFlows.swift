import FastPath
import LinuxIO
import MediaFormats
import Primitives

/// The desired media flows and where each of them lives: in the kernel, or with the sockets in user space.
///
/// `MediaEngine` says what should be; this makes the fast path agree.
final class MediaFlows {
    private let fastPath: FastPath?
    private var isInKernel: [TransportAddress: Bool] = [:]
    private(set) var refusals: UInt64 = 0
    private(set) var evictionCount: UInt64 = 0
    private let log: (String) -> Void

    /// Without a fast path every flow is the sockets'.
    init(fastPath: FastPath?, log: @escaping (String) -> Void) {
        self.fastPath = fastPath
        self.log = log
    }

    var kernelCount: Int { isInKernel.count(where: \.value) }
    var userSpaceCount: Int { isInKernel.count - kernelCount }

    /// `kernel`, `socket`, or `none` when there is no flow at this address.
    func path(of local: TransportAddress) -> String {
        switch isInKernel[local] {
        case true?: "kernel"
        case false?: "socket"
        case nil: "none"
        }
    }

    /// Returns whether the kernel relays the flow from now on.
    func apply(_ flow: MediaFlow) -> Bool {
        let inKernel = applyToKernel(flow)
        isInKernel[flow.local] = inKernel
        return inKernel
    }

    /// The flows that gave way to those of emergency calls since the last call of this.
    func takeEvictions() -> [FlowEviction] {
        guard let fastPath, !fastPath.evictions.isEmpty else { return [] }
        let evictions = fastPath.evictions
        fastPath.evictions = []
        for eviction in evictions { isInKernel[eviction.local] = false }
        evictionCount += UInt64(evictions.count)
        return evictions
    }

    /// Returns the last counters; zeros when the flow was never in the kernel.
    func remove(_ local: TransportAddress) -> MediaFlowCounters {
        isInKernel[local] = nil
        return fastPath?.remove(local) ?? MediaFlowCounters()
    }

    func counters(of local: TransportAddress) -> MediaFlowCounters {
        fastPath?.counters(for: local) ?? MediaFlowCounters()
    }

    /// What the program did with packets of known flows, by the interface they arrived at.
    var totals: [String: FastPathOutcomes] { fastPath?.totals().interfaces ?? [:] }

    private func applyToKernel(_ flow: MediaFlow) -> Bool {
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
