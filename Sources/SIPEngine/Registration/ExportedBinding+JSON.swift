import Primitives
import SignallingFormats

// Bindings as a state file keeps them: civil time instead of what remains.
extension Registrar.ExportedBinding {
    /// One line of the state file; `wall` is the time of the export.
    package func json(at wall: WallClockTime) -> JSONValue {
        [
            "user": .string(user),
            "contact": .string(binding.contact.text),
            "parameters": .string(binding.parameters.text),
            "realm": .string(binding.path.realm.rawValue),
            "transport": .string(binding.path.transport.text),
            "remote": .string("\(binding.path.remote)"),
            "expires-at": .init((wall + remaining).secondsSinceEpoch),
            "call-id": .string(binding.callID),
            "sequence-number": .init(binding.sequenceNumber),
            "instance": .init(binding.instance),
            "registration-id": binding.registrationID.map { .init($0) } ?? .null,
            "quality": .init(binding.quality),
            "user-agent": .init(binding.userAgent),
        ]
    }

    /// nil when the value is no binding, or one that has expired by now.
    package init?(json: JSONValue, at wall: WallClockTime) {
        guard let user = json["user"]?.stringValue,
            let contact = json["contact"]?.stringValue.flatMap({ URI($0) }),
            let realm = json["realm"]?.stringValue,
            let transport = json["transport"]?.stringValue.map({ SIPTransport($0) }),
            let remote = json["remote"]?.stringValue.flatMap({ TransportAddress($0) }),
            let expiresAt = json["expires-at"]?.integerValue,
            let callID = json["call-id"]?.stringValue,
            let sequenceNumber = json["sequence-number"]?.integerValue.flatMap({ UInt32(exactly: $0) })
        else { return nil }
        let remaining = WallClockTime(secondsSinceEpoch: expiresAt) - wall
        guard remaining > .zero else { return nil }
        let binding = Registrar.Binding(
            contact: contact,
            parameters: json["parameters"]?.stringValue.flatMap { SIPParameters($0) } ?? SIPParameters(),
            path: TransportPath(realm: RealmID(realm), transport: transport, remote: remote, connection: nil),
            // The registrar counts from its own clock when it takes the binding over.
            expires: .zero, callID: callID, sequenceNumber: sequenceNumber,
            instance: json["instance"]?.stringValue,
            registrationID: json["registration-id"]?.integerValue.flatMap { UInt32(exactly: $0) },
            quality: json["quality"]?.integerValue.flatMap { Int(exactly: $0) }.map { min(max($0, 0), 1_000) } ?? 1_000,
            userAgent: json["user-agent"]?.stringValue)
        self.init(user: user, binding: binding, remaining: remaining)
    }
}
