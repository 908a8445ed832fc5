import Primitives

/// The transport named in a Via (RFC 3261 §20.42).
package enum SIPTransport: Hashable, Sendable, CustomStringConvertible {
    case udp, tcp, tls
    /// Any other, in upper case.
    case other(String)

    /// Compared without case.
    package init(_ text: String) {
        let upper = text.uppercased()
        switch upper {
        case "UDP": self = .udp
        case "TCP": self = .tcp
        case "TLS": self = .tls
        default: self = .other(upper)
        }
    }

    /// As in a Via: `UDP`.
    package var text: String {
        switch self {
        case .udp: "UDP"
        case .tcp: "TCP"
        case .tls: "TLS"
        case .other(let name): name
        }
    }

    package var description: String { text }
    package var isReliable: Bool { self != .udp }
}

/// One hop of a message's way: the Via header field (RFC 3261 §20.42, RFC 3581).
package struct Via: Hashable, Sendable, CustomStringConvertible {
    /// Name and version: `SIP/2.0`.
    package var sentProtocol: String
    package var transport: SIPTransport
    package var host: SIPHost
    package var port: UInt16?
    package var parameters: SIPParameters

    package init(
        transport: SIPTransport, host: SIPHost, port: UInt16? = nil, parameters: SIPParameters = SIPParameters()
    ) {
        sentProtocol = "SIP/2.0"
        self.transport = transport
        self.host = host
        self.port = port
        self.parameters = parameters
    }

    /// One element, `SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1`; nil when malformed.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard let scanned = ScannedVia(bytes.span, 0..<bytes.count) else { return nil }
        self.init(bytes.span, scanned)
    }

    init(_ bytes: Span<UInt8>, _ scanned: ScannedVia) {
        sentProtocol =
            scanned.isSIP2 ? "SIP/2.0" : "\(bytes.text(scanned.name))/\(bytes.text(scanned.version))"
        transport =
            switch bytes.folded(scanned.transport) {
            case FoldedWord.udp: .udp
            case FoldedWord.tcp: .tcp
            case FoldedWord.tls: .tls
            default: SIPTransport(bytes.text(scanned.transport))
            }
        host = SIPHost(bytes, scanned.host)
        port = scanned.port
        parameters = SIPParameters(bytes, scanned.parameters, inURI: false)
    }

    package static let branchCookie = "z9hG4bK"

    /// The transaction's identifier; nil from RFC 2543 peers.
    package var branch: String? {
        get { parameters.value("branch") }
        set {
            if let newValue { parameters.set("branch", newValue) } else { parameters.remove("branch") }
        }
    }

    /// Where the message came from, if a server noted it; IPv6 with or without brackets (RFC 5118 §4.5).
    package var received: IPAddress? {
        get { parameters.value("received").flatMap { IPAddress($0) } }
        set {
            if let newValue { parameters.set("received", newValue.description) } else { parameters.remove("received") }
        }
    }

    /// Whether the sender asks for, or a server noted, the source port (RFC 3581).
    package var hasRport: Bool { parameters.has("rport") }

    package var rport: UInt16? {
        get { parameters.value("rport").flatMap { UInt16($0) } }
        set {
            if let newValue { parameters.set("rport", String(newValue)) } else { parameters.remove("rport") }
        }
    }

    package var text: String {
        var text = ""
        text.reserveCapacity(96)
        text += sentProtocol
        text += "/"
        text += transport.text
        text += " "
        text += host.text
        if let port {
            text += ":"
            text += String(port)
        }
        text += parameters.text
        return text
    }

    package var description: String { text }
}

/// Where the parts of one Via element lie.
struct ScannedVia {
    let port: UInt16?
    /// Name and version are those of SIP/2.0.
    let isSIP2: Bool
    private let nameRange: ByteRange
    private let versionRange: ByteRange
    private let transportRange: ByteRange
    private let hostRange: ByteRange
    private let parameterRange: ByteRange

    var name: Range<Int> { nameRange.range ?? 0..<0 }
    var version: Range<Int> { versionRange.range ?? 0..<0 }
    var transport: Range<Int> { transportRange.range ?? 0..<0 }
    var host: Range<Int> { hostRange.range ?? 0..<0 }
    var parameters: Range<Int> { parameterRange.range ?? 0..<0 }

    /// nil when `range` is not exactly one well-formed element.
    init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        let end = range.upperBound
        var index = bytes.skippingWhitespace(range.lowerBound, end)
        guard let name = Self.token(bytes, &index, end),
            Self.separator(UInt8(ascii: "/"), bytes, &index, end),
            let version = Self.token(bytes, &index, end),
            Self.separator(UInt8(ascii: "/"), bytes, &index, end),
            let transport = Self.token(bytes, &index, end)
        else { return nil }
        nameRange = ByteRange(name)
        versionRange = ByteRange(version)
        transportRange = ByteRange(transport)
        isSIP2 = bytes.folded(name) == FoldedWord.sip && bytes.folded(version) == FoldedWord.version2
        let hostStart = bytes.skippingWhitespace(index, end)
        guard hostStart > index, let hostEnd = SIPHost.end(bytes, hostStart, end) else { return nil }
        hostRange = ByteRange(hostStart..<hostEnd)
        index = hostEnd
        if Self.separator(UInt8(ascii: ":"), bytes, &index, end) {
            let start = index
            while index < end, ByteClass.isDigit(bytes[index]) { index += 1 }
            guard let number = bytes.decimal(start..<index, maximum: 65_535) else { return nil }
            port = UInt16(number)
        } else {
            port = nil
        }
        parameterRange = ByteRange(index..<end)
        guard SIPGrammar.areParameters(bytes, index..<end) else { return nil }
    }

    private static func token(_ bytes: Span<UInt8>, _ index: inout Int, _ end: Int) -> Range<Int>? {
        let start = index
        while index < end, ByteClass.isToken(bytes[index]) { index += 1 }
        return index > start ? start..<index : nil
    }

    /// Steps over `separator` and the white space around it; false, and no step, when it is not next.
    private static func separator(_ byte: UInt8, _ bytes: Span<UInt8>, _ index: inout Int, _ end: Int) -> Bool {
        let position = bytes.skippingWhitespace(index, end)
        guard position < end, bytes[position] == byte else { return false }
        index = bytes.skippingWhitespace(position + 1, end)
        return true
    }
}
