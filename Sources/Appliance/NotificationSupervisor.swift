import CallEngine
import Configuration
import Crypto
import EmergencyCalling
import LinuxIO
import MediaEngine
import OutreachJobs
import Primitives
import SignallingFormats

/// Carries out what `NotificationEngine` wants: rings, pages, mails, posts, and lights the beacon.
///
/// It is told of a call behind its INVITE, and whatever fails here ends up in the record, never at the call.
final class NotificationSupervisor {
    private enum Limits {
        static let ringTimeout = Duration.seconds(30)
        static let durationMax = Duration.seconds(180)  // below the engine's patience, with the ringing
        static let mailTimeout = Duration.seconds(30)
        static let webhookTimeout = Duration.seconds(20)
    }

    /// Where records go with what is known of notices.
    var keep: (EmergencyRecord) -> Void = { _ in }
    /// Makes a sentence audible; gives nothing where nothing speaks, and the tone alone must do.
    var speak: ([SpeechPart], @escaping ([PlayoutItem]) -> Void) -> Void = { $1([]) }
    var page: (MulticastPage, @escaping (MulticastPage.Outcome) -> Void) -> Void = { _, done in
        done(.failed(reason: "nothing here sends to multicast groups"))
    }

    private let announcements: AnnouncementDesk
    private let loop: EventLoop
    private let log: StandardErrorLog
    private let courier: CourierProcess
    private let file: BeaconFile
    private var configuration: BoxConfiguration
    private var engine: NotificationEngine
    private var timer: (token: EventLoop.TimerToken, deadline: MonotonicTime)?
    private var isDraining = false
    /// Apart from the operator's, which count from 1.
    private var lastPage: UInt64 = 1 << 32

    init(
        _ configuration: BoxConfiguration, stateDirectory: String, courierPath: String,
        announcements: AnnouncementDesk, loop: EventLoop, log: StandardErrorLog
    ) throws(SystemCallError) {
        self.configuration = configuration
        self.announcements = announcements
        self.loop = loop
        self.log = log
        courier = CourierProcess(path: courierPath, loop: loop, log: log)
        file = try BeaconFile(directory: stateDirectory, loop: loop, log: log)
        engine = NotificationEngine(settings: NotificationSettings(configuration))
        engine.restore(file.read())
        file.current = { [unowned self] in engine.beacon }
    }

    func start() {
        drain()
        if let advice = configuration.notifyAdvice { log.write(.warning, advice) }
        let beacon = engine.beacon
        guard beacon.mode != .off else { return }
        log.write(
            .warning, "\(beacon.calls.count + beacon.furtherCalls) 911 call(s) before the restart, not acknowledged")
    }

    func reconfigure(_ new: BoxConfiguration) {
        configuration = new
        engine.reconfigure(NotificationSettings(new))
    }

    /// A call's record as it stands; none of it waits.
    func take(_ record: EmergencyRecord) {
        engine.handle(record, at: Clock.monotonic)
        drain()
    }

    /// What the operator must see.
    var alarm: String? { file.alarm }

    /// At the end of the process.
    func flush() { file.flush() }

    private func drain() {
        guard !isDraining else { return }
        isDraining = true
        defer { isDraining = false }
        while let output = engine.nextOutput() { perform(output) }
        arm()
    }

    private func arm() {
        let deadline = engine.nextDeadline
        guard deadline != timer?.deadline else { return }
        if let timer { loop.cancel(timer.token) }
        timer = deadline.map { deadline in
            let token = loop.schedule(at: deadline) { [unowned self] in
                timer = nil
                engine.advance(to: Clock.monotonic)
                drain()
            }
            return (token, deadline)
        }
    }

    private func perform(_ output: NotificationEngine.Output) {
        switch output {
        case .deliver(let delivery): deliver(delivery)
        case .record(let record): keep(record)
        case .beaconChanged: file.writeLater()
        case .event(let event): log.write(event.level, event.text)
        }
    }

    private func take(_ outcome: NoticeOutcome, of delivery: NoticeDelivery) {
        if case .finished(let delivered, let result) = outcome {
            log.write(
                delivered ? .notice : .warning,
                "notice of \(delivery.record.id) to \(delivery.contact) (\(delivery.channel.rawValue), try "
                    + "\(delivery.tryNumber)): \(result)")
        }
        engine.handle(outcome, of: delivery.id, at: Clock.monotonic)
        drain()
    }

