import CLinux
import Glibc

/// Limits and use of this process.
package enum ProcessResources {
    package enum Resource: Sendable {
        /// RLIMIT_NOFILE
        case openDescriptors
        /// RLIMIT_MEMLOCK, which older kernels charge BPF maps to.
        case lockedMemory
    }

    /// Raises a limit to at least `minimum`, beyond the hard limit too where the process may; the limit then in force.
    @discardableResult
    package static func raise(_ resource: Resource, to minimum: UInt64) throws(SystemCallError) -> UInt64 {
        let (name, text) =
            switch resource {
            case .openDescriptors: (RLIMIT_NOFILE, "RLIMIT_NOFILE")
            case .lockedMemory: (__RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK")
            }
        let number = __rlimit_resource_t(name.rawValue)
        var limit = rlimit()
        _ = try check(getrlimit(number, &limit), "getrlimit", text)
        guard limit.rlim_cur < minimum else { return UInt64(limit.rlim_cur) }
        var wanted = rlimit(rlim_cur: rlim_t(minimum), rlim_max: max(limit.rlim_max, rlim_t(minimum)))
        if setrlimit(number, &wanted) == 0 { return minimum }
        wanted = rlimit(rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max)  // as far as we may
        _ = try check(setrlimit(number, &wanted), "setrlimit", text)
        return UInt64(limit.rlim_max)
    }

    /// Resident memory (RSS), from /proc/self/statm.
    package static func residentBytes() throws(SystemCallError) -> Int {
        let text = String(decoding: try Files.read("/proc/self/statm"), as: UTF8.self)
        let fields = text.split(separator: " ")
        guard fields.count > 1, let pages = Int(fields[1]) else {
            throw SystemCallError(call: "read", code: .invalidArgument, context: "/proc/self/statm")
        }
        return pages * Int(sysconf(CInt(_SC_PAGESIZE)))
    }

    /// No longer counts code and constants as ours that only the start needed; what is used again comes back page by page
    /// from the page cache, where all of it stays.
    package static func forgetCode() { clinux_forget_code() }

    /// Gives the kernel back what the allocator holds free, and would otherwise keep for later.
    package static func returnFreeMemory() { malloc_trim(0) }

    /// The path of a program in the directory of our own; its name alone when /proc does not tell.
    package static func neighbour(_ name: String) -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        guard count > 0 else { return name }
        let path = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard let slash = path.lastIndex(of: "/") else { return name }
        return path[...slash] + name
    }

    /// How many descriptors are open.
    package static func openDescriptorCount() throws(SystemCallError) -> Int {
        try Files.list("/proc/self/fd").count - 1  // one was the directory itself
    }
}
