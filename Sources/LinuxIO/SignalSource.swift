import CLinux
import Glibc

/// Signals as events of the loop (signalfd).
package final class SignalSource {
    package enum Signal: Hashable, Sendable, CaseIterable {
        /// End orderly: SIGTERM and SIGINT.
        case terminate, interrupt
        /// Read the configuration again: SIGHUP.
        case hangUp

        var number: CInt {
            switch self {
            case .terminate: SIGTERM
            case .interrupt: SIGINT
            case .hangUp: SIGHUP
            }
        }
    }

    private let loop: EventLoop
    private let descriptor: OwnedDescriptor
    private var token: EventLoop.Token?

    /// Blocks the signals for the calling thread and those it starts from now on: create it before any other thread.
    package init(
        _ signals: Set<Signal>, loop: EventLoop, handler: @escaping (Signal) -> Void
    ) throws(SystemCallError) {
        var mask = sigset_t()
        sigemptyset(&mask)
        for signal in signals { sigaddset(&mask, signal.number) }
        let blocked = pthread_sigmask(SIG_BLOCK, &mask, nil)
        guard blocked == 0 else { throw SystemCallError(call: "pthread_sigmask", code: Errno(rawValue: blocked)) }
        let flags = CInt(SFD_NONBLOCK | SFD_CLOEXEC)
        descriptor = OwnedDescriptor(owning: try check(signalfd(-1, &mask, flags), "signalfd"))
        self.loop = loop
        let number = descriptor.rawValue
        token = try loop.register(number, .readable) { _ in
            while case let number = clinux_read_signal(number), number > 0 {
                if let signal = Signal.allCases.first(where: { $0.number == number }) { handler(signal) }
            }
        }
    }

    deinit { if let token { loop.unregister(token) } }

    /// A peer that closed its socket must not end us: writing to it then fails with EPIPE.
    package static func ignoreBrokenPipes() { _ = signal(SIGPIPE, SIG_IGN) }
}
