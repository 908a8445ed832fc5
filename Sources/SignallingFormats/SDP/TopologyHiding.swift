import Primitives

// How a description of one leg becomes ours on the other: addresses, origin and everything that tells of the
// network behind is replaced or left out.

extension NegotiationLeg {
    /// A description of ours with these streams; `source` is what the other leg sent.
    mutating func describe(_ source: SessionDescription, media: [MediaDescription]) -> SessionDescription {
        var lines = [SDPLine("s", "-"), SDPLine("c", SDPConnection(host: .address(address)).text)]
        lines += source.lines.filter { $0.type == UInt8(ascii: "b") }
        lines.append(source.lines.first(type: "t") ?? SDPLine("t", "0 0"))
        lines += source.lines.filter { line in
            line.type == UInt8(ascii: "a") && line.isForwarded && !line.isDirection
        }
        return render(
            SessionDescription(
                origin: SDPOrigin(username: "-", sessionID: "0", sessionVersion: "0", host: .address(address)),
                lines: lines, media: media))
    }

    /// Puts our origin on a description; the version counts up only when something else changed (RFC 3264 §5, §8).
    mutating func render(_ description: SessionDescription) -> SessionDescription {
        var description = description
        if rendered?.lines != description.lines || rendered?.media != description.media { version &+= 1 }
        description.origin = SDPOrigin(
            username: "-", sessionID: String(sessionID), sessionVersion: String(version), host: .address(address))
        rendered = description
        return description
    }

    /// Remembers what the numbers of a description mean.
    mutating func note(_ description: SessionDescription) {
        while assigned.count < description.media.count { assigned.append([:]) }
        for (index, stream) in description.media.enumerated() where !stream.isRejected {
            for number in stream.payloadTypes { assigned[index][number] = stream.codec(of: number) }
        }
    }
}

extension MediaDescription {
    /// The stream in its place with port 0 (RFC 3264 §6).
    var rejected: MediaDescription {
        MediaDescription(
            kind: kind, port: 0, transportProtocol: transportProtocol, formats: formats.isEmpty ? ["0"] : formats)
    }

    /// The stream as we describe it on another leg. `renumbering` says what becomes of each number; what is not in it
    /// goes, with its lines.
    func relayed(
        to local: TransportAddress, session: IPAddress, direction: SDPDirection, renumbering: [UInt8: UInt8],
        formats numbers: [UInt8], rtcpMux: Bool
    ) -> MediaDescription {
        var kept: [SDPLine] = []
        if local.address != session { kept.append(SDPLine("c", SDPConnection(host: .address(local.address)).text)) }
        for line in lines {
            switch Unicode.Scalar(line.type) {
            case "c", "k": continue
            case "i" where line.text.containsAddress: continue
            case "i", "b": kept.append(line)
            case "a":
                guard line.isForwarded, !line.isDirection else { continue }
                if line.isAttribute("rtpmap") || line.isAttribute("fmtp") || line.isAttribute("rtcp-fb") {
                    guard let renumbered = renumbered(line, renumbering) else { continue }
                    kept.append(renumbered)
                } else {
                    kept.append(line)
                }
            default: continue  // no such line in RFC 8866: whoever needs it does not sit behind us
            }
        }
        if rtcpMux { kept.append(SDPLine("a", "rtcp-mux")) }
        kept.append(SDPLine("a", direction.rawValue))
        return MediaDescription(
            kind: kind, port: local.port, transportProtocol: transportProtocol, formats: numbers.map(String.init),
            lines: kept)
    }

    /// `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` with the new number; nil when the format goes.
    private func renumbered(_ line: SDPLine, _ table: [UInt8: UInt8]) -> SDPLine? {
        guard let name = line.attributeName else { return nil }
        guard let (number, rest) = line.payloadTypeAndRest else {
            return line.isAttribute("rtcp-fb") ? line : nil  // rtcp-fb:* is for all
        }
        guard let new = table[number] else { return nil }
        let needsParameters = line.isAttribute("fmtp") && table.contains { $0.key != $0.value }
        if new == number, !needsParameters { return line }
        let parameters = needsParameters ? Self.renumbered(parameters: rest, codec: codec(of: number), table) : rest
        return SDPLine("a", "\(String(decoding: name, as: UTF8.self)):\(new) \(parameters)")
    }

