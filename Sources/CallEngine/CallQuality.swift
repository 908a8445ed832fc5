import MediaFormats
import Primitives

/// How the speech of one direction of a call sounds where it is heard, as far as the box can tell.
package struct CallQuality: Hashable, Sendable {
    /// Ours: what the model needs and nobody tells us.
    private enum Assumptions {
        /// One packet of 20 ms to fill, and a jitter buffer of two.
        static let endpointDelay = Duration.milliseconds(60)
    }

    /// What arrived at the box from the side that speaks.
    package var stream: MediaQuality
    /// What the side that listens said of it: of the whole way from the speaker.
    package var farEnd: RTCPReportBlock?
    /// Between the box and the side that listens; nil: its RTCP does not tell.
    package var roundTrip: MediaReports.RoundTrip?
    /// Of the packets the listener should have: the greater of our loss and what the listener reports.
    package var lossPercent: Double
    /// E-model (ITU-T G.107); nil: nothing was received, or there are no figures for the codec.
    package var rating: Double?
    package var meanOpinionScore: Double?

    /// `speaker` is what came from the side that speaks, `listener` from the one that hears it.
    package init(speaker: CallMediaCounters, listener: CallMediaCounters) {
        stream = speaker.quality
        farEnd = listener.reports.farEnd
        roundTrip = listener.reports.roundTrip
        lossPercent = speaker.quality.lossPercent
        if let farEnd, farEnd.cumulativeLost > 0, speaker.quality.expected > 0 {
            lossPercent = min(
                100, max(lossPercent, Double(farEnd.cumulativeLost) * 100 / Double(speaker.quality.expected)))
        }
        guard speaker.quality.received > 0, let codec = speaker.codec, let impairment = CodecImpairment.of(codec) else {
            return
        }
        let trips = [speaker.reports.roundTrip, listener.reports.roundTrip].compactMap { $0?.mean.wholeNanoseconds }
        let rating = EModel.rating(
            impairment, lossPercent: lossPercent,
            oneWayDelay: .nanoseconds(trips.reduce(0, +) / 2) + Assumptions.endpointDelay)
        self.rating = rating
        meanOpinionScore = EModel.meanOpinionScore(rating: rating)
    }
}

extension CallSummary {
    package var callerToCallee: CallQuality { CallQuality(speaker: fromCaller, listener: fromCallee) }
    package var calleeToCaller: CallQuality { CallQuality(speaker: fromCallee, listener: fromCaller) }
}

extension CallStatus {
    package var callerToCallee: CallQuality { CallQuality(speaker: fromCaller, listener: fromCallee) }
    package var calleeToCaller: CallQuality { CallQuality(speaker: fromCallee, listener: fromCaller) }
}
