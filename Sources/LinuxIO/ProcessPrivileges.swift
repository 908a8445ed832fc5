import CLinux
import Glibc

/// What a process may do, given up for ever.
package enum ProcessPrivileges {
    /// Drops every capability, and for root also the user: `nobody` (65534) from then on.
    package static func drop() throws(SystemCallError) {
        let result = clinux_drop_privileges()
        guard result == 0 else { throw SystemCallError(call: "drop privileges", code: Errno(rawValue: -result)) }
    }
}
