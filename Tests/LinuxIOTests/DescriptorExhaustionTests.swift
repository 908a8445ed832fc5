import Glibc
import Primitives
import Testing

@testable import LinuxIO

@Suite("No descriptor left")
struct DescriptorExhaustionTests {
    /// Runs in a process of its own, since the limit and the waste concern the whole process.
    @Test("the listener refuses at once, does not spin, and accepts again when there is room")
    func exhaustion() async {
        await #expect(processExitsWith: .success) {
            let loop = try EventLoop()
            let address = TransportAddress(.v4(0x7F00_0001), 0)
            let listener = try TCPListener(binding: address, loop: loop)
            var kept: [TCPConnection] = []
            listener.onConnection = { kept.append($0) }
            var waste: [OwnedDescriptorBox] = []
            // One socket short of everything: the client of this test takes the last descriptor.
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            limit.rlim_cur = 128
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            while case let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC), descriptor >= 0 {
                waste.append(OwnedDescriptorBox(descriptor))
            }
            guard errno == EMFILE, waste.count > 2 else { exit(2) }
            waste.removeLast()
            var events: [TCPConnection.Event] = []
            let client = try TCPConnection(connecting: listener.localAddress, loop: loop)
            client.onEvent = { events.append($0) }
            let start = Clock.monotonic
            var turns = 0
            while Clock.monotonic < start + .milliseconds(300) {
                turns += 1
                try loop.runOnce(deadline: start + .milliseconds(300))
            }
            guard events.last == .closed(.failed(.connectionReset)) else { exit(3) }
            guard listener.counters.refusedDescriptors == 1, kept.isEmpty else { exit(4) }
            guard turns < 20 else { exit(5) }
            waste.removeAll()
            let second = try TCPConnection(connecting: listener.localAddress, loop: loop)
            guard try loop.run(until: { kept.count == 1 && second.isOpen }) else { exit(6) }
            exit(0)
        }
    }
}

/// A descriptor in an array, which takes no noncopyable elements.
final class OwnedDescriptorBox {
    let descriptor: OwnedDescriptor
    init(_ rawValue: CInt) { descriptor = OwnedDescriptor(owning: rawValue) }
}