    private func fail(_ delivery: NoticeDelivery, _ reason: String) {
        take(.finished(delivered: false, result: reason), of: delivery)
    }

    // MARK: Channels

    private func deliver(_ delivery: NoticeDelivery) {
        guard let contact = configuration.notifyContacts.first(where: { $0.name == delivery.contact }) else {
            return fail(delivery, "no longer configured")
        }
        switch contact.way {
        case .station(let user): announce(delivery, to: .station(user: user), key: configuration.notify.key)
        case .number(let number, let trunks):
            let all = trunks.isEmpty ? configuration.emergency.trunks + configuration.trunks.map(\.name) : trunks
            guard !all.isEmpty else { return fail(delivery, "there is no trunk") }
            let trunk = all[(delivery.tryNumber - 1) % all.count]
            announce(delivery, to: .number(number, trunk: trunk), key: configuration.notify.key)
        case .paging(let text, let realm):
            guard let uri = SIPURI(text) else { return fail(delivery, "\(text) is no SIP URI") }
            announce(delivery, to: .uri(uri, realm: RealmID(realm)), key: nil)
        case .multicast(let group, let realm): pageGroup(delivery, group, RealmID(realm))
        case .email(let addresses): mail(delivery, to: addresses)
        case .webhook(let webhook): post(delivery, to: webhook)
        }
    }

    private func playlist(_ speech: [PlayoutItem], repetitions: Int) -> Playlist {
        Playlist(
            [.tone(.attention, for: .seconds(1)), .silence(.milliseconds(300))] + speech, repetitions: repetitions,
            pause: .seconds(1))
    }

    private func announce(_ delivery: NoticeDelivery, to target: AnnouncementRequest.Target, key: Character?) {
        speak(delivery.speech(key: key)) { [weak self] speech in
            guard let self else { return }
            let playlist = playlist(speech, repetitions: configuration.notify.repetitions)
            var hearing = AnnouncementHearing()
            announcements.place { id in
                AnnouncementRequest(
                    id: id, target: target, playlist: playlist, acknowledgementKey: key,
                    displayName: delivery.displayName, ringTimeout: Limits.ringTimeout,
                    durationMax: Limits.durationMax)
            } listener: { [weak self] event in
                if let outcome = hearing.outcome(of: event) { self?.take(outcome, of: delivery) }
            }
        }
    }

    private func pageGroup(_ delivery: NoticeDelivery, _ group: TransportAddress, _ realm: RealmID) {
        speak(delivery.speech(key: nil)) { [weak self] speech in
            guard let self else { return }
            lastPage += 1
            let playlist = playlist(speech, repetitions: configuration.notify.repetitions)
            page(MulticastPage(id: lastPage, group: group, realm: realm, playlist: playlist)) { [weak self] outcome in
                switch outcome {
                case .sent(let packets):
                    self?.take(.finished(delivered: true, result: "\(packets) packets sent"), of: delivery)
                case .stopped(let packets): self?.fail(delivery, "stopped after \(packets) packets")
                case .failed(let reason): self?.fail(delivery, reason)
                }
            }
        }
    }

    private func text(_ delivery: NoticeDelivery) -> NoticeText {
        let time = Clock.wall + (.zero - (Clock.monotonic - delivery.record.start))
        return NoticeText(delivery, time: time, box: configuration.system.name)
    }

    private func mail(_ delivery: NoticeDelivery, to addresses: [String]) {
        guard let smtp = configuration.notify.smtp else { return fail(delivery, "no [notify.smtp] is configured") }
        var host = smtp.server
        if case .v6? = IPAddress(host) { host = "[\(host)]" }
        let mail = CourierJob.Mail(
            host: host, port: smtp.port, security: .init(smtp.security), username: smtp.credentials?.username,
            password: smtp.credentials?.password.revealed, sender: smtp.from, recipients: addresses,
            message: text(delivery).message(from: smtp.from, to: addresses, at: Clock.wall),
            localName: configuration.system.name)
        send(.mail(mail), smtp.authorities, Limits.mailTimeout, delivery)
    }

