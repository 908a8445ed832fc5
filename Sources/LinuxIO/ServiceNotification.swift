import CLinux
import Glibc
import Primitives

/// Tells systemd how the service is doing (sd_notify(3)), without libsystemd; does nothing outside of it.
package final class ServiceNotification {
    package enum State: Equatable, Sendable {
        case ready, reloading, stopping, watchdog
        /// One line for `systemctl status`.
        case status(String)
    }

    private let socketPath: String?
    private let descriptor: OwnedDescriptor?
    private let socket: CInt?

    /// How often systemd expects `.watchdog` at the least; nil when it does not. Tell it twice as often.
    package let watchdogInterval: Duration?

    /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
    package convenience init() { self.init(environment: { getenv($0).map { String(cString: $0) } }) }

    init(environment: (String) -> String?) {
        socketPath = environment("NOTIFY_SOCKET").flatMap { $0.isEmpty ? nil : $0 }
        if socketPath != nil, let opened = try? openUnixSocket(.datagram) {
            socket = opened.rawValue
            descriptor = consume opened
        } else {
            socket = nil
            descriptor = nil
        }
        let isForUs = environment("WATCHDOG_PID").map { Int32($0) == getpid() } ?? true
        let microseconds = environment("WATCHDOG_USEC").flatMap { Int64($0) }.flatMap { $0 > 0 ? $0 : nil }
        watchdogInterval = isForUs ? microseconds.map { .microseconds($0) } : nil
    }

    package var isEnabled: Bool { socket != nil }

    /// false when systemd could not be told; there is nothing better to do about it than to log it.
    @discardableResult
    package func notify(_ states: State...) -> Bool {
        guard let socketPath, let socket else { return false }
        let text = Array(states.map(Self.lines).joined(separator: "\n").utf8)
        let count = try? withUnixAddress(socketPath) { address, size in
            sendto(socket, text, text.count, noSignal, address, size)
        }
        return count == text.count
    }

    private static func lines(_ state: State) -> String {
        switch state {
        case .ready: "READY=1"
        case .reloading: "RELOADING=1\nMONOTONIC_USEC=\(Clock.monotonic.nanoseconds / 1_000)"
        case .stopping: "STOPPING=1"
        case .watchdog: "WATCHDOG=1"
        case .status(let text): "STATUS=" + text.split(whereSeparator: \.isNewline).joined(separator: " ")
        }
    }
}
