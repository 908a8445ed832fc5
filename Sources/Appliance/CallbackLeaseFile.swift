import EmergencyCalling
import LinuxIO
import Primitives

/// Who may be called back, kept over a restart, a crash or a power cut in `callback-leases.json`.
///
/// Times are civil, for the monotonic clock ends with the machine's life. A clock that jumped may lengthen a lease to the
/// full window, never beyond.
struct CallbackLeaseFile: Sendable {
    let path: String

    init(directory: String) { path = directory + "/callback-leases.json" }

    /// What was written last and is not over; empty when there is no file. Calls that lasted then are gone, and when they
    /// ended is not known: their window begins now.
    func read(window: Duration, at now: MonotonicTime, wall: WallClockTime) throws(SystemCallError) -> [CallbackLease] {
        let bytes: [UInt8]
        do throws(SystemCallError) {
            bytes = try Files.read(path)
        } catch {
            if error.code == .noSuchFile { return [] }
            throw error
        }
        do throws(JSONValue.ParseError) {
            let file = try JSONValue(parsing: bytes.span)
            return (file["leases"]?.arrayValue ?? []).compactMap {
                CallbackLease(json: $0, window: window, at: now, wall: wall)
            }
        } catch {
            throw SystemCallError(call: "parse", code: .invalidArgument, context: "\(path) (\(error))")
        }
    }

    static func bytes(_ leases: [CallbackLease], at now: MonotonicTime, wall: WallClockTime) -> [UInt8] {
        let file: JSONValue = ["leases": .array(leases.map { $0.json(at: now, wall: wall) })]
        return Array((file.prettyText + "\n").utf8)
    }

    func write(_ bytes: [UInt8]) throws(SystemCallError) { try Files.writeAtomically(bytes, to: path, mode: 0o600) }
}

extension CallbackLease {
    func json(at now: MonotonicTime, wall: WallClockTime) -> JSONValue {
        func civil(_ time: MonotonicTime) -> JSONValue { .init((wall + (time - now)).secondsSinceEpoch) }
        var members: [JSONValue.Member] = [
            .init("elin", .init(elin)), .init("site", .init(site)), .init("station", .init(caller.station)),
            .init("number", .string(caller.number)), .init("name", .init(caller.displayName)),
            .init("source", .string("\(caller.source)")), .init("start", civil(start)),
            .init("last-call", civil(lastCall)), .init("end", end.map(civil) ?? .null),
        ]
        if let contact = caller.contact {
            members.append(
                .init(
                    "contact",
                    [
                        "realm": .string(contact.realm.rawValue), "tcp": .bool(contact.isTCP),
                        "uri": .string(contact.uri),
                    ]))
        }
        return .object(members)
    }

    /// nil for what is damaged or over.
    init?(json: JSONValue, window: Duration, at now: MonotonicTime, wall: WallClockTime) {
        guard let source = json["source"]?.stringValue.flatMap({ TransportAddress($0) }),
            let number = json["number"]?.stringValue
        else { return nil }
        func past(_ name: String) -> MonotonicTime {
            guard let seconds = json[name]?.integerValue else { return now }
            return now + min(.zero, WallClockTime(secondsSinceEpoch: seconds) - wall)
        }
        var end = now + window
        if let seconds = json["end"]?.integerValue {
            end = min(end, now + (WallClockTime(secondsSinceEpoch: seconds) - wall))
            guard end > now else { return nil }
        }
        var contact: CallbackContact?
        if let stored = json["contact"], let realm = stored["realm"]?.stringValue, let uri = stored["uri"]?.stringValue
        {
            contact = CallbackContact(
                realm: RealmID(realm), isTCP: stored["tcp"]?.boolValue ?? false, uri: uri)
        }
        self.init(
            elin: json["elin"]?.stringValue, site: json["site"]?.stringValue,
            caller: EmergencyCaller(
                station: json["station"]?.stringValue, number: number, displayName: json["name"]?.stringValue,
                source: source, contact: contact),
            start: past("start"), lastCall: past("last-call"), end: end)
    }
}