    /// Parameters that name payload types: redundancy (RFC 2198 §5, RFC 4103) and retransmission (RFC 4588).
    private static func renumbered(
        parameters: Substring, codec: SDPCodec?, _ table: [UInt8: UInt8]
    ) -> Substring {
        func translated(_ text: Substring) -> String {
            UInt8(text).flatMap { table[$0] }.map(String.init) ?? String(text)
        }
        switch codec?.name {
        case "red":
            return Substring(
                parameters.split(separator: "/", omittingEmptySubsequences: false).map(translated)
                    .joined(separator: "/"))
        case "rtx" where parameters.hasPrefix("apt="):
            let value = parameters.dropFirst(4).prefix { $0 != ";" }
            return Substring("apt=" + translated(value) + parameters.dropFirst(4 + value.count))
        default: return parameters
        }
    }

    /// Dynamic formats need an `a=rtpmap` (RFC 8866 §6.6) that some answers leave out: the offer's is used.
    mutating func addMissingMappings(from offer: MediaDescription) {
        for number in payloadTypes where codec(of: number) == nil {
            guard
                let line = offer.lines.first(where: { $0.isAttribute("rtpmap") && $0.payloadTypeAndRest?.0 == number })
            else { continue }
            lines.insert(line, at: lines.firstIndex { $0.type == UInt8(ascii: "a") } ?? lines.count)
        }
    }

    /// Leaves out formats, and the lines that speak of them.
    mutating func keepFormats(_ keep: (String) -> Bool) {
        formats = formats.filter(keep)
        let numbers = Set(payloadTypes)
        lines = lines.filter { line in
            guard line.isAttribute("rtpmap") || line.isAttribute("fmtp") || line.isAttribute("rtcp-fb"),
                let (number, _) = line.payloadTypeAndRest
            else { return true }
            return numbers.contains(number)
        }
    }

    mutating func setDirection(_ direction: SDPDirection) {
        lines = lines.filter { !$0.isDirection } + [SDPLine("a", direction.rawValue)]
    }
}

extension SDPLine {
    var isDirection: Bool { [self].direction != nil }

    /// false for attributes that belong to one leg's transport or tell of the network behind it.
    var isForwarded: Bool {
        guard let attributeName else { return true }
        let name = String(decoding: attributeName, as: UTF8.self).lowercased()
        if Self.ofOneLeg.contains(name) || name.hasPrefix("ice-") { return false }
        if name == "rtpmap" || name == "fmtp" { return true }
        return !text.containsAddress
    }

    private static let ofOneLeg: Set<String> = [
        // ICE (RFC 8839) and its forerunner
        "candidate", "remote-candidates", "end-of-candidates", "alt",
        // where RTCP goes (RFC 3605, RFC 5761): ours is the next port, or rtcp-mux once both ends want it
        "rtcp", "rtcp-mux", "rtcp-mux-only",
        // keys and DTLS (RFC 4567, RFC 4568, RFC 8122, RFC 4145, RFC 8842, RFC 6189): we relay plain RTP
        "crypto", "key-mgmt", "fingerprint", "setup", "connection", "tls-id", "dtls-id", "zrtp-hash", "identity",
        "3ge2ae",
        // bundling and source descriptions (RFC 9143, RFC 5576 with a CNAME that is often user@host, RFC 8830)
        "group", "mid", "bundle-only", "ssrc", "ssrc-group", "msid", "msid-semantic",
        // addresses and products
        "source-filter", "nortpproxy", "x-nat", "tool",
    ]
}

extension String {
    /// An IPv4 or IPv6 address stands somewhere in the text.
    var containsAddress: Bool {
        func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
        func isHex(_ byte: UInt8) -> Bool { isDigit(byte) || (0x61...0x66).contains(byte | 0x20) }
        let dotted = utf8.split { !isDigit($0) && $0 != UInt8(ascii: ".") }
        if dotted.contains(where: { $0.count >= 7 && IPAddress(String(decoding: $0, as: UTF8.self)) != nil }) {
            return true
        }
        let grouped = utf8.split { !isHex($0) && $0 != UInt8(ascii: ":") }
        return grouped.contains { group in
            // At least two colons; a leading one may belong to "name:". Too long to look through: taken for one.
            guard group.count <= 128 else { return true }
            var text = String(decoding: group, as: UTF8.self)
            while true {
                guard text.utf8.count(where: { $0 == UInt8(ascii: ":") }) >= 2 else { return false }
                if IPAddress(text) != nil { return true }
                guard let colon = text.firstIndex(of: ":") else { return false }
                text = String(text[text.index(after: colon)...])
            }
        }
    }
}
