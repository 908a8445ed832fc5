import Glibc
import LinuxIO

/// Disk space held by a file of nothing, given up when the disk is full so that what matters can still be written.
package struct SpaceReserve: Sendable {
    package let path: String
    package let byteCount: Int

    package init(path: String, byteCount: Int) {
        self.path = path
        self.byteCount = byteCount
    }

    package var isHeld: Bool {
        var status = stat()
        return stat(path, &status) == 0 && Int(status.st_size) >= byteCount
    }

    /// Holds the space, unless it is held or would leave others less than as much again.
    ///
    /// - Returns: Whether it is held now.
    @discardableResult
    package func hold() throws(SystemCallError) -> Bool {
        if isHeld { return true }
        var space = statvfs()
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        guard statvfs(directory, &space) == 0 else {
            throw SystemCallError(call: "statvfs", code: .last, context: directory)
        }
        let (free, overflow) = UInt64(space.f_bavail).multipliedReportingOverflow(by: UInt64(space.f_frsize))
        guard overflow || free >= UInt64(2 * byteCount) else { return false }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode_t(0o600))
        guard descriptor >= 0 else { throw SystemCallError(call: "open", code: .last, context: path) }
        let file = OwnedDescriptor(owning: descriptor)
        let code = posix_fallocate(file.rawValue, 0, off_t(byteCount))
        guard code == 0 else {
            unlink(path)
            throw SystemCallError(call: "posix_fallocate", code: Errno(rawValue: code), context: path)
        }
        return true
    }

    /// Gives the space back to the file system; false when none was held.
    package func release() -> Bool { unlink(path) == 0 }
}
