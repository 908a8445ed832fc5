import Primitives

/// Which way media flows, as seen by whoever wrote the description (RFC 8866 §6.7).
package enum SDPDirection: String, Hashable, Sendable, CaseIterable {
    case sendrecv, sendonly, recvonly, inactive

    package init(sends: Bool, receives: Bool) {
        self =
            switch (sends, receives) {
            case (true, true): .sendrecv
            case (true, false): .sendonly
            case (false, true): .recvonly
            case (false, false): .inactive
            }
    }

    package var sends: Bool { self == .sendrecv || self == .sendonly }
    package var receives: Bool { self == .sendrecv || self == .recvonly }

    /// The same flow seen from the other end.
    package var reversed: SDPDirection { SDPDirection(sends: receives, receives: sends) }

    /// Only what both allow.
    package func intersection(_ other: SDPDirection) -> SDPDirection {
        SDPDirection(sends: sends && other.sends, receives: receives && other.receives)
    }
}

/// A host in `c=`, `o=` and `a=rtcp`: nearly always an address, a name in theory.
package enum SDPHost: Hashable, Sendable {
    case address(IPAddress)
    case name(String)

    package var address: IPAddress? {
        guard case .address(let address) = self else { return nil }
        return address
    }

    /// The three fields `IN IP4 192.0.2.1`. nil unless the network is IN and family and address fit.
    init?(_ bytes: Span<UInt8>, networkType: Range<Int>, addressType: Range<Int>, host: Range<Int>) {
        guard bytes.word(networkType) == SDPWord.internet, !host.isEmpty else { return nil }
        let family: IPAddress.Family
        switch bytes.word(addressType) {
        case SDPWord.ipv4: family = .v4
        case SDPWord.ipv6: family = .v6
        default: return nil
        }
        if let word = bytes.ipv4(host) {
            guard family == .v4 else { return nil }
            self = .address(.v4(word))
            return
        }
        let text = bytes.text(host)
        if let address = IPAddress(text) {
            guard address.family == family, bytes[host.lowerBound] != UInt8(ascii: "[") else { return nil }
            self = .address(address)
        } else {
            // A domain name (RFC 8866 §9, FQDN): anything else, such as 256.1.1.1 or fe80::1%eth0, is an error.
            var hasLetter = false
            for index in host {
                let byte = bytes[index]
                if ByteClass.isAlpha(byte) {
                    hasLetter = true
                } else {
                    guard ByteClass.isDigit(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".") else {
                        return nil
                    }
                }
            }
            guard hasLetter else { return nil }
            self = .name(text)
        }
    }

    /// `IP4 192.0.2.1`; a name is written as IP4.
    var text: String {
        switch self {
        case .address(let address): "\(address.family == .v4 ? "IP4" : "IP6") \(address)"
        case .name(let name): "IP4 \(name)"
        }
    }
}

/// `o=` (RFC 8866 §5.2).
package struct SDPOrigin: Hashable, Sendable {
    package var username: String
    /// Digits without a limit in the grammar, hence text.
    package var sessionID: String
    package var sessionVersion: String
    package var host: SDPHost

    package init(username: String, sessionID: String, sessionVersion: String, host: SDPHost) {
        self.username = username
        self.sessionID = sessionID
        self.sessionVersion = sessionVersion
        self.host = host
    }

    /// What follows `o=`.
    init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        var fields = SDPFieldCursor(range)
        guard let hostRange = fields.popLast(bytes), let addressType = fields.popLast(bytes),
            let networkType = fields.popLast(bytes), let sessionVersion = fields.popLast(bytes),
            let sessionID = fields.popLast(bytes),
            let host = SDPHost(bytes, networkType: networkType, addressType: addressType, host: hostRange),
            bytes.isDigits(sessionID), bytes.isDigits(sessionVersion)
        else { return nil }
        // Tolerated: a user name with spaces or none at all, as some phones write their display name here.
        var username = ""
        while let word = fields.next(bytes) {
            if !username.isEmpty { username += " " }
            username += bytes.text(word)
        }
        self.init(
            username: username.isEmpty ? "-" : username, sessionID: bytes.text(sessionID),
            sessionVersion: bytes.text(sessionVersion), host: host)
    }

    var text: String { "\(username) \(sessionID) \(sessionVersion) IN \(host.text)" }
}

