import CLinux
import Glibc
import Primitives

/// Asks a running daemon one question over its control socket, and waits for the answer.
package enum ControlClient {
    package enum Failure: Error, Equatable, Sendable, CustomStringConvertible {
        case system(SystemCallError)
        /// The daemon closed the connection, or its answer was too long or no JSON.
        case badAnswer(String)

        package var description: String {
            switch self {
            case .system(let error): error.description
            case .badAnswer(let text): text
            }
        }
    }

    private static let answerBytesMax = 16 << 20

    package static func request(
        _ value: JSONValue, path: String, timeout: Duration = .seconds(5)
    ) throws(Failure) -> JSONValue {
        let line: [UInt8]?
        do throws(SystemCallError) {
            line = try exchange(Array((value.text + "\n").utf8), path, Clock.monotonic + timeout)
        } catch {
            throw .system(error)
        }
        guard let line else { throw .badAnswer("\(path): the connection was closed before a whole answer") }
        do throws(JSONValue.ParseError) {
            return try JSONValue(parsing: line.span)
        } catch {
            throw .badAnswer("\(path): the answer is not JSON: \(error)")
        }
    }

    /// Sends a line and returns the first line that comes back, nil when the connection ends before.
    private static func exchange(
        _ request: [UInt8], _ path: String, _ deadline: MonotonicTime
    ) throws(SystemCallError) -> [UInt8]? {
        let connection = try openUnixSocket(.stream)
        let socket = connection.rawValue
        let (result, code) = try withUnixAddress(path) { (address, size) -> (CInt, Errno) in
            (connect(socket, address, size), .last)
        }
        guard result == 0 else { throw SystemCallError(call: "connect", code: code, context: path) }
        var sent = 0
        while sent < request.count {
            let count = request[sent...].withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, noSignal)
            }
            if count >= 0 { sent += count } else { try wait(socket, POLLOUT, "send", path, deadline) }
        }
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while answer.count <= answerBytesMax {
            let count = recv(socket, &chunk, chunk.count, 0)
            if count == 0 { return nil }
            if count < 0 {
                try wait(socket, POLLIN, "recv", path, deadline)
                continue
            }
            if let end = chunk[..<count].firstIndex(of: UInt8(ascii: "\n")) { return answer + chunk[..<end] }
            answer += chunk[..<count]
        }
        return nil
    }

    /// After a call that failed: waits if it would have blocked, throws if it failed otherwise or time is over.
    private static func wait(
        _ socket: CInt, _ events: CInt, _ call: String, _ path: String, _ deadline: MonotonicTime
    ) throws(SystemCallError) {
        let code = Errno.last
        guard code == .again || code == .interrupted else {
            throw SystemCallError(call: call, code: code, context: path)
        }
        let left = (deadline - Clock.monotonic).wholeMilliseconds
        guard left > 0 else { throw SystemCallError(call: call, code: .timedOut, context: path) }
        var entry = pollfd(fd: socket, events: Int16(truncatingIfNeeded: events), revents: 0)
        _ = poll(&entry, 1, CInt(clamping: left))
    }
}
