import FastPath
import Primitives

/// Sends what is played: by a packet socket of the fast path where it can be had, else by the bound socket; chosen for
/// each packet, so that a next hop that is not known yet costs none.
final class PlayoutSender {
    enum Way: String, Sendable { case ring, socket }

    /// What it leaves with.
    var trafficClass: TrafficClassPolicy
    private let fastPath: FastPath?
    private let sockets: MediaSockets
    /// The latest packet from each of our addresses.
    private var ways: [TransportAddress: Way] = [:]
    private(set) var packetsByRing: UInt64 = 0
    private(set) var packetsBySocket: UInt64 = 0

    init(fastPath: FastPath?, sockets: MediaSockets, trafficClass: TrafficClassPolicy) {
        self.fastPath = fastPath
        self.sockets = sockets
        self.trafficClass = trafficClass
    }

    func send(_ bytes: [UInt8], from local: TransportAddress, to destination: TransportAddress) {
        if fastPath?.send(bytes, from: local, to: destination, trafficClass: trafficClass.ownClass) == true {
            ways[local] = .ring
            packetsByRing += 1
        } else {
            if ways[local] == nil { sockets.setTrafficClass(trafficClass, of: local) }
            sockets.forward(bytes, from: local, to: destination)
            ways[local] = .socket
            packetsBySocket += 1
        }
    }

    /// Which way the latest packet from there went; nil where nothing is played.
    func way(of local: TransportAddress) -> Way? { ways[local] }

    /// The port is nobody's any more.
    func forget(_ local: TransportAddress) { ways[local] = nil }
}

extension TrafficClassPolicy {
    /// Of packets that arrived nowhere.
    var ownClass: DSCP {
        switch self {
        case .preserve: .expeditedForwarding
        case .set(let dscp): dscp
        }
    }
}
