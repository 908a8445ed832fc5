import Crypto
import Primitives
import SIPEngine
import SignallingFormats
import Testing

/// The hash functions of the Crypto module.
struct TestHash: DigestHash {
    var unavailable: Set<DigestAlgorithm> = []

    func hash(_ bytes: [UInt8], using algorithm: DigestAlgorithm) -> [UInt8]? {
        guard !unavailable.contains(algorithm) else { return nil }
        let function: HashAlgorithm
        switch algorithm {
        case .md5: function = .md5
        case .sha256: function = .sha256
        case .sha512_256: function = .sha512_256
        }
        return try? Crypto.hash(bytes.span, using: function)
    }
}

func milliseconds(_ count: Int) -> MonotonicTime { .zero + .milliseconds(count) }

func drain<Output>(_ next: () -> Output?) -> [Output] {
    var outputs: [Output] = []
    while let output = next() { outputs.append(output) }
    return outputs
}

/// A message from text with bare line feeds; the empty line at the end is added.
func parse(_ text: String) throws -> SIPMessage {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: true)
    let wire = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    return try SIPMessage(parsing: wire.span)
}

func parseRequest(_ text: String) throws -> SIPRequest {
    guard case .request(let request) = try parse(text) else { throw TestError("no request") }
    return request
}

func parse(_ bytes: [UInt8]) throws -> SIPMessage { try SIPMessage(parsing: bytes.span) }

struct TestError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

enum Sample {
    static let realm = RealmID("lan")
    static let boxAddress = TransportAddress("192.0.2.1:5060") ?? TransportAddress(.v4(0), 0)
    static let phoneAddress = TransportAddress("192.0.2.77:5060") ?? TransportAddress(.v4(0), 0)
    static let phone = TransportPath(realm: realm, transport: .udp, remote: phoneAddress)
    static let phoneTCP = TransportPath(
        realm: realm, transport: .tcp, remote: TransportAddress(phoneAddress.address, 40_000),
        connection: ConnectionID(rawValue: 7))
    static let udp = NextHop(realm: realm, remote: phoneAddress, policy: .udp)
    static let tcp = NextHop(realm: realm, remote: phoneAddress, policy: .tcp)
    static let automatic = NextHop(realm: realm, remote: phoneAddress, policy: .automatic)

    static func layer(seed: UInt64 = 1, countMax: Int? = nil) -> TransactionLayer {
        TransactionLayer(
            endpoints: [realm: LocalSIPEndpoint(address: boxAddress)], random: RandomSource(seed: seed),
            serverTransactionCountMax: countMax)
    }

    /// A request of ours, without Via.
    static func request(_ method: SIPMethod, number: UInt32 = 1, callID: String = "c1", body: Int = 0) -> SIPRequest {
        var request = SIPRequest(
            method: method, requestURI: .sip(SIPURI(user: "2001", host: .address(phoneAddress.address))))
        request.headers.append(.from, "<sip:box@192.0.2.1>;tag=f1")
        request.headers.append(.to, "<sip:2001@branch.example>")
        request.headers.append(.callID, callID)
        request.headers.append(.cseq, "\(number) \(method.rawValue)")
        request.headers.append(.contact, "<sip:box@192.0.2.1>")
        request.body = [UInt8](repeating: UInt8(ascii: "x"), count: body)
        return request
    }

    /// A request of a phone, as it comes in.
    static func incoming(
        _ method: String, branch: String = "z9hG4bKa1", number: Int = 1, toTag: String? = nil, callID: String = "c1",
        uri: String = "sip:2002@branch.example", via: String = "192.0.2.77:5060", viaParameters: String = "",
        transport: String = "UDP", extra: [String] = []
    ) throws -> SIPRequest {
        try parseRequest(
            """
            \(method) \(uri) SIP/2.0
            Via: SIP/2.0/\(transport) \(via);branch=\(branch)\(viaParameters)
            Max-Forwards: 70
            From: <sip:2001@branch.example>;tag=f1
            To: <sip:2002@branch.example>\(toTag.map { ";tag=" + $0 } ?? "")
            Call-ID: \(callID)
            CSeq: \(number) \(method)
            Contact: <sip:2001@192.0.2.77>
            \(extra.joined(separator: "\n"))
            """)
    }

    /// A response to a request of ours, as its bytes came out of the layer.
    static func response(
        to bytes: [UInt8], _ code: Int, toTag: String? = "t1", extra: [(SIPHeaderName, String)] = []
    ) throws -> SIPResponse {
        guard case .request(let request) = try parse(bytes) else { throw TestError("no request") }
        var response = SIPResponse(to: request, code, toTag: toTag)
        for (name, value) in extra { response.headers.append(name, value) }
        return response
    }
}

extension TransactionLayer {
    mutating func drained() -> [Output] {
        var outputs: [Output] = []
        while let output = nextOutput() { outputs.append(output) }
        return outputs
    }

    mutating func receive(_ request: SIPRequest, from path: TransportPath = Sample.phone, at now: MonotonicTime)
        -> [Output]
    {
        handle(.received(.request(request), from: path), at: now)
        return drained()
    }

    mutating func receive(
        _ response: SIPResponse, from path: TransportPath = Sample.phone, at now: MonotonicTime
    ) -> [Output] {
        handle(.received(.response(response), from: path), at: now)
        return drained()
    }

    /// Advances from deadline to deadline; each output with its time in milliseconds.
    mutating func run(until end: MonotonicTime) -> [(at: Int, output: Output)] {
        var outputs: [(Int, Output)] = []
        while let deadline = nextDeadline, deadline <= end {
            advance(to: deadline)
            outputs += drained().map { (Int(deadline.nanoseconds / 1_000_000), $0) }
        }
        return outputs
    }
}

extension [TransactionLayer.Output] {
    /// What was sent, as messages.
    func sent() throws -> [SIPMessage] {
        try compactMap { output in
            guard case .transmit(let bytes, _) = output else { return nil }
            return try parse(bytes)
        }
    }

    var paths: [TransportPath] {
        compactMap { if case .transmit(_, let path) = $0 { path } else { nil } }
    }

    var firstBytes: [UInt8]? {
        lazy.compactMap { if case .transmit(let bytes, _) = $0 { bytes } else { nil } }.first
    }

    var serverTransaction: ServerTransactionID? {
        lazy.compactMap { if case .request(_, let id, _) = $0 { id } else { nil } }.first
    }

    /// Status codes and methods of what was sent: `["200", "ACK"]`.
    func summary() throws -> [String] {
        try sent().map { message in
            switch message {
            case .request(let request): request.method.rawValue
            case .response(let response): String(response.statusCode)
            }
        }
    }
}
