import Primitives

/// `[realms.NAME]`: one side of the box, an interface and our address on it.
package struct RealmConfiguration: Equatable, Sendable {
    package enum Transport: String, CaseIterable, Sendable { case udp, tcp }

    /// How media of this realm is forwarded; `off` leaves it to the sockets in user space.
    package enum Datapath: String, CaseIterable, Sendable { case auto, xdp, tc, ring, off }

    /// Where phones register, or where carriers are.
    package enum Role: String, CaseIterable, Sendable { case stations, trunks }

    package static let sipPortDefault: UInt16 = 5060

    package var name: String
    /// Linux interface.
    package var interface: String
    /// Our address in this realm.
    package var address: IPAddress
    package var sipPort: UInt16
    /// Without repetition, UDP first.
    package var transports: [Transport]
    /// Even to odd: RTP on the even port, RTCP on the odd one above it.
    package var mediaPorts: ClosedRange<UInt16>
    package var datapath: Datapath
    package var role: Role

    package init(
        name: String, interface: String, address: IPAddress, sipPort: UInt16 = sipPortDefault,
        transports: [Transport] = Transport.allCases, mediaPorts: ClosedRange<UInt16>, datapath: Datapath = .auto,
        role: Role
    ) {
        self.name = name
        self.interface = interface
        self.address = address
        self.sipPort = sipPort
        self.transports = transports
        self.mediaPorts = mediaPorts
        self.datapath = datapath
        self.role = role
    }
}
