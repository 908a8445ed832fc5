import CLinux
import Glibc
import Primitives

/// Why the daemon gave no answer, as a sentence that says what to do.
package enum ControlError: Error, Equatable, CustomStringConvertible {
    case notRunning(path: String)
    case forbidden(path: String)
    case pathTooLong(path: String)
    case system(call: String, code: CInt)
    case timedOut(path: String)
    /// The connection ended before the answer did.
    case incomplete
    case notJSON
    case tooLong
    /// The daemon understood and says no.
    case refused(String)

    package var description: String {
        switch self {
        case .notRunning(let path):
            "cressetd is not running: nothing listens on \(path); start it (systemctl start cressetd), "
                + "or name its socket with --control PATH"
        case .forbidden(let path): "no permission to use \(path); be root or in the group cresset"
        case .pathTooLong(let path): "\(path) is too long for a socket: at most \(ControlClient.pathByteCountMax) bytes"
        case .system(let call, let code): "\(call): \(String(cString: strerror(code)))"
        case .timedOut(let path): "cressetd does not answer on \(path); see journalctl -u cressetd"
        case .incomplete: "cressetd closed the connection before its answer was complete; see journalctl -u cressetd"
        case .notJSON: "cressetd's answer is not understood; are cresset and cressetd of the same release?"
        case .tooLong: "cressetd's answer is longer than \(ControlClient.answerByteCountMax) bytes"
        case .refused(let reason): reason
        }
    }

    /// As in sysexits.h.
    package var exitCode: CInt {
        switch self {
        case .notRunning, .timedOut, .incomplete: 69  // EX_UNAVAILABLE
        case .forbidden: 77  // EX_NOPERM
        case .pathTooLong: 64  // EX_USAGE
        case .system: 71  // EX_OSERR
        case .notJSON, .tooLong: 76  // EX_PROTOCOL
        case .refused: 1
        }
    }
}

/// Asks the daemon one question over its Unix socket: a line of JSON there, a line of JSON back. Blocks.
package struct ControlClient {
    /// The room in `sockaddr_un`, less the zero at its end.
    package static let pathByteCountMax = 107
    package static let answerByteCountMax = 16 << 20

    package let path: String
    /// For the whole exchange.
    package var timeout: Duration

    package init(path: String, timeout: Duration = .seconds(5)) {
        self.path = path
        self.timeout = timeout
    }

    /// The `result` of `{"ok":true,"result":…}`; everything else is an error.
    package func result(
        of command: String, with arguments: [JSONValue.Member] = []
    ) throws(ControlError) -> JSONValue {
        try answer(to: command, with: arguments).result
    }

    /// The same with what the daemon wants everybody to know who asks it anything; nil: nothing.
    package func answer(
        to command: String, with arguments: [JSONValue.Member] = []
    ) throws(ControlError) -> (result: JSONValue, notice: String?) {
        let answer = try exchange(.object([.init("command", .string(command))] + arguments))
        switch answer["ok"]?.boolValue {
        case true?: return (answer["result"] ?? .null, answer["notice"]?.stringValue)
        case false?: throw .refused(answer["error"]?.stringValue ?? "cressetd refused, without a reason")
        case nil: throw .notJSON
        }
    }

    private func exchange(_ request: JSONValue) throws(ControlError) -> JSONValue {
        let deadline = Clock.monotonic + timeout
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .system(call: "socket", code: errno) }
        defer { close(descriptor) }
        try connect(descriptor)
        try send(Array((request.text + "\n").utf8), to: descriptor, until: deadline)
        let line = try receiveLine(from: descriptor, until: deadline)
        do {
            return try JSONValue(parsing: line.span)
        } catch {
            throw .notJSON
        }
    }

    private func connect(_ descriptor: CInt) throws(ControlError) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard (1...Self.pathByteCountMax).contains(bytes.count) else { throw .pathTooLong(path: path) }
        // The address outlives the calls; the rest of the path stays zero.
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        // A daemon that hangs with a full backlog must not hang us: the timeout also bounds connect.
        var limit = timeval(tv_sec: Int(max(1, timeout.wholeSeconds)), tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status != 0 else { return }
        switch errno {
        case ENOENT, ECONNREFUSED, ENOTDIR: throw .notRunning(path: path)
        case EACCES, EPERM: throw .forbidden(path: path)
        case EAGAIN: throw .timedOut(path: path)
        default: throw .system(call: "connect", code: errno)
        }
    }

    private func send(_ bytes: [UInt8], to descriptor: CInt, until deadline: MonotonicTime) throws(ControlError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            try wait(for: Int16(POLLOUT), descriptor, until: deadline)
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
            }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno == EPIPE || errno == ECONNRESET {
                throw .incomplete
            } else if errno != EINTR, errno != EAGAIN {
                throw .system(call: "send", code: errno)
            }
        }
    }

    private func receiveLine(from descriptor: CInt, until deadline: MonotonicTime) throws(ControlError) -> [UInt8] {
        var line: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            try wait(for: Int16(POLLIN), descriptor, until: deadline)
            let count = chunk.withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress, $0.count, CInt(MSG_DONTWAIT))
            }
            if count == 0 || count < 0 && errno == ECONNRESET { throw .incomplete }
            if count < 0 {
                guard errno == EINTR || errno == EAGAIN else { throw .system(call: "recv", code: errno) }
                continue
            }
            let received = chunk[..<count]
            if let end = received.firstIndex(of: 0x0A) { return line + received[..<end] }
            line += received
            guard line.count <= Self.answerByteCountMax else { throw .tooLong }
        }
    }

    private func wait(
        for events: Int16, _ descriptor: CInt, until deadline: MonotonicTime
    ) throws(ControlError) {
        while true {
            // Rounded up: poll counts in milliseconds, and zero would not wait at all.
            let remaining = ((deadline - Clock.monotonic).wholeNanoseconds + 999_999) / 1_000_000
            guard remaining > 0 else { throw .timedOut(path: path) }
            var entry = pollfd(fd: descriptor, events: events, revents: 0)
            let count = poll(&entry, 1, CInt(clamping: remaining))
            if count > 0 { return }
            if count < 0, errno != EINTR { throw .system(call: "poll", code: errno) }
        }
    }
}
