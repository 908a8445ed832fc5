/// Finds and replaces the session description of a message, alone or inside a multipart body (RFC 5621).
package enum MessageBody {
    /// The bytes of the session description; nil when the message has none.
    package static func sessionDescription(in message: some SIPMessageContent) -> [UInt8]? {
        guard !message.body.isEmpty else { return nil }
        guard let type = message.contentType else { return nil }
        return sessionDescription(in: message.body, type: type, depth: 0)
    }

    /// Puts `description` where the session description is, every other byte of the body kept; a message without one
    /// gets it as its whole body if that was empty, and is left alone otherwise. Says whether it was put.
    @discardableResult
    package static func replaceSessionDescription(
        in message: inout some SIPMessageContent, with description: [UInt8]
    ) -> Bool {
        if message.body.isEmpty {
            message.setBody(description, type: .sdp)
            return true
        }
        guard let type = message.contentType,
            let body = replacing(in: message.body, type: type, with: description, depth: 0)
        else { return false }
        message.body = body
        return true
    }

    /// The multipart body of the message; nil when it has another type or is malformed.
    package static func multipart(in message: some SIPMessageContent) -> MultipartBody? {
        guard let type = message.contentType else { return nil }
        return multipart(message.body, type)
    }

    private static let depthMax = 4

    private static func multipart(_ body: [UInt8], _ type: MediaType) -> MultipartBody? {
        guard type.type == "multipart", let boundary = type.parameters.value("boundary") else { return nil }
        do throws(MultipartBody.Failure) {
            return try MultipartBody(parsing: body, boundary: boundary)
        } catch {
            return nil
        }
    }

    private static func sessionDescription(in body: [UInt8], type: MediaType, depth: Int) -> [UInt8]? {
        if type.matches(.sdp) { return body }
        guard depth < depthMax, let multipart = multipart(body, type) else { return nil }
        for part in multipart.parts {
            if let found = sessionDescription(in: part.content, type: part.contentType, depth: depth + 1) {
                return found
            }
        }
        return nil
    }

    private static func replacing(
        in body: [UInt8], type: MediaType, with description: [UInt8], depth: Int
    ) -> [UInt8]? {
        if type.matches(.sdp) { return description }
        guard depth < depthMax, var multipart = multipart(body, type) else { return nil }
        for (index, part) in multipart.parts.enumerated() {
            if let content = replacing(
                in: part.content, type: part.contentType, with: description, depth: depth + 1)
            {
                multipart.replaceContent(of: index, with: content)
                return multipart.bytes
            }
        }
        return nil
    }
}
