import Primitives

/// `[qos]`: the DSCP packets leave with, by class.
package struct QoSConfiguration: Equatable, Sendable {
    /// Of the messages this box sends; there is nothing to preserve.
    package var signalling: DSCP
    /// Of relayed media.
    package var media: TrafficClassPolicy
    /// Of the media of emergency calls.
    package var emergency: TrafficClassPolicy

    package init(
        signalling: DSCP = .classSelector3, media: TrafficClassPolicy = .set(.expeditedForwarding),
        emergency: TrafficClassPolicy = .set(.expeditedForwarding)
    ) {
        self.signalling = signalling
        self.media = media
        self.emergency = emergency
    }
}

extension QoSConfiguration {
    private static let preserve = "preserve"
    private static let classes = "a class as \"EF\", \"CS3\" or \"AF41\", or a number from 0 to 63"

    mutating func read(_ reader: TableReader) {
        reader.allow(["signalling", "media", "emergency"])
        if case .string(Self.preserve)? = reader.table["signalling"]?.value {
            reader.reject(
                "signalling", "the box writes its own messages, nothing is preserved; expected \(Self.classes)")
        } else if case .set(let dscp)? = Self.policy(reader, "signalling", Self.classes) {
            signalling = dscp
        }
        let allowed = "\(Self.classes), or \"\(Self.preserve)\""
        media = Self.policy(reader, "media", allowed) ?? media
        emergency = Self.policy(reader, "emergency", allowed) ?? emergency
    }

    private static func policy(_ reader: TableReader, _ key: String, _ allowed: String) -> TrafficClassPolicy? {
        if case .integer(let number)? = reader.table[key]?.value {
            guard let dscp = UInt8(exactly: number).flatMap(DSCP.init(rawValue:)) else {
                reader.reject(key, "\(number) is not allowed; expected \(allowed)")
                return nil
            }
            return .set(dscp)
        }
        return reader.value(key, allowed) { $0 == preserve ? .preserve : DSCP($0).map { .set($0) } }
    }

    var rendered: RenderedTable {
        var table = RenderedTable("[qos]")
        table.add("signalling", text: signalling.description)
        table.add("media", text: media.description)
        table.add("emergency", text: emergency.description)
        return table
    }
}
