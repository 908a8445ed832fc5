import CallEngine
import MediaFormats
import Primitives
import SIPEngine
import SignallingFormats
import Testing

/// What a scripted peer waited for did not come.
struct Missing: Error, CustomStringConvertible {
    let description: String
}

/// A phone or a carrier's gateway played by a test: it writes its messages as text, so that what the engine's own
/// code believes is not what it is tested with.
final class ScriptedPeer {
    /// One side of a dialog, as this peer keeps it.
    struct DialogState {
        var callID: String
        var localURI: String
        var remoteURI: String
        var localTag: String
        var remoteTag: String
        var target: String
        var routes: [String]
        var cseq: Int
    }

    unowned let bed: Testbed
    let path: TransportPath
    let user: String
    /// Host part of its own URIs.
    let domain: String
    var inbox: [SIPMessage] = []
    private var counter = 0

    init(_ bed: Testbed, user: String, domain: String, path: TransportPath) {
        self.bed = bed
        self.path = path
        self.user = user
        self.domain = domain
        bed.peers[path] = self
    }

    var address: String { path.remote.address.description }
    var contact: String { "<sip:\(user)@\(path.remote)\(path.transport == .tcp ? ";transport=tcp" : "")>" }

    private func next(_ prefix: String) -> String {
        counter += 1
        return "\(prefix)-\(user)-\(counter)-\(path.remote.port)"
    }

    // MARK: Sending

    func send(_ text: String, body: String = "") throws {
        let message = try Self.parse(text, body: body)
        bed.receive(message, from: path)
    }

