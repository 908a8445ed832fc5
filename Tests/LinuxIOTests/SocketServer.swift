import Glibc
import Testing

/// A Unix socket that takes one connection on a thread of its own and does with it what the test says.
final class SocketServer: Sendable {
    let path: String
    private let descriptor: CInt

    init(backlog: CInt = 4) throws {
        var template = Array("/tmp/cresset-control-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) + "/control.sock"
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let descriptor = descriptor
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(status == 0 && listen(descriptor, backlog) == 0)
    }

    deinit {
        close(descriptor)
        unlink(path)
        rmdir(String(path.dropLast("/control.sock".count)))
    }

    /// Reads one line, sends the pieces with a pause before each, and closes.
    func answer(_ pieces: [String], pauseMilliseconds: UInt32 = 0) -> Exchange {
        Exchange(listener: descriptor, pieces: pieces, pauseMilliseconds: pauseMilliseconds)
    }

    /// One connection, on a thread of its own: the client under test blocks the test's.
    final class Exchange: @unchecked Sendable {
        private let listener: CInt
        private let pieces: [String]
        private let pauseMilliseconds: UInt32
        private var thread = pthread_t()
        /// Written by the thread, read after it was joined.
        private var line: [UInt8] = []

        fileprivate init(listener: CInt, pieces: [String], pauseMilliseconds: UInt32) {
            (self.listener, self.pieces, self.pauseMilliseconds) = (listener, pieces, pauseMilliseconds)
            // The thread holds a reference of its own, which it takes over here.
            let status = pthread_create(
                &thread, nil,
                { context in
                    if let context { Unmanaged<Exchange>.fromOpaque(context).takeRetainedValue().serve() }
                    return nil
                }, Unmanaged.passRetained(self).toOpaque())
            precondition(status == 0, "a thread for the server")
        }

        private func serve() {
            let connection = accept(listener, nil, nil)
            defer { close(connection) }
            var byte: UInt8 = 0
            while recv(connection, &byte, 1, 0) == 1, byte != 0x0A { line.append(byte) }
            for piece in pieces {
                usleep(pauseMilliseconds * 1_000)
                let bytes = Array(piece.utf8)
                _ = send(connection, bytes, bytes.count, CInt(MSG_NOSIGNAL))
            }
        }

        /// The line the client sent; waits until the exchange is over.
        func request() -> String {
            pthread_join(thread, nil)
            return String(decoding: line, as: UTF8.self)
        }
    }
}
