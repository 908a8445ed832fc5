import Primitives

/// How calls for help go out by one trunk: the keys of `[trunks.NAME]` that say so.
package struct TrunkEmergencyConfiguration: Equatable, Sendable {
    /// `emergency-location`: whether the INVITE carries the caller's place (RFC 6442).
    package enum Location: String, CaseIterable, Sendable { case none, pidf }

    /// `emergency-number`: who is calling. An ELIN stands for a place in the carrier's data; without one, the caller.
    package enum Number: String, CaseIterable, Sendable { case elin, caller }

    /// `emergency-uri`: what is asked for, `sip:911@carrier` or `urn:service:sos` (NENA i3, RFC 5031).
    package enum RequestURI: String, CaseIterable, Sendable { case number, service }

    package var location: Location
    package var number: Number
    package var requestURI: RequestURI
    /// `resource-priority`, as "esnet.1" (RFC 7135); nil sends none.
    package var resourcePriority: String?
    /// `emergency-priority`: whether `Priority: emergency` (RFC 3261 §20.26) is sent.
    package var sendsPriority: Bool
    /// `psap-trusted`: this carrier's `Priority: psap-callback` is believed (RFC 7090).
    package var isPSAPTrusted: Bool

    package init(
        location: Location = .none, number: Number = .elin, requestURI: RequestURI = .number,
        resourcePriority: String? = nil, sendsPriority: Bool = true, isPSAPTrusted: Bool = false
    ) {
        self.location = location
        self.number = number
        self.requestURI = requestURI
        self.resourcePriority = resourcePriority
        self.sendsPriority = sendsPriority
        self.isPSAPTrusted = isPSAPTrusted
    }
}

extension TrunkEmergencyConfiguration {
    static let keys = [
        "emergency-location", "emergency-number", "emergency-uri", "emergency-priority", "resource-priority",
        "psap-trusted",
    ]

    init(_ reader: TableReader) {
        self.init()
        location = reader.choice("emergency-location") ?? location
        number = reader.choice("emergency-number") ?? number
        requestURI = reader.choice("emergency-uri") ?? requestURI
        sendsPriority = reader.boolean("emergency-priority") ?? sendsPriority
        resourcePriority = reader.value("resource-priority", "\"esnet.0\" to \"esnet.4\"") { text in
            (0...4).contains { text == "esnet.\($0)" } ? text : nil
        }
        isPSAPTrusted = reader.boolean("psap-trusted") ?? isPSAPTrusted
    }

    func render(to table: inout RenderedTable) {
        table.add("emergency-location", text: location.rawValue)
        table.add("emergency-number", text: number.rawValue)
        table.add("emergency-uri", text: requestURI.rawValue)
        table.add("emergency-priority", "\(sendsPriority)")
        if let resourcePriority { table.add("resource-priority", text: resourcePriority) }
        table.add("psap-trusted", "\(isPSAPTrusted)")
    }
}
