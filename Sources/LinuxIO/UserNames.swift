/// Names of the system's users, for lines that say who did something.
package enum UserNames {
    /// From `/etc/passwd` alone, so that it never waits for a directory service; `user 1001` for one it does not know.
    package static func name(of user: UInt32) -> String {
        let unknown = user == 0 ? "root" : "user \(user)"
        guard let bytes = try? Files.read("/etc/passwd", byteCountMax: 1 << 20) else { return unknown }
        for line in bytes.split(separator: 0x0A) {
            let fields = line.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            guard fields.count > 2, UInt32(String(decoding: fields[2], as: UTF8.self)) == user else { continue }
            return String(decoding: fields[0], as: UTF8.self)
        }
        return unknown
    }
}
