// FastPathHolder [--clsact] [--shield] [--tap] INTERFACE=MODE… [LOCAL,ACCEPTED,SOURCE,DESTINATION…]
// FastPathHolder --tap-reader SOCKET BYTES COUNT: see Tap.swift
// Holds the fast path on these interfaces with these RTP flows until its standard input ends: a process for tests to
// kill and for benchmarks to measure. Prints the attachments, then "ready", then the counters for each line it reads.
import FastPath
import Glibc
import MediaFormats
import Primitives

func fail(_ text: String) -> Never {
    print("FastPathHolder: \(text)")
    exit(1)
}

var arguments = Array(CommandLine.arguments.dropFirst())
if arguments.first == "--tap-reader" { readTap(arguments.dropFirst().compactMap { Int($0) }) }
let ingress: FastPath.Ingress = arguments.contains("--clsact") ? .filter : .linkOrFilter
let isTapped = arguments.contains("--tap")
let hasShield = arguments.contains("--shield")
arguments.removeAll { $0.hasPrefix("--") }
let interfaces = arguments.filter { $0.contains("=") }.map { argument in
    let parts = argument.split(separator: "=")
    guard parts.count == 2, let mode = FastPathInterface.Mode(rawValue: String(parts[1])) else { fail(argument) }
    return FastPathInterface(name: String(parts[0]), mode: mode)
}
let flows = arguments.filter { $0.contains(",") }.map { argument in
    let ends = argument.split(separator: ",").compactMap { TransportAddress($0) }
    guard ends.count == 4 else { fail(argument) }
    return MediaFlow(
        local: ends[0], kind: .rtp, acceptedSource: ends[1], wrongSource: .pass, rewrittenSource: ends[2],
        rewrittenDestination: ends[3], clockRate: 8_000, eventPayloadType: 101)
}

do throws(FastPathError) {
    let fastPath = try FastPath(interfaces: interfaces, ingress: ingress)
    let ports = MediaPorts(of: flows)
    fastPath.sockets = ports
    for attachment in fastPath.attachments {
        print("\(attachment.interface) \(attachment.mode.rawValue) \(attachment.reason)")
    }
    for flow in flows {
        let result = try fastPath.apply(flow)
        guard result == .applied else { fail("\(flow.local): \(result)") }
    }
    if isTapped { try tapAll(flows, of: fastPath) }
    if hasShield { try raiseShield(of: fastPath, for: flows) }
    print("ready")
    fflush(nil)
    while readLine() != nil {
        for flow in flows { print(flow.local, fastPath.counters(for: flow.local)?.packets ?? 0) }
        if isTapped { print(fastPath.tapCounters) }
        print(fastPath.totals().sum)
        fflush(nil)
    }
    withExtendedLifetime(ports) { fastPath.detach() }
} catch {
    fail("\(error)")
}
