import CFastPath
import Glibc
import MediaFormats
import Primitives

/// The relay in user space: rings on interfaces, a thread each, and one flow table (`CFastPath/include/RingRelay.h`).
///
/// Owns its threads; they end with it.
final class RingEngine {
    private let relay: OpaquePointer
    private(set) var interfaces: [UInt32] = []
    private var rowNames: [String] = []

    init(flowCountMax: Int) throws(FastPathError) {
        var relay: OpaquePointer?
        var call: UnsafePointer<CChar>?
        let result = ring_relay_create(UInt32(flowCountMax), &relay, &call)
        guard result == 0, let relay else { throw Self.error(call, "ring", result) }
        self.relay = relay
    }

    deinit {
        ring_relay_destroy(relay)
        if let tapBuffer { close(tapBuffer.descriptor) }
    }

    /// Where the copies of tapped flows go, if anybody wanted one yet.
    private(set) var tapBuffer: TapBuffer?

    /// Makes it, of about so many bytes, unless there is one.
    func openTapBuffer(byteCount: Int, generation: UInt32) throws(FastPathError) {
        guard tapBuffer == nil else { return }
        var size = 4096  // as relay_tap_writer_open rounds
        while size * 2 <= min(byteCount, 1 << 30) { size *= 2 }
        let descriptor = ring_relay_open_taps(relay, UInt32(size), generation)
        guard descriptor >= 0 else {
            throw FastPathError(call: "memfd_create", object: "tap ring of \(size) bytes", code: descriptor)
        }
        tapBuffer = TapBuffer(descriptor: descriptor, byteCount: size)
    }

    func closeTapBuffer() {
        guard let buffer = tapBuffer else { return }
        ring_relay_close_taps(relay)
        close(buffer.descriptor)
        tapBuffer = nil
    }

    /// Of the buffer there is.
    var tapCounters: relay_tap_counters {
        var counters = relay_tap_counters()
        ring_relay_tap_counters(relay, &counters)
        return counters
    }

    private static func error(_ call: UnsafePointer<CChar>?, _ object: String, _ code: CInt) -> FastPathError {
        let hint = code == -EPERM ? "CAP_NET_RAW is needed" : ""
        return FastPathError(
            call: call.map { String(cString: $0) } ?? "ring", object: object, code: code, detail: hint)
    }

    /// Where packets may leave.
    func setRows(_ rows: [(name: String, row: relay_interface)]) {
        var table = relay_interface_table(rows.inSlots(of: &rowNames))
        ring_relay_set_interfaces(relay, &table)
    }

    /// The row of the table `setRows` takes: a VLAN device puts its tag on itself.
    static func row(_ facts: relay_interface_facts) -> relay_interface {
        relay_interface(
            index: facts.index, transmit_index: facts.index,
            vlan: facts.is_ethernet ? 0 : UInt16(RING_RELAY_NO_LINK_HEADER), zero: 0)
    }

    /// Nothing happens where there is a ring already. `isAlone`: no program sits at the interface's TC ingress, so the
    /// rings may lie before it and keep what they take from going up the stack. `isIdle`: there is no media to disturb.
    func add(
        _ interface: UInt32, name: String, ports: [relay_guarded_range], isAlone: Bool, isIdle: Bool
    ) throws(FastPathError) {
        guard !interfaces.contains(interface) else { return }
        var table = relay_guarded_table(ports)
        var call: UnsafePointer<CChar>?
        let result = ring_relay_add(relay, interface, Self.place(isAlone), isIdle, &table, &call)
        guard result == 0 else { throw Self.error(call, name, result) }
        interfaces.append(interface)
    }

    /// A program comes to the interface's TC ingress, or is gone from it. Where new rings cannot be had the old ones
    /// remain.
    func move(_ interface: UInt32, name: String, ports: [relay_guarded_range], isAlone: Bool) throws(FastPathError) {
        guard interfaces.contains(interface) else { return }
        var table = relay_guarded_table(ports)
        var call: UnsafePointer<CChar>?
        let result = ring_relay_move(relay, interface, Self.place(isAlone), &table, &call)
        guard result == 0 else { throw Self.error(call, name, result) }
    }

    private static func place(_ isAlone: Bool) -> ring_relay_place {
        isAlone ? RING_RELAY_BEFORE_INGRESS : RING_RELAY_BEHIND_INGRESS
    }

    /// Relays what waits there, then closes the ring.
    func drop(_ interface: UInt32) {
        ring_relay_drop(relay, interface)
        interfaces.removeAll { $0 == interface }
    }

    func setPorts(_ ports: [relay_guarded_range]) throws(FastPathError) {
        var table = relay_guarded_table(ports)
        let result = ring_relay_set_ports(relay, &table)
        if result < 0 { throw FastPathError(call: "SO_ATTACH_FILTER", object: "ring", code: result) }
    }

    /// Why rings cannot relay a flow; nil when they can.
    static func obstacle(to flow: MediaFlow) -> FastPathResult.Reason? { relay_flow.obstacle(to: flow) }

    func apply(
        _ flow: MediaFlow, generation: UInt32, tap: MediaTap? = nil
    ) throws(FastPathError) -> FastPathResult {
        if let obstacle = Self.obstacle(to: flow) { return .unsupported(obstacle) }
        var key = relay_flow_key(flow.local)
        var value = relay_flow(flow, counterIndex: 0, generation: generation)
        value.tap = tap?.id ?? 0
        value.tap_direction = tap?.direction ?? 0
        let result = ring_relay_update(relay, &key, &value)
        if result == -ENOSPC { return .unsupported(.tableFull) }
        if result < 0 { throw FastPathError(call: "ring_relay_update", object: "\(flow.local)", code: result) }
        return .applied
    }

