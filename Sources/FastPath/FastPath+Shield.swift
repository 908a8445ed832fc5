import CFastPath
import Glibc
import Primitives

// The shield in the kernel: what becomes of packets that belong to no media flow (`BPF/shield.h`).
extension FastPath {
    /// Switches the shield on with these rules, or off with nil; blocks and allowances stay. Off after `init`.
    /// `.unsupported(.tableFull)` when there are more than sixteen endpoints; then the old rules remain.
    package func setShield(_ rules: ShieldRules?) throws(FastPathError) -> FastPathResult {
        guard let program, isAttached else { return .unsupported(.notAttached) }
        guard (rules?.endpoints.count ?? 0) <= Int(SHIELD_ENDPOINT_COUNT_MAX) else { return .unsupported(.tableFull) }
        try program.set(rules?.settings ?? shield_settings())
        return .applied
    }

    /// From now on everything from this prefix that belongs to no media flow is dropped, until then (nil: for ever).
    /// A prefix that is blocked already gets the new time. An expired one is dropped no more, but stays in the table
    /// until `unblock`. `.unsupported(.tableFull)` beyond 16384 prefixes.
    package func block(_ prefix: IPPrefix, until expiry: MonotonicTime?) throws(FastPathError) -> FastPathResult {
        guard let program, isAttached else { return .unsupported(.notAttached) }
        var key = shield_prefix_key(prefix)
        var value = shield_block(
            expiry: Self.kernelTime(expiry), packets: blockedPackets(of: prefix) ?? 0, bit_length: key.bit_length,
            zero: 0)
        return try Self.update(program.shieldBlocked, &key, &value, prefix)
    }

    /// False if it was not blocked.
    @discardableResult
    package func unblock(_ prefix: IPPrefix) -> Bool {
        var key = shield_prefix_key(prefix)
        return program.map { bpf_map_delete_elem($0.shieldBlocked, &key) == 0 } ?? false
    }

    /// How many packets a block has stopped; nil if there is none.
    package func blockedPackets(of prefix: IPPrefix) -> UInt64? {
        guard let program else { return nil }
        var key = shield_prefix_key(prefix)
        var value = shield_block()
        // A look-up gives the longest prefix that contains it, which may be a shorter one.
        guard bpf_map_lookup_elem(program.shieldBlocked, &key, &value) == 0, value.bit_length == key.bit_length
        else { return nil }
        return value.packets
    }

    /// Gives a prefix a better standing than unknown, until then (nil: for ever). As `block` in all else.
    package func allow(
        _ prefix: IPPrefix, as standing: ShieldStanding, until expiry: MonotonicTime? = nil
    ) throws(FastPathError) -> FastPathResult {
        guard let program, isAttached else { return .unsupported(.notAttached) }
        var key = shield_prefix_key(prefix)
        var value = shield_allowance(
            expiry: Self.kernelTime(expiry), bit_length: key.bit_length, standing: standing.rawValue)
        return try Self.update(program.shieldAllowed, &key, &value, prefix)
    }

    /// False if it had no standing.
    @discardableResult
    package func disallow(_ prefix: IPPrefix) -> Bool {
        var key = shield_prefix_key(prefix)
        return program.map { bpf_map_delete_elem($0.shieldAllowed, &key) == 0 } ?? false
    }

    /// Sources with packets beyond their rate, and how many since they were first seen. Forgotten sources (the
    /// table holds 16384, the least recent leave) start anew. An IPv6 source is its /64, ending in zeros.
    package func limitedSources() -> [(source: IPAddress, dropped: UInt64)] {
        guard let program else { return [] }
        typealias Key = (UInt64, UInt64)
        var sources: [(IPAddress, UInt64)] = []
        var position: UInt32 = 0
        var isFirst = true
        var keys = [Key](repeating: (0, 0), count: 1024)
        var values = [shield_source](repeating: shield_source(), count: keys.count)
        while true {
            var count = UInt32(keys.count)
            var next: UInt32 = 0
            let result = withUnsafeMutablePointer(to: &position) { old in  // borrowed for the call only
                bpf_map_lookup_batch(program.shieldSources, isFirst ? nil : old, &next, &keys, &values, &count, nil)
            }
            guard result == 0 || result == -ENOENT else { return sources }
            for index in 0..<Int(count) where values[index].dropped > 0 {
                let address = withUnsafeBytes(of: keys[index]) { IPAddress(mapped: Array($0)) }
                sources.append((address, values[index].dropped))
            }
            if result == -ENOENT { return sources }
            position = next
            isFirst = false
        }
    }

    private static func kernelTime(_ time: MonotonicTime?) -> UInt64 {
        time.map { UInt64(max(1, $0.nanoseconds)) } ?? 0
    }

    private static func update<Value: BitwiseCopyable>(
        _ map: CInt, _ key: inout shield_prefix_key, _ value: inout Value, _ prefix: IPPrefix
    ) throws(FastPathError) -> FastPathResult {
        let result = bpf_map_update_elem(map, &key, &value, UInt64(BPF_ANY))
        if result == -ENOSPC { return .unsupported(.tableFull) }
        if result < 0 { throw FastPathError(call: "bpf_map_update_elem", object: "\(prefix)", code: result) }
        return .applied
    }
}

extension IPAddress {
    /// Of sixteen bytes, IPv4 as ::ffff:a.b.c.d.
    init(mapped bytes: [UInt8]) {
        let v4 = bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
        self = IPAddress(bytes: v4 ? bytes.suffix(4) : bytes[...]) ?? .v6(0, 0)
    }
}
