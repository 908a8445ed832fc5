import CallEngine
import LinuxIO
import Primitives

/// Where composition has calls placed by the box itself, and hears what becomes of each.
final class AnnouncementDesk {
    /// The engine's input.
    var deliver: (CallEngine.Input) -> Void = { _ in }
    private let log: StandardErrorLog
    private var lastID: UInt64 = 0
    private var listeners: [AnnouncementID: (AnnouncementEvent) -> Void] = [:]

    init(log: StandardErrorLog) { self.log = log }

    /// Places the call that `make` describes under its new identifier. `listener` hears every event, the last of which
    /// is `failed` or `ended`; the first may come before this returns.
    @discardableResult
    func place(
        _ make: (AnnouncementID) -> AnnouncementRequest, listener: @escaping (AnnouncementEvent) -> Void
    ) -> AnnouncementID {
        lastID += 1
        let id = AnnouncementID(rawValue: lastID)
        listeners[id] = listener
        let request = make(id)
        log.write(.info, "\(id): \(request.target.text) is rung")
        deliver(.placeAnnouncement(request))
        return id
    }

    /// Its last event follows; nothing happens when it is over.
    func stop(_ id: AnnouncementID) { deliver(.stopAnnouncement(id)) }

    /// `CallEngine.Output.announcement`
    func take(_ id: AnnouncementID, _ event: AnnouncementEvent) {
        log.write(event.level, "\(id): \(event.text)")
        let listener = listeners[id]
        if event.isLast { listeners[id] = nil }
        listener?(event)
    }
}

extension AnnouncementRequest.Target {
    /// For the log, personal data masked.
    var text: String {
        switch self {
        case .station(let user): "station \(user)"
        case .uri(let uri, let realm): "\(uri) in realm \(realm)"
        case .number(let number, let trunk): "\(Masked.number(number)) by trunk \(trunk)"
        }
    }
}

extension AnnouncementEvent {
    /// `failed` and `ended`.
    var isLast: Bool {
        switch self {
        case .failed, .ended: true
        case .ringing, .answered, .played, .acknowledged: false
        }
    }

    var level: StandardErrorLog.Level {
        if case .failed = self { return .warning }
        return .info
    }

    var text: String {
        switch self {
        case .ringing: "rings"
        case .answered: "answered"
        case .played(let times): "played \(times) \(times == 1 ? "time" : "times")"
        case .acknowledged(let key): "acknowledged with \(key)"
        case .failed(let statusCode, let reason): "failed: \(statusCode) \(reason)"
        case .ended(let end): "ended, \(end.rawValue)"
        }
    }
}
