// parse-benchmark FILE COUNT: nanoseconds SignallingFormats takes for a message, its session description included when
// there is one, and for reading what a dialog needs. The C peers do more: they take apart every known header, also those
// nobody asks for (Allow, Supported, Session-Expires, Proxy-Authorization here), which SignallingFormats leaves as bytes.
import Glibc
import SignallingFormats

@inline(never) @_optimize(none)
func blackHole<Value>(_ value: Value) {}

func cpuNanoseconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now)
    return Double(now.tv_sec) * 1e9 + Double(now.tv_nsec)
}

func parse(_ bytes: [UInt8]) throws {
    let message = try SIPMessage(parsing: bytes.span)
    blackHole((message.topVia, message.from, message.to, message.cseq, message.callID))
    blackHole((message.contacts, message.maxForwards, message.contentType))
    if !message.body.isEmpty { blackHole(try SessionDescription(parsing: message.body.span)) }
}

let arguments = CommandLine.arguments
guard arguments.count == 3, let count = Int(arguments[2]), count > 0, let file = fopen(arguments[1], "rb") else {
    print("usage: parse-benchmark FILE COUNT")
    exit(2)
}
var bytes = [UInt8](repeating: 0, count: 65_536)
bytes.removeLast(65_536 - fread(&bytes, 1, bytes.count, file))
for _ in 0..<(count / 10) { try parse(bytes) }
let began = cpuNanoseconds()
for _ in 0..<count { try parse(bytes) }
let tenths = ((cpuNanoseconds() - began) / Double(count) * 10).rounded()
print(tenths / 10)
