import CallEngine
import Primitives
import SIPEngine
import SignallingFormats
import Testing

/// What stations do with REGISTER, in the words they use.
extension ScriptedPeer {
    func register(
        as user: String? = nil, contact: String? = nil, expires: Int = 3600, cseq: Int, callID: String = "reg-call",
        headers: [String] = []
    ) throws {
        let user = user ?? self.user
        try send(
            """
            REGISTER sip:\(domain) SIP/2.0
            \(via())
            Max-Forwards: 70
            From: <sip:\(user)@\(domain)>;tag=reg
            To: <sip:\(user)@\(domain)>
            Call-ID: \(callID)
            CSeq: \(cseq) REGISTER
            Contact: \(contact ?? self.contact);expires=\(expires)
            \(headers.joined(separator: "\n"))
            """)
    }

    func credentials(
        _ challenge: SIPResponse, user: String? = nil, password: String, count: String = "00000001"
    ) throws -> String {
        "Authorization: "
            + (try TestDigest.authorization(
                challenge: challenge.headers.values(.wwwAuthenticate).last ?? "", method: "REGISTER",
                uri: "sip:\(domain)", username: user ?? self.user, password: password, count: count))
    }
}

@Suite("stations")
struct StationTests {
    private func unregistered(_ bed: Testbed, _ user: String = "2001", _ address: String = "192.0.2.11") -> ScriptedPeer
    {
        ScriptedPeer(bed, user: user, domain: Testbed.domain, path: bed.path(Testbed.lan, address))
    }

    @Test("an unknown user, a wrong password and another one's account are refused alike")
    func refusedAlike() throws {
        var texts: [String] = []
        for (user, password) in [("2001", "wrong"), ("9999", "wrong"), ("9999", "")] {
            let bed = Testbed()
            let phone = unregistered(bed, user)
            try phone.register(cseq: 1)
            let challenge = try phone.take(401)
            try phone.register(cseq: 2, headers: [try phone.credentials(challenge, password: password)])
            let refusal = try phone.take(403)
            texts.append("\(refusal.statusCode) \(refusal.reasonPhrase) \(refusal.headers.fields.map(\.name.text))")
            #expect(bed.events.contains(.authenticationFailed(user: user, source: phone.path.remote)))
            #expect(bed.counter("authentication-failures") == 1)
        }
        #expect(Set(texts).count == 1)

        let bed = Testbed()
        let phone = unregistered(bed)
        try phone.register(as: "2002", cseq: 1)
        let challenge = try phone.take(401)
        try phone.register(
            as: "2002", cseq: 2, headers: [try phone.credentials(challenge, user: "2001", password: "secret-1")])
        _ = try phone.take(403)
        #expect(bed.engine.status(at: bed.now).stations.allSatisfy { $0.contacts.isEmpty })
    }

    @Test("an expired nonce is stale; so is a count used before")
    func nonces() throws {
        let bed = Testbed()
        let phone = unregistered(bed)
        try phone.register(cseq: 1)
        let challenge = try phone.take(401)
        try phone.register(cseq: 2, headers: [try phone.credentials(challenge, password: "secret-1")])
        _ = try phone.take(200)
        try phone.register(cseq: 3, headers: [try phone.credentials(challenge, password: "secret-1")])
        let replayed = try phone.take(401)
        #expect(replayed.headers.values(.wwwAuthenticate).allSatisfy { $0.contains("stale=true") })
        try phone.register(
            cseq: 4, headers: [try phone.credentials(challenge, password: "secret-1", count: "00000002")])
        _ = try phone.take(200)
        bed.advance(by: .seconds(301))
        try phone.register(
            cseq: 5, headers: [try phone.credentials(challenge, password: "secret-1", count: "00000003")])
        let stale = try phone.take(401)
        #expect(stale.headers.values(.wwwAuthenticate).allSatisfy { $0.contains("stale=true") })
        try phone.register(cseq: 6, headers: [try phone.credentials(stale, password: "secret-1")])
        _ = try phone.take(200)
    }

    @Test("an INVITE is challenged unless it comes from where the station registered")
    func inviteChallenged() throws {
        let bed = Testbed()
        _ = try bed.phone("2001", "192.0.2.11")
        let elsewhere = unregistered(bed, "2001", "192.0.2.99")
        let invite = try elsewhere.invite("95550123", offer: sdp("192.0.2.99", 4_000))
        let challenge = try elsewhere.take(407)
        try elsewhere.ack(invite, challenge)
        #expect(challenge.headers.values(.proxyAuthenticate).count == 2)
        let carrier = bed.carrier()
        let header = try TestDigest.authorization(
            challenge: challenge.headers.values(.proxyAuthenticate).last ?? "", method: "INVITE",
            uri: "sip:95550123@\(Testbed.domain)", username: "2001", password: "secret-1")
        try elsewhere.invite(
            "95550123", offer: sdp("192.0.2.99", 4_000), headers: ["Proxy-Authorization: \(header)"], cseq: 2)
        let outgoing = try carrier.take(.invite)
        #expect(!outgoing.headers.contains(.proxyAuthorization))
    }

