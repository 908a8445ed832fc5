import CCurl
import Glibc
import OutreachJobs
import Primitives

/// Carries e-mails and webhook requests out, many at once, with libcurl's multi interface.
///
/// It repeats nothing: a job that fails is told so, and whoever gave it decides.
package final class Courier {
    private enum Limits {
        static let runningMax = 16  // more wait here; whoever gives jobs limits their number
        static let connectTimeout = 10_000  // milliseconds
    }

    private struct Transfer {
        let job: CourierJob
        let resources: TransferResources
    }

    private let multi: UnsafeMutableRawPointer
    private var running: [UnsafeMutableRawPointer: Transfer] = [:]
    private var waiting = Queue<CourierJob>()
    private var results: [CourierResult] = []

    /// nil when libcurl cannot be set up.
    package init?() {
        guard curl_global_init(Int(CURL_GLOBAL_ALL)) == CURLE_OK, let multi = curl_multi_init() else { return nil }
        self.multi = multi
    }

    deinit {
        for handle in running.keys {
            curl_multi_remove_handle(multi, handle)
            curl_easy_cleanup(handle)
        }
        curl_multi_cleanup(multi)
    }

    package var isIdle: Bool { running.isEmpty && waiting.isEmpty && results.isEmpty }

    package func add(_ job: CourierJob) {
        waiting.append(job)
        startWaiting()
    }

    /// Waits until a transfer or `descriptor` has something, at most so long.
    package func wait(for descriptor: CInt?, atMost duration: Duration) {
        var extra = curl_waitfd()
        extra.fd = descriptor ?? -1
        extra.events = Int16(CURL_WAIT_POLLIN)
        _ = curl_multi_poll(multi, &extra, descriptor == nil ? 0 : 1, CInt(clamping: duration.wholeMilliseconds), nil)
    }

    /// Lets the transfers go on; returns what has come to an end.
    package func perform() -> [CourierResult] {
        var left: CInt = 0
        _ = curl_multi_perform(multi, &left)
        var code = CURLE_OK
        while let handle = ccurl_next_finished(multi, &code) {
            if let transfer = running.removeValue(forKey: handle) {
                results.append(Self.result(of: transfer, handle, code))
            }
            curl_multi_remove_handle(multi, handle)
            curl_easy_cleanup(handle)
        }
        startWaiting()
        defer { results = [] }
        return results
    }

    private static func result(
        of transfer: Transfer, _ handle: UnsafeMutableRawPointer, _ code: CURLcode
    ) -> CourierResult {
        var status = 0
        _ = ccurl_get_number(handle, CURLINFO_RESPONSE_CODE, &status)
        guard code == CURLE_OK else {
            let words = transfer.resources.errorText
            var reason = words.isEmpty ? String(cString: curl_easy_strerror(code)) : words
            var number = 0
            _ = ccurl_get_number(handle, CURLINFO_OS_ERRNO, &number)
            if number != 0, let words = strerror(CInt(number)) { reason += ": \(String(cString: words))" }
            return CourierResult(
                id: transfer.job.id, isDelivered: false, text: status > 0 ? "\(status): \(reason)" : reason)
        }
        let isGood = (200..<300).contains(status)
        return CourierResult(id: transfer.job.id, isDelivered: isGood, text: "\(status)")
    }

    private func startWaiting() {
        while running.count < Limits.runningMax, let job = waiting.popFirst() {
            guard let handle = curl_easy_init(), let resources = TransferResources(job) else {
                results.append(CourierResult(id: job.id, isDelivered: false, text: "no memory for the transfer"))
                continue
            }
            if let refusal = Self.prepare(handle, job, resources) {
                curl_easy_cleanup(handle)
                results.append(CourierResult(id: job.id, isDelivered: false, text: refusal))
                continue
            }
            running[handle] = Transfer(job: job, resources: resources)
            curl_multi_add_handle(multi, handle)
        }
    }

    /// Sets all options; returns why that failed, nil when it did not.
    private static func prepare(
        _ handle: UnsafeMutableRawPointer, _ job: CourierJob, _ resources: TransferResources
    ) -> String? {
        // libcurl copies texts; what it does not copy, `resources` keeps until the transfer is over.
        var codes = [
            ccurl_set_pointer(handle, CURLOPT_ERRORBUFFER, resources.errorBuffer),
            ccurl_set_pointer(handle, CURLOPT_WRITEDATA, resources.sink),
            ccurl_set_number(handle, CURLOPT_NOSIGNAL, 1),
            ccurl_set_number(handle, CURLOPT_CONNECTTIMEOUT_MS, Limits.connectTimeout),
            ccurl_set_number(handle, CURLOPT_TIMEOUT_MS, Int(job.timeout.wholeMilliseconds)),
            // A proxy of the environment is for people's browsers, not for this.
            ccurl_set_text(handle, CURLOPT_PROXY, ""),
        ]
        if let authorities = job.authorities {
            let bytes = Array(authorities.utf8)
            codes.append(ccurl_set_bytes(handle, CURLOPT_CAINFO_BLOB, bytes, bytes.count))
        }
        switch job.work {
        case .webhook(let webhook):
            codes += [
                ccurl_set_text(handle, CURLOPT_PROTOCOLS_STR, "https,http"),
                ccurl_set_text(handle, CURLOPT_URL, webhook.url),
                ccurl_set_number(handle, CURLOPT_POSTFIELDSIZE, webhook.body.utf8.count),
                ccurl_set_text(handle, CURLOPT_COPYPOSTFIELDS, webhook.body),
                ccurl_set_list(handle, CURLOPT_HTTPHEADER, resources.list),
                ccurl_set_text(handle, CURLOPT_USERAGENT, "Cresset"),
            ]
        case .mail(let mail):
            let scheme = mail.security == .implicit ? "smtps" : "smtp"
            let protection = mail.security == .none ? CURLUSESSL_NONE : CURLUSESSL_ALL
            codes += [
                ccurl_set_text(handle, CURLOPT_PROTOCOLS_STR, "smtp,smtps"),
                ccurl_set_text(handle, CURLOPT_URL, "\(scheme)://\(mail.host):\(mail.port)/\(mail.localName)"),
                ccurl_set_number(handle, CURLOPT_USE_SSL, Int(protection.rawValue)),
                ccurl_set_text(handle, CURLOPT_MAIL_FROM, "<\(mail.sender)>"),
                ccurl_set_list(handle, CURLOPT_MAIL_RCPT, resources.list),
                ccurl_set_number(handle, CURLOPT_UPLOAD, 1),
                ccurl_set_pointer(handle, CURLOPT_READDATA, resources.source),
            ]
            if let username = mail.username { codes.append(ccurl_set_text(handle, CURLOPT_USERNAME, username)) }
            if let password = mail.password { codes.append(ccurl_set_text(handle, CURLOPT_PASSWORD, password)) }
        }
        return codes.first { $0 != CURLE_OK }.map { String(cString: curl_easy_strerror($0)) }
    }
}

