import SignallingFormats

/// Multipart bodies with the boundary "a"; the untouched body must render byte for byte.
func fuzzMultipart(_ bytes: Span<UInt8>) {
    let body = Array(copying: bytes)
    guard let multipart = try? MultipartBody(parsing: body, boundary: "a") else { return }
    for part in multipart.parts {
        blackHole((part.contentType, part.contentID, part.disposition, part.fields))
        if part.contentType.type == "multipart" {
            blackHole(try? MultipartBody(parsing: part.content, boundary: "b"))
        }
    }
    guard multipart.bytes == body else { fatalError("an untouched body changed") }
}
