/// `[signalling]`: how SIP comes in.
package struct SignallingConfiguration: Equatable, Sendable {
    /// Who reads SIP over UDP; TCP is always the kernel's.
    package enum Receive: String, CaseIterable, Sendable {
        /// The kernel's UDP sockets.
        case socket
        /// A packet ring on the realm's interface, and the socket for what it leaves. The ring sees datagrams before
        /// firewall, NAT and TC do.
        case ring
    }

    package var receive: Receive

    package init(receive: Receive = .socket) { self.receive = receive }
}

extension SignallingConfiguration {
    mutating func read(_ reader: TableReader) {
        reader.allow(["receive"])
        receive = reader.choice("receive") ?? receive
    }

    var rendered: RenderedTable {
        var table = RenderedTable("[signalling]")
        table.add("receive", text: receive.rawValue)
        return table
    }
}
