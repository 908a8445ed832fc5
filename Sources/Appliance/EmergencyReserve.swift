import Primitives

/// Which datagrams are read although their source's bucket is empty: INVITEs of phones that may be for help, so many a
/// second, as the kernel's shield keeps a reserve for them. What one really is, is decided when it has been parsed.
struct EmergencyReserve {
    /// As the kernel's reserve.
    static let perSecondMax = 20
    private static let requestURIEnd = 48

    private var start = MonotonicTime.zero
    private var used = 0

    /// Takes from the reserve what looks like a call for help.
    mutating func admits(_ datagram: Span<UInt8>, at now: MonotonicTime) -> Bool {
        guard Self.mayAskForHelp(datagram) else { return false }
        if now - start >= .seconds(1) { (start, used) = (now, 0) }
        used += 1
        return used <= Self.perSecondMax
    }

    /// An INVITE with 911, 112 or sos in front of the `@` of its Request-URI.
    static func mayAskForHelp(_ datagram: Span<UInt8>) -> Bool {
        let method: StaticString = "INVITE "
        guard datagram.count > requestURIEnd + 2 else { return false }
        for index in 0..<method.utf8CodeUnitCount where datagram[index] != method.utf8Start[index] { return false }
        for index in method.utf8CodeUnitCount..<requestURIEnd {
            if datagram[index] == UInt8(ascii: "@") { return false }
            switch (datagram[index], datagram[index + 1], datagram[index + 2]) {
            case (0x39, 0x31, 0x31), (0x31, 0x31, 0x32): return true  // 911, 112
            case (0x53, 0x4F, 0x53), (0x73, 0x6F, 0x73): return true  // SOS, sos
            default: continue
            }
        }
        return false
    }
}
