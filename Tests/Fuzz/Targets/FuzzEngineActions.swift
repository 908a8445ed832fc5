import CallEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats

/// What peers say when they wish us ill.
enum EngineDictionary {
    static let numbers = [
        "3600", "0", "1", "60", "90", "1800", "4294967295", "4294967296", "9223372036854775807",
        "18446744073709551615", "99999999999999999999999", "-1", "x", "", "9223372037", "2147483648",
    ]
    static let statusCodes = [
        180, 200, 183, 100, 200, 486, 180, 200, 401, 407, 422, 302, 404, 408, 423, 480, 481, 487, 488, 491, 500, 503,
        603, 699, 199, 299, 202, 420, 400, 300,
    ]
    static let methods: [SIPMethod] = [
        .ack, .bye, .invite, .cancel, .update, .prack, .info, .options, .refer, .notify, .message, .subscribe,
        .publish, .register, SIPMethod(rawValue: "FOO"),
    ]
    static let dialled = [
        "95551234", "2003", "2001", "2002", "81", "+13135550102", "+13135550101", "13135550103", "", "9", "2001;x=y",
        "999999999999999999999999999999999999999999999999999999999999999999999999999999", "%41%00", "box7",
    ]
    static let tags = ["one", "two", "three", "", "one"]

    /// `@` stands for the host of the peer, `#` for a number, `~` for its mark.
    static let headers = [
        "Supported: 100rel, timer", "Require: 100rel", "Require: timer", "Require: foo", "Proxy-Require: foo",
        "Session-Expires: #", "Session-Expires: #;refresher=uac", "Session-Expires: #;refresher=uas", "Min-SE: #",
        "Expires: #", "Min-Expires: #", "RSeq: #", "RAck: # # INVITE", "CSeq: # INVITE", "CSeq: # BYE",
        "Max-Forwards: #", "Retry-After: #", "Contact: *", "Contact: <sip:2001@@:5060>;expires=#;q=0.5",
        "Contact: <sip:2001@@:0>", "Contact: <tel:+1>", "Contact: sip:@",
        "Contact: <sip:x@@>;+sip.instance=\"<urn:a>\";reg-id=#",
        "Record-Route: <sip:@;lr>", "Record-Route: <sip:@:5070;transport=tcp;lr>,<sip:other.example;lr>",
        "Record-Route: <sip:@>", "Route: <sip:198.51.100.1;lr>", "Via: SIP/2.0/UDP @;branch=z9hG4bK~",
        "Via: SIP/2.0/TCP other.example:#;branch=x;rport;received=@", "Allow: INVITE, UPDATE, PRACK, INFO",
        "Allow: ", "Replaces: ~-call;to-tag=a;from-tag=b", "Refer-To: <sip:x@@>", "Subject: @", "X-Thing: @",
        "Diversion: <sip:1@@>;reason=busy", "Diversion: \"x\" <sip:1@@:5060;x=@>;reason=busy;host=@",
        "History-Info: <sip:1@@>;index=1", "Warning: 399 @ \"x\"", "Warning: 399 @ \"see @\"",
        "P-Asserted-Identity: <sip:+1@@>",
        "P-Preferred-Identity: <sip:2001@@>", "Privacy: id", "Privacy: header;user;critical", "Reason: Q.850;cause=#",
        "Call-Info: <http://@/x>", "Alert-Info: <http://@/ring>", "Geolocation: <cid:x@@>",
        "Identity: abc;info=<https://@/c>",
        "Content-Type: application/sdp", "Content-Type: multipart/mixed;boundary=a", "Content-Type: text/plain",
        "Content-Encoding: gzip", "Content-Disposition: session;handling=optional", "Content-Length: #",
        "Organization: @",
        "Authorization: Digest username=\"2001\", realm=\"branch.example\", nonce=\"#\", uri=\"sip:@\", response=\"#\", nc=#",
        "WWW-Authenticate: Digest realm=\"carrier.example\", nonce=\"#\", qop=\"auth\"",
        "Proxy-Authenticate: Digest realm=\"c\", nonce=\"~\", qop=\"auth,auth-int\", algorithm=SHA-256, stale=true",
        "Event: dialog", "Timestamp: #.# #", "Date: x", "User-Agent: phone at @", "Server: ~", "To: <sip:x@@>;tag=#",
        "From: \"\" <sip:anonymous@anonymous.invalid>;tag=~-f", "Call-ID: ~-other", "In-Reply-To: ~-call",
        "Path: <sip:@;lr>",
        "Service-Route: <sip:@;lr>", "Flow-Timer: #", "P-Charging-Vector: icid-value=~", "Remote-Party-ID: <sip:x@@>",
        "Referred-By: <sip:x@@>", "Join: ~-call;to-tag=a;from-tag=b", "Unsupported: 100rel", "Accept: a/b",
    ]

