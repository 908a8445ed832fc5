import Glibc

/// Small files, whole: configuration, state, process identifiers.
package enum Files {
    /// The bytes of a file; EFBIG when it is longer than `byteCountMax`.
    package static func read(_ path: String, byteCountMax: Int = 16 << 20) throws(SystemCallError) -> [UInt8] {
        let file = OwnedDescriptor(owning: try check(open(path, O_RDONLY | O_CLOEXEC), "open", path))
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(file.rawValue, &chunk, chunk.count)
            if count < 0 {
                let code = Errno.last
                if code == .interrupted { continue }
                throw SystemCallError(call: "read", code: code, context: path)
            }
            if count == 0 { return bytes }
            guard bytes.count + count <= byteCountMax else {
                throw SystemCallError(call: "read", code: .fileTooLarge, context: path)
            }
            bytes += chunk[..<count]
        }
    }

    /// The names in a directory, sorted, without `.` and `..`.
    package static func list(_ path: String) throws(SystemCallError) -> [String] {
        guard let stream = opendir(path) else {
            throw SystemCallError(call: "opendir", code: .last, context: path)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            // The entry lives until the next readdir.
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Permission bits of a file, `0o600`.
    package static func mode(of path: String) throws(SystemCallError) -> UInt32 {
        var status = stat()
        _ = try check(stat(path, &status), "stat", path)
        return UInt32(status.st_mode) & 0o7777
    }

    /// Replaces a file so that a reader, or a power cut, sees the old content or the new one, never a part.
    package static func writeAtomically(
        _ bytes: [UInt8], to path: String, mode: UInt32 = 0o644
    ) throws(SystemCallError) {
        let temporary = "\(path).\(getpid()).new"
        do throws(SystemCallError) {
            try writeNew(bytes, to: temporary, mode)
            _ = try check(rename(temporary, path), "rename", path)
        } catch {
            unlink(temporary)
            throw error
        }
        let slash = path.lastIndex(of: "/")
        try synchronizeDirectory(slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? ".")
    }

    private static func writeNew(_ bytes: [UInt8], to path: String, _ mode: UInt32) throws(SystemCallError) {
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW
        let file = OwnedDescriptor(owning: try check(open(path, flags, mode_t(mode)), "open", path))
        _ = try check(fchmod(file.rawValue, mode_t(mode)), "fchmod", path)  // whatever the umask is
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(file.rawValue, $0.baseAddress, $0.count) }
            if count < 0 {
                let code = Errno.last
                if code == .interrupted { continue }
                throw SystemCallError(call: "write", code: code, context: path)
            }
            written += count
        }
        _ = try check(fsync(file.rawValue), "fsync", path)
    }

    private static func synchronizeDirectory(_ path: String) throws(SystemCallError) {
        let directory = OwnedDescriptor(
            owning: try check(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open", path))
        _ = try check(fsync(directory.rawValue), "fsync", path)
    }

    /// Makes a directory and those above it; one that exists is left as it is.
    package static func createDirectory(_ path: String, mode: UInt32 = 0o755) throws(SystemCallError) {
        guard !path.isEmpty, mkdir(path, mode_t(mode)) != 0 else { return }
        switch Errno.last.rawValue {
        case EEXIST:
            var status = stat()
            guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                throw SystemCallError(call: "mkdir", code: Errno(rawValue: ENOTDIR), context: path)
            }
        case ENOENT:
            guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
                throw SystemCallError(call: "mkdir", code: .noSuchFile, context: path)
            }
            try createDirectory(String(path[..<slash]), mode: mode)
            _ = try check(mkdir(path, mode_t(mode)), "mkdir", path)
        case let code: throw SystemCallError(call: "mkdir", code: Errno(rawValue: code), context: path)
        }
    }
}