    @Test("From of another station is refused, with or without credentials")
    func spoofing() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11")
        let carrier = bed.carrier()
        let invite = try phone.invite(
            "95550123", from: "<sip:2002@\(Testbed.domain)>", offer: sdp("192.0.2.11", 4_000))
        let challenge = try phone.take(407)
        try phone.ack(invite, challenge)
        let header = try TestDigest.authorization(
            challenge: challenge.headers.values(.proxyAuthenticate).last ?? "", method: "INVITE",
            uri: "sip:95550123@\(Testbed.domain)", username: "2001", password: "secret-1")
        try phone.invite(
            "95550123", from: "<sip:2002@\(Testbed.domain)>", offer: sdp("192.0.2.11", 4_000),
            headers: ["Proxy-Authorization: \(header)"], cseq: 2)
        _ = try phone.take(403)
        #expect(!carrier.has(.invite))
    }

    @Test("no more contacts than allowed; they expire")
    func contacts() throws {
        let bed = Testbed { $0.stations["2001"]?.contactsMax = 2 }
        for index in 1...2 { _ = try bed.phone("2001", "192.0.2.\(10 + index)") }
        let third = unregistered(bed, "2001", "192.0.2.13")
        try third.register(cseq: 1)
        try third.register(
            cseq: 2, headers: [try third.credentials(try third.take(401), password: "secret-1")])
        _ = try third.take(403)
        func count() -> Int {
            bed.engine.status(at: bed.now).stations.first { $0.user == "2001" }?.contacts.count ?? -1
        }
        #expect(count() == 2)
        bed.advance(by: .seconds(3_601))
        #expect(count() == 0)
        let expired = bed.events.filter {
            if case .stationUnregistered(_, _, .expired) = $0 { true } else { false }
        }
        #expect(expired.count == 2)
        let caller = try bed.phone("2002", "192.0.2.12")
        try caller.invite("2001", offer: sdp("192.0.2.12", 4_000))
        _ = try caller.take(480)
    }

    @Test("too short an expiry gets 423, the wildcard removes all")
    func expiry() throws {
        let bed = Testbed()
        let phone = unregistered(bed)
        try phone.register(expires: 10, cseq: 1)
        try phone.register(
            expires: 10, cseq: 2, headers: [try phone.credentials(try phone.take(401), password: "secret-1")])
        #expect(try phone.take(423).headers.contains(.minExpires))
        try bed.register(phone)
        #expect(bed.engine.status(at: bed.now).stations.first { $0.user == "2001" }?.contacts.count == 1)
        bed.advance(by: .seconds(1))
        try bed.register(phone, expires: 0)
        #expect(bed.engine.status(at: bed.now).stations.first { $0.user == "2001" }?.contacts.isEmpty == true)
    }

    @Test("a lost connection takes its contacts along; a call on it goes on and ends by the other side")
    func connectionLost() throws {
        let bed = Testbed()
        let phone = try bed.phone("2001", "192.0.2.11", port: 40_000, tcp: 7)
        let call = try OutboundCall(bed, phone: phone)
        bed.handle(.connectionClosed(phone.path))
        #expect(bed.engine.status(at: bed.now).stations.first { $0.user == "2001" }?.contacts.isEmpty == true)
        #expect(bed.engine.calls(at: bed.now).map(\.phase) == [.answered])
        var callee = call.callee
        try call.carrier.request("BYE", &callee)
        _ = try call.carrier.take(200)
        bed.expectNothingLeft()
    }

    @Test("two lines of one phone can call each other")
    func linesOfOnePhone() throws {
        let bed = Testbed()
        let first = try bed.phone("2001", "192.0.2.11")
        let second = ScriptedPeer(bed, user: "2002", domain: Testbed.domain, path: first.path)
        try bed.register(second)
        try second.invite("2001", offer: sdp("192.0.2.11", 4_000))
        #expect(try second.take(.invite).requestURI.text == "sip:2001@192.0.2.11:5060")
        // Its own number does not ring the line that calls.
        try second.invite("2002", offer: sdp("192.0.2.11", 4_002))
        _ = try second.take(480)
    }
}
