import FastPath
import LinuxIO
import MediaEngine
import Primitives

/// Plays to multicast groups, for speakers and phones that listen there.
final class MulticastPager {
    /// Where a realm is: our address there and its interface; nil for an unknown one.
    var place: (RealmID) -> (address: IPAddress, interface: String)? = { _ in nil }
    /// What pages leave with.
    var trafficClass = TrafficClassPolicy.set(.expeditedForwarding)

    private let loop: EventLoop
    private let log: StandardErrorLog
    private let fastPath: FastPath?
    private var pages: [UInt64: Running] = [:]
    private var random = RandomSource()

    private final class Running {
        let page: MulticastPage
        let interface: String
        let socket: UDPSocket
        let then: (MulticastPage.Outcome) -> Void
        var playout: Playout
        var packetsByRing = 0

        init(
            _ page: MulticastPage, _ interface: String, _ socket: UDPSocket, _ playout: Playout,
            _ then: @escaping (MulticastPage.Outcome) -> Void
        ) {
            self.page = page
            self.interface = interface
            self.socket = socket
            self.playout = playout
            self.then = then
        }
    }

    init(loop: EventLoop, log: StandardErrorLog, fastPath: FastPath?) {
        self.loop = loop
        self.log = log
        self.fastPath = fastPath
    }

    /// `then` is called once; at once when it cannot be sent at all. A page with the number of one that plays is refused.
    func start(_ page: MulticastPage, then: @escaping (MulticastPage.Outcome) -> Void) {
        do throws(SystemCallError) {
            guard page.group.address.isMulticast, page.group.port > 0 else {
                return then(.failed(reason: "\(page.group) is no multicast group with a port"))
            }
            guard pages[page.id] == nil else { return then(.failed(reason: "page \(page.id) is being sent")) }
            guard let place = place(page.realm), place.address.family == page.group.address.family else {
                return then(.failed(reason: "realm \(page.realm) is unknown, or of the other IP version"))
            }
            var options = UDPSocket.Options()
            options.trafficClass = trafficClass.ownClass
            options.multicast = .init(interface: place.interface, timeToLive: page.timeToLive)
            let socket = try UDPSocket(binding: TransportAddress(place.address, 0), options: options, loop: loop)
            let playout = Playout(page.playlist, random: &random, at: Clock.monotonic)
            let running = Running(page, place.interface, socket, playout, then)
            pages[page.id] = running
            log.write(.info, "page \(page.id) to \(page.group) in realm \(page.realm) begins")
            sendDue(running)
        } catch {
            log.write(.warning, "page \(page.id) to \(page.group) cannot be sent: \(error)")
            then(.failed(reason: "\(error)"))
        }
    }

    /// Its outcome follows at once; nothing happens when it is over.
    func stop(_ id: UInt64) {
        guard let running = pages[id] else { return }
        finish(running, .stopped(packets: running.playout.packetCount))
    }

    /// `group, way` of those that play.
    var ways: [(group: TransportAddress, way: PlayoutSender.Way)] {
        pages.values.sorted { $0.page.id < $1.page.id }
            .map { ($0.page.group, $0.packetsByRing > 0 ? .ring : .socket) }
    }

    private func sendDue(_ running: Running) {
        guard pages[running.page.id] === running else { return }
        let now = Clock.monotonic
        while !running.playout.isFinished, let packet = running.playout.nextPacket(at: now) {
            let isByRing = fastPath?.send(
                packet, from: running.socket.localAddress, to: running.page.group, trafficClass: trafficClass.ownClass,
                timeToLive: running.page.timeToLive, interface: running.interface)
            if isByRing == true {
                running.packetsByRing += 1
            } else if case .failed(let code) = running.socket.send(packet.span, to: running.page.group) {
                return finish(running, .failed(reason: "\(code)"))
            }
        }
        guard !running.playout.isFinished else {
            return finish(running, .sent(packets: running.playout.packetCount))
        }
        loop.schedule(at: running.playout.nextDeadline) { [weak self] in self?.sendDue(running) }
    }

    private func finish(_ running: Running, _ outcome: MulticastPage.Outcome) {
        pages[running.page.id] = nil
        running.socket.close()
        let way = running.packetsByRing > 0 ? "ring" : "socket"
        log.write(.info, "page \(running.page.id) to \(running.page.group) by \(way): \(outcome.text)")
        running.then(outcome)
    }
}

extension MulticastPage.Outcome {
    var text: String {
        switch self {
        case .sent(let packets): "sent, \(packets) packets"
        case .stopped(let packets): "stopped after \(packets) packets"
        case .failed(let reason): "failed: \(reason)"
        }
    }
}
