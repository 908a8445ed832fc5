// receive-benchmark WAY INTERFACE ADDRESS NETNS FILE: receives SIP at port 5060 of an IPv4 address and parses each
// message, until its input ends. For each line of input it prints how many came; for "turns COUNT" it first sends FILE's
// bytes from the network namespace NETNS and receives them, sixteen and sixteen, COUNT messages on this one thread, and
// prints the nanoseconds per message of sending, with what the stack does at once, and of receiving. WAY:
//   socket    as cressetd: epoll, UDPSocket, recvmmsg of eight
//   recvmmsg  nothing around it: poll, recvmmsg of 32 until the socket is empty
//   ring      as cressetd with `signalling.receive = "ring"`: epoll, SignallingRing beside the socket
//   refuse    the socket refuses everything: what the stack costs without a reader
import CLinux
import CNamespaces
import FastPath
import Glibc
import LinuxIO
import Primitives
import SignallingFormats

@inline(never) @_optimize(none)
func blackHole<Value>(_ value: Value) {}

func fail(_ text: String) -> Never {
    print("receive-benchmark: \(text)")
    exit(1)
}

func cpuNanoseconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return Double(now.tv_sec) * 1e9 + Double(now.tv_nsec)
}

final class Receiver {
    private static let receiveBufferBytes = 4 << 20  // as SignallingTransports
    private static let datagramsPerWakeUp = 32  // as RingReception
    private static let turn = 16

    private let endpoint: TransportAddress
    private let isDeaf: Bool
    private var count = 0
    private var turnsWanted = 0
    /// Waits for one batch of whatever comes.
    private var wait: () throws -> Void = {}

    init(_ way: String, _ interface: String, _ endpoint: TransportAddress) throws {
        self.endpoint = endpoint
        isDeaf = way == "refuse"
        if way == "recvmmsg" { openBare() } else { try open(way, interface) }
    }

    private func open(_ way: String, _ interface: String) throws {
        let loop = try EventLoop()
        var options = UDPSocket.Options()
        options.receiveBufferBytes = Self.receiveBufferBytes
        let socket = try UDPSocket(binding: endpoint, options: options, loop: loop)
        socket.onDatagram = { self.parse($0, $1) }
        switch way {
        case "socket": break
        case "refuse": try socket.setFilter(PacketFilter([.init(0x06, 0)]))
        case "ring":
            let ring = try SignallingRing(interface: interface, endpoint: endpoint, mtu: 1500)
            _ = try loop.register(ring.descriptor, .readable) { _ in
                _ = ring.receive(limit: Self.datagramsPerWakeUp) { self.parse($0, $1) }
            }
            try socket.setFilter(ring.filter.socket)
        default: fail("there is no way “\(way)”")
        }
        _ = try loop.register(0, .readable) { _ in self.answer() }
        wait = {
            _ = try loop.runOnce(deadline: nil)
            withExtendedLifetime(socket) {}
        }
    }

    private func openBare() {
        guard case .v4(let word) = endpoint.address else { fail("IPv4 only") }
        let socket = Glibc.socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0)
        var bytes = CInt(Self.receiveBufferBytes)
        setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<CInt>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = endpoint.port.bigEndian
        address.sin_addr.s_addr = word.bigEndian
        let result = withUnsafePointer(to: &address) {  // lives in this function
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { fail("bind: \(String(cString: strerror(errno)))") }
        let (slotByteCount, slotCount) = (65_536, 32)
        // Both until the process ends.
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: slotByteCount * slotCount)
        let datagrams = UnsafeMutablePointer<clinux_datagram>.allocate(capacity: slotCount)
        var waiting = [
            pollfd(fd: socket, events: Int16(POLLIN), revents: 0), pollfd(fd: 0, events: Int16(POLLIN), revents: 0),
        ]
        wait = {
            _ = poll(&waiting, 2, -1)
            if waiting[1].revents != 0 { self.answer() }
            guard waiting[0].revents != 0 else { return }
            var received = slotCount
            while received == slotCount {
                received = Int(clinux_receive_batch(socket, memory, slotByteCount, datagrams, UInt32(slotCount)))
                for index in 0..<max(0, received) {
                    let start = memory + index * slotByteCount
                    self.parse(
                        UnsafeBufferPointer(start: start, count: datagrams[index].byte_count).span, self.endpoint)
                }
            }
        }
    }

    private func parse(_ bytes: Span<UInt8>, _ source: TransportAddress) {
        guard let message = try? SIPMessage(parsing: bytes) else { return }
        blackHole((message.topVia, source))
        count += 1
    }

    /// Answers one line of input; ends the process with the input.
    private func answer() {
        var line = [UInt8](repeating: 0, count: 64)
        let byteCount = read(0, &line, line.count)
        guard byteCount > 0 else { exit(0) }
        let words = String(decoding: line[..<byteCount], as: UTF8.self).split { $0 == " " || $0 == "\n" }
        guard words.first == "turns", let wanted = words.last.flatMap({ Int($0) }) else { return say("\(count)") }
        turnsWanted = wanted
    }

    private func say(_ text: String) {
        print(text)
        fflush(nil)
    }

    /// `sender`: where it sends from, in a namespace of its own.
    func run(_ sender: UDPSocket, _ message: [UInt8]) throws -> Never {
        say("ready")
        while true {
            try wait()
            guard turnsWanted > 0 else { continue }
            var (sending, receiving) = (0.0, 0.0)
            for _ in 0..<turnsWanted / Self.turn {
                let wanted = count + Self.turn
                let began = cpuNanoseconds()
                for _ in 0..<Self.turn {
                    guard sender.send(message.span, to: endpoint) == .sent else { fail("sending failed") }
                }
                let sent = cpuNanoseconds()
                while !isDeaf, count < wanted { try wait() }
                sending += sent - began
                receiving += cpuNanoseconds() - sent
            }
            let messages = Double(turnsWanted / Self.turn * Self.turn)
            say("\(Int(sending / messages)) \(Int(receiving / messages))")
            turnsWanted = 0
        }
    }
}

/// A socket on port 5060 in another namespace; the thread comes back.
func openSender(in namespace: String, _ loop: EventLoop) throws -> UDPSocket {
    let there = open("/run/netns/\(namespace)", O_RDONLY | O_CLOEXEC)
    let home = namespace_enter(there)
    guard home >= 0 else { fail("\(namespace): \(String(cString: strerror(-home)))") }
    defer {
        close(namespace_enter(home))
        close(home)
        close(there)
    }
    return try UDPSocket(binding: TransportAddress(.v4(0), 5060), loop: loop)
}

let arguments = CommandLine.arguments
guard arguments.count == 6, let address = IPAddress(arguments[3]), let file = fopen(arguments[5], "rb") else {
    fail("usage: receive-benchmark socket|recvmmsg|ring|refuse INTERFACE ADDRESS NETNS FILE")
}
var message = [UInt8](repeating: 0, count: 65_536)
message.removeLast(65_536 - fread(&message, 1, message.count, file))
do {
    let sender = try openSender(in: arguments[4], EventLoop())
    try Receiver(arguments[1], arguments[2], TransportAddress(address, 5060)).run(sender, message)
} catch {
    fail("\(error)")
}
