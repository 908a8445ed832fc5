import Primitives

/// `[shield]`: who is served first, who is limited, who is blocked.
package struct ShieldConfiguration: Equatable, Sendable {
    package var isOn = true
    /// Ports of our SIP addresses without a socket answer no unknown source: no ICMP, no reset.
    package var isSilent = false
    /// Messages and connections a second of one unknown source, and at once after a pause.
    package var sourceRate = 100
    package var sourceBurst = 500
    /// Of the address of a registered station, and of the requests of a trunk's.
    package var stationRate = 2_000
    package var stationBurst = 4_000
    /// Of all unknown sources of an interface together.
    package var unknownRate = 200
    package var unknownBurst = 400
    /// So many points within the window block a source.
    package var scoreLimit = 10
    package var scoreWindow = Duration.seconds(60)
    /// Of the first block; doubled with each repetition up to the maximum.
    package var blockTime = Duration.seconds(300)
    package var blockTimeMax = Duration.seconds(86_400)
    /// Parts of a User-Agent that block its sender at once; in lowercase.
    package var scanners = Self.scannersDefault
    /// Never limited, never blocked automatically.
    package var allow: [IPPrefix] = []
    /// Networks operators sit in: not blocked without saying so.
    package var console: [IPPrefix] = []

    package static let scannersDefault = [
        "friendly-scanner", "sipvicious", "sundayddr", "sipcli", "sip-scan", "vaxsipuseragent", "pplsip", "iwar",
        "siparmyknife",
    ]

    package init() {}
}

extension ShieldConfiguration {
    private static let keys = [
        "enabled", "silent", "source-rate", "source-burst", "station-rate", "station-burst", "unknown-rate",
        "unknown-burst", "score-limit", "score-window", "block-time", "block-time-max", "scanners", "allow", "console",
    ]

    mutating func read(_ reader: TableReader) {
        reader.allow(Self.keys)
        isOn = reader.boolean("enabled") ?? isOn
        isSilent = reader.boolean("silent") ?? isSilent
        let rates = 1...1_000_000
        sourceRate = reader.integer("source-rate", in: rates) ?? sourceRate
        sourceBurst = reader.integer("source-burst", in: rates) ?? sourceBurst
        stationRate = reader.integer("station-rate", in: rates) ?? stationRate
        stationBurst = reader.integer("station-burst", in: rates) ?? stationBurst
        unknownRate = reader.integer("unknown-rate", in: rates) ?? unknownRate
        unknownBurst = reader.integer("unknown-burst", in: rates) ?? unknownBurst
        scoreLimit = reader.integer("score-limit", in: 1...1_000) ?? scoreLimit
        scoreWindow = reader.duration("score-window", in: .seconds(1)...(.seconds(3_600))) ?? scoreWindow
        let times: ClosedRange<Duration> = .seconds(1)...(.seconds(30 * 86_400))
        blockTime = reader.duration("block-time", in: times) ?? blockTime
        blockTimeMax = reader.duration("block-time-max", in: times) ?? blockTimeMax
        if blockTime > blockTimeMax {
            reader.reject(
                reader.has("block-time") ? "block-time" : "block-time-max",
                "block-time (\(DurationText.render(blockTime))) is longer than block-time-max "
                    + "(\(DurationText.render(blockTimeMax)))")
        }
        if let texts = reader.strings("scanners", "a list of parts of a User-Agent, as [\"friendly-scanner\"]") {
            for (index, text) in texts.enumerated() where text.utf8.count < 4 {
                reader.findings.error(
                    (reader.path + "scanners").element(index),
                    "\(quoted(text)) is too short: it would block phones whose name contains it; write at least 4 characters"
                )
            }
            scanners = texts.map { $0.lowercased() }
        }
        allow = Self.prefixes(reader, "allow") ?? allow
        console = Self.prefixes(reader, "console") ?? console
    }

    private static func prefixes(_ reader: TableReader, _ key: String) -> [IPPrefix]? {
        guard let texts = reader.strings(key, "a list of address prefixes, as [\"192.0.2.0/24\"]") else { return nil }
        var prefixes: [IPPrefix] = []
        for (index, text) in texts.enumerated() {
            switch PrefixText.parse(text) {
            case .success(let prefix): prefixes.append(prefix)
            case .failure(let mistake): reader.findings.error((reader.path + key).element(index), mistake.description)
            }
        }
        return prefixes
    }

    var rendered: RenderedTable {
        var table = RenderedTable("[shield]")
        table.add("enabled", "\(isOn)")
        table.add("silent", "\(isSilent)")
        table.add("source-rate", sourceRate)
        table.add("source-burst", sourceBurst)
        table.add("station-rate", stationRate)
        table.add("station-burst", stationBurst)
        table.add("unknown-rate", unknownRate)
        table.add("unknown-burst", unknownBurst)
        table.add("score-limit", scoreLimit)
        table.add("score-window", scoreWindow)
        table.add("block-time", blockTime)
        table.add("block-time-max", blockTimeMax)
        table.add("scanners", TOMLText.array(scanners))
        if !allow.isEmpty { table.add("allow", TOMLText.array(allow.map(\.description))) }
        if !console.isEmpty { table.add("console", TOMLText.array(console.map(\.description))) }
        return table
    }
}

/// Prefixes as people write them; what is not meant so is said, not guessed.
package enum PrefixText {
    package struct Mistake: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    /// An address alone is a prefix of full length.
    package static func parse(_ text: String) -> Result<IPPrefix, Mistake> {
        guard let prefix = IPPrefix(text) else {
            return .failure(
                Mistake(
                    description: "\(quoted(text)) is no address or prefix; expected one as \"203.0.113.9\", "
                        + "\"203.0.113.0/24\" or \"2001:db8::/64\""))
        }
        let address = text.prefix { $0 != "/" }
        guard IPAddress(address) == prefix.address else {
            return .failure(
                Mistake(description: "\(quoted(text)) has bits beyond its length; write \(quoted(prefix.description))"))
        }
        if case .v6(0, let low) = prefix.address, low >> 32 == 0xFFFF, prefix.bitLength >= 96,
            let v4 = IPPrefix(
                address: .v4(UInt32(truncatingIfNeeded: low)), bitLength: prefix.bitLength - 96)
        {
            return .failure(
                Mistake(description: "\(quoted(text)) is IPv4 written as IPv6; write \(quoted(v4.description))"))
        }
        return .success(prefix)
    }
}
