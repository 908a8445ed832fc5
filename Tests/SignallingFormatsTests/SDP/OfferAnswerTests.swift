import Primitives
import SignallingFormats
import Testing

/// Two legs as the call engine would hold them.
struct Pair {
    var a: NegotiationLeg
    var b: NegotiationLeg
    static let aLocal = (0..<4).map { TransportAddress(.v4(0xC0A8_3201), UInt16(20_000 + 2 * $0)) }
    static let bLocal = (0..<4).map { TransportAddress(.v4(0xCB00_7107), UInt16(30_000 + 2 * $0)) }

    init(aEvent: UInt8? = nil, bEvent: UInt8? = nil) {
        a = NegotiationLeg(sessionID: 11, address: .v4(0xC0A8_3201), telephoneEvent: aEvent)
        b = NegotiationLeg(sessionID: 22, address: .v4(0xCB00_7107), telephoneEvent: bEvent)
    }

    mutating func offerFromA(_ lines: [String]) throws -> SessionDescription {
        try OfferAnswer.relay(offer: parse(lines), from: &a, to: &b, local: Self.bLocal)
    }

    mutating func answerFromB(_ lines: [String]) throws -> RelayedAnswer {
        try OfferAnswer.relay(answer: parse(lines), from: &b, to: &a, local: Self.aLocal)
    }

    mutating func offerFromB(_ lines: [String]) throws -> SessionDescription {
        try OfferAnswer.relay(offer: parse(lines), from: &b, to: &a, local: Self.aLocal)
    }

    mutating func answerFromA(_ lines: [String]) throws -> RelayedAnswer {
        try OfferAnswer.relay(answer: parse(lines), from: &a, to: &b, local: Self.bLocal)
    }
}

func parse(_ lines: [String]) throws -> SessionDescription {
    try SessionDescription(parsing: Array(lines.map { $0 + "\r\n" }.joined().utf8).span)
}

/// A description with one address for all.
func from(_ address: String, version: Int = 1, _ media: String...) -> [String] {
    ["v=0", "o=phone 5 \(version) IN IP4 \(address)", "s=call", "c=IN IP4 \(address)", "t=0 0"] + media
}

