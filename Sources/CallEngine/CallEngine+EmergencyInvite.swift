import EmergencyCalling
import Primitives
import SIPEngine
import SignallingFormats

// What a request for help carries beyond an ordinary one, as its trunk wants it. Nothing here throws or waits: what
// cannot be said is left out, and the INVITE leaves all the same.
extension CallEngine {
    /// A service trunk is asked for the service (RFC 5031 §4.2), under the name the phone used for it; any other for the
    /// site's PSAP.
    func emergencyTarget(_ dispatch: EmergencyDispatch, _ trunk: Trunk, askedFor uri: URI) -> Target {
        let requestURI: URI
        if trunk.settings.emergency.usesServiceURN {
            requestURI = .other(
                Self.serviceURN(in: uri, for: dispatch.number)
                    ?? (dispatch.number == .emergency ? "urn:service:sos" : "urn:service:test.sos"))
        } else {
            let psap = dispatch.number == .emergency ? dispatch.psap : nil
            requestURI = Self.trunkURI(user: psap ?? dispatch.number.dialString, trunk.settings)
        }
        return Target(
            peer: .trunk(name: trunk.name, trunk.settings), number: dispatch.number.dialString, requestURI: requestURI,
            nextHop: trunk.nextHop)
    }

    private static func serviceURN(in uri: URI, for number: EmergencyNumber) -> String? {
        guard case .other(let text) = uri, EmergencyNumber(serviceURN: text) == number else { return nil }
        return text
    }

    /// The caller as a carrier is to see him: at the ELIN leased to him, where the trunk wants it.
    static func callerPeer(of call: Call, to target: Target) -> Peer {
        guard let elin = call.emergency?.elin, case .trunk(_, let trunk) = target.peer, trunk.emergency.showsELIN,
            case .station(let user, var station) = call.callerPeer
        else { return call.callerPeer }
        station.number = elin
        return .station(user: user, station)
    }

    /// Completes the INVITE to a trunk, or one inside the dialog with it.
    ///
    /// - Parameter origin: The phone's request this one stands for.
    mutating func prepareForHelp(
        _ request: inout SIPRequest, from origin: SIPRequest, _ call: Call, _ target: Target, at now: MonotonicTime
    ) {
        guard let dispatch = call.emergency else { return }
        prepareForHelp(
            &request, stating: origin.headers.values(.geolocation).map(Self.withoutSource), dispatch, target, at: now)
    }

    /// - Parameter locations: What the phone said of where it is.
    mutating func prepareForHelp(
        _ request: inout SIPRequest, stating locations: [String], _ dispatch: EmergencyDispatch, _ target: Target,
        at now: MonotonicTime
    ) {
        guard case .trunk(_, let trunk) = target.peer else { return }
        if case .other = target.requestURI, request.toTag == nil {
            // A service name leads nowhere by itself (RFC 3261 §8.1.2).
            var hop = SIPURI(host: .address(trunk.peer.address), port: trunk.peer.port)
            hop.parameters.set("lr", nil)
            request.headers.append(.route, NameAddress(uri: .sip(hop)).text)
        }
        if dispatch.number == .emergency {
            if trunk.emergency.sendsPriority { request.headers.set(.priority, "emergency") }
            if let priority = trunk.emergency.resourcePriority { request.headers.set(.resourcePriority, priority) }
        }
        let from = request.from.flatMap { Self.user(of: $0.uri) } ?? ""
        guard !target.isPlain else {
            Self.makePlain(&request)
            return emergencies.presented(dispatch.id, callbackNumber: from, pidf: nil)
        }
        var values = locations
        var pidf: String?
        if trunk.emergency.carriesLocation, let location = dispatch.location, !location.address.description.isEmpty {
            let xml = addLocation(location, of: dispatch, calling: from, to: &request, at: now)
            values.append(xml.locationValue)
            pidf = xml.text
        }
        if !values.isEmpty {
            // What the phone said stays, and stays first, also where it names the phone (RFC 6442 §3.3).
            request.headers.remove(.geolocation)
            request.headers.append(.geolocation, values.joined(separator: ", "))
        }
        emergencies.presented(dispatch.id, callbackNumber: from, pidf: pidf)
    }

