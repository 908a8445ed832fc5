import Primitives

/// The address of a resource: where a request goes, or whom a header field names.
package enum URI: Hashable, Sendable, CustomStringConvertible {
    /// `sip:` and `sips:` (RFC 3261 §19.1).
    case sip(SIPURI)
    /// `tel:` (RFC 3966).
    case tel(TelURI)
    /// Any other absolute URI, as text.
    case other(String)

    /// nil when `text` is not a URI, or is a malformed `sip:`, `sips:` or `tel:` one.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard let scanned = ScannedURI(bytes.span, 0..<bytes.count) else { return nil }
        self.init(bytes.span, scanned)
    }

    init(_ bytes: Span<UInt8>, _ scanned: ScannedURI) {
        switch scanned.kind {
        case .sip: self = .sip(SIPURI(bytes, scanned))
        case .tel: self = .tel(TelURI(bytes, scanned))
        case .other: self = .other(bytes.text(scanned.whole))
        }
    }

    package var text: String {
        switch self {
        case .sip(let uri): uri.text
        case .tel(let uri): uri.text
        case .other(let text): text
        }
    }

    func write(to text: inout String) {
        if case .sip(let uri) = self { uri.write(to: &text) } else { text += self.text }
    }

    package var description: String { text }

    /// Lower case, without the colon.
    package var scheme: String {
        switch self {
        case .sip(let uri): uri.isSecure ? "sips" : "sip"
        case .tel: "tel"
        case .other(let text): String(text.prefix { $0 != ":" }).lowercased()
        }
    }

    /// The SIP URI, nil for any other scheme.
    package var sip: SIPURI? {
        switch self {
        case .sip(let uri): uri
        case .tel, .other: nil
        }
    }

    /// Whether both name the same resource: RFC 3261 §19.1.4, RFC 3966 §4, else equal text.
    package func isEquivalent(to other: URI) -> Bool {
        switch (self, other) {
        case (.sip(let left), .sip(let right)): left.isEquivalent(to: right)
        case (.tel(let left), .tel(let right)): left.isEquivalent(to: right)
        default: self == other
        }
    }
}

/// Where the parts of a URI lie; every byte of it has been checked.
struct ScannedURI {
    enum Kind { case sip, tel, other }

    private(set) var kind: Kind
    private(set) var isSecure = false
    private(set) var port: UInt16?
    private var wholeRange: ByteRange
    private var userRange = ByteRange.none
    private var passwordRange = ByteRange.none
    private var hostRange = ByteRange.none
    private var parameterRange = ByteRange.none
    private var headerRange = ByteRange.none

    var whole: Range<Int> { wholeRange.range ?? 0..<0 }
    var user: Range<Int>? { userRange.range }
    var password: Range<Int>? { passwordRange.range }
    /// Also the number of a `tel:` URI; an IPv6 address with its brackets.
    var host: Range<Int> { hostRange.range ?? 0..<0 }
    var parameters: Range<Int> { parameterRange.range ?? 0..<0 }
    /// Behind the question mark.
    var headers: Range<Int>? { headerRange.range }

