import SignallingFormats

/// Session descriptions: what we render we must understand and render alike.
func fuzzSDP(_ bytes: Span<UInt8>) {
    guard let description = try? SessionDescription(parsing: bytes) else { return }
    let rendered = description.bytes
    guard let again = try? SessionDescription(parsing: rendered.span) else { fatalError("we reject what we sent") }
    guard again.bytes == rendered else { fatalError("a second rendering differs") }
}
