import FastPath
import MediaFormats
import Primitives

/// The shield as a busy box has it: our addresses with their SIP ports, silent; the flows' sources known as stations; and
/// a table of blocked prefixes.
func raiseShield(of fastPath: FastPath, for flows: [MediaFlow]) throws(FastPathError) {
    let blockedCount = 1_000
    let endpoints = Set(flows.map(\.local.address)).map { address in
        ShieldRules.Endpoint(
            address: TransportAddress(address, 5060), usesUDP: true, usesTCP: true, isSilent: true)
    }
    let rules = ShieldRules(
        endpoints: endpoints, source: .init(perSecond: 10, burst: 50), station: .init(perSecond: 50, burst: 200),
        unknown: .init(perSecond: 200, burst: 500))
    guard try fastPath.setShield(rules) == .applied else { fail("setShield") }
    for source in Set(flows.map(\.acceptedSource.address)) {
        guard let prefix = IPPrefix(address: source, bitLength: source.bitCount),
            try fastPath.allow(prefix, as: .station) == .applied
        else { fail("allow \(source)") }
    }
    for index in 0..<blockedCount {  // 240.0.0.0/4 belongs to nobody
        guard let prefix = IPPrefix("240.\(index >> 8).\(index & 0xFF).0/24"),
            try fastPath.block(prefix, until: nil) == .applied
        else { fail("block") }
    }
}