/// What libcurl reads and writes through pointers as long as a transfer lasts.
private final class TransferResources {
    let errorBuffer: UnsafeMutablePointer<CChar>
    /// Where answers' bodies go: nowhere.
    let sink: UnsafeMutablePointer<FILE>
    /// Reads `message`.
    private(set) var source: UnsafeMutablePointer<FILE>?
    private let message: UnsafeMutablePointer<UInt8>
    private(set) var list: UnsafeMutablePointer<curl_slist>?

    init?(_ job: CourierJob) {
        guard let sink = fopen("/dev/null", "we") else { return nil }
        self.sink = sink
        let size = Int(CURL_ERROR_SIZE)
        errorBuffer = .allocate(capacity: size)
        errorBuffer.initialize(repeating: 0, count: size)
        var texts: [String] = []
        var bytes: [UInt8] = []
        switch job.work {
        case .webhook(let webhook): texts = webhook.headers
        case .mail(let mail):
            texts = mail.recipients.map { "<\($0)>" }
            bytes = Array(mail.message.utf8)
        }
        message = .allocate(capacity: max(1, bytes.count))
        message.initialize(from: bytes, count: bytes.count)
        for text in texts { list = curl_slist_append(list, text) ?? list }
        if !bytes.isEmpty {
            source = fmemopen(message, bytes.count, "r")
            if source == nil { return nil }
        }
    }

    deinit {
        fclose(sink)
        if let source { fclose(source) }
        curl_slist_free_all(list)
        message.deallocate()
        errorBuffer.deallocate()
    }

    var errorText: String { String(cString: errorBuffer) }
}