    /// Puts the PIDF-LO behind the body and says that it may be routed by; gives its text and its Geolocation value.
    private mutating func addLocation(
        _ location: DispatchableLocation, of dispatch: EmergencyDispatch, calling number: String,
        to request: inout SIPRequest, at now: MonotonicTime
    ) -> (text: String, locationValue: String) {
        // An address is no name for who says it (RFC 8787 §5).
        let name = IPAddress(settings.domain) == nil ? settings.domain : nil
        let host = name ?? "cresset.invalid"
        let object = LocationObject(
            address: location.address, entity: "pres:\(number)@\(host)",
            deviceID: DeviceName.urn(of: "\(call(dispatch))@\(settings.domain)"), time: emergencies.wallTime(at: now))
        let text = object.xml
        let id = "\(random.hexToken(digitCount: 16))@\(host)"
        let part = MIMEPart(
            headers: [
                SIPHeaderField(name: .contentType, value: LocationObject.mediaType.text),
                SIPHeaderField(name: .contentID, value: "<\(id)>"),
                SIPHeaderField(name: .contentDisposition, value: "by-reference;handling=optional"),
            ], content: Array(text.utf8))
        MessageBody.append(
            part, to: &request, boundary: "cresset-\(random.hexToken(digitCount: 32))",
            describing: HeaderPolicy.bodyHeaders)
        if !request.headers.contains(.geolocationRouting) { request.headers.append(.geolocationRouting, "yes") }
        let supported = request.headers.values(.supported) + ["geolocation-sip"]
        request.headers.set(.supported, supported.joined(separator: ", "))
        return (text, "<cid:\(id)>" + (name.map { ";loc-src=\($0)" } ?? ""))
    }

    /// The station, or where a phone without one is.
    private func call(_ dispatch: EmergencyDispatch) -> String {
        let caller = emergencies.records[dispatch.id]?.caller
        return caller?.station ?? caller.map { "\($0.source)" } ?? dispatch.id.rawValue
    }

    /// Nothing but the session description: what any carrier takes, in one datagram.
    private static func makePlain(_ request: inout SIPRequest) {
        let description = MessageBody.sessionDescription(in: request)
        for name in HeaderPolicy.bodyHeaders + [.geolocation, .geolocationRouting] { request.headers.remove(name) }
        request.setBody(description ?? [], type: .sdp)
    }

    /// A value without `loc-src`: a phone may not say who added it (RFC 8787 §3).
    private static func withoutSource(_ value: String) -> String {
        guard var address = NameAddress(value), address.parameters.has("loc-src") else { return value }
        address.parameters.remove("loc-src")
        return address.text
    }

    /// `esnet` belongs to those who answer calls for help (RFC 7135 §2): a station's claim to it does not cross.
    static func dropEmergencyServices(from headers: inout SIPHeaders) {
        let values = headers.values(.resourcePriority)
        let kept = values.filter { !$0.lowercased().hasPrefix("esnet.") }
        guard kept.count != values.count else { return }
        headers.remove(.resourcePriority)
        if !kept.isEmpty { headers.append(.resourcePriority, kept.joined(separator: ", ")) }
    }

    // MARK: When a carrier cannot take it

    /// A carrier that refused what came with the session description is asked again at once without it; one that was
    /// silent, perhaps because large requests do not get through to it, after all others.
    mutating func planPlainAttempt(_ call: inout Call, _ index: Int) {
        let attempt = call.attempts[index]
        guard call.emergency != nil, attempt.target.peer.trunkName != nil, !attempt.target.isPlain,
            MessageBody.multipart(in: attempt.request) != nil
        else { return }
        var plain = attempt.target
        plain.isPlain = true
        switch attempt.outcome {
        case .response(400), .response(406), .response(413), .response(415), .response(420), .response(424),
            .response(488), .response(493), .response(500), .response(513), .response(606):
            call.plan.insert([plain], at: 0)
        case .timedOut where !attempt.isHeard, .transportFailed:
            if plain.nextHop.policy == .automatic { plain.nextHop.policy = .udp }
            call.plan.append([plain])
        default: break
        }
    }
}

/// A name for a phone that says nothing of it and stays the same (RFC 4479 §3.4, RFC 9562 §5.8).
private enum DeviceName {
    static func urn(of text: String) -> String {
        let (high, low) = (hash(text, seed: 0xCBF2_9CE4_8422_2325), hash(text, seed: 0x6C62_272E_07BB_0142))
        let word = (high & ~0xF000) | 0x8000
        let other = (low & ~(0b11 << 62)) | (0b10 << 62)
        let digits = [word, other].map { value in
            let text = String(value, radix: 16)
            return String(repeating: "0", count: 16 - text.utf8.count) + text
        }.joined()
        var groups: [Substring] = []
        var rest = digits[...]
        for count in [8, 4, 4, 4, 12] {
            groups.append(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        return "urn:uuid:" + groups.joined(separator: "-")
    }

    /// FNV-1a
    private static func hash(_ text: String, seed: UInt64) -> UInt64 {
        text.utf8.reduce(seed) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}
