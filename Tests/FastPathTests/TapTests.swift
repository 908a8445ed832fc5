import CFastPath
import CNamespaces
import Glibc
import MediaFormats
import Primitives
import Testing

@testable import FastPath

/// Copies of relayed packets, whole and in order, for one reader; the relay does not care whether anybody reads.
@Suite("Taps", .serialized, .enabled(if: isRoot, "BPF needs root"))
struct TapTests {
    typealias Hook = FixtureTests.Hook

    struct Case: Sendable, CustomTestStringConvertible {
        let hook: Hook
        let family: IPAddress.Family
        let isTranslated: Bool
        /// Bytes of speech: packets that take one block of the ring, two and seven, and the limits of the first.
        let speech: Int
        var testDescription: String {
            "\(hook), \(family)\(isTranslated ? ", translated" : ""), \(speech) bytes of speech"
        }
    }

    static let cases: [Case] = Hook.allCases.flatMap { hook in
        IPAddress.Family.allCases.flatMap { family in
            [0, 1, 160, 172, 173, 180, 192, 193, 240, 436, 441, 1428].flatMap { speech in
                [false, true].map { Case(hook: hook, family: family, isTranslated: $0, speech: speech) }
            }
        }
    }

    struct Bench {
        let topology: Topology
        let fastPath: FastPath

        init() throws {
            topology = try Topology()
            fastPath = try topology.fastPath(.xdp)
        }

        /// One packet through the program; whether it was relayed.
        func run(_ packet: [UInt8], _ hook: Hook) throws -> Bool {
            let program = try #require(fastPath.program)
            let lan0 = try topology.index("lan0")
            var output = [UInt8](repeating: 0, count: 2048)
            var result = relay_run_result()
            let code = try topology.box.run {
                relay_run(
                    hook == .xdp ? program.xdp : program.tc, hook == .xdp, lan0, 1, packet, UInt32(packet.count),
                    &output, UInt32(output.count), &result)
            }
            try #require(code == 0)
            return result.action == (hook == .xdp ? XDP_REDIRECT.rawValue : 7)
        }
    }

    nonisolated(unsafe) static let bench = Result { try Bench() }

    static func frame(_ ends: Topology.Ends, speech: Int = 160, sequence: UInt16 = 1) -> Frame {
        Frame(
            destinationMAC: Topology.lan0, sourceMAC: Topology.lan, source: ends.phone, destination: ends.boxLAN,
            payload: Frame.rtp(sequence: sequence, speech: speech))
    }