    static let descriptions = [
        "m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n",
        "m=audio 4000 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/8000\r\na=sendrecv\r\na=candidate:1 1 UDP 1 @ 4000 typ host\r\n",
        "m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n", "m=audio 4000 RTP/AVP 0\r\na=inactive\r\n",
        "m=audio 0 RTP/AVP 0\r\n",
        "m=audio 65535 RTP/AVP 0\r\n", "m=audio 1 RTP/AVP 0\r\na=rtcp:65535 IN IP4 @\r\n",
        "m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\nm=video 4002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n",
        "m=audio 5000/2 RTP/AVP 0\r\n", "", "m=audio 4000 RTP/AVP\r\n",
        "m=image 4000 udptl t38\r\nm=audio 4002 RTP/SAVP 0\r\n",
        "m=audio 4000 RTP/AVP 96 97 98 99 100\r\na=rtpmap:96 telephone-event/8000\r\na=rtpmap:97 telephone-event/16000\r\n"
            + "a=rtpmap:98 opus/48000/2\r\na=rtpmap:99 AMR/8000\r\na=rtpmap:100 PCMU/8000\r\n",
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n", "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.0.0.1/127\r\n",
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP6 ::\r\n", String(repeating: "m=audio 4000 RTP/AVP 0\r\n", count: 9),
        "m=audio 4000 RTP/AVP 127 128 255 256\r\na=rtpmap:127 telephone-event/8000\r\na=rtpmap:300 x/0\r\n",
        "m=audio 4000 RTP/AVP 0 101\r\nc=IN IP4 192.168.50.1\r\na=rtpmap:101 telephone-event/8000\r\na=x-~:@\r\n",
    ]
}

extension EngineWorld {
    func fill(_ template: String, _ peer: EnginePeer, number: String) -> String {
        var text = ""
        for character in template {
            switch character {
            case "@":
                text += text.hasSuffix("<sip:2001") || text.hasSuffix(":x") || text.hasSuffix("1") ? "@" : peer.address
            case "#": text += number
            case "~": text += peer.mark
            default: text.append(character)
            }
        }
        return text
    }

    mutating func addHeaders(_ message: inout SIPMessage, _ peer: EnginePeer) {
        for _ in 0..<script.below(4) {
            let line = fill(script.pick(EngineDictionary.headers), peer, number: script.pick(EngineDictionary.numbers))
            guard let colon = line.firstIndex(of: ":") else { continue }
            let name = SIPHeaderName(String(line[..<colon]))
            let value = String(line[line.index(after: colon)...].drop { $0 == " " })
            // A description by another name crosses as it is.
            if [.contentType, .contentEncoding, .contentDisposition].contains(name) { isMutated = true }
            edit(&message) { headers in
                switch name {
                case .cseq, .to, .from, .callID, .contentType, .maxForwards: headers.set(name, value)
                default: headers.append(name, value)
                }
            }
        }
    }

