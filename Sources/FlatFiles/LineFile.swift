import Glibc
import LinuxIO

/// A file of lines that only grows: lines are added whole or not at all, and are on the disk when `append` returns.
package struct LineFile: Sendable {
    package let path: String

    package init(path: String) { self.path = path }

    /// Adds lines, each ending with a newline, and waits for the disk. What a failure left of them is taken back.
    ///
    /// - Returns: Bytes of a torn line that were cut off first (see `repair`).
    @discardableResult
    package func append(_ lines: [UInt8]) throws(SystemCallError) -> Int {
        let flags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW
        let file = OwnedDescriptor(owning: try check(open(path, flags, mode_t(0o600)), "open"))
        let before = try byteCount(of: file.rawValue)
        let torn = try repair(file.rawValue, byteCount: before)
        let start = before - torn
        do throws(SystemCallError) {
            var written = 0
            while written < lines.count {
                let count = lines[written...].withUnsafeBytes { write(file.rawValue, $0.baseAddress, $0.count) }
                if count < 0 {
                    if Errno.last == .interrupted { continue }
                    throw SystemCallError(call: "write", code: .last, context: path)
                }
                written += count
            }
            _ = try check(fsync(file.rawValue), "fsync")
            if before == 0 { try synchronizeDirectory() }
        } catch {
            _ = ftruncate(file.rawValue, off_t(start))  // should this fail, the next append repairs
            throw error
        }
        return torn
    }

    /// Cuts off an unfinished last line, as a power cut leaves it; how many bytes. A file that is not there is whole.
    package func repair() throws(SystemCallError) -> Int {
        let descriptor = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        if descriptor < 0, Errno.last == .noSuchFile { return 0 }
        let file = OwnedDescriptor(owning: try check(descriptor, "open"))
        let torn = try repair(file.rawValue, byteCount: try byteCount(of: file.rawValue))
        if torn > 0 { _ = try check(fsync(file.rawValue), "fsync") }
        return torn
    }

    /// The last whole line without its newline; nil when there is none. Reads no more of the file than it must.
    package func lastLine() throws(SystemCallError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0, Errno.last == .noSuchFile { return nil }
        let file = OwnedDescriptor(owning: try check(descriptor, "open"))
        let size = try byteCount(of: file.rawValue)
        var tailBytes = min(size, 65_536)
        while true {
            var tail = [UInt8](repeating: 0, count: tailBytes)
            guard pread(file.rawValue, &tail, tailBytes, off_t(size - tailBytes)) == tailBytes else {
                throw SystemCallError(call: "pread", code: .last, context: path)
            }
            let newline = UInt8(ascii: "\n")
            guard let end = tail.lastIndex(of: newline) else {
                guard tailBytes < size else { return nil }
                tailBytes = min(size, tailBytes * 4)
                continue
            }
            if let start = tail[..<end].lastIndex(of: newline) { return Array(tail[(start + 1)..<end]) }
            if tailBytes == size { return Array(tail[..<end]) }
            tailBytes = min(size, tailBytes * 4)
        }
    }

    /// All lines in their order without their newlines; the last one may be torn. None when there is no file.
    package func forEachLine(_ body: (ArraySlice<UInt8>, _ isWhole: Bool) -> Void) throws(SystemCallError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0, Errno.last == .noSuchFile { return }
        let file = OwnedDescriptor(owning: try check(descriptor, "open"))
        var pending: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(file.rawValue, &chunk, chunk.count)
            if count < 0 {
                if Errno.last == .interrupted { continue }
                throw SystemCallError(call: "read", code: .last, context: path)
            }
            if count == 0 { break }
            pending += chunk[..<count]
            var start = pending.startIndex
            while let end = pending[start...].firstIndex(of: UInt8(ascii: "\n")) {
                body(pending[start..<end], true)
                start = end + 1
            }
            pending.removeFirst(start)
        }
        if !pending.isEmpty { body(pending[...], false) }
    }

    // MARK: Parts

    private func repair(_ file: CInt, byteCount: Int) throws(SystemCallError) -> Int {
        var end = byteCount
        var byte: UInt8 = 0
        while end > 0 {
            guard pread(file, &byte, 1, off_t(end - 1)) == 1 else {
                throw SystemCallError(call: "pread", code: .last, context: path)
            }
            if byte == UInt8(ascii: "\n") { break }
            end -= 1
        }
        if end < byteCount { _ = try check(ftruncate(file, off_t(end)), "ftruncate") }
        return byteCount - end
    }

    private func byteCount(of file: CInt) throws(SystemCallError) -> Int {
        var status = stat()
        _ = try check(fstat(file, &status), "fstat")
        return Int(status.st_size)
    }

    private func synchronizeDirectory() throws(SystemCallError) {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let file = OwnedDescriptor(owning: try check(open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open"))
        _ = try check(fsync(file.rawValue), "fsync")
    }

    private func check(_ result: CInt, _ call: String) throws(SystemCallError) -> CInt {
        if result < 0 { throw SystemCallError(call: call, code: .last, context: path) }
        return result
    }
}
