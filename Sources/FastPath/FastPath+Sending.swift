import CFastPath
import Glibc
import MediaFormats
import Primitives

// Media the box makes itself (announcements, tones, pages) leaves as the rings' packets do: by a packet socket, past the
// stack. No flow is needed for it, and no engine changes.
extension FastPath {
    /// Sends one datagram from one of our addresses; false: a socket has to, because its way leads out of none of our
    /// interfaces, the next hop is not known yet (the socket's packet asks for it), or packet sockets are not to be had.
    ///
    /// `interface` is where a multicast group is reached, nil for all else.
    package func send(
        _ payload: [UInt8], from source: TransportAddress, to destination: TransportAddress, trafficClass: DSCP,
        timeToLive: UInt8 = 64, interface: String? = nil
    ) -> Bool {
        guard source.address.family == destination.address.family else { return false }
        if sender == nil { sender = MediaSender(attachments.filter { $0.mode != .none }.map(\.interface)) }
        return sender?.send(payload, source, destination, trafficClass, timeToLive, interface) ?? false
    }
}

/// The packet sockets behind it (`CFastPath/include/MediaSender.h`); they close with it.
final class MediaSender {
    private let sender: OpaquePointer?
    private let indices: [String: UInt32]

    /// Without a route query there is none, and every `send` is refused.
    init(_ interfaces: [String]) {
        indices = [String: UInt32](
            interfaces.map { ($0, if_nametoindex($0)) }.filter { $0.1 > 0 }, uniquingKeysWith: { first, _ in first })
        var sender: OpaquePointer?
        let result = media_sender_create(Array(indices.values), UInt32(indices.count), &sender)
        self.sender = result == 0 ? sender : nil
    }

    deinit { if let sender { media_sender_destroy(sender) } }

    func send(
        _ payload: [UInt8], _ source: TransportAddress, _ destination: TransportAddress, _ trafficClass: DSCP,
        _ timeToLive: UInt8, _ interface: String?
    ) -> Bool {
        guard let sender else { return false }
        var datagram = media_datagram()
        datagram.is_v6 = source.address.family == .v6
        datagram.traffic_class = trafficClass.rawValue << 2
        datagram.time_to_live = timeToLive
        if destination.address.isMulticast {
            guard let index = interface.flatMap({ indices[$0] }) else { return false }
            datagram.interface_index = index
        }
        datagram.source_port = source.port.bigEndian
        datagram.destination_port = destination.port.bigEndian
        fill(&datagram.source, with: source.address.mappedBytes)
        fill(&datagram.destination, with: destination.address.mappedBytes)
        datagram.byte_count = payload.count
        return payload.withUnsafeBufferPointer { bytes in
            datagram.payload = bytes.baseAddress  // read before the call returns
            return media_sender_send(sender, &datagram) == 0
        }
    }
}
