import Primitives

/// Chooses the payload type numbers of an offer so that no number ever changes its meaning on a leg.
struct Numbering {
    /// What the numbers have meant on this leg and stream so far.
    let table: [UInt8: SDPCodec]
    /// The number telephone-event must have here.
    let telephoneEvent: UInt8?

    /// The formats of the other leg's offer with their numbers here; what finds no number is left out.
    func pairs(for stream: MediaDescription) -> [FormatPair] {
        let numbers = stream.payloadTypes
        let forced = numbers.first { stream.codec(of: $0) == SDPCodec("telephone-event", 8_000) }
        var used: Set<UInt8> = []
        if forced != nil, let telephoneEvent { used.insert(telephoneEvent) }
        var pairs: [FormatPair] = []
        var seen: Set<UInt8> = []
        for number in numbers where seen.insert(number).inserted {
            let codec = stream.codec(of: number)
            let relayed =
                number == forced && telephoneEvent != nil
                ? telephoneEvent : choose(for: number, codec: codec, used: used)
            guard let relayed else { continue }
            used.insert(relayed)
            pairs.append(FormatPair(offered: number, relayed: relayed, codec: codec))
        }
        return pairs
    }

    private func choose(for number: UInt8, codec: SDPCodec?, used: Set<UInt8>) -> UInt8? {
        guard let codec else {
            // Without rtpmap only the number says what it is; it cannot move.
            return used.contains(number) ? nil : number
        }
        if codec == SDPCodec.assigned(to: number), !used.contains(number) { return number }
        if table[number] == codec, !used.contains(number) { return number }
        let known = table.filter { $0.value == codec && !used.contains($0.key) }.keys.min()
        if let known { return known }
        if table[number] == nil, !used.contains(number) { return number }
        // 96...127 are dynamic, 35...63 unassigned and free for the same use (RFC 3551 §3); 64...95 would look
        // like RTCP (RFC 5761 §4).
        return (Array(96...127) + Array(35...63)).first { table[$0] == nil && !used.contains($0) }
    }
}

/// Which formats of an answer match the offer, and the translations that follow.
struct FormatMatch {
    struct Format: Hashable {
        /// Towards the leg that offered.
        let offered: UInt8
        /// In our offer to the leg that answered: what its packets carry.
        let relayed: UInt8
        /// In its answer: what packets to it must carry.
        let answered: UInt8
        let codec: SDPCodec?

        var isTelephoneEvent: Bool { codec?.isTelephoneEvent == true }
    }

    private(set) var formats: [Format] = []

    /// At most as many number changes per direction as the relay takes; formats beyond are not agreed on.
    static let translationCountMax = 4

    init(answer: MediaDescription, pairs: [FormatPair]) {
        var free = pairs
        var seen: Set<UInt8> = []
        for number in answer.payloadTypes where seen.insert(number).inserted {
            let codec = answer.codec(of: number)
            // The same number first; then the same codec under another number (RFC 3264 §6.1).
            let index =
                free.firstIndex { $0.relayed == number && (codec == nil || $0.codec == nil || $0.codec == codec) }
                ?? free.firstIndex { codec != nil && $0.codec == codec }
            guard let index else { continue }
            let pair = free.remove(at: index)
            formats.append(
                Format(
                    offered: pair.offered, relayed: pair.relayed, answered: number, codec: pair.codec ?? codec))
        }
        // A number in the answer that is somebody else's in the offer needs no care: each side uses its own table.
        while max(count(\.offered, \.answered), count(\.relayed, \.offered)) > Self.translationCountMax {
            guard
                let last = formats.lastIndex(where: {
                    !$0.isTelephoneEvent && ($0.offered != $0.answered || $0.relayed != $0.offered)
                })
            else { break }
            formats.remove(at: last)
        }
    }

    private func count(_ from: KeyPath<Format, UInt8>, _ to: KeyPath<Format, UInt8>) -> Int {
        formats.count { $0[keyPath: from] != $0[keyPath: to] }
    }

    /// What is most likely spoken: the answerer's first choice (RFC 3264 §6.1), not events nor comfort noise.
    var media: StreamMedia? {
        guard let codec = formats.first(where: { !$0.isTelephoneEvent && $0.codec?.name != "cn" })?.codec else {
            return nil
        }
        let event = formats.first { $0.codec == SDPCodec("telephone-event", codec.clockRate) }
        return StreamMedia(codec: codec, eventFromOfferer: event?.offered, eventFromAnswerer: event?.relayed)
    }

    /// Numbers of the answer as they appear in our answer to the leg that offered.
    var renumbering: [UInt8: UInt8] {
        Dictionary(uniqueKeysWithValues: formats.map { ($0.answered, $0.offered) })
    }

    var fromOfferer: [PayloadTypeTranslation] {
        Array(
            formats.filter { $0.offered != $0.answered }
                .map { PayloadTypeTranslation(from: $0.offered, to: $0.answered) }
                .prefix(Self.translationCountMax))
    }

    var fromAnswerer: [PayloadTypeTranslation] {
        var translations = formats.filter { $0.relayed != $0.offered }
            .map { PayloadTypeTranslation(from: $0.relayed, to: $0.offered) }
        // Some peers send with the numbers of their own answer; understood where they are unambiguous.
        let relayed = Set(formats.map(\.relayed))
        for format in formats where !relayed.contains(format.answered) && format.answered != format.offered {
            translations.append(PayloadTypeTranslation(from: format.answered, to: format.offered))
        }
        return Array(translations.prefix(Self.translationCountMax))
    }
}
