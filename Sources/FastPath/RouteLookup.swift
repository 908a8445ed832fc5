import Glibc
import Primitives

/// The program asks the kernel for routes as if from `lo`, like a packet of our own. The kernel answers only
/// where forwarding is enabled; on `lo` that opens nothing, since no packet to forward arrives there.
///
/// Anybody may take it back (`sysctl net.ipv4.ip_forward=0` does), so it is looked at before each new flow: the file
/// stays open for that.
struct RouteLookup: ~Copyable {
    private let family: IPAddress.Family
    /// -1: the kernel has no such family.
    private let reader: CInt

    init(_ family: IPAddress.Family) {
        self.family = family
        reader = open(Self.path(family), O_RDONLY | O_CLOEXEC)
    }

    deinit { if reader >= 0 { close(reader) } }

    private static func path(_ family: IPAddress.Family) -> String {
        "/proc/sys/net/ip\(family.rawValue)/conf/lo/forwarding"
    }

    /// Enables it unless it is.
    borrowing func permit() throws(FastPathError) {
        guard reader >= 0 else { return }
        var value = UInt8(ascii: "1")
        _ = pread(reader, &value, 1, 0)
        if value == UInt8(ascii: "1") { return }
        let path = Self.path(family)
        let writer = open(path, O_WRONLY | O_CLOEXEC)
        value = UInt8(ascii: "1")
        guard writer >= 0, write(writer, &value, 1) == 1 else {
            let code = errno
            if writer >= 0 { close(writer) }
            throw FastPathError(
                call: "open", object: path, code: code,
                detail:
                    "the kernel's route lookup needs net.ip\(family.rawValue).conf.lo.forwarding = 1; set it in sysctl.d"
            )
        }
        close(writer)
    }
}
