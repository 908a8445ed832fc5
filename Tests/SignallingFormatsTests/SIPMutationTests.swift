import Primitives
import SignallingFormats
import TestSupport
import Testing

/// Seeded mutations of good messages: nothing may trap, and what is accepted must hold what it promises.
@Suite("SIP parser under mutation")
struct SIPMutationTests {
    static let seeds: [[UInt8]] =
        Golden.names().compactMap { try? Golden.input($0) } + [
            Array(SIPHeadersTests.text.utf8), MultipartBodyTests.body,
        ]

    /// Bytes that mean something to the grammar.
    static let telling = Array("\r\n \t:;,<>\"\\@%[]=?()/.*0\0\u{7F}".utf8) + [0xFF, 0xC3]

    @Test("messages", arguments: [1, 2, 3, 4] as [UInt64])
    func messages(_ seed: UInt64) {
        var random = RandomSource(seed: seed)
        for _ in 0..<8_000 {
            var bytes = mutate(Self.seeds[Int(random.next() % UInt64(Self.seeds.count))], &random)
            exercise(bytes)
            bytes = Array(bytes.prefix(Int(random.next() % 400)))
            _ = SIPRequest.salvage(bytes.span)
        }
    }

    @Test("single values", arguments: [5, 6] as [UInt64])
    func values(_ seed: UInt64) {
        var random = RandomSource(seed: seed)
        let seeds = [
            "\"A \\\" b\" <sip:u%41:p@[2001:db8::1]:5060;lr;x=y?h=v>;tag=1;q=\"z\"",
            "SIP/2.0/UDP [::1]:5060;branch=z9hG4bK1;rport",
            "sips:u;p=q@h.example:1;maddr=[::1]?a=b", "tel:+1-313-555-0101;ext=1",
            "multipart/mixed;boundary=\"a\\\"b\"", "4711 INVITE",
        ].map { Array($0.utf8) }
        for _ in 0..<20_000 {
            let bytes = mutate(seeds[Int(random.next() % UInt64(seeds.count))], &random)
            let text = String(decoding: bytes, as: UTF8.self)
            if let uri = URI(text) {
                #expect(URI(uri.text) == uri)
                #expect(uri.isEquivalent(to: uri))
            }
            if let address = NameAddress(text) { #expect(NameAddress(address.text) == address) }
            if let via = Via(text) { #expect(Via(via.text) == via) }
            if let type = MediaType(text) { #expect(MediaType(type.text) == type) }
            _ = CSeq(text)
            _ = SIPHeaderName(text)
        }
    }

    @Test("streams", arguments: [7, 8] as [UInt64])
    func streams(_ seed: UInt64) {
        var random = RandomSource(seed: seed)
        for _ in 0..<3_000 {
            var framer = SIPStreamFramer()
            let bytes = mutate(Self.seeds[Int(random.next() % UInt64(Self.seeds.count))], &random)
            var offset = 0
            var framed = 0
            while offset < bytes.count {
                let end = min(bytes.count, offset + 1 + Int(random.next() % 300))
                framer.append(bytes.span.extracting(offset..<end))
                while let event = try? framer.next() {
                    if case .message(let message) = event { framed += message.count }
                }
                offset = end
            }
            #expect(framed + framer.pendingByteCount <= bytes.count)
        }
    }

    @Test("multipart bodies", arguments: [9] as [UInt64])
    func multipart(_ seed: UInt64) {
        var random = RandomSource(seed: seed)
        for _ in 0..<10_000 {
            let bytes = mutate(MultipartBodyTests.body, &random)
            guard let multipart = try? MultipartBody(parsing: bytes, boundary: "b1") else { continue }
            #expect(multipart.bytes == bytes)
        }
    }

    private func exercise(_ bytes: [UInt8]) {
        guard var message = try? SIPMessage(parsing: bytes.span) else {
            _ = SIPRequest.salvage(bytes.span).map(\.bytes)
            return
        }
        // what the parser promises of an accepted message
        #expect(message.topVia != nil && message.from != nil && message.to != nil && message.cseq != nil)
        #expect(message.vias.count == message.headers.values(.via).count)
        #expect(message.hasContactWildcard || message.contacts.count == message.headers.values(.contact).count)
        #expect(message.routes.count == message.headers.values(.route).count)
        _ = (message.contentType, message.expires, message.maxForwards, message.recordRoutes, message.headers.fields)
        let rendered = message.bytes
        let again = try? SIPMessage(parsing: rendered.span)
        #expect(again?.bytes == rendered)
        // and edits keep it parseable
        message.headers.removeFirstValue(.contact)
        message.headers.replaceFirstValue(.via, "SIP/2.0/UDP z.example;branch=z9hG4bKz")
        message.headers.prepend(.via, "SIP/2.0/TCP y.example;branch=z9hG4bKy")
        message.setToTag("edited")
        message.headers.append("X-Edited", String(decoding: bytes.prefix(50), as: UTF8.self))
        MessageBody.replaceSessionDescription(in: &message, with: Array("v=0\r\n".utf8))
        let edited = try? SIPMessage(parsing: message.bytes.span)
        #expect(edited?.to?.tag == "edited" || edited == nil && message.bytes.count > SIPLimits.messageByteCountMax)
    }

    private func mutate(_ seed: [UInt8], _ random: inout RandomSource) -> [UInt8] {
        var bytes = seed
        for _ in 0..<(1 + random.next() % 4) where !bytes.isEmpty {
            let place = Int(random.next() % UInt64(bytes.count))
            let other = Int(random.next() % UInt64(bytes.count))
            switch random.next() % 7 {
            case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes[place] = Self.telling[Int(random.next() % UInt64(Self.telling.count))]
            case 2: bytes.insert(Self.telling[Int(random.next() % UInt64(Self.telling.count))], at: place)
            case 3: bytes.remove(at: place)
            case 4: bytes.removeSubrange(min(place, other)..<min(max(place, other), min(place, other) + 40))
            case 5:
                bytes.insert(
                    contentsOf: Array(bytes[min(place, other)..<min(max(place, other), min(place, other) + 60)]),
                    at: place)
            default: bytes.removeLast(min(bytes.count, Int(random.next() % 30)))
            }
        }
        return bytes
    }
}
