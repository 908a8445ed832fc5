/// An IP address and a port: one end of a UDP or TCP flow.
package struct TransportAddress: Hashable, Sendable, CustomStringConvertible {
    package var address: IPAddress
    package var port: UInt16

    package init(_ address: IPAddress, _ port: UInt16) {
        self.address = address
        self.port = port
    }

    /// `192.0.2.1:5060` or `[2001:db8::1]:5060`; nil for anything else, the port included.
    package init?(_ text: some StringProtocol) {
        guard let colon = text.lastIndex(of: ":"), let address = IPAddress(text[..<colon]),
            address.family == .v4 || text.hasPrefix("["),
            let port = UInt16(text[text.index(after: colon)...]), !text[colon...].utf8.contains(UInt8(ascii: "+"))
        else { return nil }
        self.init(address, port)
    }

    package var description: String { "\(address.uriHost):\(port)" }
}
