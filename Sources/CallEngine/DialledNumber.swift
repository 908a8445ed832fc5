/// Numbers as people and peers write them, made comparable.
package enum DialledNumber {
    /// Visual separators removed (RFC 3966 §5.1.1), parameters cut; nil when something else than digits, `*`, `#`
    /// or a leading `+` remains.
    package static func normalized(_ user: String) -> String? {
        var bytes: [UInt8] = []
        for byte in user.utf8.prefix(while: { $0 != UInt8(ascii: ";") }) {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "*"), UInt8(ascii: "#"): bytes.append(byte)
            case UInt8(ascii: "+") where bytes.isEmpty: bytes.append(byte)
            case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: " "): break
            default: return nil
            }
        }
        guard bytes.contains(where: { $0 != UInt8(ascii: "+") }), bytes.count <= 64 else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The entry for a called number, the leading `+` being optional on either side.
    package static func lookUp<Value>(_ number: String, in table: [String: Value]) -> Value? {
        if let exact = table[number] { return exact }
        return number.hasPrefix("+") ? table[String(number.dropFirst())] : table["+" + number]
    }
}
