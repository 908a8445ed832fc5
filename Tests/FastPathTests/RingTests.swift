import CFastPath
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

/// What is the rings' own: their table, how they share packets with sockets, and how flows move to them and away.
@Suite("Ring engine", .serialized, .enabled(if: isRoot, "rings need root"))
struct RingTests {
    @Test("keeps and forgets flows as a dictionary would")
    func table() throws {
        let ring = try RingEngine(flowCountMax: 300)
        var random = SplitMix64(seed: 7)
        var model = Set<UInt16>()
        let ends = Topology.Ends(.v6)
        for step in 0..<4000 {
            let port = UInt16(random.next() % 400) + 20_000
            let local = TransportAddress(ends.boxLAN.address, port)
            if random.next() % 3 != 0 {
                var flow = ends.outward
                flow.local = local
                let expected: FastPathResult =
                    model.contains(port) || model.count < 300 ? .applied : .unsupported(.tableFull)
                #expect(try ring.apply(flow, generation: 1) == expected)
                if expected == .applied { model.insert(port) }
            } else {
                #expect((ring.remove(local) != nil) == (model.remove(port) != nil))
            }
            if step % 100 == 0 {
                for port in UInt16(20_000)..<20_400 {
                    let found = ring.counters(for: TransportAddress(ends.boxLAN.address, port)) != nil
                    #expect(found == model.contains(port))
                }
            }
        }
    }

    @Test("relays what came in fragments, as the socket would have heard it")
    func fragments() throws {
        let topology = try Topology()
        let ends = Topology.Ends(.v4)
        let fastPath = try topology.fastPath(.ring)
        let box = try BoxSockets([ends.boxLAN], in: topology, for: fastPath)
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        try topology.phone.ip("link set lan mtu 600")
        let packet = Frame.rtp(speech: 1200)
        try phone.send(packet, to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == packet)
        // Longer than any packet on Ethernet: the socket's.
        let long = Frame.rtp(speech: 1700)
        try phone.send(long, to: ends.boxLAN)
        #expect(box.receive(at: ends.boxLAN)?.bytes == long)
        #expect(carrier.receive() == nil)
    }

    @Test("leaves long packets of IPv6 to the socket")
    func longPackets() throws {
        let topology = try Topology()
        let ends = Topology.Ends(.v6)
        let fastPath = try topology.fastPath(.ring)
        let box = try BoxSockets([ends.boxLAN], in: topology, for: fastPath)
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        let (longest, longer) = (Frame.rtp(speech: 1220), Frame.rtp(speech: 1221))
        try phone.send(longest, to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == longest)
        try phone.send(longer, to: ends.boxLAN)
        #expect(box.receive(at: ends.boxLAN)?.bytes == longer)
        try phone.send(longest, to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == longest)
        #expect(box.receive(at: ends.boxLAN, waiting: false) == nil)
    }

