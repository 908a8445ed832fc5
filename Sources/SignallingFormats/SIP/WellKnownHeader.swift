/// The header fields this box knows by name; their order is that of `WellKnownHeader.table`.
enum WellKnownHeader: UInt8, CaseIterable, Sendable {
    case via, from, to, callID, cseq, maxForwards, contact, contentLength, contentType, route, recordRoute, allow
    case supported, require, proxyRequire, unsupported, expires, minExpires, sessionExpires, minSE, rack, rseq
    case authorization, wwwAuthenticate, proxyAuthorization, proxyAuthenticate, authenticationInfo
    case proxyAuthenticationInfo, userAgent, server, date, retryAfter, reason, event, allowEvents, subscriptionState
    case pAssertedIdentity, pPreferredIdentity, pAssertedService, pPreferredService, pAccessNetworkInfo
    case pAssociatedURI, pCalledPartyID, pChargingVector, pVisitedNetworkID, pEarlyMedia, privacy, diversion
    case historyInfo, referTo, referredBy, referSub, replaces, join, targetDialog, identity, identityInfo
    case attestationInfo, originationID, priority, resourcePriority, acceptResourcePriority, geolocation
    case geolocationRouting, geolocationError, callInfo, alertInfo, errorInfo, subject, warning, accept
    case acceptEncoding, acceptLanguage, acceptContact, rejectContact, requestDisposition, contentDisposition
    case contentEncoding, contentLanguage, contentID, mimeVersion, timestamp, path, serviceRoute, organization
    case inReplyTo, replyTo, flowTimer, maxBreadth, sipETag, sipIfMatch, securityClient, securityServer
    case securityVerify, answerMode, privAnswerMode, recvInfo, infoPackage, userToUser, sessionID, featureCaps
    case permissionMissing

    /// What the grammar says of one of them.
    struct Entry: Sendable {
        let header: WellKnownHeader
        let name: String
        /// The compact form (RFC 3261 §7.3.3 and later registrations).
        let compact: UInt8?
        /// Whether the field's value is a comma-separated list of elements.
        let isList: Bool
    }

    var entry: Entry { Self.table[Int(rawValue)] }
    var isList: Bool { Self.lists & (1 << UInt128(rawValue)) != 0 }

    /// One bit for each header that is a list.
    private static let lists: UInt128 = table.reduce(0) { bits, entry in
        entry.isList ? bits | 1 << UInt128(entry.header.rawValue) : bits
    }

