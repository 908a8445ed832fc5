import CallEngine
import Configuration
import EmergencyCalling
import LinuxIO
import Primitives
import SIPEngine
import SignallingFormats

/// What would become of a 911 call under a configuration: the real engine is asked, with a real INVITE, and nothing of
/// what it wants done is done.
struct EmergencyProbe {
    /// What the engine did with one INVITE.
    struct Finding: Equatable {
        /// The INVITE that would have left; nil: none.
        var requestURI: String?
        /// The trunk it would have gone to.
        var trunk: String?
        var site: String?
        /// nil: none is known.
        var location: EmergencyRecord.Location?
        var elin: String?
        /// The number the PSAP would see.
        var callingNumber: String?
        /// The status the caller got instead.
        var refusal: Int?
    }

    private let configuration: BoxConfiguration
    private let now = MonotonicTime.zero + .seconds(1)

    init(_ configuration: BoxConfiguration) { self.configuration = configuration }

    /// Where phones are.
    var realm: RealmConfiguration? {
        configuration.realms.first { realm in configuration.stations.contains { $0.realm == realm.name } }
            ?? configuration.realms.first
    }

    /// - Parameters:
    ///   - user: Whom From names; a station, or a phone nobody knows.
    ///   - source: Where the phone is; nil: an address no site speaks of.
    func dial(_ number: String, as user: String, from source: IPAddress? = nil) -> Finding {
        var finding = Finding()
        let realm = configuration.station(named: user).flatMap { configuration.realm(named: $0.realm) } ?? realm
        guard let realm else { return finding }
        // An engine of its own for each question: calls would be counted, and numbers leased.
        var engine = CallEngine(
            settings: CallEngineSettings(configuration), hash: OpenSSLDigestHash(), random: RandomSource(seed: 1),
            at: now)
        while engine.nextOutput() != nil {}
        let address = source ?? Self.nowhere(realm.address)
        let path = TransportPath(
            realm: RealmID(realm.name), transport: .udp, remote: TransportAddress(address, 5_060))
        engine.handle(.received(.request(invite(number, user, address)), from: path), at: now)
        while let output = engine.nextOutput() {
            switch output {
            case .transmit(let bytes, _): read(bytes, into: &finding)
            case .emergency(.record(let record)):
                finding.trunk = record.attempts.first?.trunk
                finding.site = record.site
                finding.location = record.location
                finding.elin = record.elin
            default: break
            }
        }
        return finding
    }

    /// Documentation addresses (RFC 5737, RFC 3849): no site has them.
    private static func nowhere(_ like: IPAddress) -> IPAddress {
        IPAddress(like.family == .v6 ? "2001:db8:ffff:ffff::1" : "203.0.113.254") ?? like
    }

    private func read(_ bytes: [UInt8], into finding: inout Finding) {
        guard let message = try? SIPMessage(parsing: bytes.span) else { return }
        switch message {
        case .request(let request) where request.method == .invite && finding.requestURI == nil:
            finding.requestURI = request.requestURI.text
            finding.callingNumber = CallEngine.user(of: request.from?.uri)
        case .response(let response) where response.statusCode >= 300: finding.refusal = response.statusCode
        default: break
        }
    }

    private func invite(_ number: String, _ user: String, _ address: IPAddress) -> SIPRequest {
        let host = SIPHost(configuration.system.domain) ?? .address(address)
        let target = SIPURI(user: number, host: host)
        var request = SIPRequest(method: .invite, requestURI: .sip(target))
        let place = "\(TransportAddress(address, 5_060))"
        request.headers.append(.via, "SIP/2.0/UDP \(place);branch=z9hG4bKprobe")
        request.headers.append(.maxForwards, "70")
        var from = NameAddress(uri: .sip(SIPURI(user: user, host: host)))
        from.tag = "probe"
        request.headers.append(.from, from.text)
        request.headers.append(.to, NameAddress(uri: .sip(target)).text)
        request.headers.append(.callID, "probe")
        request.headers.append(.cseq, CSeq(number: 1, method: .invite).text)
        request.headers.append(
            .contact, NameAddress(uri: .sip(SIPURI(user: user, host: .address(address)))).text)
        return request
    }
}