    @Test("a copy is the packet as it arrived", arguments: cases)
    func copies(_ sample: Case) throws {
        let bench = try Self.bench.get()
        let other: IPAddress.Family = sample.family == .v4 ? .v6 : .v4
        let ends = Topology.Ends(sample.family, far: sample.isTranslated ? other : sample.family)
        var flow = ends.outward
        flow.payloadTypes = [.init(from: 0, to: 8)]
        flow.trafficClass = .set(.classSelector3)
        #expect(try bench.topology.apply(flow, to: bench.fastPath) == .applied)
        let buffer = try #require(try bench.fastPath.openTapBuffer(byteCount: 64 << 10))
        let reader = try TapReader(descriptor: buffer.descriptor, byteCount: buffer.byteCount)
        let tap = MediaTap(id: 0xFEED_BEEF, direction: 2)
        try bench.fastPath.setTap(tap, on: flow.local)
        defer {
            bench.fastPath.remove(flow.local)
            bench.fastPath.closeTapBuffer()
        }
        let before = bench.fastPath.tapCounters
        let packet = Self.frame(ends, speech: sample.speech).bytes
        #expect(try bench.run(packet, sample.hook))
        let record = try #require(reader.next())
        #expect(record.packet == Array(packet.dropFirst(14)))
        #expect(record.tap == tap)
        #expect(!record.isTruncated)
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let age =
            MonotonicTime(nanoseconds: Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)) - record.timestamp
        #expect((.zero ... .seconds(10)).contains(age))
        #expect(reader.next() == nil)
        #expect(bench.fastPath.tapCounters == TapCounters(copied: before.copied + 1, lost: before.lost))
    }

    @Test("holds for later flows at the address, and ends when it is taken back", arguments: Hook.allCases)
    func life(_ hook: Hook) throws {
        let bench = try Bench()
        let ends = Topology.Ends(.v4)
        #expect(bench.fastPath.tapBuffer == nil, "no memory before a tap is wanted")
        let tap = MediaTap(id: 7, direction: 1)
        try bench.fastPath.setTap(tap, on: ends.boxLAN)
        let buffer = try #require(bench.fastPath.tapBuffer)
        let reader = try TapReader(descriptor: buffer.descriptor, byteCount: buffer.byteCount)
        #expect(try bench.topology.apply(ends.outward, to: bench.fastPath) == .applied)
        #expect(try bench.run(Self.frame(ends, sequence: 1).bytes, hook))
        #expect(reader.next()?.tap == tap)
        bench.fastPath.remove(ends.boxLAN)
        #expect(try !bench.run(Self.frame(ends, sequence: 2).bytes, hook))
        #expect(reader.next() == nil, "not relayed")
        #expect(try bench.topology.apply(ends.outward, to: bench.fastPath) == .applied)
        #expect(try bench.run(Self.frame(ends, sequence: 3).bytes, hook))
        #expect(reader.next()?.packet == Array(Self.frame(ends, sequence: 3).bytes.dropFirst(14)))
        // Another tap, in place.
        try bench.fastPath.setTap(MediaTap(id: 8, direction: 2), on: ends.boxLAN)
        #expect(try bench.run(Self.frame(ends, sequence: 4).bytes, hook))
        #expect(reader.next()?.tap == MediaTap(id: 8, direction: 2))
        try bench.fastPath.setTap(nil, on: ends.boxLAN)
        #expect(try bench.run(Self.frame(ends, sequence: 5).bytes, hook))
        #expect(reader.next() == nil)
        #expect(bench.fastPath.tapCounters == TapCounters(copied: 3, lost: 0))
    }

    @Test("a full ring costs records, never packets", arguments: Hook.allCases)
    func full(_ hook: Hook) throws {
        let bench = try Bench()
        let ends = Topology.Ends(.v6)
        #expect(try bench.topology.apply(ends.outward, to: bench.fastPath) == .applied)
        let buffer = try #require(try bench.fastPath.openTapBuffer(byteCount: 1))
        try bench.fastPath.setTap(MediaTap(id: 1, direction: 1), on: ends.boxLAN)
        let pin = try Pin(0)
        defer { withExtendedLifetime(pin) {} }
        let room = UInt64(buffer.byteCount / Int(relay_possible_cpu_count()) / Int(RELAY_TAP_BLOCK_BYTE_COUNT))
        for sequence in 0..<UInt16(room + 10) {
            #expect(try bench.run(Self.frame(ends, sequence: sequence).bytes, hook))
        }
        #expect(bench.fastPath.tapCounters == TapCounters(copied: room, lost: 10))
        #expect(bench.fastPath.counters(for: ends.boxLAN)?.packets == room + 10)
        let reader = try TapReader(descriptor: buffer.descriptor, byteCount: buffer.byteCount)
        // Round the ring several times. What was read makes room only with the next reading: packet 1000 finds none.
        for sequence in 0..<UInt16(3 * room) {
            let expected = sequence < UInt16(room) ? sequence : 1001 + sequence - UInt16(room)
            #expect(reader.next()?.packet == Array(Self.frame(ends, sequence: expected).bytes.dropFirst(14)))
            #expect(try bench.run(Self.frame(ends, sequence: 1000 + sequence).bytes, hook))
        }
        #expect(bench.fastPath.tapCounters.lost == 11)
    }

    @Test("records of all sizes go round the ring", arguments: Hook.allCases)
    func round(_ hook: Hook) throws {
        let bench = try Bench()
        let ends = Topology.Ends(.v4)
        #expect(try bench.topology.apply(ends.outward, to: bench.fastPath) == .applied)
        let buffer = try #require(try bench.fastPath.openTapBuffer(byteCount: 1))
        try bench.fastPath.setTap(MediaTap(id: 1, direction: 1), on: ends.boxLAN)
        let reader = try TapReader(descriptor: buffer.descriptor, byteCount: buffer.byteCount)
        let pin = try Pin(0)
        defer { withExtendedLifetime(pin) {} }
        let sizes = [1428, 0, 700, 193, 160, 192, 1200]
        for index in 0..<200 {
            let frames = [index, index + 1].map { sequence in
                Self.frame(ends, speech: sizes[sequence % sizes.count], sequence: UInt16(sequence)).bytes
            }
            for frame in frames { #expect(try bench.run(frame, hook)) }
            for frame in frames { #expect(reader.next()?.packet == Array(frame.dropFirst(14))) }
            #expect(reader.next() == nil)
        }
        #expect(bench.fastPath.tapCounters == TapCounters(copied: 400, lost: 0))
    }

    @Test("a reader hears two CPUs in the order of time", .enabled(if: relay_possible_cpu_count() > 1, "one CPU"))
    func order() throws {
        let bench = try Bench()
        let ends = Topology.Ends(.v4)
        #expect(try bench.topology.apply(ends.outward, to: bench.fastPath) == .applied)
        let buffer = try #require(try bench.fastPath.openTapBuffer())
        try bench.fastPath.setTap(MediaTap(id: 1, direction: 1), on: ends.boxLAN)
        let reader = try TapReader(descriptor: buffer.descriptor, byteCount: buffer.byteCount)
        for sequence in 0..<40 as Range<UInt16> {
            let pin = try Pin(CInt(sequence / 3 % 2))
            #expect(try bench.run(Self.frame(ends, sequence: sequence).bytes, .xdp))
            withExtendedLifetime(pin) {}
        }
        for sequence in 0..<40 as Range<UInt16> {
            #expect(reader.next()?.packet == Array(Self.frame(ends, sequence: sequence).bytes.dropFirst(14)))
        }
        #expect(reader.next() == nil)
    }

    @Test("a descriptor of something else is refused")
    func otherDescriptor() throws {
        let bench = try Bench()
        let buffer = try #require(try bench.fastPath.openTapBuffer(byteCount: 64 << 10))
        #expect(throws: FastPathError.self) {
            try TapReader(descriptor: buffer.descriptor, byteCount: buffer.byteCount * 2)
        }
        let program = try #require(bench.fastPath.program)
        #expect(throws: FastPathError.self) {
            try TapReader(descriptor: program.tapShape, byteCount: buffer.byteCount)
        }
        #expect(throws: FastPathError.self) { try TapReader(descriptor: -1, byteCount: buffer.byteCount) }
    }

    @Test("another process without privileges reads a call", arguments: LiveTests.Path.allCases)
    func otherProcess(_ path: LiveTests.Path) throws {
        let topology = try Topology()
        let fastPath = try LiveTests.start(path, topology)
        let ends = Topology.Ends(.v4)
        #expect(try topology.apply(ends.outward, to: fastPath) == .applied)
        #expect(try topology.apply(ends.inward, to: fastPath) == .applied)
        try fastPath.setTap(MediaTap(id: 42, direction: 1), on: ends.boxLAN)
        try fastPath.setTap(MediaTap(id: 42, direction: 2), on: ends.boxWAN)
        try #require(fastPath.tapBuffers.count == 1)
        let buffer = fastPath.tapBuffers[0]
        let count = 100

        var pair: [CInt] = [0, 0]
        try #require(socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &pair) == 0)
        let process = try ChildProcess([
            ProcessTests.holder, "--tap-reader", "\(pair[1])", "\(buffer.byteCount)", "\(2 * count)",
        ])
        #expect(namespace_send_descriptor(pair[0], buffer.descriptor) == 0)
        pair.forEach { close($0) }
        #expect(process.readLine() == "ready")

        let phone = try topology.phone.run { try UDPSocket(ends.phone) }
        let carrier = try topology.carrier.run { try UDPSocket(ends.carrier) }
        for index in 0..<count {
            let (there, back) = (
                Frame.rtp(sequence: UInt16(index)), Frame.rtp(type: 8, sequence: UInt16(1000 + index), speech: 80)
            )
            try phone.send(there, to: ends.boxLAN)
            #expect(carrier.receive()?.bytes == there)
            try carrier.send(back, to: ends.boxWAN)
            #expect(phone.receive()?.bytes == back)
        }
        var last = 0
        for index in 0..<(2 * count) {
            let words = try #require(process.readLine()).split(separator: " ").map(String.init)
            try #require(words.count == 4)
            let isOutward = index % 2 == 0
            #expect(words[0] == "42" && words[1] == (isOutward ? "1" : "2"))
            let timestamp = try #require(Int(words[2]))
            #expect(timestamp > last)
            last = timestamp
            let payload =
                isOutward
                ? Frame.rtp(sequence: UInt16(index / 2))
                : Frame.rtp(type: 8, sequence: UInt16(1000 + index / 2), speech: 80)
            let (source, destination) = isOutward ? (ends.phone, ends.boxLAN) : (ends.carrier, ends.boxWAN)
            let packet = Array(words[3].utf8).chunked.map { UInt8(String(decoding: $0, as: UTF8.self), radix: 16) ?? 0 }
            #expect(Array(packet.dropFirst(28)) == payload)
            #expect(Array(packet[12..<20]) == source.address.bytes + destination.address.bytes)
            #expect(packet[8] == 64, "the hop count it came with")
        }
        #expect(fastPath.tapCounters == TapCounters(copied: UInt64(2 * count), lost: 0))
    }
}

/// Keeps this thread on one CPU: each has a part of the ring of its own.
private final class Pin {
    init(_ cpu: CInt) throws { _ = try SetupError.check(namespace_pin(cpu), "CPU \(cpu)") }

    deinit { _ = namespace_pin(-1) }
}

extension [UInt8] {
    /// Two by two.
    fileprivate var chunked: [ArraySlice<UInt8>] { stride(from: 0, to: count - 1, by: 2).map { self[$0..<$0 + 2] } }
}
