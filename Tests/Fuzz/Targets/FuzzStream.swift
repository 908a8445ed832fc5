import SignallingFormats

/// TCP framing: the first byte cuts the rest into segments, and what comes out must not depend on it.
func fuzzStream(_ bytes: Span<UInt8>) {
    guard let first = bytes.isEmpty ? nil : bytes[0] else { return }
    let stream = Array(copying: bytes.extracting(1...))
    let whole = frame(stream, segment: max(1, stream.count))
    guard frame(stream, segment: Int(first) + 1) == whole else { fatalError("segmentation changed the messages") }
}

private struct Framed: Equatable {
    var events: [SIPStreamFramer.Event] = []
    var failure: SIPStreamFramer.Failure?
}

private func frame(_ stream: [UInt8], segment: Int) -> Framed {
    var framer = SIPStreamFramer()
    var framed = Framed()
    var offset = 0
    do throws(SIPStreamFramer.Failure) {
        while offset < stream.count {
            let end = min(stream.count, offset + segment)
            framer.append(stream.span.extracting(offset..<end))
            offset = end
            while let event = try framer.next() { framed.events.append(event) }
        }
    } catch {
        framed.failure = error
    }
    return framed
}
