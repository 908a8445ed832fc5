import Primitives

/// One call for help, as proof of what was done.
package struct EmergencyRecord: Equatable, Sendable {
    /// One trunk that was asked.
    package struct Attempt: Equatable, Sendable {
        package var trunk: String
        package var start: MonotonicTime
        package var end: MonotonicTime?
        /// What came of it, "200", "503", "timed out", "Connection refused"; nil while it runs.
        package var outcome: String?

        package init(trunk: String, start: MonotonicTime) {
            self.trunk = trunk
            self.start = start
        }
    }

    package let id: EmergencyCallID
    package let number: EmergencyNumber
    /// As dialled, before it became 911.
    package let dialled: String
    package let caller: EmergencyCaller
    package let site: String?
    package let start: MonotonicTime
    package var attempts: [Attempt] = []
    package var answer: MonotonicTime?
    package var end: MonotonicTime?
    /// Why it ended; nil while it lasts.
    package var ending: String?
    /// Packets from the caller and from the called side.
    package var packetsFromCaller: UInt64 = 0
    package var packetsFromCallee: UInt64 = 0
}