    static let table: [Entry] = [
        Entry(header: .via, name: "Via", compact: UInt8(ascii: "v"), isList: true),
        Entry(header: .from, name: "From", compact: UInt8(ascii: "f"), isList: false),
        Entry(header: .to, name: "To", compact: UInt8(ascii: "t"), isList: false),
        Entry(header: .callID, name: "Call-ID", compact: UInt8(ascii: "i"), isList: false),
        Entry(header: .cseq, name: "CSeq", compact: nil, isList: false),
        Entry(header: .maxForwards, name: "Max-Forwards", compact: nil, isList: false),
        Entry(header: .contact, name: "Contact", compact: UInt8(ascii: "m"), isList: true),
        Entry(header: .contentLength, name: "Content-Length", compact: UInt8(ascii: "l"), isList: false),
        Entry(header: .contentType, name: "Content-Type", compact: UInt8(ascii: "c"), isList: false),
        Entry(header: .route, name: "Route", compact: nil, isList: true),
        Entry(header: .recordRoute, name: "Record-Route", compact: nil, isList: true),
        Entry(header: .allow, name: "Allow", compact: nil, isList: true),
        Entry(header: .supported, name: "Supported", compact: UInt8(ascii: "k"), isList: true),
        Entry(header: .require, name: "Require", compact: nil, isList: true),
        Entry(header: .proxyRequire, name: "Proxy-Require", compact: nil, isList: true),
        Entry(header: .unsupported, name: "Unsupported", compact: nil, isList: true),
        Entry(header: .expires, name: "Expires", compact: nil, isList: false),
        Entry(header: .minExpires, name: "Min-Expires", compact: nil, isList: false),
        Entry(header: .sessionExpires, name: "Session-Expires", compact: UInt8(ascii: "x"), isList: false),
        Entry(header: .minSE, name: "Min-SE", compact: nil, isList: false),
        Entry(header: .rack, name: "RAck", compact: nil, isList: false),
        Entry(header: .rseq, name: "RSeq", compact: nil, isList: false),
        Entry(header: .authorization, name: "Authorization", compact: nil, isList: false),
        Entry(header: .wwwAuthenticate, name: "WWW-Authenticate", compact: nil, isList: false),
        Entry(header: .proxyAuthorization, name: "Proxy-Authorization", compact: nil, isList: false),
        Entry(header: .proxyAuthenticate, name: "Proxy-Authenticate", compact: nil, isList: false),
        Entry(header: .authenticationInfo, name: "Authentication-Info", compact: nil, isList: false),
        Entry(header: .proxyAuthenticationInfo, name: "Proxy-Authentication-Info", compact: nil, isList: false),
        Entry(header: .userAgent, name: "User-Agent", compact: nil, isList: false),
        Entry(header: .server, name: "Server", compact: nil, isList: false),
        Entry(header: .date, name: "Date", compact: nil, isList: false),
        Entry(header: .retryAfter, name: "Retry-After", compact: nil, isList: false),
        Entry(header: .reason, name: "Reason", compact: nil, isList: true),
        Entry(header: .event, name: "Event", compact: UInt8(ascii: "o"), isList: false),
        Entry(header: .allowEvents, name: "Allow-Events", compact: UInt8(ascii: "u"), isList: true),
        Entry(header: .subscriptionState, name: "Subscription-State", compact: nil, isList: false),
        Entry(header: .pAssertedIdentity, name: "P-Asserted-Identity", compact: nil, isList: true),
        Entry(header: .pPreferredIdentity, name: "P-Preferred-Identity", compact: nil, isList: true),
        Entry(header: .pAssertedService, name: "P-Asserted-Service", compact: nil, isList: true),
        Entry(header: .pPreferredService, name: "P-Preferred-Service", compact: nil, isList: true),
        Entry(header: .pAccessNetworkInfo, name: "P-Access-Network-Info", compact: nil, isList: true),
        Entry(header: .pAssociatedURI, name: "P-Associated-URI", compact: nil, isList: true),
        Entry(header: .pCalledPartyID, name: "P-Called-Party-ID", compact: nil, isList: false),
        Entry(header: .pChargingVector, name: "P-Charging-Vector", compact: nil, isList: false),
        Entry(header: .pVisitedNetworkID, name: "P-Visited-Network-ID", compact: nil, isList: true),
        Entry(header: .pEarlyMedia, name: "P-Early-Media", compact: nil, isList: true),
        Entry(header: .privacy, name: "Privacy", compact: nil, isList: false),
        Entry(header: .diversion, name: "Diversion", compact: nil, isList: true),
        Entry(header: .historyInfo, name: "History-Info", compact: nil, isList: true),
        Entry(header: .referTo, name: "Refer-To", compact: UInt8(ascii: "r"), isList: false),
        Entry(header: .referredBy, name: "Referred-By", compact: UInt8(ascii: "b"), isList: false),
        Entry(header: .referSub, name: "Refer-Sub", compact: nil, isList: false),
        Entry(header: .replaces, name: "Replaces", compact: nil, isList: false),
        Entry(header: .join, name: "Join", compact: nil, isList: false),
        Entry(header: .targetDialog, name: "Target-Dialog", compact: nil, isList: false),
        Entry(header: .identity, name: "Identity", compact: UInt8(ascii: "y"), isList: false),
        Entry(header: .identityInfo, name: "Identity-Info", compact: nil, isList: false),
        Entry(header: .attestationInfo, name: "Attestation-Info", compact: nil, isList: false),
        Entry(header: .originationID, name: "Origination-ID", compact: nil, isList: false),
        Entry(header: .priority, name: "Priority", compact: nil, isList: false),
        Entry(header: .resourcePriority, name: "Resource-Priority", compact: nil, isList: true),
        Entry(header: .acceptResourcePriority, name: "Accept-Resource-Priority", compact: nil, isList: true),
        Entry(header: .geolocation, name: "Geolocation", compact: nil, isList: true),
        Entry(header: .geolocationRouting, name: "Geolocation-Routing", compact: nil, isList: false),
        Entry(header: .geolocationError, name: "Geolocation-Error", compact: nil, isList: true),
        Entry(header: .callInfo, name: "Call-Info", compact: nil, isList: true),
        Entry(header: .alertInfo, name: "Alert-Info", compact: nil, isList: true),
        Entry(header: .errorInfo, name: "Error-Info", compact: nil, isList: true),
        Entry(header: .subject, name: "Subject", compact: UInt8(ascii: "s"), isList: false),
        Entry(header: .warning, name: "Warning", compact: nil, isList: true),
        Entry(header: .accept, name: "Accept", compact: nil, isList: true),
        Entry(header: .acceptEncoding, name: "Accept-Encoding", compact: nil, isList: true),
        Entry(header: .acceptLanguage, name: "Accept-Language", compact: nil, isList: true),
        Entry(header: .acceptContact, name: "Accept-Contact", compact: UInt8(ascii: "a"), isList: true),
        Entry(header: .rejectContact, name: "Reject-Contact", compact: UInt8(ascii: "j"), isList: true),
        Entry(header: .requestDisposition, name: "Request-Disposition", compact: UInt8(ascii: "d"), isList: true),
        Entry(header: .contentDisposition, name: "Content-Disposition", compact: nil, isList: false),
        Entry(header: .contentEncoding, name: "Content-Encoding", compact: UInt8(ascii: "e"), isList: true),
        Entry(header: .contentLanguage, name: "Content-Language", compact: nil, isList: true),
        Entry(header: .contentID, name: "Content-ID", compact: nil, isList: false),
        Entry(header: .mimeVersion, name: "MIME-Version", compact: nil, isList: false),
        Entry(header: .timestamp, name: "Timestamp", compact: nil, isList: false),
        Entry(header: .path, name: "Path", compact: nil, isList: true),
        Entry(header: .serviceRoute, name: "Service-Route", compact: nil, isList: true),
        Entry(header: .organization, name: "Organization", compact: nil, isList: false),
        Entry(header: .inReplyTo, name: "In-Reply-To", compact: nil, isList: true),
        Entry(header: .replyTo, name: "Reply-To", compact: nil, isList: false),
        Entry(header: .flowTimer, name: "Flow-Timer", compact: nil, isList: false),
        Entry(header: .maxBreadth, name: "Max-Breadth", compact: nil, isList: false),
        Entry(header: .sipETag, name: "SIP-ETag", compact: nil, isList: false),
        Entry(header: .sipIfMatch, name: "SIP-If-Match", compact: nil, isList: false),
        Entry(header: .securityClient, name: "Security-Client", compact: nil, isList: true),
        Entry(header: .securityServer, name: "Security-Server", compact: nil, isList: true),
        Entry(header: .securityVerify, name: "Security-Verify", compact: nil, isList: true),
        Entry(header: .answerMode, name: "Answer-Mode", compact: nil, isList: false),
        Entry(header: .privAnswerMode, name: "Priv-Answer-Mode", compact: nil, isList: false),
        Entry(header: .recvInfo, name: "Recv-Info", compact: nil, isList: true),
        Entry(header: .infoPackage, name: "Info-Package", compact: nil, isList: false),
        Entry(header: .userToUser, name: "User-to-User", compact: nil, isList: true),
        Entry(header: .sessionID, name: "Session-ID", compact: nil, isList: false),
        Entry(header: .featureCaps, name: "Feature-Caps", compact: nil, isList: true),
        Entry(header: .permissionMissing, name: "Permission-Missing", compact: nil, isList: true),
    ]
}