    /// nil if there was none.
    func remove(_ local: TransportAddress) -> MediaFlowCounters? {
        var key = relay_flow_key(local)
        var counters = relay_flow_counters()
        var quality = relay_quality()
        guard ring_relay_remove(relay, &key, &counters, &quality) == 0 else { return nil }
        return MediaFlowCounters(counters, quality)
    }

    func counters(for local: TransportAddress) -> MediaFlowCounters? {
        var key = relay_flow_key(local)
        var counters = relay_flow_counters()
        var quality = relay_quality()
        guard ring_relay_counters(relay, &key, &counters, &quality) == 0 else { return nil }
        return MediaFlowCounters(counters, quality)
    }

    func totals() -> [String: FastPathOutcomes] {
        var totals: [String: FastPathOutcomes] = [:]
        for (slot, name) in rowNames.enumerated() {
            var share = relay_totals()
            ring_relay_totals(relay, UInt32(slot), &share)
            totals[name, default: FastPathOutcomes()] += FastPathOutcomes(share)
        }
        return totals
    }

    /// Frames that found no slot, and packets for sockets that nobody took in time.
    var losses: (ringFull: UInt64, passed: UInt64) {
        var losses = ring_relay_losses()
        ring_relay_losses(relay, &losses)
        return (losses.ring_full, losses.passed)
    }

    /// For the socket behind each flow: accepts what the rings do not take.
    var socketFilter: PacketFilter {
        var instructions = [sock_filter](repeating: sock_filter(), count: Int(RING_RELAY_FILTER_COUNT_MAX))
        let count = ring_relay_socket_filter(relay, &instructions)
        return PacketFilter(
            instructions.prefix(Int(count)).map { .init($0.code, $0.k, jumpTrue: $0.jt, jumpFalse: $0.jf) })
    }

    var descriptor: CInt { ring_relay_descriptor(relay) }

    /// The next packet that is the socket's after all; nil when none waits.
    func receive(into buffer: inout [UInt8]) -> (local: TransportAddress, source: TransportAddress, byteCount: Int)? {
        var passed = ring_relay_passed()
        guard ring_relay_receive(relay, &passed, &buffer, buffer.count) == 1 else { return nil }
        let local = withUnsafeBytes(of: passed.local.address) { IPAddress(mapped: Array($0)) }
        let source = withUnsafeBytes(of: passed.source_address) { IPAddress(mapped: Array($0)) }
        return (
            TransportAddress(local, UInt16(bigEndian: passed.local.port)),
            TransportAddress(source, UInt16(bigEndian: passed.source_port)),
            min(Int(passed.payload_byte_count), buffer.count)
        )
    }

    /// One frame through the core, as if it had arrived there. `output` gets the frame to send if it is relayed, else
    /// the frame as it came. For tests.
    func run(
        _ frame: UnsafeBufferPointer<UInt8>, at interface: UInt32, _ output: UnsafeMutableBufferPointer<UInt8>
    ) throws(FastPathError) -> ring_relay_result {
        var result = ring_relay_result()
        let code = ring_relay_run(
            relay, interface, frame.baseAddress, UInt32(frame.count), output.baseAddress, UInt32(output.count), &result)
        if code < 0 { throw FastPathError(call: "ring_relay_run", object: "\(frame.count) bytes", code: code) }
        return result
    }
}

extension [(name: String, row: relay_interface)] {
    /// The rows in the order of the totals: an interface that was there before keeps its place, one that is gone leaves a
    /// row of zeros behind. Beyond the table's size new ones are left out.
    func inSlots(of names: inout [String]) -> [relay_interface] {
        for (name, _) in self where !names.contains(name) && names.count < FastPath.Limits.interfaceCountMax {
            names.append(name)
        }
        return names.map { name in first { $0.name == name }?.row ?? relay_interface() }
    }
}

extension relay_interface_table {
    init(_ rows: [relay_interface]) {
        self.init()
        count = UInt32(rows.count)
        withUnsafeMutableBytes(of: &entries) { entries in  // borrowed for the copy only
            for (index, row) in rows.enumerated() {
                entries.storeBytes(
                    of: row, toByteOffset: index * MemoryLayout<relay_interface>.stride, as: relay_interface.self)
            }
        }
    }
}

extension relay_guarded_table {
    init(_ ranges: [relay_guarded_range]) {
        self.init()
        count = UInt32(ranges.count)
        withUnsafeMutableBytes(of: &entries) { entries in  // borrowed for the copy only
            for (index, range) in ranges.enumerated() {
                entries.storeBytes(
                    of: range, toByteOffset: index * MemoryLayout<relay_guarded_range>.stride,
                    as: relay_guarded_range.self)
            }
        }
    }
}

extension MediaFlowCounters {
    init(_ sum: relay_flow_counters, _ quality: relay_quality) {
        self.init(sum)
        self.quality = MediaQuality(quality.stream)
        reports = MediaReports(quality.reports)
    }

    init(_ share: relay_flow_counters) {
        self.init(
            packets: share.packets, bytes: share.bytes, wrongSource: share.wrong_source, malformed: share.malformed,
            lastArrival: share.last_arrival == 0
                ? nil : MonotonicTime(nanoseconds: Int64(truncatingIfNeeded: share.last_arrival)))
    }
}

extension FastPathOutcomes {
    init(_ share: relay_totals) {
        self.init()
        withUnsafeBytes(of: share.outcomes) { counts in  // borrowed for the loop only
            for (index, path) in Self.inMapOrder.enumerated() {
                self[keyPath: path] = counts.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
            }
        }
    }
}
