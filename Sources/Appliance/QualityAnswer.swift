import CallEngine
import MediaFormats
import Primitives

/// How a direction of a call sounds, as JSON for `cresset calls` and as text for the log.
enum QualityAnswer {
    /// null while nothing was received.
    static func quality(_ quality: CallQuality) -> JSONValue {
        let stream = quality.stream
        guard stream.received > 0 else { return .null }
        return [
            "received": .init(stream.received), "expected": .init(stream.expected), "lost": .init(stream.lost),
            "loss-percent": rounded(stream.lossPercent), "reordered": .init(stream.reordered),
            "duplicates": .init(stream.duplicates), "jitter-milliseconds": milliseconds(stream.jitter),
            "longest-gap-milliseconds": milliseconds(stream.longestGap), "events": .init(stream.events),
            "source-changes": .init(stream.sourceChanges), "restarts": .init(stream.restarts),
            "round-trip-milliseconds": milliseconds(quality.roundTrip?.latest),
            "round-trip-mean-milliseconds": milliseconds(quality.roundTrip?.mean),
            "far-end-lost": quality.farEnd.map { .init(Int($0.cumulativeLost)) } ?? .null,
            "far-end-loss-percent": quality.farEnd.map { rounded(Double($0.fractionLost) * 100 / 256) } ?? .null,
            "rating": quality.rating.map(rounded) ?? .null, "mos": quality.meanOpinionScore.map(rounded) ?? .null,
        ]
    }

    /// `0.52 % lost, jitter 3.1 ms, gap 41 ms, MOS 4.35`; what is unknown is left out.
    static func text(_ quality: CallQuality) -> String {
        let stream = quality.stream
        guard stream.received > 0 else { return "nothing" }
        var parts = ["\(stream.lost) of \(stream.expected) lost"]
        if stream.reordered > 0 { parts.append("\(stream.reordered) reordered") }
        if stream.duplicates > 0 { parts.append("\(stream.duplicates) twice") }
        if let jitter = stream.jitter { parts.append("jitter \(text(jitter)) ms") }
        parts.append("longest gap \(text(stream.longestGap)) ms")
        if stream.events > 0 { parts.append("\(stream.events) events") }
        if let roundTrip = quality.roundTrip { parts.append("round trip \(text(roundTrip.mean)) ms") }
        if let farEnd = quality.farEnd { parts.append("\(farEnd.cumulativeLost) lost at the far end") }
        if let score = quality.meanOpinionScore { parts.append("MOS \(Int((score * 10).rounded()).tenths)") }
        return parts.joined(separator: ", ")
    }

    private static func text(_ duration: Duration) -> String {
        Int((Double(duration.wholeNanoseconds) / 1e5).rounded()).tenths
    }

    private static func milliseconds(_ duration: Duration?) -> JSONValue {
        duration.map { rounded(Double($0.wholeNanoseconds) / 1e6) } ?? .null
    }

    /// Three decimals.
    private static func rounded(_ value: Double) -> JSONValue { .number((value * 1_000).rounded() / 1_000) }
}

extension Int {
    /// `43` as `4.3`.
    fileprivate var tenths: String { "\(self / 10).\(self % 10)" }
}