/// The names as static members of `SIPHeaderName`.
extension SIPHeaderName {
    package static var via: Self { Self(.via) }
    package static var from: Self { Self(.from) }
    package static var to: Self { Self(.to) }
    package static var callID: Self { Self(.callID) }
    package static var cseq: Self { Self(.cseq) }
    package static var maxForwards: Self { Self(.maxForwards) }
    package static var contact: Self { Self(.contact) }
    package static var contentLength: Self { Self(.contentLength) }
    package static var contentType: Self { Self(.contentType) }
    package static var route: Self { Self(.route) }
    package static var recordRoute: Self { Self(.recordRoute) }
    package static var allow: Self { Self(.allow) }
    package static var supported: Self { Self(.supported) }
    package static var require: Self { Self(.require) }
    package static var proxyRequire: Self { Self(.proxyRequire) }
    package static var unsupported: Self { Self(.unsupported) }
    package static var expires: Self { Self(.expires) }
    package static var minExpires: Self { Self(.minExpires) }
    package static var sessionExpires: Self { Self(.sessionExpires) }
    package static var minSE: Self { Self(.minSE) }
    package static var rack: Self { Self(.rack) }
    package static var rseq: Self { Self(.rseq) }
    package static var authorization: Self { Self(.authorization) }
    package static var wwwAuthenticate: Self { Self(.wwwAuthenticate) }
    package static var proxyAuthorization: Self { Self(.proxyAuthorization) }
    package static var proxyAuthenticate: Self { Self(.proxyAuthenticate) }
    package static var authenticationInfo: Self { Self(.authenticationInfo) }
    package static var proxyAuthenticationInfo: Self { Self(.proxyAuthenticationInfo) }
    package static var userAgent: Self { Self(.userAgent) }
    package static var server: Self { Self(.server) }
    package static var date: Self { Self(.date) }
    package static var retryAfter: Self { Self(.retryAfter) }
    package static var reason: Self { Self(.reason) }
    package static var event: Self { Self(.event) }
    package static var allowEvents: Self { Self(.allowEvents) }
    package static var subscriptionState: Self { Self(.subscriptionState) }
    package static var pAssertedIdentity: Self { Self(.pAssertedIdentity) }
    package static var pPreferredIdentity: Self { Self(.pPreferredIdentity) }
    package static var pAssertedService: Self { Self(.pAssertedService) }
    package static var pPreferredService: Self { Self(.pPreferredService) }
    package static var pAccessNetworkInfo: Self { Self(.pAccessNetworkInfo) }
    package static var pAssociatedURI: Self { Self(.pAssociatedURI) }
    package static var pCalledPartyID: Self { Self(.pCalledPartyID) }
    package static var pChargingVector: Self { Self(.pChargingVector) }
    package static var pVisitedNetworkID: Self { Self(.pVisitedNetworkID) }
    package static var pEarlyMedia: Self { Self(.pEarlyMedia) }
    package static var privacy: Self { Self(.privacy) }
    package static var diversion: Self { Self(.diversion) }
    package static var historyInfo: Self { Self(.historyInfo) }
    package static var referTo: Self { Self(.referTo) }
    package static var referredBy: Self { Self(.referredBy) }
    package static var referSub: Self { Self(.referSub) }
    package static var replaces: Self { Self(.replaces) }
    package static var join: Self { Self(.join) }
    package static var targetDialog: Self { Self(.targetDialog) }
    package static var identity: Self { Self(.identity) }
    package static var identityInfo: Self { Self(.identityInfo) }
    package static var attestationInfo: Self { Self(.attestationInfo) }
    package static var originationID: Self { Self(.originationID) }
    package static var priority: Self { Self(.priority) }
    package static var resourcePriority: Self { Self(.resourcePriority) }
    package static var acceptResourcePriority: Self { Self(.acceptResourcePriority) }
    package static var geolocation: Self { Self(.geolocation) }
    package static var geolocationRouting: Self { Self(.geolocationRouting) }
    package static var geolocationError: Self { Self(.geolocationError) }
    package static var callInfo: Self { Self(.callInfo) }
    package static var alertInfo: Self { Self(.alertInfo) }
    package static var errorInfo: Self { Self(.errorInfo) }
    package static var subject: Self { Self(.subject) }
    package static var warning: Self { Self(.warning) }
    package static var accept: Self { Self(.accept) }
    package static var acceptEncoding: Self { Self(.acceptEncoding) }
    package static var acceptLanguage: Self { Self(.acceptLanguage) }
    package static var acceptContact: Self { Self(.acceptContact) }
    package static var rejectContact: Self { Self(.rejectContact) }
    package static var requestDisposition: Self { Self(.requestDisposition) }
    package static var contentDisposition: Self { Self(.contentDisposition) }
    package static var contentEncoding: Self { Self(.contentEncoding) }
    package static var contentLanguage: Self { Self(.contentLanguage) }
    package static var contentID: Self { Self(.contentID) }
    package static var mimeVersion: Self { Self(.mimeVersion) }
    package static var timestamp: Self { Self(.timestamp) }
    package static var path: Self { Self(.path) }
    package static var serviceRoute: Self { Self(.serviceRoute) }
    package static var organization: Self { Self(.organization) }
    package static var inReplyTo: Self { Self(.inReplyTo) }
    package static var replyTo: Self { Self(.replyTo) }
    package static var flowTimer: Self { Self(.flowTimer) }
    package static var maxBreadth: Self { Self(.maxBreadth) }
    package static var sipETag: Self { Self(.sipETag) }
    package static var sipIfMatch: Self { Self(.sipIfMatch) }
    package static var securityClient: Self { Self(.securityClient) }
    package static var securityServer: Self { Self(.securityServer) }
    package static var securityVerify: Self { Self(.securityVerify) }
    package static var answerMode: Self { Self(.answerMode) }
    package static var privAnswerMode: Self { Self(.privAnswerMode) }
    package static var recvInfo: Self { Self(.recvInfo) }
    package static var infoPackage: Self { Self(.infoPackage) }
    package static var userToUser: Self { Self(.userToUser) }
    package static var sessionID: Self { Self(.sessionID) }
    package static var featureCaps: Self { Self(.featureCaps) }
    package static var permissionMissing: Self { Self(.permissionMissing) }
}