    func edit(_ message: inout SIPMessage, _ change: (inout SIPHeaders) -> Void) {
        switch message {
        case .request(var request):
            change(&request.headers)
            message = .request(request)
        case .response(var response):
            change(&response.headers)
            message = .response(response)
        }
    }

    static func headers(of message: SIPMessage) -> SIPHeaders {
        switch message {
        case .request(let request): request.headers
        case .response(let response): response.headers
        }
    }

    mutating func description(_ peer: EnginePeer) -> [UInt8] {
        let family = peer.path.remote.address.family == .v4 ? "IP4" : "IP6"
        let address = peer.path.remote.address.description
        let body = script.pick(EngineDictionary.descriptions).split(separator: "@", omittingEmptySubsequences: false)
            .joined(separator: address)
            .split(separator: "~", omittingEmptySubsequences: false).joined(separator: peer.mark)
        let version = script.below(8) == 1 ? "18446744073709551615" : "\(counter)"
        return Array(
            ("v=0\r\no=\(peer.mark) \(version) \(version) IN \(family) \(address)\r\ns=-\r\nc=IN \(family) \(address)\r\n"
                + "t=0 0\r\n" + body).utf8)
    }

    mutating func addBody(_ message: inout SIPMessage, _ peer: EnginePeer, _ kind: Int) {
        let session = description(peer)
        var body = session
        var type = "application/sdp"
        switch kind {
        case 1:
            body =
                Array("--a\r\nContent-Type: application/sdp\r\n\r\n".utf8) + session
                + Array(
                    "\r\n--a\r\nContent-Type: application/pidf+xml\r\nContent-ID: <x>\r\n\r\n<p/>\r\n--a--\r\n".utf8)
            type = "multipart/mixed;boundary=a"
        case 2:
            body = Array("Signal=5\r\n".utf8)
            type = "application/dtmf-relay"
        default: break
        }
        switch message {
        case .request(var request):
            request.body = body
            request.headers.set(.contentType, type)
            message = .request(request)
        case .response(var response):
            response.body = body
            response.headers.set(.contentType, type)
            message = .response(response)
        }
    }

    /// Through bytes, perhaps changed on the way, into the engine.
    mutating func deliver(_ message: SIPMessage, from index: Int) {
        let peer = EnginePeer.all[index]
        if case .request(let request) = message { lastRequests[index] = request }
        var message = message
        addHeaders(&message, peer)
        var bytes = message.bytes
        for _ in 0..<(script.below(8) == 7 ? 1 + script.below(8) : 0) { mutate(&bytes) }
        receive(bytes, from: peer.path)
        if script.below(16) == 15 {
            // Somebody else tells secrets: what comes of it is no leak of ours.
            isMutated = true
            receive(bytes, from: script.pick(EnginePeer.all).path)
        }
    }

    mutating func receive(_ bytes: [UInt8], from path: TransportPath) {
        trace { "from \(path.remote): \(String(decoding: bytes, as: UTF8.self))" }
        if let message = try? SIPMessage(parsing: bytes.span) {
            handle(.received(message, from: path))
        } else {
            handle(.malformed(SIPRequest.salvage(bytes.span), from: path))
        }
    }

    mutating func mutate(_ bytes: inout [UInt8]) {
        isMutated = true
        guard !bytes.isEmpty else { return }
        let position = (Int(script.byte()) << 8 | Int(script.byte())) % bytes.count
        let end = min(bytes.count, position + script.below(64))
        switch script.below(5) {
        case 0: bytes[position] = script.byte()
        case 1: bytes.removeSubrange(position..<end)
        case 2: bytes.insert(contentsOf: Array(bytes[position..<end]), at: position)
        case 3: bytes.insert(contentsOf: Array(script.pick(EngineDictionary.numbers).utf8), at: position)
        default: bytes.insert(contentsOf: script.take(script.below(16)), at: position)
        }
    }

    // MARK: Peers