@Suite("Offer and answer (RFC 3264) between two legs")
struct OfferAnswerTests {
    @Test("addresses, ports and origin are ours; nothing of the other network remains")
    func hides() throws {
        var pair = Pair()
        let offer = try pair.offerFromA([
            "v=0", "o=alice 2890844526 7 IN IP4 10.0.0.5", "s=Alice at desk", "i=info", "u=http://10.0.0.5/",
            "e=alice@corp.example", "p=+1 313", "c=IN IP4 10.0.0.5", "b=AS:84", "t=0 0", "k=clear:secret",
            "a=tool:phone 1.0", "a=ice-lite", "a=group:BUNDLE 0", "a=x-kept:yes", "a=x-host 10.0.0.5",
            "m=audio 4000 RTP/AVP 0 8 101", "i=title", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16",
            "a=candidate:1 1 UDP 2130706431 10.0.0.5 4000 typ host", "a=ice-ufrag:abcd", "a=ice-pwd:secretsecret",
            "a=rtcp:4001 IN IP4 10.0.0.5", "a=rtcp-mux", "a=ssrc:1 cname:alice@10.0.0.5", "a=mid:0",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc", "a=fingerprint:sha-256 AA:BB", "a=setup:actpass",
            "a=x-alt:v6 fe80::5", "a=ptime:20", "a=sendrecv", "a=silenceSupp:off - - - -",
        ])
        #expect(
            text(offer) == [
                "v=0", "o=- 22 1 IN IP4 203.0.113.7", "s=-", "c=IN IP4 203.0.113.7", "b=AS:84", "t=0 0",
                "a=x-kept:yes", "m=audio 30000 RTP/AVP 0 8 101", "i=title", "a=rtpmap:101 telephone-event/8000",
                "a=fmtp:101 0-16", "a=ptime:20", "a=silenceSupp:off - - - -", "a=rtcp-mux", "a=sendrecv",
            ])
        let answer = try pair.answerFromB(
            from("198.51.100.9", "m=audio 7000 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/8000"))
        #expect(
            text(answer.description) == [
                "v=0", "o=- 11 1 IN IP4 192.168.50.1", "s=-", "c=IN IP4 192.168.50.1", "t=0 0",
                "m=audio 20000 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/8000", "a=sendrecv",
            ])
        #expect(
            answer.streams == [
                StreamAgreement(
                    isActive: true, fromOfferer: [], fromAnswerer: [],
                    media: StreamMedia(
                        codec: SDPCodec("pcma", 8_000), eventFromOfferer: 101, eventFromAnswerer: 101))
            ])
        #expect(OfferAnswer.remoteStreams(in: offer, agreedWith: pair.b.received).map { $0?.rtcpMux } == [false])
    }

    @Test("rtcp-mux is agreed end to end or not at all")
    func mux() throws {
        var pair = Pair()
        _ = try pair.offerFromA(from("10.0.0.5", "m=audio 4000 RTP/AVP 0", "a=rtcp-mux"))
        let answer = try pair.answerFromB(from("198.51.100.9", "m=audio 7000 RTP/AVP 0", "a=rtcp-mux"))
        #expect(answer.description.media[0].hasRTCPMux)
        let received = try #require(pair.a.received)
        #expect(OfferAnswer.remoteStreams(in: received, agreedWith: pair.a.sent).map { $0?.rtcpMux } == [true])
    }

    struct Events: Sendable {
        let name: String
        var aEvent: UInt8?
        var bEvent: UInt8?
        let offered: String
        let relayed: [UInt8]
        let answered: String
        let toOfferer: [UInt8]
        let fromOfferer: [PayloadTypeTranslation]
        let fromAnswerer: [PayloadTypeTranslation]
    }

    @Test(
        "payload type numbers: each leg its own, and what the relay must change",
        arguments: [
            Events(
                name: "same numbers", offered: "0 101", relayed: [0, 101], answered: "0 101", toOfferer: [0, 101],
                fromOfferer: [], fromAnswerer: []),
            Events(
                name: "the trunk wants 101", bEvent: 101, offered: "0 96", relayed: [0, 101], answered: "0 101",
                toOfferer: [0, 96], fromOfferer: [.init(from: 96, to: 101)], fromAnswerer: [.init(from: 101, to: 96)]),
            Events(
                name: "the answer has another number", offered: "0 96", relayed: [0, 96], answered: "0 101",
                toOfferer: [0, 96], fromOfferer: [.init(from: 96, to: 101)],
                fromAnswerer: [.init(from: 101, to: 96)]),
            Events(
                name: "three numbers for one thing", bEvent: 100, offered: "0 96", relayed: [0, 100], answered: "0 101",
                toOfferer: [0, 96], fromOfferer: [.init(from: 96, to: 101)],
                fromAnswerer: [.init(from: 100, to: 96), .init(from: 101, to: 96)]),
            Events(
                name: "not accepted", bEvent: 101, offered: "0 96", relayed: [0, 101], answered: "0", toOfferer: [0],
                fromOfferer: [], fromAnswerer: []),
            Events(
                name: "not offered", bEvent: 101, offered: "0 8", relayed: [0, 8], answered: "8 101", toOfferer: [8],
                fromOfferer: [], fromAnswerer: []),
        ])
    func telephoneEvents(_ sample: Events) throws {
        var pair = Pair(aEvent: sample.aEvent, bEvent: sample.bEvent)
        func media(_ formats: String) -> [String] {
            ["m=audio 4000 RTP/AVP \(formats)"]
                + formats.split(separator: " ").filter { ($0.count) > 1 }.map { "a=rtpmap:\($0) telephone-event/8000" }
        }
        let offer = try pair.offerFromA(from("10.0.0.5") + media(sample.offered))
        #expect(offer.media[0].payloadTypes == sample.relayed, "\(sample.name)")
        let answer = try pair.answerFromB(from("198.51.100.9") + media(sample.answered))
        #expect(answer.description.media[0].payloadTypes == sample.toOfferer, "\(sample.name)")
        #expect(answer.streams[0].fromOfferer == sample.fromOfferer, "\(sample.name)")
        #expect(answer.streams[0].fromAnswerer == sample.fromAnswerer, "\(sample.name)")
        if sample.toOfferer.contains(96) {
            #expect(answer.description.media[0].codec(of: 96)?.isTelephoneEvent == true)
        }
    }

    @Test("a forced number that is taken moves whoever has it, and dynamic codecs map by name, rate and channels")
    func moved() throws {
        var pair = Pair(bEvent: 101)
        let offer = try pair.offerFromA(
            from(
                "10.0.0.5", "m=audio 4000 RTP/AVP 101 96 97", "a=rtpmap:101 opus/48000/2", "a=fmtp:101 useinbandfec=1",
                "a=rtpmap:96 telephone-event/8000", "a=rtpmap:97 telephone-event/48000"))
        let media = offer.media[0]
        #expect(media.payloadTypes.count == 3 && Set(media.payloadTypes).count == 3)
        #expect(media.codec(of: 101) == SDPCodec("telephone-event", 8_000))
        let opus = try #require(media.payloadTypes.first { media.codec(of: $0)?.name == "opus" })
        #expect(media.formatParameters(of: opus) == "useinbandfec=1")
        let answer = try pair.answerFromB(
            from(
                "198.51.100.9", "m=audio 7000 RTP/AVP 120 101", "a=rtpmap:120 OPUS/48000/2",
                "a=rtpmap:101 telephone-event/8000"))
        #expect(answer.description.media[0].payloadTypes == [101, 96])
        #expect(answer.streams[0].fromOfferer == [.init(from: 101, to: 120), .init(from: 96, to: 101)])
        #expect(answer.streams[0].fromAnswerer.prefix(2) == [.init(from: opus, to: 101), .init(from: 101, to: 96)])
    }

    @Test("an answer without rtpmap for a number of the offer is understood and completed")
    func missingMap() throws {
        var pair = Pair()
        _ = try pair.offerFromA(
            from("10.0.0.5", "m=audio 4000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"))
        let answer = try pair.answerFromB(from("198.51.100.9", "m=audio 7000 RTP/AVP 96"))
        #expect(answer.description.media[0].codec(of: 96)?.name == "opus")
    }

    @Test("no more changes than the relay takes: formats beyond are not agreed on, telephone-event stays")
    func tooManyChanges() throws {
        var pair = Pair()
        let codecs = (0..<6).map { "a=rtpmap:\(96 + $0) codec\($0)/8000" } + ["a=rtpmap:110 telephone-event/8000"]
        _ = try pair.offerFromA(from("10.0.0.5", "m=audio 4000 RTP/AVP 96 97 98 99 100 101 110") + codecs)
        let answered = (0..<6).map { "a=rtpmap:\(111 + $0) codec\($0)/8000" } + ["a=rtpmap:120 telephone-event/8000"]
        let answer = try pair.answerFromB(
            from("198.51.100.9", "m=audio 7000 RTP/AVP 111 112 113 114 115 116 120") + answered)
        #expect(answer.description.media[0].payloadTypes == [96, 97, 98, 110])
        #expect(answer.streams[0].fromOfferer.count == 4)
        #expect(answer.streams[0].fromAnswerer.count == 4)
        #expect(answer.streams[0].fromOfferer.contains(.init(from: 110, to: 120)))
    }

    @Test("parameters that name payload types move with them (RFC 2198, RFC 4588)")
    func parameters() throws {
        var pair = Pair()
        _ = try pair.offerFromA(
            from(
                "10.0.0.5", "m=text 4000 RTP/AVP 98 99", "a=rtpmap:98 red/1000", "a=fmtp:98 99/99/99",
                "a=rtpmap:99 t140/1000"))
        let answer = try pair.answerFromB(
            from(
                "198.51.100.9", "m=text 7000 RTP/AVP 100 101", "a=rtpmap:100 red/1000", "a=fmtp:100 101/101/101",
                "a=rtpmap:101 t140/1000"))
        #expect(answer.description.media[0].formatParameters(of: 98) == "99/99/99")
    }

    @Test("unusable streams keep their place with port 0, on both legs")
    func places() throws {
        var pair = Pair()
        let offer = try pair.offerFromA(
            from(
                "10.0.0.5", "m=application 5 TCP/BFCP *", "m=audio 4000 RTP/SAVP 0", "m=audio 4002 RTP/AVP 0",
                "m=video 0 RTP/AVP 31"))
        #expect(offer.media.map(\.port) == [0, 0, 30_004, 0])
        #expect(offer.media.map(\.kind) == ["application", "audio", "audio", "video"])
        #expect(offer.media[0].formats == ["*"])
        let answer = try pair.answerFromB(
            from(
                "198.51.100.9", "m=application 0 TCP/BFCP *", "m=audio 0 RTP/SAVP 0", "m=audio 9 RTP/AVP 0",
                "m=video 7 RTP/AVP 31"))
        #expect(answer.description.media.map(\.port) == [0, 0, 20_004, 0])
        #expect(answer.streams.map(\.isActive) == [false, false, true, false])
        let received = try #require(pair.a.received)
        #expect(
            OfferAnswer.remoteStreams(in: received, agreedWith: pair.a.sent).map { $0 != nil } == [
                false, false, true, false,
            ])
    }

    struct Unusable: Sendable {
        let name: String
        let media: [String]
    }

    @Test(
        "nothing usable",
        arguments: [
            Unusable(name: "no stream", media: []),
            Unusable(name: "SRTP", media: ["m=audio 4000 RTP/SAVP 0"]),
            Unusable(name: "DTLS", media: ["m=audio 4000 UDP/TLS/RTP/SAVPF 0", "a=fingerprint:sha-256 AA"]),
            Unusable(name: "fax only", media: ["m=image 4000 udptl t38"]),
            Unusable(name: "port 0", media: ["m=audio 0 RTP/AVP 0"]),
            Unusable(name: "a name", media: ["m=audio 4000 RTP/AVP 0", "c=IN IP4 phone.example"]),
            Unusable(name: "multicast", media: ["m=audio 4000 RTP/AVP 0", "c=IN IP4 233.252.0.1/1"]),
            Unusable(name: "no payload type", media: ["m=audio 4000 RTP/AVP x 128 256"]),
            Unusable(name: "another medium", media: ["m=message 4000 TCP/MSRP *"]),
        ])
    func nothingUsable(_ sample: Unusable) throws {
        var pair = Pair()
        let before = pair.b
        #expect(throws: OfferAnswerError.nothingUsable, "\(sample.name)") {
            try pair.offerFromA(from("10.0.0.5") + sample.media)
        }
        #expect(pair.b == before)
    }

    struct BadAnswer: Sendable {
        let name: String
        let media: [String]
        let error: OfferAnswerError
    }

    @Test(
        "answers that are none",
        arguments: [
            BadAnswer(name: "a stream less", media: [], error: .streamCountDiffers(expected: 1, got: 0)),
            BadAnswer(
                name: "a stream more", media: ["m=audio 9 RTP/AVP 0", "m=audio 9 RTP/AVP 0"],
                error: .streamCountDiffers(expected: 1, got: 2)),
            BadAnswer(name: "another medium", media: ["m=video 9 RTP/AVP 0"], error: .streamDiffers(media: 0)),
            BadAnswer(name: "another protocol", media: ["m=audio 9 RTP/SAVP 0"], error: .streamDiffers(media: 0)),
            BadAnswer(name: "another codec", media: ["m=audio 9 RTP/AVP 8 3"], error: .noCommonFormat(media: 0)),
            BadAnswer(
                name: "the number means something else", media: ["m=audio 9 RTP/AVP 96", "a=rtpmap:96 speex/8000"],
                error: .noCommonFormat(media: 0)),
        ])
    func badAnswers(_ sample: BadAnswer) throws {
        var pair = Pair()
        _ = try pair.offerFromA(from("10.0.0.5", "m=audio 4000 RTP/AVP 0 96", "a=rtpmap:96 opus/48000/2"))
        let before = (pair.a, pair.b)
        #expect(throws: sample.error, "\(sample.name)") { try pair.answerFromB(from("198.51.100.9") + sample.media) }
        #expect(pair.a == before.0 && pair.b == before.1)
        // A proper one is still welcome.
        _ = try pair.answerFromB(from("198.51.100.9", "m=audio 7000 RTP/AVP 0"))
    }

    @Test("an answer nobody asked for is refused")
    func unsolicited() throws {
        var pair = Pair()
        #expect(throws: OfferAnswerError.noOfferPending) {
            try pair.answerFromB(from("198.51.100.9", "m=audio 7000 RTP/AVP 0"))
        }
        _ = try pair.offerFromA(from("10.0.0.5", "m=audio 4000 RTP/AVP 0"))
        OfferAnswer.abandonOffer(on: &pair.b)
        #expect(throws: OfferAnswerError.noOfferPending) {
            try pair.answerFromB(from("198.51.100.9", "m=audio 7000 RTP/AVP 0"))
        }
    }

    @Test("the version in o= counts changes, and nothing else")
    func versions() throws {
        var pair = Pair()
        func version(_ description: SessionDescription) -> String { description.origin.sessionVersion }
        let media = "m=audio 4000 RTP/AVP 0 8"
        #expect(version(try pair.offerFromA(from("10.0.0.5", media))) == "1")
        let first = try pair.answerFromB(from("198.51.100.9", "m=audio 7000 RTP/AVP 0"))
        #expect(version(first.description) == "1")
        // 200 after 183, the same answer from another address of the peer's: nothing changed for A.
        let second = try pair.answerFromB(from("198.51.100.10", version: 2, "m=audio 9000 RTP/AVP 0"))
        #expect(second.description == first.description)
        // The same offer again (a refresh relayed), then hold, then resume.
        #expect(version(try pair.offerFromA(from("10.0.0.5", media))) == "1")
        _ = try pair.answerFromB(from("198.51.100.9", "m=audio 7000 RTP/AVP 0"))
        let hold = try pair.offerFromA(from("10.0.0.5", version: 2, media, "a=sendonly"))
        #expect(version(hold) == "2" && hold.direction(ofMedia: 0) == .sendonly)
        #expect(hold.origin.sessionID == "22")
        let held = try pair.answerFromB(from("198.51.100.9", version: 2, "m=audio 7000 RTP/AVP 0", "a=recvonly"))
        #expect(version(held.description) == "2" && held.description.direction(ofMedia: 0) == .recvonly)
        OfferAnswer.abandonOffer(on: &pair.b)
        #expect(version(try pair.offerFromA(from("10.0.0.5", version: 3, media))) == "3")
    }

    @Test("hold by c=0.0.0.0 becomes sendonly from our address, and an answer that wants too much is cut")
    func oldHold() throws {
        var pair = Pair()
        let hold = try pair.offerFromA(from("0.0.0.0", "m=audio 4000 RTP/AVP 0"))
        #expect(hold.direction(ofMedia: 0) == .sendonly)
        #expect(hold.rtpAddress(ofMedia: 0) == Pair.bLocal[0])
        let answer = try pair.answerFromB(from("198.51.100.9", "m=audio 7000 RTP/AVP 0"))
        #expect(answer.description.direction(ofMedia: 0) == .recvonly)
        let received = try #require(pair.a.received)
        let remote = OfferAnswer.remoteStreams(in: received, agreedWith: pair.a.sent)[0]
        #expect(remote?.sends == true && remote?.receives == false)
    }

    @Test("late offer: the other leg offers first, the caller answers")
    func lateOffer() throws {
        var pair = Pair(bEvent: 101)
        let offer = try pair.offerFromB(
            from("198.51.100.9", "m=audio 7000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000"))
        #expect(offer.rtpAddress(ofMedia: 0) == Pair.aLocal[0])
        let answer = try pair.answerFromA(
            from("10.0.0.5", "m=audio 4000 RTP/AVP 0 96", "a=rtpmap:96 telephone-event/8000"))
        #expect(answer.description.media[0].payloadTypes == [0, 101])
        #expect(answer.streams[0].fromOfferer == [.init(from: 101, to: 96)])
        #expect(answer.description.rtpAddress(ofMedia: 0) == Pair.bLocal[0])
    }

    @Test("a re-offer from the other side keeps each leg's numbers and never gives a number a new meaning")
    func reoffer() throws {
        var pair = Pair(bEvent: 101)
        _ = try pair.offerFromA(
            from(
                "10.0.0.5", "m=audio 4000 RTP/AVP 0 96 97", "a=rtpmap:96 telephone-event/8000", "a=rtpmap:97 iLBC/8000")
        )
        _ = try pair.answerFromB(
            from("198.51.100.9", "m=audio 7000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000"))
        let offer = try pair.offerFromB(
            from(
                "198.51.100.9", version: 2, "m=audio 7000 RTP/AVP 97 0 101", "a=rtpmap:97 speex/8000",
                "a=rtpmap:101 telephone-event/8000"))
        let media = offer.media[0]
        #expect(media.codec(of: 96)?.isTelephoneEvent == true)
        #expect(media.codec(of: 97) == nil, "97 is iLBC on this leg for ever")
        #expect(media.payloadTypes.count == 3)
    }

    @Test("a re-offer may add streams and switch off, never leave out")
    func streams() throws {
        var pair = Pair()
        _ = try pair.offerFromA(from("10.0.0.5", "m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 31"))
        _ = try pair.answerFromB(from("198.51.100.9", "m=audio 7000 RTP/AVP 0", "m=video 0 RTP/AVP 31"))
        #expect(throws: OfferAnswerError.streamsMissing(expected: 2, got: 1)) {
            try pair.offerFromA(from("10.0.0.5", version: 2, "m=audio 4000 RTP/AVP 0"))
        }
        let off = try pair.offerFromA(from("10.0.0.5", version: 3, "m=audio 0 RTP/AVP 0", "m=video 0 RTP/AVP 31"))
        #expect(off.media.map(\.port) == [0, 0])
    }

    @Test("forks: two legs answer one offer, each its own way")
    func forks() throws {
        var pair = Pair()
        _ = try pair.offerFromA(from("10.0.0.5", "m=audio 4000 RTP/AVP 0 8 96", "a=rtpmap:96 telephone-event/8000"))
        var other = pair.b
        let first = try pair.answerFromB(from("198.51.100.9", "m=audio 7000 RTP/AVP 8"))
        #expect(first.description.media[0].payloadTypes == [8])
        let second = try OfferAnswer.relay(
            answer: parse(from("198.51.100.20", "m=audio 7000 RTP/AVP 0")), from: &other, to: &pair.a,
            local: Pair.aLocal)
        #expect(second.description.media[0].payloadTypes == [0])
        #expect(second.description.origin.sessionVersion == "2")
    }

    @Test("an unchanged offer is answered here, and our own is repeated unchanged")
    func refresh() throws {
        var pair = Pair()
        let mine = from("198.51.100.9", "m=audio 7000 RTP/AVP 0")
        _ = try pair.offerFromA(from("10.0.0.5", "m=audio 4000 RTP/AVP 0 8"))
        _ = try pair.answerFromB(mine)
        let same = try parse(mine)
        #expect(OfferAnswer.isUnchanged(same, on: pair.b))
        let answer = try #require(OfferAnswer.answer(unchanged: same, on: &pair.b))
        #expect(answer.media[0].payloadTypes == [0])
        #expect(answer.rtpAddress(ofMedia: 0) == Pair.bLocal[0])
        let moved = try parse(from("198.51.100.9", version: 2, "m=audio 7002 RTP/AVP 0"))
        #expect(OfferAnswer.answer(unchanged: moved, on: &pair.b) == nil)
        let again = try #require(OfferAnswer.repeatOffer(on: &pair.b))
        #expect(again == answer)
        try OfferAnswer.accept(answer: moved, on: &pair.b)
        #expect(pair.b.received == moved)
        #expect(throws: OfferAnswerError.noOfferPending) { try OfferAnswer.accept(answer: moved, on: &pair.b) }
    }

    @Test("an answer to our own repetition is none for the other leg")
    func answerToRepetition() throws {
        var pair = Pair()
        let mine = from("198.51.100.9", "m=audio 7000 RTP/AVP 0")
        _ = try pair.offerFromA(from("10.0.0.5", "m=audio 4000 RTP/AVP 0 8"))
        _ = try pair.answerFromB(mine)
        _ = try #require(OfferAnswer.repeatOffer(on: &pair.b))
        #expect(throws: OfferAnswerError.noOfferPending) { try pair.answerFromB(mine) }
    }

    @Test("IPv6 towards one leg, IPv4 towards the other")
    func families() throws {
        var a = NegotiationLeg(sessionID: 1, address: .v4(0xC0A8_3201))
        let own = try #require(IPAddress("2001:db8::7"))
        var b = NegotiationLeg(sessionID: 2, address: own)
        let offer = try OfferAnswer.relay(
            offer: parse(from("10.0.0.5", "m=audio 4000 RTP/AVP 0")), from: &a, to: &b,
            local: [TransportAddress(own, 30_000)])
        #expect(text(offer).contains("c=IN IP6 2001:db8::7"))
        #expect(text(offer).contains("o=- 2 1 IN IP6 2001:db8::7"))
        #expect(!String(decoding: offer.bytes, as: UTF8.self).contains("10.0.0"))
    }

    @Test("a missing local address is reported")
    func noLocal() throws {
        var pair = Pair()
        #expect(throws: OfferAnswerError.localAddressMissing(media: 0)) {
            try OfferAnswer.relay(
                offer: parse(from("10.0.0.5", "m=audio 4000 RTP/AVP 0")), from: &pair.a, to: &pair.b, local: [])
        }
    }
}