    static func parse(_ text: String, body: String = "") throws -> SIPMessage {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: true).map { String($0) }
        lines.append("Content-Length: \(body.utf8.count)")
        let bytes = Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8)
        return try SIPMessage(parsing: bytes.span)
    }

    func via(_ branch: String? = nil) -> String {
        "Via: SIP/2.0/\(path.transport.text.uppercased()) \(path.remote);branch=\(branch ?? "z9hG4bK" + next("branch"))"
    }

    /// An INVITE outside a dialog; returns it so that ACK and CANCEL can be made from it.
    @discardableResult
    func invite(
        _ number: String, from: String? = nil, offer: String? = nil, contentType: String = "application/sdp",
        headers: [String] = [], requestURI: String? = nil, callID: String? = nil, cseq: Int = 1
    ) throws -> SIPRequest {
        let host = bed.hostSeen(by: self)
        let message = try Self.parse(
            """
            INVITE \(requestURI ?? "sip:\(number)@\(host)") SIP/2.0
            \(via())
            Max-Forwards: 70
            From: \(from ?? "<sip:\(user)@\(domain)>");tag=\(next("tag"))
            To: <sip:\(number)@\(host)>
            Call-ID: \(callID ?? next("call") + "@\(address)")
            CSeq: \(cseq) INVITE
            Contact: \(contact)
            \(offer == nil ? "" : "Content-Type: \(contentType)")
            \(headers.joined(separator: "\n"))
            """, body: offer ?? "")
        guard case .request(let request) = message else { throw Missing(description: "not a request") }
        bed.receive(message, from: path)
        return request
    }

    /// Any response to a request received.
    func respond(
        _ request: SIPRequest, _ code: Int, _ reason: String = "Reason", tag: String? = nil, body: String? = nil,
        contentType: String = "application/sdp", headers: [String] = []
    ) throws {
        var lines = ["SIP/2.0 \(code) \(reason)"]
        lines += request.vias.map { "Via: \($0.text)" }
        lines += request.headers.values(.recordRoute).map { "Record-Route: \($0)" }
        lines.append("From: \(request.headers.first(.from) ?? "")")
        var to = request.headers.first(.to) ?? ""
        if request.to?.tag == nil, code > 100 { to += ";tag=\(tag ?? "tag-\(user)-\(path.remote.port)")" }
        lines.append("To: \(to)")
        lines.append("Call-ID: \(request.callID)")
        lines.append("CSeq: \(request.cseq?.text ?? "")")
        if code > 100, code < 300 { lines.append("Contact: \(contact)") }
        if body != nil { lines.append("Content-Type: \(contentType)") }
        lines += headers
        try send(lines.joined(separator: "\n"), body: body ?? "")
    }

    /// CANCEL for an INVITE of ours.
    func cancel(_ invite: SIPRequest) throws {
        try send(
            """
            CANCEL \(invite.requestURI.text) SIP/2.0
            Via: \(invite.topVia?.text ?? "")
            Max-Forwards: 70
            From: \(invite.headers.first(.from) ?? "")
            To: \(invite.headers.first(.to) ?? "")
            Call-ID: \(invite.callID)
            CSeq: \(invite.cseq?.number ?? 0) CANCEL
            """)
    }

    /// The dialog a 1xx or 2xx to our INVITE made.
    func dialog(_ invite: SIPRequest, _ response: SIPResponse) -> DialogState {
        DialogState(
            callID: invite.callID, localURI: invite.from?.uri.text ?? "", remoteURI: invite.to?.uri.text ?? "",
            localTag: invite.from?.tag ?? "", remoteTag: response.to?.tag ?? "",
            target: response.contacts.first?.uri.text ?? "", routes: response.recordRoutes.reversed().map(\.text),
            cseq: Int(invite.cseq?.number ?? 1))
    }

    /// The dialog our answer to an INVITE made.
    func dialog(answering invite: SIPRequest, tag: String? = nil) -> DialogState {
        DialogState(
            callID: invite.callID, localURI: invite.to?.uri.text ?? "", remoteURI: invite.from?.uri.text ?? "",
            localTag: tag ?? "tag-\(user)-\(path.remote.port)", remoteTag: invite.from?.tag ?? "",
            target: invite.contacts.first?.uri.text ?? "", routes: [], cseq: 100)
    }

    /// ACK for a final response: inside the dialog for a 2xx, with the INVITE's branch otherwise.
    func ack(_ invite: SIPRequest, _ response: SIPResponse, body: String? = nil) throws {
        let isSuccess = response.statusCode < 300
        try send(
            """
            ACK \(isSuccess ? response.contacts.first?.uri.text ?? "" : invite.requestURI.text) SIP/2.0
            \(isSuccess ? via() : "Via: \(invite.topVia?.text ?? "")")
            Max-Forwards: 70
            From: \(invite.headers.first(.from) ?? "")
            To: \(response.headers.first(.to) ?? "")
            Call-ID: \(invite.callID)
            CSeq: \(invite.cseq?.number ?? 0) ACK
            \(body == nil ? "" : "Content-Type: application/sdp")
            """, body: body ?? "")
    }

    /// A request inside a dialog; advances its CSeq.
    @discardableResult
    func request(
        _ method: String, _ dialog: inout DialogState, body: String? = nil, contentType: String = "application/sdp",
        headers: [String] = []
    ) throws -> SIPRequest {
        if method != "ACK" { dialog.cseq += 1 }
        let message = try Self.parse(
            """
            \(method) \(dialog.target) SIP/2.0
            \(via())
            Max-Forwards: 70
            From: <\(dialog.localURI)>;tag=\(dialog.localTag)
            To: <\(dialog.remoteURI)>;tag=\(dialog.remoteTag)
            Call-ID: \(dialog.callID)
            CSeq: \(dialog.cseq) \(method)
            Contact: \(contact)
            \(body == nil ? "" : "Content-Type: \(contentType)")
            \(headers.joined(separator: "\n"))
            """, body: body ?? "")
        guard case .request(let request) = message else { throw Missing(description: "not a request") }
        bed.receive(message, from: path)
        return request
    }

    // MARK: What came

    /// The first request of this method in the inbox; it and nothing else is taken out.
    func take(_ method: SIPMethod, sourceLocation: SourceLocation = #_sourceLocation) throws -> SIPRequest {
        for (index, message) in inbox.enumerated() {
            guard case .request(let request) = message, request.method == method else { continue }
            inbox.remove(at: index)
            return request
        }
        Issue.record("\(user) has no \(method); it has \(summary)", sourceLocation: sourceLocation)
        throw Missing(description: "\(method)")
    }

    /// The first response with this code.
    func take(_ code: Int, sourceLocation: SourceLocation = #_sourceLocation) throws -> SIPResponse {
        for (index, message) in inbox.enumerated() {
            guard case .response(let response) = message, response.statusCode == code else { continue }
            inbox.remove(at: index)
            return response
        }
        Issue.record("\(user) has no \(code); it has \(summary)", sourceLocation: sourceLocation)
        throw Missing(description: "\(code)")
    }

    func has(_ method: SIPMethod) -> Bool {
        inbox.contains { if case .request(let request) = $0 { request.method == method } else { false } }
    }

    func has(_ code: Int) -> Bool {
        inbox.contains { if case .response(let response) = $0 { response.statusCode == code } else { false } }
    }

    var summary: String {
        inbox.map { message in
            switch message {
            case .request(let request): request.method.rawValue
            case .response(let response): "\(response.statusCode) \(response.cseq?.method.rawValue ?? "")"
            }
        }.joined(separator: ", ")
    }
}

extension SIPMessageContent {
    var text: String { String(decoding: bytes, as: UTF8.self) }
    var bodyText: String { String(decoding: body, as: UTF8.self) }
    /// The session description in the body.
    var sdp: SessionDescription? {
        MessageBody.sessionDescription(in: self).flatMap { try? SessionDescription(parsing: $0.span) }
    }
}
