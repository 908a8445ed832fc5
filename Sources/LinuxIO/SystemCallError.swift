import Glibc

/// The reason the kernel gives for a failed call.
package struct Errno: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: CInt

    package init(rawValue: CInt) { self.rawValue = rawValue }

    /// The reason of the call that failed just before, on this thread.
    package static var last: Errno { Errno(rawValue: errno) }

    package static let again = Errno(rawValue: EAGAIN)
    package static let interrupted = Errno(rawValue: EINTR)
    package static let addressInUse = Errno(rawValue: EADDRINUSE)
    package static let addressNotAvailable = Errno(rawValue: EADDRNOTAVAIL)
    package static let messageTooLong = Errno(rawValue: EMSGSIZE)
    package static let noBufferSpace = Errno(rawValue: ENOBUFS)
    package static let connectionRefused = Errno(rawValue: ECONNREFUSED)
    package static let connectionReset = Errno(rawValue: ECONNRESET)
    package static let hostUnreachable = Errno(rawValue: EHOSTUNREACH)
    package static let networkUnreachable = Errno(rawValue: ENETUNREACH)
    package static let brokenPipe = Errno(rawValue: EPIPE)
    package static let noSuchFile = Errno(rawValue: ENOENT)
    package static let noSuchDevice = Errno(rawValue: ENODEV)
    package static let permissionDenied = Errno(rawValue: EACCES)
    package static let invalidArgument = Errno(rawValue: EINVAL)
    package static let notConnected = Errno(rawValue: ENOTCONN)
    package static let timedOut = Errno(rawValue: ETIMEDOUT)
    package static let nameTooLong = Errno(rawValue: ENAMETOOLONG)
    package static let noSpace = Errno(rawValue: ENOSPC)
    package static let quotaExceeded = Errno(rawValue: EDQUOT)
    package static let fileTooLarge = Errno(rawValue: EFBIG)
    package static let tooManyOpenFiles = Errno(rawValue: EMFILE)
    package static let tooManyOpenFilesInSystem = Errno(rawValue: ENFILE)
    package static let outOfMemory = Errno(rawValue: ENOMEM)
    package static let badDescriptor = Errno(rawValue: EBADF)

    /// The C library's sentence, `Address already in use`.
    package var description: String { String(cString: strerror(rawValue)) }
}

/// A system call that failed: which, why, and on what.
package struct SystemCallError: Error, Equatable, Sendable, CustomStringConvertible {
    package let call: String
    package let code: Errno
    /// The address, path or interface concerned; empty when there is none.
    package let context: String

    package init(call: String, code: Errno, context: String = "") {
        self.call = call
        self.code = code
        self.context = context
    }

    /// `bind 192.0.2.1:5060: Address already in use`
    package var description: String { "\(call)\(context.isEmpty ? "" : " " + context): \(code)" }
}

/// Passes a result on, or throws when it is negative; the errno is read before anything else runs.
@inline(__always)
func check(_ result: CInt, _ call: String, _ context: @autoclosure () -> String = "") throws(SystemCallError) -> CInt {
    if result < 0 {
        let code = Errno.last
        throw SystemCallError(call: call, code: code, context: context())
    }
    return result
}
