import Glibc
import Primitives

/// Reads the directory: the only file of this module that touches the system.
extension BoxConfiguration {
    /// More files than this are refused.
    private static let fileCountMax = 64

    /// Reads and checks every `*.toml` of the directory, in the order of their names; never throws, only finds.
    package static func load(directory: String) -> ConfigurationOutcome {
        func refusal(_ message: String, file: String = directory) -> ConfigurationIssue {
            ConfigurationIssue(severity: .error, file: file, line: 0, column: 0, key: "", message: message)
        }
        let names: [String]
        switch tomlNames(in: directory) {
        case .success(let found): names = found
        case .failure(let error):
            return .init(
                configuration: nil, issues: [refusal("the directory cannot be read: \(error.text); see --config DIR")])
        }
        guard !names.isEmpty else {
            return .init(configuration: nil, issues: [refusal("no file *.toml is in the directory; see --config DIR")])
        }
        guard names.count <= fileCountMax else {
            return .init(configuration: nil, issues: [refusal("more than \(fileCountMax) files *.toml")])
        }
        var files: [ConfigurationFile] = []
        var unreadable: [ConfigurationIssue] = []
        for name in names {
            let path = "\(directory)/\(name)"
            switch ReadableFile.open(path).flatMap({ $0.read(byteCountMax: TOMLParser.Limits.byteCountMax + 1) }) {
            case .success(let bytes): files.append(ConfigurationFile(name: path, bytes: bytes))
            case .failure(let error): unreadable.append(refusal("cannot be read: \(error.text)", file: path))
            }
        }
        var outcome = ConfigurationParser.parse(
            files: files, directory: directory, isComplete: unreadable.isEmpty,
            readingSecrets: { readSecret("\(directory)/\($0)") })
        if !unreadable.isEmpty {
            outcome.configuration = nil
            outcome.issues = unreadable + outcome.issues
        }
        return outcome
    }

    private static func tomlNames(in directory: String) -> Result<[String], FileError> {
        guard let stream = unsafe opendir(directory) else { return .failure(FileError(code: errno)) }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            // The entry belongs to the stream until the next readdir; the name is copied at once.
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(".toml"), !name.hasPrefix(".") { names.append(name) }
        }
        return .success(names.sorted())
    }

    private static func readSecret(_ path: String) -> Result<[UInt8], SecretFileError> {
        let file: ReadableFile
        switch ReadableFile.open(path) {
        case .success(let opened): file = opened
        case .failure(let error): return .failure(SecretFileError("\(path) cannot be read: \(error.text)"))
        }
        // The mode of what is open, not of the name: nobody can swap it in between.
        guard let mode = file.mode else { return .failure(SecretFileError("\(path) cannot be examined")) }
        guard mode & 0o077 == 0 else {
            let digits = String(mode & 0o777, radix: 8)
            return .failure(
                SecretFileError(
                    "\(path) has mode 0\(String(repeating: "0", count: 3 - digits.count))\(digits), so others than its "
                        + "owner may use it; run: chmod 600 \(path)"))
        }
        return file.read(byteCountMax: 4_096).mapError { SecretFileError("\(path) cannot be read: \($0.text)") }
    }
}

/// Why a file or directory could not be read.
private struct FileError: Error {
    let code: CInt

    /// strerror's words; the text belongs to the C library and is copied at once.
    var text: String { unsafe String(cString: strerror(code)) }
}

/// A regular file open for reading; closed when the last reference goes.
private final class ReadableFile {
    private let descriptor: CInt

    private init(descriptor: CInt) { self.descriptor = descriptor }

    deinit { _ = close(descriptor) }

    static func open(_ path: String) -> Result<ReadableFile, FileError> {
        // Non-blocking: a FIFO of that name must not stop the daemon.
        let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return .failure(FileError(code: errno)) }
        let file = ReadableFile(descriptor: descriptor)
        guard let type = file.status?.st_mode, type & S_IFMT == S_IFREG else {
            return .failure(
                FileError(code: file.status.map { $0.st_mode & S_IFMT == S_IFDIR } == true ? EISDIR : EINVAL))
        }
        return .success(file)
    }

    private var status: stat? {
        var status = stat()
        return unsafe fstat(descriptor, &status) == 0 ? status : nil
    }

    /// Permission bits; nil when they cannot be had.
    var mode: UInt32? { status.map { $0.st_mode & 0o7777 } }

    /// At most so many bytes.
    func read(byteCountMax: Int) -> Result<[UInt8], FileError> {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while bytes.count < byteCountMax {
            // The chunk outlives the call, which writes no further than its count.
            let count = unsafe chunk.withUnsafeMutableBytes { buffer in
                unsafe Glibc.read(descriptor, buffer.baseAddress, min(buffer.count, byteCountMax - bytes.count))
            }
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                return .failure(FileError(code: errno))
            }
            bytes += chunk[..<count]
        }
        return .success(bytes)
    }
}