    /// Signed as is usual for webhooks: HMAC-SHA-256 over the time, a full stop and the body, in hexadecimal digits.
    private func post(_ delivery: NoticeDelivery, to webhook: NotifyConfiguration.Webhook) {
        let body = text(delivery).json.text
        let timestamp = Clock.wall.secondsSinceEpoch
        var headers = ["Content-Type: application/json", "X-Cresset-Timestamp: \(timestamp)"]
        if let secret = webhook.secret {
            do throws(CryptoError) {
                let signed = Array("\(timestamp).\(body)".utf8)
                let signature = try hmacSHA256(signed.span, key: Array(secret.revealed.utf8))
                headers.append("X-Cresset-Signature: sha256=\(hexadecimal(signature))")
            } catch {
                return fail(delivery, "cannot be signed: \(error)")
            }
        }
        let request = CourierJob.Webhook(url: webhook.url, headers: headers, body: body)
        send(.webhook(request), webhook.authorities, Limits.webhookTimeout, delivery)
    }

    private func send(
        _ work: CourierJob.Work, _ authorities: Secret?, _ timeout: Duration, _ delivery: NoticeDelivery
    ) {
        courier.send(work, authorities: authorities?.revealed, timeout: timeout) { [weak self] result in
            self?.take(.finished(delivered: result.isDelivered, result: result.text), of: delivery)
        }
    }

    // MARK: The operator

    /// For `cresset status` and whoever drives a lamp.
    var beacon: JSONValue { engine.beacon.json(at: Clock.monotonic, wall: Clock.wall) }

    /// `{"command": "emergency-notices"}`
    var notices: JSONValue {
        let (now, wall) = (Clock.monotonic, Clock.wall)
        return ["ok": true, "result": ["calls": .array(engine.latest.map { $0.json(wall: wall, at: now) })]]
    }

    /// `{"command": "emergency-acknowledge", "call": …}`; without `call`, all of them.
    func acknowledge(_ request: JSONValue, by user: UInt32) -> JSONValue {
        let id = request["call"]?.stringValue
        let name = UserNames.name(of: user)
        let open = engine.beacon.calls.map(\.id.rawValue)
        var call: EmergencyCallID?
        if let id {
            let matching = open.filter { $0 == id || $0.hasPrefix(id) && !id.isEmpty }
            guard let match = matching.first, matching.count == 1 else {
                let reason =
                    matching.isEmpty ? "no 911 call \(id) waits to be acknowledged" : "several calls begin with \(id)"
                return ["ok": false, "error": .string("\(reason); `cresset emergency notices` lists them")]
            }
            call = EmergencyCallID(rawValue: match)
        }
        let acknowledged = engine.acknowledge(call, by: name, means: "console", at: Clock.monotonic)
        drain()
        return [
            "ok": true,
            "result": [
                "acknowledged": .array(acknowledged.map { .string($0.rawValue) }), "by": .string(name),
                "beacon": .string(engine.beacon.mode.rawValue),
            ],
        ]
    }
}

extension CourierJob.Mail.Security {
    fileprivate init(_ security: NotifyConfiguration.SMTP.Security) {
        self =
            switch security {
            case .startTLS: .startTLS
            case .implicit: .implicit
            case .off: .none
            }
    }
}

extension NotificationSettings {
    init(_ configuration: BoxConfiguration) {
        let notify = configuration.notify
        self.init(
            contacts: configuration.notifyContacts.map { contact in
                let channel: NotificationChannel =
                    switch contact.way {
                    case .station, .number: .call
                    case .paging: .page
                    case .multicast: .multicast
                    case .email: .mail
                    case .webhook: .webhook
                    }
                return NotificationContact(
                    name: contact.name, channel: channel, level: contact.level, sites: contact.sites)
            }, escalationAfter: notify.escalationAfter, triesMax: notify.tries, retryAfter: notify.retryAfter,
            tellsOfTests: notify.tests)
    }
}

extension NotificationEvent {
    fileprivate var level: StandardErrorLog.Level {
        switch self {
        case .nobodyToTell, .tooManyCalls, .nobodyAcknowledged, .escalated: .warning
        case .acknowledged: .notice
        }
    }

    fileprivate var text: String {
        switch self {
        case .nobodyToTell(let call): "911 \(call): nobody is configured to be told; see [notify.contacts]"
        case .tooManyCalls(let call): "911 \(call): too many at once, told only as a number"
        case .escalated(let call, let level): "911 \(call): nobody acknowledged, level \(level) is told"
        case .nobodyAcknowledged(let call): "911 \(call): all have been told, nobody acknowledged"
        case .acknowledged(let call, let name, let means): "911 \(call): acknowledged by \(name) (\(means))"
        }
    }
}
