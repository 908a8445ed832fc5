import CFastPath
import Glibc

func errnoText(_ code: CInt) -> String { String(cString: strerror(code)) }  // libc keeps the text

/// Owns the loaded BPF object: programs and maps end with it, unless links still hold the programs.
final class RelayProgram {
    private var program: relay_program
    private let cpuCount: Int

    var xdp: CInt { program.xdp }
    var tc: CInt { program.tc }
    var shieldBlocked: CInt { program.shield_blocked }
    var shieldAllowed: CInt { program.shield_allowed }
    var shieldSources: CInt { program.shield_sources }
    var tapRings: CInt { program.tap_rings }
    var tapShape: CInt { program.tap_shape }

    init(flowCountMax: Int) throws(FastPathError) {
        var program = relay_program()
        var call: UnsafePointer<CChar>?
        var log = [CChar](repeating: 0, count: 4096)
        let bytes = Self.object
        let result = relay_load(bytes, bytes.count, UInt32(flowCountMax), &program, &call, &log, log.count)
        guard result == 0 else {
            let text = log.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }  // not empty, ends with zero
            let hint =
                result == -EPERM
                ? "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed" + (text.isEmpty ? "" : "; \(text)") : text
            throw FastPathError(
                call: call.map { String(cString: $0) } ?? "relay_load", object: "relay.bpf.o", code: result,
                detail: hint)
        }
        self.program = program
        cpuCount = max(1, Int(relay_possible_cpu_count()))
    }

    deinit {
        relay_unload(&program)
    }

    /// The embedded ELF object.
    private static var object: [UInt8] {
        RelayObject.hexDigits.withUTF8Buffer { digits in  // a literal: lives as long as the process
            let value = { (digit: UInt8) in digit >= UInt8(ascii: "a") ? digit - 87 : digit - 48 }
            return stride(from: 0, to: digits.count - 1, by: 2).map { value(digits[$0]) << 4 | value(digits[$0 + 1]) }
        }
    }

    func setInterfaces(_ rows: [relay_interface]) throws(FastPathError) {
        var table = relay_interface_table(rows)
        var zero: UInt32 = 0
        try check(bpf_map_update_elem(program.interfaces, &zero, &table, UInt64(BPF_ANY)), "interfaces")
    }

    func setGuardedRanges(_ ranges: [relay_guarded_range]) throws(FastPathError) {
        var table = relay_guarded_table(ranges)
        var zero: UInt32 = 0
        try check(bpf_map_update_elem(program.guarded, &zero, &table, UInt64(BPF_ANY)), "guarded")
    }

    func set(_ settings: shield_settings) throws(FastPathError) {
        var settings = settings
        var zero: UInt32 = 0
        try check(bpf_map_update_elem(program.shield_settings, &zero, &settings, UInt64(BPF_ANY)), "shield")
    }

    func update(_ key: relay_flow_key, _ flow: relay_flow) throws(FastPathError) {
        var (key, flow) = (key, flow)
        let result = relay_slots_set(program.slots, &key, &flow)
        if result < 0 { throw FastPathError(call: "relay_slots_set", object: "flows", code: result) }
    }

    /// nil if there is none.
    func flow(_ key: relay_flow_key) -> relay_flow? {
        var (key, flow) = (key, relay_flow())
        return relay_slots_get(program.slots, &key, &flow) == 0 ? flow : nil
    }

    /// One element per CPU.
    var tapCounters: [relay_tap_counters] { shares(of: program.tap_counters, at: 0, empty: relay_tap_counters()) }

    /// False if there was none.
    func remove(_ key: relay_flow_key) -> Bool {
        var key = key
        return relay_slots_remove(program.slots, &key) == 0
    }

    func clearCounters(at index: UInt32) throws(FastPathError) {
        var index = index
        var zeros = [relay_flow_counters](repeating: relay_flow_counters(), count: cpuCount)
        try check(bpf_map_update_elem(program.flow_counters, &index, &zeros, UInt64(BPF_ANY)), "flow_counters")
        var quality = relay_quality()
        try check(bpf_map_update_elem(program.flow_quality, &index, &quality, UInt64(BPF_ANY)), "flow_quality")
    }

    /// Zeros if the kernel refuses.
    func quality(at index: UInt32) -> relay_quality {
        var index = index
        var quality = relay_quality()
        return bpf_map_lookup_elem(program.flow_quality, &index, &quality) == 0 ? quality : relay_quality()
    }

    /// One element per CPU; empty if the kernel refuses.
    func counters(at index: UInt32) -> [relay_flow_counters] {
        shares(of: program.flow_counters, at: index, empty: relay_flow_counters())
    }

    /// One element per CPU.
    func totals(at slot: UInt32) -> [relay_totals] { shares(of: program.totals, at: slot, empty: relay_totals()) }

    private func shares<Share: BitwiseCopyable>(of map: CInt, at index: UInt32, empty: Share) -> [Share] {
        var index = index
        var shares = [Share](repeating: empty, count: cpuCount)
        return bpf_map_lookup_elem(map, &index, &shares) == 0 ? shares : []
    }

    func check(_ result: CInt, _ map: String) throws(FastPathError) {
        if result < 0 { throw FastPathError(call: "bpf_map_update_elem", object: map, code: result) }
    }
}

/// Owns the descriptor of a BPF link: closing it detaches the program, and so does the end of the process.
final class OwnedLink {
    private let descriptor: CInt

    init(owning descriptor: CInt) { self.descriptor = descriptor }

    deinit {
        // Closing alone would wait for copies in children that are just being started.
        _ = bpf_link_detach(descriptor)
        _ = close(descriptor)
    }
}
