import SignallingFormats

/// URIs and name-addresses from text; rendered again they must be the same.
func fuzzURI(_ bytes: Span<UInt8>) {
    let text = String(decoding: [UInt8](copying: bytes), as: UTF8.self)
    blackHole(NameAddress(text)?.text)
    guard let uri = URI(text) else { return }
    guard let again = URI(uri.text) else { fatalError("we reject what we render") }
    guard again == uri else { fatalError("a second parse differs") }
}
