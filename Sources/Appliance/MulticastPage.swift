import MediaEngine
import Primitives

/// Audio for all speakers that listen to a multicast group: RTP, G.711 μ-law, 20 ms.
struct MulticastPage: Equatable, Sendable {
    /// Chosen by whoever asks; not used again while it plays.
    var id: UInt64
    /// A multicast address and the port the speakers are set to.
    var group: TransportAddress
    /// The realm whose interface and address it leaves from.
    var realm: RealmID
    var playlist: Playlist
    /// 1 keeps it on the local network.
    var timeToLive: UInt8 = 1

    /// What became of a page; one of them comes, once.
    enum Outcome: Equatable, Sendable {
        /// Sent to the end, or `stopped` before it; receivers of multicast tell nothing.
        case sent(packets: Int)
        case stopped(packets: Int)
        case failed(reason: String)
    }
}
