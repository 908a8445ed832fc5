import Primitives

/// What cressetd asks of `cresset-courier`, one JSON object a line: an e-mail or a request to a webhook.
package struct CourierJob: Equatable, Sendable {
    package enum Work: Equatable, Sendable {
        case mail(Mail)
        case webhook(Webhook)
    }

    package struct Mail: Equatable, Sendable {
        /// How the connection is protected.
        package enum Security: String, Sendable, CaseIterable {
            /// STARTTLS, without which nothing is sent (RFC 3207).
            case startTLS = "starttls"
            /// From the first byte, port 465 mostly (RFC 8314).
            case implicit
            case none = "off"
        }

        /// Name or address, IPv6 in brackets.
        package var host: String
        package var port: UInt16
        package var security: Security
        package var username: String?
        package var password: String?
        package var sender: String
        package var recipients: [String]
        /// With CR LF (RFC 5322).
        package var message: String
        /// What the box calls itself in EHLO.
        package var localName: String

        package init(
            host: String, port: UInt16, security: Security, username: String? = nil, password: String? = nil,
            sender: String, recipients: [String], message: String, localName: String
        ) {
            self.host = host
            self.port = port
            self.security = security
            self.username = username
            self.password = password
            self.sender = sender
            self.recipients = recipients
            self.message = message
            self.localName = localName
        }
    }

    /// A POST; any 2xx says it was taken.
    package struct Webhook: Equatable, Sendable {
        package var url: String
        /// `Name: value`.
        package var headers: [String]
        package var body: String

        package init(url: String, headers: [String], body: String) {
            self.url = url
            self.headers = headers
            self.body = body
        }
    }

    /// Comes back with the result.
    package var id: UInt64
    package var work: Work
    /// PEM certificates to believe in instead of the system's.
    package var authorities: String?
    /// From the look-up of the name to the last answer.
    package var timeout: Duration

    package init(id: UInt64, work: Work, authorities: String? = nil, timeout: Duration = .seconds(30)) {
        self.id = id
        self.work = work
        self.authorities = authorities
        self.timeout = timeout
    }
}

/// What became of a job; one comes for each.
package struct CourierResult: Equatable, Sendable {
    package var id: UInt64
    package var isDelivered: Bool
    /// The server's last code and words, or why there was none.
    package var text: String

    package init(id: UInt64, isDelivered: Bool, text: String) {
        self.id = id
        self.isDelivered = isDelivered
        self.text = text
    }
}

extension CourierJob {
    package var json: JSONValue {
        var members: [JSONValue.Member] = [
            .init("id", .init(id)), .init("authorities", .init(authorities)),
            .init("timeout-ms", .init(timeout.wholeMilliseconds)),
        ]
        switch work {
        case .mail(let mail):
            members += [
                .init("host", .string(mail.host)), .init("port", .init(mail.port)),
                .init("security", .string(mail.security.rawValue)), .init("username", .init(mail.username)),
                .init("password", .init(mail.password)), .init("from", .string(mail.sender)),
                .init("to", .array(mail.recipients.map { .string($0) })), .init("message", .string(mail.message)),
                .init("local-name", .string(mail.localName)),
            ]
        case .webhook(let webhook):
            members += [
                .init("url", .string(webhook.url)), .init("headers", .array(webhook.headers.map { .string($0) })),
                .init("body", .string(webhook.body)),
            ]
        }
        return .object(members)
    }

    /// nil for what is no job.
    package init?(json: JSONValue) {
        guard let number = json["id"]?.integerValue, let id = UInt64(exactly: number),
            let milliseconds = json["timeout-ms"]?.integerValue
        else { return nil }
        let work: Work
        if let url = json["url"]?.stringValue, let body = json["body"]?.stringValue {
            let headers = (json["headers"]?.arrayValue ?? []).compactMap(\.stringValue)
            work = .webhook(Webhook(url: url, headers: headers, body: body))
        } else {
            guard let host = json["host"]?.stringValue,
                let port = json["port"]?.integerValue.flatMap({ UInt16(exactly: $0) }),
                let security = json["security"]?.stringValue.flatMap(Mail.Security.init(rawValue:)),
                let sender = json["from"]?.stringValue, let message = json["message"]?.stringValue
            else { return nil }
            work = .mail(
                Mail(
                    host: host, port: port, security: security, username: json["username"]?.stringValue,
                    password: json["password"]?.stringValue, sender: sender,
                    recipients: (json["to"]?.arrayValue ?? []).compactMap(\.stringValue), message: message,
                    localName: json["local-name"]?.stringValue ?? ""))
        }
        self.init(
            id: id, work: work, authorities: json["authorities"]?.stringValue, timeout: .milliseconds(milliseconds))
    }
}

extension CourierResult {
    package var json: JSONValue { ["id": .init(id), "delivered": .bool(isDelivered), "text": .string(text)] }

    /// nil for what is no result.
    package init?(json: JSONValue) {
        guard let number = json["id"]?.integerValue, let id = UInt64(exactly: number),
            let isDelivered = json["delivered"]?.boolValue, let text = json["text"]?.stringValue
        else { return nil }
        self.init(id: id, isDelivered: isDelivered, text: text)
    }
}
