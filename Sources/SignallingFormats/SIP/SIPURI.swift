import Primitives

/// A `sip:` or `sips:` URI (RFC 3261 §19.1); the escapes of user and password are kept as received.
package struct SIPURI: Hashable, Sendable, CustomStringConvertible {
    package var isSecure: Bool
    /// As on the wire, `%XX` unresolved.
    package private(set) var escapedUser: String?
    package private(set) var escapedPassword: String?
    package var host: SIPHost
    package var port: UInt16?
    package var parameters: SIPParameters { didSet { parameters.isInURI = true } }
    /// What stands behind the question mark, as on the wire.
    package var headers: String?

    package init(
        isSecure: Bool = false, user: String? = nil, password: String? = nil, host: SIPHost, port: UInt16? = nil,
        parameters: SIPParameters = SIPParameters(), headers: String? = nil
    ) {
        self.isSecure = isSecure
        self.host = host
        self.port = port
        self.parameters = parameters
        self.parameters.isInURI = true
        self.headers = headers
        self.user = user
        self.password = password
    }

    init(_ bytes: Span<UInt8>, _ scanned: ScannedURI) {
        isSecure = scanned.isSecure
        escapedUser = scanned.user.map { bytes.text($0) }
        escapedPassword = scanned.password.map { bytes.text($0) }
        host = SIPHost(bytes, scanned.host)
        port = scanned.port
        parameters = SIPParameters(bytes, scanned.parameters, inURI: true)
        headers = scanned.headers.map { bytes.text($0) }
    }

    /// nil unless `text` is a well-formed SIP or SIPS URI.
    package init?(_ text: String) {
        guard case .sip(let uri)? = URI(text) else { return nil }
        self = uri
    }

    /// The user with its escapes resolved.
    package var user: String? {
        get { escapedUser.map(SIPGrammar.percentDecoded) }
        set { escapedUser = newValue.map { SIPGrammar.percentEncoded($0, isAllowed: ByteClass.isUser) } }
    }

    /// The password with its escapes resolved.
    package var password: String? {
        get { escapedPassword.map(SIPGrammar.percentDecoded) }
        set { escapedPassword = newValue.map { SIPGrammar.percentEncoded($0, isAllowed: ByteClass.isPassword) } }
    }

    package var text: String {
        var text = ""
        text.reserveCapacity(64)
        write(to: &text)
        return text
    }

    func write(to text: inout String) {
        text += isSecure ? "sips:" : "sip:"
        if let escapedUser {
            text += escapedUser
            if let escapedPassword { text += ":" + escapedPassword }
            text += "@"
        }
        text += host.text
        if let port {
            text += ":"
            text += String(port)
        }
        text += parameters.text
        if let headers { text += "?" + headers }
    }

    package var description: String { text }

    /// Whether both URIs name the same resource (RFC 3261 §19.1.4).
    package func isEquivalent(to other: SIPURI) -> Bool {
        guard isSecure == other.isSecure, user == other.user, password == other.password,
            host.isEquivalent(to: other.host), port == other.port
        else { return false }
        let names = (parameters.all + other.parameters.all).map { SIPGrammar.percentDecoded($0.name).lowercased() }
        for name in Set(names) {
            let left = parameters.has(name) ? parameters.value(name) ?? "" : nil
            let right = other.parameters.has(name) ? other.parameters.value(name) ?? "" : nil
            if let left, let right {
                guard SIPGrammar.isSame(left, right) else { return false }
            } else if ["user", "ttl", "method", "maddr", "transport"].contains(name) {
                return false
            }
        }
        return Self.headerSet(headers) == Self.headerSet(other.headers)
    }

    private static func headerSet(_ headers: String?) -> Set<String> {
        Set((headers ?? "").split(separator: "&").map { SIPGrammar.percentDecoded(String($0)).lowercased() })
    }
}

/// A `tel:` URI (RFC 3966).
package struct TelURI: Hashable, Sendable, CustomStringConvertible {
    /// As received, with its visual separators: `+1-313-555-0101`, or a local number.
    package var number: String
    package var parameters: SIPParameters { didSet { parameters.isInURI = true } }

    package init(number: String, parameters: SIPParameters = SIPParameters()) {
        self.number = number
        self.parameters = parameters
        self.parameters.isInURI = true
    }

    init(_ bytes: Span<UInt8>, _ scanned: ScannedURI) {
        number = bytes.text(scanned.host)
        parameters = SIPParameters(bytes, scanned.parameters, inURI: true)
    }

    /// The number without visual separators, letters in upper case.
    package var digits: String {
        String(number.filter { !"-.()".contains($0) }).uppercased()
    }

    package var isGlobal: Bool { number.utf8.first == UInt8(ascii: "+") }

    package var text: String { "tel:" + number + parameters.text }
    package var description: String { text }

    /// Same digits and same parameters in any order (RFC 3966 §4).
    package func isEquivalent(to other: TelURI) -> Bool {
        let key = { (parameter: SIPParameters.Parameter) in
            parameter.name.lowercased() + "=" + (parameter.rawValue ?? "").lowercased()
        }
        return digits == other.digits && parameters.all.map(key).sorted() == other.parameters.all.map(key).sorted()
    }
}
