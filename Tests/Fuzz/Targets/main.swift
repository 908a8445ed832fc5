// One fuzzer for every parser: `fuzz PARSER [libFuzzer options] [corpus directory]`. See README.md.
import Glibc

/// libFuzzer, linked by `-sanitize=fuzzer`: it owns the loop, the corpus and the report.
@_silgen_name("LLVMFuzzerRunDriver")
func runFuzzer(
    _ argumentCount: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ one: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// A parser under test: takes any bytes, and must neither trap nor hang nor read where it should not.
typealias Parser = (Span<UInt8>) -> Void

let parsers: [String: Parser] = [
    "digest": fuzzDigest,
    "engine": fuzzEngine,
    "frame": fuzzFrame,
    "json": fuzzJSON,
    "multipart": fuzzMultipart,
    "offer": fuzzOffer,
    "ring": fuzzRing,
    "rtcp": fuzzRTCP,
    "rtp": fuzzRTP,
    "sdp": fuzzSDP,
    "sip": fuzzSIP,
    "stream": fuzzStream,
    "stun": fuzzSTUN,
    "toml": fuzzTOML,
    "uri": fuzzURI,
]

guard CommandLine.argc >= 2, let parser = parsers[CommandLine.arguments[1]] else {
    print("usage: fuzz PARSER [libFuzzer options] [corpus]; parsers: \(parsers.keys.sorted().joined(separator: " "))")
    exit(2)
}
nonisolated(unsafe) let chosen = parser

// libFuzzer reads its options from argv: ours, without the parser's name. Lives until the process ends.
var argumentCount = CommandLine.argc - 1
var arguments = CommandLine.unsafeArgv + 1
arguments[0] = CommandLine.unsafeArgv[0]
exit(
    runFuzzer(&argumentCount, &arguments) { start, count in
        // libFuzzer keeps the bytes until we return.
        chosen(Span(_unsafeElements: UnsafeBufferPointer(start: start, count: count)))
        return 0
    })
