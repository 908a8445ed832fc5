// call-benchmark COUNT: what a whole call costs the engine, from received bytes to sent bytes, without socket and kernel.
//
// Carrier to station, answered and hung up by the caller, 100 calls a second in virtual time; the peers' own work is not
// counted. Under `valgrind --tool=callgrind --toggle-collect='*engineTurn*'`
// the same run gives instructions per call, which no other load on the machine changes.
import CallEngine
import Glibc
import Primitives
import SignallingFormats

guard CommandLine.arguments.count == 2, let count = Int(CommandLine.arguments[1]), count > 0 else {
    print("usage: call-benchmark COUNT")
    exit(2)
}
var bench = CallBench()
for number in 0..<min(200, count) { bench.call(number) }
bench.reset()
for number in 0..<count { bench.call(200 + number) }
let microseconds = Double(bench.nanoseconds) / Double(count) / 1_000
print("a call in the engine alone: \(microseconds.rounded()) µs, \(bench.messages / count) messages")
guard bench.ended == count else {
    print("call-benchmark: \(count - bench.ended) of \(count) calls did not end")
    exit(1)
}