    /// nil when `range` is not exactly one well-formed URI.
    init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        wholeRange = ByteRange(range)
        kind = .other
        var index = range.lowerBound
        guard index < range.upperBound, ByteClass.isAlpha(bytes[index]) else { return nil }
        while index < range.upperBound, bytes[index] != UInt8(ascii: ":") {
            let byte = bytes[index]
            guard
                ByteClass.isAlphanumeric(byte) || byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
                    || byte == UInt8(ascii: ".")
            else { return nil }
            index += 1
        }
        guard index < range.upperBound else { return nil }
        let scheme = range.lowerBound..<index
        let rest = (index + 1)..<range.upperBound
        let folded = bytes.folded(scheme)
        if folded == FoldedWord.sip || folded == FoldedWord.sips {
            kind = .sip
            isSecure = folded == FoldedWord.sips
            guard scanSIP(bytes, rest) else { return nil }
        } else if folded == FoldedWord.tel {
            kind = .tel
            guard scanTel(bytes, rest) else { return nil }
        } else {
            guard !rest.isEmpty, Self.isEscaped(bytes, rest, ByteClass.isURI) else { return nil }
        }
    }

    private mutating func scanSIP(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var index = range.lowerBound
        if let at = bytes.firstOffset(of: UInt8(ascii: "@"), in: range) {
            let colon = bytes.firstOffset(of: UInt8(ascii: ":"), in: range.lowerBound..<at) ?? at
            let user = range.lowerBound..<colon
            guard !user.isEmpty, Self.isEscaped(bytes, user, ByteClass.isReceivedUser) else { return false }
            userRange = ByteRange(user)
            if colon < at {
                let password = (colon + 1)..<at
                guard Self.isEscaped(bytes, password, ByteClass.isPassword) else { return false }
                passwordRange = ByteRange(password)
            }
            index = at + 1
        }
        guard let hostEnd = SIPHost.end(bytes, index, range.upperBound) else { return false }
        hostRange = ByteRange(index..<hostEnd)
        index = hostEnd
        if index < range.upperBound, bytes[index] == UInt8(ascii: ":") {
            let start = index + 1
            index = start
            while index < range.upperBound, ByteClass.isDigit(bytes[index]) { index += 1 }
            guard let number = bytes.decimal(start..<index, maximum: 65_535) else { return false }
            port = UInt16(number)
        }
        let question = bytes.firstOffset(of: UInt8(ascii: "?"), in: index..<range.upperBound) ?? range.upperBound
        parameterRange = ByteRange(index..<question)
        var cursor = ParameterCursor(index..<question)
        while cursor.nextInURI(bytes) != nil {}
        guard !cursor.isMalformed else { return false }
        index = question
        if index < range.upperBound {
            let headers = (index + 1)..<range.upperBound
            guard !headers.isEmpty, Self.isEscaped(bytes, headers, ByteClass.isURIHeader) else { return false }
            headerRange = ByteRange(headers)
        }
        return true
    }

    private mutating func scanTel(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var index = range.lowerBound
        var digitCount = 0
        let isGlobal = index < range.upperBound && bytes[index] == UInt8(ascii: "+")
        if isGlobal { index += 1 }
        while index < range.upperBound, bytes[index] != UInt8(ascii: ";") {
            switch bytes[index] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digitCount += 1
            case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "("), UInt8(ascii: ")"): break
            case UInt8(ascii: "*"), UInt8(ascii: "#"):
                guard !isGlobal else { return false }
                digitCount += 1
            case let byte where ByteClass.isHex(byte):
                guard !isGlobal else { return false }
                digitCount += 1
            default: return false
            }
            index += 1
        }
        guard digitCount > 0 else { return false }
        hostRange = ByteRange(range.lowerBound..<index)
        var cursor = ParameterCursor(index..<range.upperBound)
        while cursor.nextInURI(bytes) != nil {}
        parameterRange = ByteRange(index..<range.upperBound)
        return !cursor.isMalformed
    }

    private static func isEscaped(_ bytes: Span<UInt8>, _ range: Range<Int>, _ isAllowed: (UInt8) -> Bool) -> Bool {
        var index = range.lowerBound
        while index < range.upperBound {
            if bytes[index] == UInt8(ascii: "%") {
                guard index + 2 < range.upperBound, ByteClass.isHex(bytes[index + 1]),
                    ByteClass.isHex(bytes[index + 2])
                else { return false }
                index += 3
            } else {
                guard isAllowed(bytes[index]) else { return false }
                index += 1
            }
        }
        return true
    }
}

/// The host of a SIP URI or a Via: an address or a name.
package enum SIPHost: Hashable, Sendable, CustomStringConvertible {
    case address(IPAddress)
    /// As received; compared without case by `isEquivalent`.
    case name(String)

    /// nil when `text` is neither; IPv6 with or without brackets.
    package init?(_ text: String) {
        if let address = Self.address(text) {
            self = .address(address)
            return
        }
        let bytes = Array(text.utf8)
        guard Self.end(bytes.span, 0, bytes.count) == bytes.count else { return nil }
        self = .name(text)
    }

    init(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        if let word = bytes.ipv4(range) {
            self = .address(.v4(word))
        } else {
            let text = bytes.text(range)
            if text.utf8.first == UInt8(ascii: "["), let address = Self.address(text) {
                self = .address(address)
            } else {
                self = .name(text)
            }
        }
    }

    package var text: String {
        switch self {
        case .address(let address): address.uriHost
        case .name(let name): name
        }
    }

    package var description: String { text }

    package var address: IPAddress? {
        switch self {
        case .address(let address): address
        case .name: nil
        }
    }

    package func isEquivalent(to other: SIPHost) -> Bool {
        switch (self, other) {
        case (.address(let left), .address(let right)): left == right
        case (.name(let left), .name(let right)): SIPGrammar.isSame(left, right)
        case (.address, .name), (.name, .address): false
        }
    }

    /// The offset behind the host that starts at `offset`; nil when there is none.
    static func end(_ bytes: Span<UInt8>, _ offset: Int, _ end: Int) -> Int? {
        guard offset < end else { return nil }
        var index = offset
        if bytes[index] == UInt8(ascii: "[") {
            guard let close = bytes.firstOffset(of: UInt8(ascii: "]"), in: index..<min(end, index + 48)) else {
                return nil
            }
            guard address(bytes.text(index..<(close + 1))) != nil else { return nil }
            return close + 1
        }
        while index < end, ByteClass.isHostName(bytes[index]) { index += 1 }
        guard index > offset, ByteClass.isAlphanumeric(bytes[offset]) || bytes[offset] == UInt8(ascii: "_") else {
            return nil
        }
        return index
    }

    /// An address; also with the third colon that RFC 3261's grammar put before an embedded IPv4 address and that
    /// RFC 5118 §4.10 wants tolerated.
    private static func address(_ text: String) -> IPAddress? {
        if let address = IPAddress(text) { return address }
        let bytes = Array(text.utf8)
        let colon = UInt8(ascii: ":")
        guard let last = bytes.lastIndex(of: colon), last >= 2, bytes[last - 1] == colon, bytes[last - 2] == colon,
            bytes[last...].contains(UInt8(ascii: "."))
        else { return nil }
        return IPAddress(String(decoding: bytes[..<last] + bytes[(last + 1)...], as: UTF8.self))
    }
}
