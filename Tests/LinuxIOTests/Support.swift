import Glibc
import Primitives

@testable import LinuxIO

let v4Loopback = IPAddress.v4(0x7F00_0001)
let v6Loopback = IPAddress.v6(0, 1)

extension EventLoop {
    /// Runs until the condition holds or the time is over; whether it held.
    func run(for limit: Duration = .seconds(5), until condition: () -> Bool) throws -> Bool {
        let deadline = Clock.monotonic + limit
        while !condition() {
            guard Clock.monotonic < deadline else { return false }
            try runOnce(deadline: deadline)
        }
        return true
    }

    /// Runs for a while, to see that something does not happen.
    func settle(_ time: Duration = .milliseconds(30)) throws {
        let deadline = Clock.monotonic + time
        while Clock.monotonic < deadline { try runOnce(deadline: deadline) }
    }
}

func array(_ bytes: Span<UInt8>) -> [UInt8] {
    var copy: [UInt8] = []
    copy.reserveCapacity(bytes.count)
    for index in bytes.indices { copy.append(bytes[index]) }
    return copy
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
