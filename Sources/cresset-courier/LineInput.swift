import Glibc

/// Lines of a descriptor that may have nothing yet.
struct LineInput {
    private enum Limits {
        static let lineByteCount = 1 << 20  // a longer line ends the input
    }

    let descriptor: CInt
    private(set) var isFinished = false
    private var pending: [UInt8] = []

    init(descriptor: CInt) { self.descriptor = descriptor }

    /// Whole lines that have come; does not wait.
    mutating func readLines() -> [[UInt8]] {
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        var chunk = [UInt8](repeating: 0, count: 65_536)
        var lines: [[UInt8]] = []
        while !isFinished, Glibc.poll(&poll, 1, 0) > 0 {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR || errno == EAGAIN { break }
            guard count > 0, pending.count + count <= Limits.lineByteCount else {
                isFinished = true
                break
            }
            pending += chunk[..<count]
            while let end = pending.firstIndex(of: 0x0A) {
                lines.append(Array(pending[..<end]))
                pending.removeSubrange(...end)
            }
        }
        return lines
    }
}

enum LineOutput {
    /// One line to standard output. Whoever reads it may be gone; the work is done all the same.
    static func write(_ text: String) {
        let bytes = Array((text + "\n").utf8)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno != EINTR { return }
            written += max(0, count)
        }
    }
}
