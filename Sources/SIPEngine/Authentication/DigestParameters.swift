/// The parameters of a `Digest` challenge or of credentials (RFC 7616 §3.3, §3.4; RFC 3261 §25.1).
struct DigestParameters: Equatable, Sendable {
    /// Names in lower case, values without quotes and backslashes, in order; the first of equal names counts.
    private(set) var all: [(name: String, value: String)] = []

    static func == (left: Self, right: Self) -> Bool { left.all.elementsEqual(right.all, by: ==) }

    subscript(name: String) -> String? { all.first { $0.name == name }?.value }

    /// nil when `text` is no Digest field or is malformed: each parameter is `name=token` or `name="…"`.
    init?(_ text: String) {
        let bytes = Array(text.utf8)
        let scheme = Array("digest".utf8)
        guard bytes.count > scheme.count, bytes.prefix(scheme.count).map({ $0 | 0x20 }) == scheme else { return nil }
        var index = scheme.count
        func skipSpace() { while index < bytes.count, bytes[index] == 0x20 || bytes[index] == 0x09 { index += 1 } }
        guard bytes[index] == 0x20 || bytes[index] == 0x09 else { return nil }
        while true {
            skipSpace()
            guard index < bytes.count else { break }
            if bytes[index] == UInt8(ascii: ",") {
                index += 1
                continue
            }
            let start = index
            while index < bytes.count, ![0x3D, 0x2C, 0x20, 0x09, 0x22].contains(bytes[index]) { index += 1 }
            let name = String(decoding: bytes[start..<index], as: UTF8.self).lowercased()
            skipSpace()
            guard !name.isEmpty, index < bytes.count, bytes[index] == UInt8(ascii: "=") else { return nil }
            index += 1
            skipSpace()
            guard index < bytes.count else { return nil }
            var value: [UInt8] = []
            if bytes[index] == UInt8(ascii: "\"") {
                index += 1
                while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
                    if bytes[index] == UInt8(ascii: "\\") { index += 1 }
                    guard index < bytes.count else { return nil }
                    value.append(bytes[index])
                    index += 1
                }
                guard index < bytes.count else { return nil }
                index += 1
            } else {
                while index < bytes.count, ![0x2C, 0x20, 0x09].contains(bytes[index]) {
                    value.append(bytes[index])
                    index += 1
                }
            }
            guard all.count < 32 else { return nil }
            all.append((name, String(decoding: value, as: UTF8.self)))
            skipSpace()
            guard index == bytes.count || bytes[index] == UInt8(ascii: ",") else { return nil }
        }
    }

    /// With quotes, `"` and `\` escaped.
    static func quoted(_ text: String) -> String {
        var quoted = "\""
        for character in text.unicodeScalars {
            if character == "\"" || character == "\\" { quoted.unicodeScalars.append("\\") }
            quoted.unicodeScalars.append(character)
        }
        return quoted + "\""
    }
}