/// `c=` (RFC 8866 §5.7).
package struct SDPConnection: Hashable, Sendable {
    package var host: SDPHost
    /// `/127` or `/127/3` behind a multicast address, kept as text; nil for unicast.
    package var multicastSuffix: String?

    package init(host: SDPHost, multicastSuffix: String? = nil) {
        self.host = host
        self.multicastSuffix = multicastSuffix
    }

    /// What follows `c=`.
    init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        var fields = SDPFieldCursor(range)
        guard let networkType = fields.next(bytes), let addressType = fields.next(bytes),
            let last = fields.next(bytes), fields.next(bytes) == nil
        else { return nil }
        let slash = bytes.firstOffset(of: UInt8(ascii: "/"), in: last) ?? last.upperBound
        if slash < last.upperBound {
            for index in slash..<last.upperBound {
                guard bytes[index] == UInt8(ascii: "/") || ByteClass.isDigit(bytes[index]) else { return nil }
            }
            multicastSuffix = bytes.text(slash..<last.upperBound)
        }
        guard
            let host = SDPHost(
                bytes, networkType: networkType, addressType: addressType, host: last.lowerBound..<slash)
        else { return nil }
        self.host = host
    }

    var text: String { "IN \(host.text)\(multicastSuffix ?? "")" }
}

/// The codec behind a payload type: `a=rtpmap`, or the static table of RFC 3551 §6.
package struct SDPCodec: Hashable, Sendable {
    /// Lower case: names are compared without case (RFC 8866 §6.6).
    package var name: String
    package var clockRate: Int
    package var channels: Int

    package init(_ name: String, _ clockRate: Int, channels: Int = 1) {
        self.name = name.lowercased()
        self.clockRate = clockRate
        self.channels = channels
    }

    /// `PCMU/8000` or `L16/44100/2`.
    init?(_ text: Substring) {
        guard let slash = text.utf8.firstIndex(of: UInt8(ascii: "/")), slash > text.startIndex else { return nil }
        let rest = text[text.utf8.index(after: slash)...]
        let second = rest.utf8.firstIndex(of: UInt8(ascii: "/"))
        guard let rate = Int(rest[..<(second ?? rest.endIndex)]), rate > 0 else { return nil }
        let last = second.map { rest[rest.utf8.index(after: $0)...] }
        guard last?.utf8.contains(UInt8(ascii: "/")) != true else { return nil }
        // Tolerated: parameters we do not understand behind the rate count as one channel.
        self.init(String(text[..<slash]), rate, channels: last.map { max(1, Int($0) ?? 1) } ?? 1)
    }

    /// Codec of a payload type that needs no `a=rtpmap` (RFC 3551 §6); nil for the others.
    package static func assigned(to payloadType: UInt8) -> SDPCodec? {
        switch payloadType {
        case 0: SDPCodec("pcmu", 8_000)
        case 3: SDPCodec("gsm", 8_000)
        case 4: SDPCodec("g723", 8_000)
        case 5: SDPCodec("dvi4", 8_000)
        case 6: SDPCodec("dvi4", 16_000)
        case 7: SDPCodec("lpc", 8_000)
        case 8: SDPCodec("pcma", 8_000)
        case 9: SDPCodec("g722", 8_000)
        case 10: SDPCodec("l16", 44_100, channels: 2)
        case 11: SDPCodec("l16", 44_100)
        case 12: SDPCodec("qcelp", 8_000)
        case 13: SDPCodec("cn", 8_000)
        case 14: SDPCodec("mpa", 90_000)
        case 15: SDPCodec("g728", 8_000)
        case 16: SDPCodec("dvi4", 11_025)
        case 17: SDPCodec("dvi4", 22_050)
        case 18: SDPCodec("g729", 8_000)
        case 25: SDPCodec("celb", 90_000)
        case 26: SDPCodec("jpeg", 90_000)
        case 28: SDPCodec("nv", 90_000)
        case 31: SDPCodec("h261", 90_000)
        case 32: SDPCodec("mpv", 90_000)
        case 33: SDPCodec("mp2t", 90_000)
        case 34: SDPCodec("h263", 90_000)
        default: nil
        }
    }

    package var isTelephoneEvent: Bool { name == "telephone-event" }
}
