import Glibc
import LinuxIO
import Outreach
import OutreachJobs
import Primitives

// Carries e-mails and webhook requests for cressetd, which starts it when it has some: jobs on standard input, results on
// standard output, a JSON object a line. At the end of its input it finishes what it has and ends, so notices in hand
// still go out when cressetd is gone.

SignalSource.ignoreBrokenPipes()
_ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)  // behind the calls, whatever cressetd has
let log = StandardErrorLog()
do throws(SystemCallError) {
    try ProcessPrivileges.drop()
} catch {
    log.write(.warning, "cresset-courier keeps its privileges: \(error)")
}
guard let courier = Courier() else {
    log.write(.error, "cresset-courier: libcurl cannot be set up")
    exit(71)  // EX_OSERR
}
var input = LineInput(descriptor: STDIN_FILENO)
while !input.isFinished || !courier.isIdle {
    courier.wait(for: input.isFinished ? nil : STDIN_FILENO, atMost: .seconds(1))
    for line in input.readLines() {
        guard let json = try? JSONValue(parsing: line.span), let job = CourierJob(json: json) else {
            log.write(.error, "cresset-courier: a line of its input is no job")
            continue
        }
        courier.add(job)
    }
    for result in courier.perform() { LineOutput.write(result.json.text) }
}