    @Test("takes only packets to its ports")
    func ports() throws {
        let topology = try Topology()
        let ends = Topology.Ends(.v4)
        let fastPath = try topology.fastPath(.ring)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let box = try BoxSockets([ends.boxLAN], in: topology, for: fastPath)
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        // A ring cannot keep closed ports silent, and says so.
        #expect(
            try fastPath.guardPorts([(ends.boxLAN.address, 20_000...20_099)]) == .unsupported(.notAttached))
        try phone.send(Frame.rtp(sequence: 1), to: ends.boxLAN)
        #expect(carrier.receive()?.bytes == Frame.rtp(sequence: 1))
        #expect(try fastPath.guardPorts([(ends.boxLAN.address, 20_001...20_099)]) == .unsupported(.notAttached))
        try phone.send(Frame.rtp(sequence: 2), to: ends.boxLAN)
        #expect(carrier.receive() == nil)
        #expect(box.receive(at: ends.boxLAN, waiting: false) == nil)
    }

    /// In this order each engine hands over to each other one. Where two programs follow each other, sockets relay
    /// what comes in between, which the test counts as arrived.
    @Test("switches engines under a stream and loses nothing", arguments: IPAddress.Family.allCases)
    func switching(_ family: IPAddress.Family) throws {
        let topology = try Topology()
        try topology.letPeersTakeFrames()
        let ends = Topology.Ends(family)
        let fastPath = try topology.fastPath(.tc)
        let box = try BoxSockets([ends.boxLAN], in: topology, for: fastPath)
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }

        let modes: [FastPathInterface.Mode] = [.ring, .tc, .xdp, .ring, .xdp, .tc, .off, .ring, .off, .tc, .ring]
        var arrived: [UInt16: Int] = [:]
        var sequence: UInt16 = 0
        var bySocket = 0
        let sender = Stream(from: phone, to: ends.boxLAN)
        for mode in modes {
            sender.wait(forPackets: 100)
            try topology.box.run {
                try fastPath.reconfigure([.init(name: "lan0", mode: mode), .init(name: "wan0", mode: mode)])
                _ = try fastPath.apply(ends.outward)
            }
            #expect(fastPath.attachments.allSatisfy { $0.mode.rawValue == (mode == .off ? "none" : mode.rawValue) })
        }
        sender.wait(forPackets: 100)
        sequence = sender.stop()
        while let packet = carrier.receive(waiting: arrived.count < Int(sequence)) {
            arrived[UInt16(packet.bytes[2]) << 8 | UInt16(packet.bytes[3]), default: 0] += 1
        }
        while let packet = box.receive(at: ends.boxLAN, waiting: false) {
            arrived[UInt16(packet.bytes[2]) << 8 | UInt16(packet.bytes[3]), default: 0] += 1
            bySocket += 1
        }
        let lost = (0..<sequence).filter { arrived[$0] == nil }
        #expect(lost.isEmpty, "of \(sequence)")
        // At most one for each move between a ring and a socket.
        #expect(arrived.values.reduce(0) { $0 + $1 - 1 } <= modes.count)
        let counted = fastPath.counters(for: ends.boxLAN)?.packets ?? 0
        #expect(counted + UInt64(bySocket) >= UInt64(sequence))
        #expect(fastPath.engines(of: ends.boxLAN) == .ring)
        #expect(fastPath.totals().interfaces["lan0"]?.relayed == counted)
    }
}

/// A thread that sends numbered packets, about four thousand a second.
private final class Stream: @unchecked Sendable {
    // Written by the thread alone until it has ended; the condition's mutex guards it.
    private var sequence: UInt16 = 0
    private var isStopped = false
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let moved = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var thread = pthread_t()
    private let socket: UDPSocket
    private let destination: TransportAddress

    init(from socket: UDPSocket, to destination: TransportAddress) {
        self.socket = socket
        self.destination = destination
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(moved, nil)
        let this = Unmanaged.passRetained(self)
        pthread_create(&thread, nil, { Stream.run($0!) }, this.toOpaque())
    }

    deinit {
        mutex.deallocate()
        moved.deallocate()
    }

    private static func run(_ argument: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
        let this = Unmanaged<Stream>.fromOpaque(argument).takeRetainedValue()
        while true {
            pthread_mutex_lock(this.mutex)
            let (stopped, sequence) = (this.isStopped, this.sequence)
            pthread_mutex_unlock(this.mutex)
            if stopped { return nil }
            try? this.socket.send(Frame.rtp(sequence: sequence), to: this.destination)
            pthread_mutex_lock(this.mutex)
            this.sequence += 1
            pthread_cond_signal(this.moved)
            pthread_mutex_unlock(this.mutex)
            usleep(200)
        }
    }

    func wait(forPackets count: UInt16) {
        pthread_mutex_lock(mutex)
        let goal = sequence + count
        while sequence < goal { pthread_cond_wait(moved, mutex) }
        pthread_mutex_unlock(mutex)
    }

    /// How many were sent.
    func stop() -> UInt16 {
        pthread_mutex_lock(mutex)
        isStopped = true
        pthread_mutex_unlock(mutex)
        pthread_join(thread, nil)
        return sequence
    }
}

/// A small generator that says the same each time (Steele, Lea and Flood 2014).
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