    func via(_ peer: EnginePeer, branch: String) -> String {
        "SIP/2.0/\(peer.path.transport.text) \(peer.path.remote);branch=z9hG4bK\(peer.mark)-\(branch);rport"
    }

    mutating func makeRequest(_ method: SIPMethod, _ uri: String, _ peer: EnginePeer) -> SIPRequest {
        counter += 1
        var request = SIPRequest(method: method, requestURI: URI(uri) ?? .other("x:y"))
        request.headers.append(.via, via(peer, branch: String(counter)))
        request.headers.append(.maxForwards, "70")
        request.headers.append(.from, "<sip:\(peer.user)@branch.example>;tag=\(peer.mark)-f\(counter)")
        request.headers.append(.callID, "\(peer.mark)-call-\(counter)")
        request.headers.append(.cseq, "\(counter) \(method.rawValue)")
        let transport = peer.path.transport == .tcp ? ";transport=tcp" : ""
        request.headers.append(.contact, "<sip:\(peer.user)@\(peer.path.remote)\(transport)>")
        return request
    }

    mutating func register(_ index: Int, expires: String) {
        let peer = EnginePeer.all[index]
        var request = makeRequest(.register, "sip:branch.example", peer)
        request.headers.append(.to, "<sip:\(peer.user)@branch.example>")
        request.headers.append(.expires, expires)
        lastRequests[index] = request
        handle(.received(.request(request), from: peer.path))
        authenticate(index)
    }

    mutating func authenticate() { authenticate(script.below(EnginePeer.all.count)) }

    /// Repeats the last request of a peer with credentials, when it was challenged.
    mutating func authenticate(_ index: Int) {
        let peer = EnginePeer.all[index]
        guard var request = lastRequests[index] else { return }
        for entry in heard.reversed() {
            guard case .response(let response) = entry.message,
                response.statusCode == 401 || response.statusCode == 407,
                response.callID == request.callID
            else { continue }
            counter += 1
            request.headers.set(.via, via(peer, branch: String(counter)))
            request.headers.set(.cseq, "\(counter) \(request.method.rawValue)")
            guard clients[index].authorize(&request, after: response, username: peer.user, password: "x") else {
                return
            }
            lastRequests[index] = request
            return handle(.received(.request(request), from: peer.path))
        }
    }

    mutating func invite() {
        let index = script.below(EnginePeer.all.count)
        let peer = EnginePeer.all[index]
        let number = script.pick(EngineDictionary.dialled)
        let host =
            script.below(8) == 7
            ? "elsewhere.example" : peer.path.realm == RealmID("wan") ? "198.51.100.1" : "branch.example"
        var request = makeRequest(script.below(16) == 15 ? .options : .invite, "sip:\(number)@\(host)", peer)
        request.headers.append(.to, "<sip:\(number)@\(host)>")
        let options = script.byte()
        if options & 1 == 0 { request.headers.append(.supported, "100rel, timer") }
        if options & 2 != 0 { request.headers.append(.require, "100rel") }
        if options & 4 != 0 { request.headers.append(.allow, "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO") }
        var message = SIPMessage.request(request)
        if options & 8 == 0 { addBody(&message, peer, options & 16 != 0 ? 1 : 0) }
        deliver(message, from: index)
    }

    /// Index of the peer something was sent to.
    func index(of path: TransportPath) -> Int? {
        EnginePeer.all.firstIndex { $0.path == path } ?? EnginePeer.all.firstIndex { $0.path.remote == path.remote }
            ?? EnginePeer.all.firstIndex { $0.path.remote.address == path.remote.address }
    }

    /// One of the last things heard; the newest is the first.
    mutating func recall(where isWanted: (SIPMessage) -> Bool) -> (message: SIPMessage, path: TransportPath)? {
        let candidates = heard.filter { isWanted($0.message) }
        guard !candidates.isEmpty else { return nil }
        return candidates[candidates.count - 1 - script.below(min(candidates.count, 8))]
    }

