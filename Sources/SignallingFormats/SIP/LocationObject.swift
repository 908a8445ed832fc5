import Primitives

/// A civic location as a PIDF-LO document (RFC 4119, RFC 5139, RFC 5491): what a carrier is told of where a caller is.
package struct LocationObject: Equatable, Sendable {
    package var address: CivicAddress
    /// Of whom: a `pres:` URI.
    package var entity: String
    /// A URN that stays the same for one phone (RFC 4479 §3.4).
    package var deviceID: String
    /// How the location was found, of the IANA registry "Method Tokens".
    package var method: String
    /// When it was determined; nil leaves out the timestamp, and how long it may be kept.
    package var time: WallClockTime?

    package init(
        address: CivicAddress, entity: String, deviceID: String, method: String = "Manual", time: WallClockTime? = nil
    ) {
        self.address = address
        self.entity = entity
        self.deviceID = deviceID
        self.method = method
        self.time = time
    }

    package static let mediaType = MediaType("application", "pidf+xml")

    /// RFC 4119 §2.2.2: without another wish, a recipient keeps it for a day.
    private static let retention = Duration.seconds(86_400)

    private static let namespaces = [
        ("", ""), (":dm", ":data-model"), (":gp", ":geopriv10"), (":gbp", ":geopriv10:basicPolicy"),
        (":ca", ":geopriv10:civicAddr"),
    ]

    /// The document, in UTF-8, its lines ended as those of MIME text.
    package var xml: String {
        var text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence"
        for (prefix, name) in Self.namespaces { text += " xmlns\(prefix)=\"urn:ietf:params:xml:ns:pidf\(name)\"" }
        text += " entity=\""
        text += Self.escaped(entity) + "\">\r\n<dm:device id=\"caller\">\r\n<gp:geopriv>\r\n<gp:location-info>\r\n"
        text += "<ca:civicAddress xml:lang=\"en\">\r\n"
        for (name, value) in elements { text += "<ca:\(name)>\(Self.escaped(value))</ca:\(name)>\r\n" }
        text += "</ca:civicAddress>\r\n</gp:location-info>\r\n<gp:usage-rules>\r\n"
        // The law wants it passed on to whoever helps; the schema's type is boolean.
        text += "<gbp:retransmission-allowed>true</gbp:retransmission-allowed>\r\n"
        if let time {
            text += "<gbp:retention-expiry>\((time + Self.retention).rfc3339)</gbp:retention-expiry>\r\n"
        }
        text += "</gp:usage-rules>\r\n<gp:method>\(Self.escaped(method))</gp:method>\r\n</gp:geopriv>\r\n"
        text += "<dm:deviceID>\(Self.escaped(deviceID))</dm:deviceID>\r\n"
        if let time { text += "<dm:timestamp>\(time.rfc3339)</dm:timestamp>\r\n" }
        return text + "</dm:device>\r\n</presence>\r\n"
    }

    /// In the order of the schema (RFC 5139 §4), which is a sequence.
    private var elements: [(String, String)] {
        let all: [(String, String?)] = [
            ("country", address.country), ("A1", address.state), ("A2", address.county), ("A3", address.city),
            ("PRD", address.preDirection), ("RD", address.street), ("STS", address.streetType),
            ("POD", address.postDirection), ("HNO", address.houseNumber), ("HNS", address.houseNumberSuffix),
            ("LMK", address.landmark), ("LOC", address.detail), ("FLR", address.place.floor), ("NAM", address.name),
            ("PC", address.postalCode), ("BLD", address.place.building), ("UNIT", address.unit),
            ("ROOM", address.place.room),
        ]
        return all.compactMap { name, value in value.map { (name, $0) } }
    }

    /// As text or attribute value; what XML 1.0 §2.2 does not allow is left out.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "\t", "\n", "\r": result += " "
            case "\u{FFFE}", "\u{FFFF}": continue
            default: if scalar.value >= 0x20 { result.unicodeScalars.append(scalar) }
            }
        }
        return result
    }
}

extension MessageBody {
    /// Adds a part behind what the body is: a `multipart/mixed` body gets one more, any other becomes its first part,
    /// with the header fields that describe it. `boundary` must occur in no part.
    ///
    /// - Parameter describing: Header fields of the message that describe a body.
    package static func append(
        _ part: MIMEPart, to message: inout some SIPMessageContent, boundary: String, describing: [SIPHeaderName]
    ) {
        if !message.body.isEmpty, let type = message.contentType, type.matches(MediaType("multipart", "mixed")),
            var mixed = multipart(in: message)
        {
            mixed.append(part)
            message.body = mixed.bytes
            return
        }
        var parts = [part]
        let fields = message.headers.fields { describing.contains($0) && $0 != .mimeVersion }
        if !message.body.isEmpty { parts.insert(MIMEPart(headers: fields, content: message.body), at: 0) }
        for name in describing { message.headers.remove(name) }
        var type = MediaType("multipart", "mixed")
        type.parameters.set("boundary", boundary)
        message.headers.append(.mimeVersion, "1.0")
        message.setBody(MultipartBody(boundary: boundary, parts: parts).bytes, type: type)
    }
}
