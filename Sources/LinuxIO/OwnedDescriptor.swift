import Glibc

/// Owns one descriptor and closes it exactly once.
package struct OwnedDescriptor: ~Copyable {
    package let rawValue: CInt

    package init(owning rawValue: CInt) {
        precondition(rawValue >= 0, "owns a descriptor that was opened")
        self.rawValue = rawValue
    }

    deinit { _ = close(rawValue) }  // never retried: Linux frees the number even on EINTR

    /// Hands the descriptor to C (libbpf, libxdp), which closes it from now on.
    package consuming func release() -> CInt {
        let descriptor = rawValue
        discard self
        return descriptor
    }
}
