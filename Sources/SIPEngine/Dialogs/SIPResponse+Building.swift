import SignallingFormats

extension SIPResponse {
    /// A response to `request` (RFC 3261 §8.2.6): Via, From, To, Call-ID and CSeq are the request's, and for a response
    /// that may form a dialog its Record-Route too (§12.1.1). nil reason takes the standard phrase.
    ///
    /// `toTag` is set unless To has a tag already; nil leaves To as it is, which only 100 may (§8.2.6.2).
    package init(to request: SIPRequest, _ statusCode: Int, _ reason: String? = nil, toTag: String?) {
        self.init(statusCode: statusCode, reasonPhrase: reason ?? StandardReason.phrase(statusCode))
        headers.append(contentsOf: .via, from: request.headers)
        if (101...299).contains(statusCode), request.method == .invite {
            headers.append(contentsOf: .recordRoute, from: request.headers)
        }
        headers.append(contentsOf: .from, from: request.headers)
        headers.append(contentsOf: .to, from: request.headers)
        headers.append(contentsOf: .callID, from: request.headers)
        headers.append(contentsOf: .cseq, from: request.headers)
        if statusCode == 100 { headers.append(contentsOf: .timestamp, from: request.headers) }
        if let toTag, self.toTag == nil { setToTag(toTag) }
    }
}

/// The reason phrases of the IANA registry.
package enum StandardReason {
    /// The class's general phrase for a code without one of its own.
    package static func phrase(_ code: Int) -> String {
        if let phrase = phrases[code] { return phrase }
        switch code {
        case ..<200: return "Session Progress"
        case ..<300: return "OK"
        case ..<400: return "Redirection"
        case ..<500: return "Bad Request"
        case ..<600: return "Server Internal Error"
        default: return "Decline"
        }
    }

    private static let phrases: [Int: String] = [
        100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
        199: "Early Dialog Terminated", 200: "OK", 202: "Accepted", 204: "No Notification",
        300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy",
        380: "Alternative Service", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required",
        403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
        407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone",
        412: "Conditional Request Failed", 413: "Request Entity Too Large", 414: "Request-URI Too Long",
        415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 417: "Unknown Resource-Priority",
        420: "Bad Extension", 421: "Extension Required", 422: "Session Interval Too Small",
        423: "Interval Too Brief", 424: "Bad Location Information", 428: "Use Identity Header",
        429: "Provide Referrer Identity", 430: "Flow Failed", 433: "Anonymity Disallowed",
        436: "Bad Identity-Info", 437: "Unsupported Certificate", 438: "Invalid Identity Header",
        439: "First Hop Lacks Outbound Support", 440: "Max-Breadth Exceeded", 469: "Bad Info Package",
        470: "Consent Needed", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
        482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous",
        486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here", 489: "Bad Event",
        491: "Request Pending", 493: "Undecipherable", 494: "Security Agreement Required",
        500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
        504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large",
        555: "Push Notification Service Not Supported", 580: "Precondition Failure", 600: "Busy Everywhere",
        603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable", 607: "Unwanted", 608: "Rejected",
    ]
}
