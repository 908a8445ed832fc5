import MediaEngine
import MediaFormats
import Primitives
import Testing

typealias Output = MediaEngine.Output

let lan = RealmID("lan")
let wan = RealmID("wan")
let lanAddress = IPAddress.v4(0xC0A8_3201)  // 192.168.50.1
let wanAddress = IPAddress.v4(0xCB00_7107)  // 203.0.113.7

/// As written in a configuration or a capture.
func at(_ text: String) throws -> TransportAddress { try #require(TransportAddress(text)) }

func seconds(_ value: Double) -> MonotonicTime { .zero + .milliseconds(Int64(value * 1_000)) }

func rtp(_ sequenceNumber: UInt16, ssrc: UInt32 = 0x1111_1111, payloadType: UInt8 = 0) -> [UInt8] {
    RTPHeader(payloadType: payloadType, sequenceNumber: sequenceNumber, timestamp: 160, ssrc: ssrc)
        .datagram(payload: [UInt8](repeating: 0xD5, count: 160))
}

/// An empty receiver report and nothing else; enough for the kind.
let rtcpReport: [UInt8] = [0x80, 201, 0, 1, 0, 0, 0, 1]

/// A phone on the LAN, a carrier on the WAN, relayed; the kernel is played by the test.
struct Bench {
    var engine: MediaEngine
    let phone: MediaLegID
    let carrier: MediaLegID
    let phoneLocal: TransportAddress
    let carrierLocal: TransportAddress
    let phoneRTP: TransportAddress
    let carrierRTP: TransportAddress

    init(
        seed: UInt64 = 1, natAddress: IPAddress? = nil, inKernel: Bool = true, settings: MediaSettings = .init(),
        phoneRTP: String = "192.168.50.20:4000", carrierRTP: String = "198.51.100.9:30000"
    ) throws {
        engine = MediaEngine(
            realms: [
                lan: MediaRealm(address: lanAddress, ports: 20_000...29_999),
                wan: MediaRealm(address: wanAddress, ports: 20_000...29_999),
            ], settings: settings, random: RandomSource(seed: seed))
        self.phoneRTP = try at(phoneRTP)
        self.carrierRTP = try at(carrierRTP)
        phone = try engine.openLeg(realm: lan, streamCount: 1, at: .zero)
        carrier = try engine.openLeg(realm: wan, streamCount: 1, at: .zero)
        phoneLocal = try #require(engine.localAddress(of: phone, stream: 0))
        carrierLocal = try #require(engine.localAddress(of: carrier, stream: 0))
        engine.setRemote(phone, stream: 0, RemoteMedia(rtp: self.phoneRTP, natAddress: natAddress), at: .zero)
        engine.setRemote(carrier, stream: 0, RemoteMedia(rtp: self.carrierRTP), at: .zero)
        engine.connect(phone, carrier, at: .zero)
        if !inKernel {
            for local in [phoneLocal, carrierLocal] {
                for address in [local, TransportAddress(local.address, local.port + 1)] {
                    engine.handle(.flowApplied(local: address, inKernel: false), at: .zero)
                }
            }
        }
        _ = drain()
    }

    mutating func drain() -> [Output] {
        var outputs: [Output] = []
        while let output = engine.nextOutput() { outputs.append(output) }
        return outputs
    }

    /// A datagram to the phone's port of ours.
    mutating func toPhonePort(_ bytes: [UInt8], from source: String, at time: MonotonicTime) throws -> [Output] {
        engine.handle(.datagram(local: phoneLocal, source: try at(source), bytes: bytes), at: time)
        return drain()
    }

    /// Lets time pass, running each timer at its time.
    mutating func pass(to end: MonotonicTime) -> [Output] {
        var outputs = drain()
        while let deadline = engine.nextDeadline, deadline <= end {
            engine.advance(to: deadline)
            outputs += drain()
        }
        engine.advance(to: end)
        return outputs + drain()
    }
}

extension [Output] {
    var events: [MediaEvent] {
        compactMap { if case .event(let event) = $0 { event } else { nil } }
    }
    var forwarded: [[UInt8]] {
        compactMap { if case .forward(let bytes, _, _) = $0 { bytes } else { nil } }
    }
    var flows: [MediaFlow] {
        compactMap { if case .applyFlow(let flow) = $0 { flow } else { nil } }
    }
    var reads: [TransportAddress] {
        compactMap { if case .readCounters(let local) = $0 { local } else { nil } }
    }
    var removed: [TransportAddress] {
        compactMap { if case .removeFlow(let local) = $0 { local } else { nil } }
    }
}
