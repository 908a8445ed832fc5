import CLinux
import Glibc
import Primitives

/// The control socket: newline-delimited JSON requests and answers over a Unix stream socket.
///
/// Who may connect is decided by the file mode; who asks is told to the handler. A request that is not JSON gets
/// `{"error": …}` and the client may go on; one that is too long ends the client, as does an answer it never reads.
package final class ControlServer {
    package struct Options: Sendable {
        package var clientsMax = 16
        package var requestBytesMax = 65_536
        /// Answers waiting for one client beyond it close it.
        package var answerBytesMax = 4 << 20
        package init() {}
    }

    /// The process at the other end, as the kernel knows it.
    package struct Peer: Equatable, Sendable {
        package let process: Int32
        package let user: UInt32
        package let group: UInt32
    }

    package struct ClientID: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    package struct Request: Sendable {
        package let client: ClientID
        package let peer: Peer
        package let value: JSONValue
    }

    private enum Limits {
        static let pause = Duration.milliseconds(100)  // when no descriptor is left
        static let readsPerWakeUp = 4
    }

    private final class Client {
        let descriptor: OwnedDescriptor
        let peer: Peer
        var token: EventLoop.Token?
        var input: [UInt8] = []
        var output: [UInt8] = []
        var outputOffset = 0
        var promisedAnswers = 0
        var isFinished = false  // reads no more; closes when all is answered and the output drained

        init(_ descriptor: consuming OwnedDescriptor, _ peer: Peer) {
            self.descriptor = descriptor
            self.peer = peer
        }
    }

    private let loop: EventLoop
    private let options: Options
    private let path: String
    private let identity: (device: dev_t, inode: ino_t)?
    private let handler: (Request) -> JSONValue?
    private var descriptor: OwnedDescriptor?
    private let socket: CInt
    private var token: EventLoop.Token?
    private var clients: [ClientID: Client] = [:]
    private var nextClient: UInt64 = 0

    /// Listens at `path` with mode 0660; makes its directory, removes what a dead server left there.
    ///
    /// The handler's answer is sent at once; nil promises one later through `answer(_:to:)`.
    package init(
        path: String, options: Options = Options(), loop: EventLoop, handler: @escaping (Request) -> JSONValue?
    ) throws(SystemCallError) {
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try Files.createDirectory(String(path[..<slash]))
        }
        try Self.removeStale(path)
        let descriptor = try openUnixSocket(.stream)
        let socket = descriptor.rawValue
        let mask = umask(0o117)  // so that the socket has its mode from the first moment
        let result = try withUnixAddress(path) { (address, size) -> (CInt, Errno) in
            (bind(socket, address, size), .last)
        }
        umask(mask)
        guard result.0 == 0 else { throw SystemCallError(call: "bind", code: result.1, context: path) }
        _ = try check(listen(socket, 16), "listen", path)
        var status = stat()
        identity = lstat(path, &status) == 0 ? (status.st_dev, status.st_ino) : nil
        self.loop = loop
        self.options = options
        self.path = path
        self.handler = handler
        self.socket = socket
        self.descriptor = consume descriptor
        token = try loop.register(socket, .readable) { [weak self] _ in self?.acceptAll() }
    }

    deinit { close() }

    package var clientCount: Int { clients.count }

    /// Closes all clients and removes the socket, unless another server has taken the path.
    package func close() {
        guard let token else { return }
        loop.unregister(token)
        self.token = nil
        for client in Array(clients.keys) { closeClient(client) }
        descriptor = nil
        var status = stat()
        if let identity, lstat(path, &status) == 0, identity == (status.st_dev, status.st_ino) { unlink(path) }
    }

    /// Sends an answer promised earlier; does nothing when the client has gone.
    package func answer(_ value: JSONValue, to id: ClientID) {
        guard let client = clients[id], client.promisedAnswers > 0 else { return }
        client.promisedAnswers -= 1
        reply(value, id, client)
    }

    private func reply(_ value: JSONValue, _ id: ClientID, _ client: Client) {
        client.output.append(contentsOf: value.text.utf8)
        client.output.append(UInt8(ascii: "\n"))
        flush(id, client)
    }

    /// A socket nobody listens at is left over from a process that was killed; anything else is not ours to remove.
    private static func removeStale(_ path: String) throws(SystemCallError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw SystemCallError(call: "bind", code: .addressInUse, context: "\(path) (not a socket)")
        }
        let probe = try openUnixSocket(.stream)
        let number = probe.rawValue
        let (result, code) = try withUnixAddress(path) { (address, size) -> (CInt, Errno) in
            (connect(number, address, size), .last)
        }
        guard result != 0, code == .connectionRefused else {
            throw SystemCallError(call: "bind", code: .addressInUse, context: path)
        }
        _ = try check(unlink(path), "unlink", path)
    }

    // MARK: Clients

    private func acceptAll() {
        while token != nil {
            var remote = sockaddr_storage()
            let result = clinux_accept(socket, &remote)
            guard result >= 0 else {
                let code = Errno(rawValue: -result)
                if [.tooManyOpenFiles, .tooManyOpenFilesInSystem, .outOfMemory, .noBufferSpace].contains(code) {
                    pause()
                }
                return
            }
            let connection = OwnedDescriptor(owning: result)
            var credentials = clinux_credentials()
            guard clients.count < options.clientsMax, clinux_peer_credentials(result, &credentials) == 0 else {
                let text = Array("{\"error\":\"too many clients\"}\n".utf8)
                _ = Glibc.send(result, text, text.count, noSignal)
                continue
            }
            let client = Client(
                connection, Peer(process: credentials.process, user: credentials.user, group: credentials.group))
            nextClient += 1
            let id = ClientID(number: nextClient)
            client.token = try? loop.register(result, .readable) { [weak self] in self?.handle($0, id) }
            if client.token != nil { clients[id] = client }
        }
    }

    private func pause() {
        guard let token else { return }
        try? loop.modify(token, [])
        loop.schedule(at: Clock.monotonic + Limits.pause) { [weak self] in
            guard let self, let token = self.token else { return }
            try? self.loop.modify(token, .readable)
        }
    }

    private func closeClient(_ id: ClientID) {
        guard let client = clients.removeValue(forKey: id) else { return }
        if let token = client.token { loop.unregister(token) }
    }

    private func handle(_ readiness: EventLoop.Readiness, _ id: ClientID) {
        guard let client = clients[id] else { return }
        if readiness.contains(.readable), !client.isFinished { receive(id, client) }
        guard clients[id] != nil else { return }
        if readiness.contains(.error) || (readiness.contains(.hangUp) && client.isFinished) { return closeClient(id) }
        flush(id, client)
    }

    private func receive(_ id: ClientID, _ client: Client) {
        for _ in 0..<Limits.readsPerWakeUp {
            let count = loop.receiveBuffer.read(
                { buffer in
                    let count = recv(client.descriptor.rawValue, buffer.baseAddress, buffer.count, 0)
                    return count < 0 ? Int(-errno) : count
                },
                { bytes in for index in bytes.indices { client.input.append(bytes[index]) } })
            if count < 0 {
                if count != -Int(EAGAIN), count != -Int(EINTR) { closeClient(id) }
                return
            }
            takeRequests(id, client)
            guard clients[id] != nil, !client.isFinished else { return }
            if count == 0 {
                client.isFinished = true
                return
            }
        }
    }

    /// Handles each full line; what follows the last newline waits for more.
    private func takeRequests(_ id: ClientID, _ client: Client) {
        var start = 0
        while let end = client.input[start...].firstIndex(of: UInt8(ascii: "\n")) {
            let line = start..<end
            start = end + 1
            guard line.count <= options.requestBytesMax else { return refuseLong(id, client) }
            guard !client.input[line].allSatisfy({ $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }) else { continue }
            do throws(JSONValue.ParseError) {
                let value = try JSONValue(parsing: client.input.span.extracting(line))
                client.promisedAnswers += 1
                if let answer = handler(Request(client: id, peer: client.peer, value: value)) {
                    self.answer(answer, to: id)
                }
            } catch {
                reply(["error": .string("the request is not JSON: \(error)")], id, client)
            }
            guard clients[id] != nil else { return }
        }
        client.input.removeFirst(start)
        if client.input.count > options.requestBytesMax { refuseLong(id, client) }
    }

    private func refuseLong(_ id: ClientID, _ client: Client) {
        client.input = []
        client.isFinished = true
        client.promisedAnswers = 0
        reply(["error": .string("a request is at most \(options.requestBytesMax) bytes long")], id, client)
    }

    private func flush(_ id: ClientID, _ client: Client) {
        while client.outputOffset < client.output.count {
            let count = client.output[client.outputOffset...].withUnsafeBytes {
                Glibc.send(client.descriptor.rawValue, $0.baseAddress, $0.count, noSignal)
            }
            if count < 0 {
                let code = Errno.last
                if code == .interrupted { continue }
                if code == .again { break }
                return closeClient(id)
            }
            client.outputOffset += count
        }
        if client.outputOffset == client.output.count {
            client.output = []
            client.outputOffset = 0
            if client.isFinished, client.promisedAnswers == 0 { return closeClient(id) }
        } else if client.output.count - client.outputOffset > options.answerBytesMax {
            return closeClient(id)
        } else if client.outputOffset >= 65_536 {
            client.output.removeFirst(client.outputOffset)
            client.outputOffset = 0
        }
        var interest: EventLoop.Interest = client.isFinished ? [] : .readable
        if !client.output.isEmpty { interest.insert(.writable) }
        guard let token = client.token else { return }
        do { try loop.modify(token, interest) } catch { closeClient(id) }
    }
}
