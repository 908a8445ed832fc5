import Primitives

// As it is kept: one object, times in civil time or in milliseconds since the INVITE came in.
extension EmergencyRecord {
    /// - Parameters:
    ///   - wall: Civil time now, for the start.
    ///   - now: The same moment on the monotonic clock.
    package func json(wall: WallClockTime, at now: MonotonicTime) -> JSONValue {
        func civil(_ time: MonotonicTime) -> JSONValue { .string((wall + (.zero - (now - time))).rfc3339) }
        func milliseconds(_ time: MonotonicTime?) -> JSONValue {
            time.map { .init(($0 - start).wholeMilliseconds) } ?? .null
        }
        return [
            "id": .string(id.rawValue), "number": .string(number.dialString), "dialled": .string(dialled),
            "proof": .bool(isProof), "state": .string(end == nil ? "open" : "ended"),
            "caller": [
                "station": .init(caller.station), "number": .string(caller.number),
                "name": .init(caller.displayName), "address": .string("\(caller.source.address)"),
            ],
            "site": .init(site), "location": location?.json ?? .null, "elin": .init(elin),
            "callback": .init(callbackNumber), "start": civil(start),
            "invite-out-us": inviteLeft.map { .init(($0 - start).wholeNanoseconds / 1_000) } ?? .null,
            "blocked-by": .init(blockedBy), "pre-empted": .init(preemptedCall),
            "attempts": .array(
                attempts.map { attempt in
                    [
                        "trunk": .string(attempt.trunk), "start-ms": milliseconds(attempt.start),
                        "ringing-ms": milliseconds(attempt.ringing), "end-ms": milliseconds(attempt.end),
                        "outcome": .init(attempt.outcome),
                    ]
                }),
            "ringing-ms": milliseconds(attempts.compactMap(\.ringing).min()), "answer-ms": milliseconds(answer),
            "first-audio-ms": milliseconds(firstAudio), "end": end.map(civil) ?? .null, "end-ms": milliseconds(end),
            "ending": .init(ending),
            "packets": ["from-caller": .init(packetsFromCaller), "from-called": .init(packetsFromCallee)],
            "notifications": .array(
                notifications.map { notification in
                    [
                        "channel": .string(notification.channel), "target": .string(notification.target),
                        "occasion": .string(notification.occasion), "start-ms": milliseconds(notification.start),
                        "end-ms": milliseconds(notification.end), "tries": .init(notification.tries),
                        "delivered": .bool(notification.isDelivered), "result": .init(notification.result),
                    ]
                }),
            "acknowledged": acknowledgement.map { acknowledgement in
                [
                    "by": .string(acknowledgement.by), "means": .string(acknowledgement.means),
                    "ms": milliseconds(acknowledgement.time),
                ]
            } ?? .null,
        ]
    }
}

extension EmergencyRecord.Location {
    fileprivate var json: JSONValue {
        ["text": .string(text), "pidf": .init(pidf), "missing": .array(missing.map { .string($0) })]
    }
}
