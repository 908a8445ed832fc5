import SignallingFormats

/// Parses, reads every typed header, renders; what we render we must understand and render alike.
func fuzzSIP(_ bytes: Span<UInt8>) {
    blackHole(SIPRequest.salvage(bytes)?.bytes)
    guard let message = try? SIPMessage(parsing: bytes) else { return }
    switch message {
    case .request(let request): readHeaders(of: request)
    case .response(let response): readHeaders(of: response)
    }
    blackHole(MessageBody.sessionDescription(in: message))
    let rendered = message.bytes
    guard let again = try? SIPMessage(parsing: rendered.span) else { fatalError("we reject what we sent") }
    guard again.bytes == rendered else { fatalError("a second rendering differs") }
}

private func readHeaders(of message: some SIPMessageContent) {
    blackHole(message.vias.map(\.branch))
    blackHole([message.from, message.to].map { $0?.tag })
    blackHole(message.contacts.map(\.text) + message.routes.map(\.text) + message.recordRoutes.map(\.text))
    blackHole([message.callID] + message.supported + message.require + message.allow)
    blackHole([message.maxForwards, message.expires])
    blackHole((message.cseq, message.contentType, message.hasContactWildcard))
    for field in message.headers.fields { blackHole(message.headers.values(field.name)) }
}