    mutating func respond() {
        let isInviteWanted = script.below(2) == 0
        let found = recall { message in
            guard case .request(let request) = message else { return false }
            return request.method != .ack && (!isInviteWanted || request.method == .invite)
        }
        guard let found, case .request(let request) = found.message, let index = index(of: found.path) else { return }
        let peer = EnginePeer.all[index]
        let code = script.pick(EngineDictionary.statusCodes)
        let tag = script.pick(EngineDictionary.tags)
        var response = SIPResponse(
            to: request, code, toTag: code == 100 || tag.isEmpty ? nil : "\(peer.mark)-t-\(tag)")
        let options = script.byte()
        if options & 1 == 0 { response.headers.append(.contact, "<sip:\(peer.user)@\(peer.path.remote)>") }
        if options & 2 != 0, code < 200 {
            response.headers.append(.require, "100rel")
            response.headers.append(
                .rseq, options & 4 != 0 ? script.pick(EngineDictionary.numbers) : String(counter + 1))
        }
        if options & 8 != 0 { response.headers.append(.recordRoute, "<sip:\(peer.path.remote);lr>") }
        if options & 16 != 0 { response.headers.append(.sessionExpires, script.pick(EngineDictionary.numbers)) }
        if options & 32 == 0 { response.headers.append(.allow, "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO") }
        if code == 401 || code == 407 {
            response.headers.append(
                code == 401 ? .wwwAuthenticate : .proxyAuthenticate,
                "Digest realm=\"carrier.example\", nonce=\"n\(counter)\", qop=\"auth\"")
        }
        if code == 422 { response.headers.append(.minSE, script.pick(EngineDictionary.numbers)) }
        counter += 1
        if script.below(16) == 15, let other = recall(where: { Self.headers(of: $0).first(.callID) != request.callID }),
            other.path.remote.address == peer.path.remote.address
        {
            // In the right transaction, of the wrong dialog.
            for name in [SIPHeaderName.callID, .from, .to] {
                response.headers.set(name, Self.headers(of: other.message).first(name) ?? "")
            }
        }
        var message = SIPMessage.response(response)
        if options & 64 == 0, request.method == .invite || request.method == .update {
            addBody(&message, peer, options & 128 != 0 ? 1 : 0)
        }
        deliver(message, from: index)
    }

    /// A request of a peer inside a dialog it has learnt of.
    mutating func requestInDialog() {
        let method = script.pick(EngineDictionary.methods)
        let isResponseWanted = script.below(2) == 0
        let found = recall { message in
            guard case .response(let response) = message else { return !isResponseWanted }
            return isResponseWanted && response.cseq?.method == .invite
        }
        guard let found, let index = index(of: found.path) else { return }
        let peer = EnginePeer.all[index]
        var request = makeRequest(method, "sip:x@branch.example", peer)
        var number = counter
        switch found.message {
        case .response(let response):
            request.headers.set(.from, response.headers.first(.from) ?? "")
            request.headers.append(.to, response.headers.first(.to) ?? "")
            request.headers.set(.callID, response.callID)
            if let uri = response.contacts.first?.uri { request.requestURI = uri }
            if method == .ack || method == .cancel {
                number = response.cseq?.number ?? number
                if method == .cancel || response.statusCode >= 300 {
                    request.headers.set(.via, response.headers.first(.via) ?? "")
                }
                if method == .cancel { request.headers.set(.to, "<sip:x@branch.example>") }
            }
            if method == .prack {
                request.headers.append(
                    .rack, "\(response.headers.first(.rseq) ?? "1") \(response.headers.first(.cseq) ?? "1 INVITE")")
            }
        case .request(let theirs):
            // As if it had answered with this tag.
            var own = theirs.to ?? NameAddress(uri: theirs.requestURI)
            if own.tag == nil { own.tag = "\(peer.mark)-t-\(script.pick(EngineDictionary.tags))" }
            request.headers.set(.from, own.text)
            request.headers.append(.to, theirs.headers.first(.from) ?? "")
            request.headers.set(.callID, theirs.callID)
            if let uri = theirs.contacts.first?.uri { request.requestURI = uri }
        }
        let options = script.byte()
        if options & 2 != 0 { number = UInt32(script.byte()) }
        request.headers.set(.cseq, "\(number) \(method.rawValue)")
        var message = SIPMessage.request(request)
        let wantsBody = method == .invite || method == .update || options & 1 != 0
        if wantsBody, options & 4 == 0 { addBody(&message, peer, method == .info ? 2 : options & 8 != 0 ? 1 : 0) }
        deliver(message, from: index)
    }

    // MARK: Media

    mutating func port() -> TransportAddress {
        let ports = boundPorts.sorted { ($0.port, $0.description) < ($1.port, $1.description) }
        guard !ports.isEmpty else { return TransportAddress(.v4(0xC0A8_3201), 20_000) }
        return script.pick(ports)
    }

    mutating func media() {
        let local = port()
        let options = script.byte()
        var source = script.pick(EnginePeer.all).path.remote
        source.port = script.pick([4_000, 4_001, 4_002, 0, 65_535, 5_000])
        for number in 0..<(options & 1 == 0 ? 1 : 4) {
            var bytes: [UInt8] = [0x80, options & 2 == 0 ? 0 : 101, 0, UInt8(number), 0, 0, 0, 160, 1, 2, 3, 4]
            if options & 4 != 0 { bytes = [0x80, 200, 0, 6] + [UInt8](repeating: 1, count: 24) }
            if options & 8 != 0 { bytes = script.take(script.below(32)) }
            handle(.mediaDatagram(local: local, source: source, bytes: bytes))
        }
    }

    mutating func counters() {
        let options = script.byte()
        func number(_ bit: UInt8) -> UInt64 { options & bit == 0 ? UInt64(counter) : .max }
        let arrival: MonotonicTime? =
            switch options & 0x30 {
            case 0: nil
            case 0x10: now
            case 0x20: MonotonicTime(nanoseconds: .max)
            default: MonotonicTime(nanoseconds: .min)
            }
        handle(
            .mediaCounters(
                local: port(),
                MediaFlowCounters(
                    packets: number(1), bytes: number(2), wrongSource: number(4), malformed: number(8),
                    lastArrival: arrival)))
    }

    // MARK: Trouble

    mutating func trouble() {
        let path = script.pick(EnginePeer.all).path
        switch script.below(5) {
        case 0: handle(.transportFailed(heard.last?.path ?? path, reason: "refused"))
        case 1: handle(.transportFailed(path, reason: "unreachable"))
        case 2: handle(.connectionClosed(path))
        case 3: handle(.mediaBindFailed(local: port(), reason: "in use"))
        default: handle(.flowApplied(local: port(), inKernel: script.below(2) == 0))
        }
    }

    mutating func raw() {
        isMutated = true
        let path = script.pick(EnginePeer.all).path
        if let last = heard.last, script.below(2) == 0 {
            // An echo of what we said.
            receive(last.message.bytes, from: script.below(2) == 0 ? last.path : path)
        } else {
            receive(script.take(script.below(256)), from: path)
        }
    }

    mutating func operate() {
        switch script.below(8) {
        case 0: settings.stations["2002"] = nil
        case 1: settings.stations["2001"]?.realm = RealmID("lan6")
        case 2: settings.trunks["alpha"] = nil
        case 3: settings.trunks["beta"]?.transport = .tcp
        case 4: settings.realms[RealmID("lan")]?.mediaPorts = 20_010...20_013
        case 5: settings = Self.makeSettings()
        case 6:
            blackHole((engine.status(at: now), engine.calls(at: now)))
            return
        default:
            guard script.below(4) == 3 else { return }
            engine.shutdown(at: now)
            return drain()
        }
        engine.reconfigure(settings, at: now)
        drain()
    }
}
