/// Why a message was refused, and at which of its bytes.
package struct SIPParseError: Error, Hashable, Sendable {
    package enum Cause: Hashable, Sendable {
        /// Nothing but line ends.
        case empty
        /// Larger than `SIPLimits` allows.
        case tooLarge
        /// The header fields do not end with an empty line.
        case headerUnterminated
        case startLineMalformed
        case requestURIMalformed
        /// A Request-URI may not carry header fields (RFC 3261 §19.1.1).
        case requestURIHasHeaders
        /// Another protocol version than SIP/2.0: 505.
        case versionUnsupported
        case statusCodeInvalid
        case headerFieldsTooMany
        case headerNameMalformed
        /// A CR or LF that does not end a line.
        case lineEndMalformed
        /// NUL or another control character outside a quoted pair.
        case controlCharacter
        case headerMissing(SIPHeaderName)
        /// Several values where one is allowed.
        case headerRepeated(SIPHeaderName)
        case headerMalformed(SIPHeaderName)
        case numberOutOfRange(SIPHeaderName)
        case contentLengthMalformed
        /// The body is shorter than its Content-Length.
        case bodyTruncated(expected: Int, got: Int)
        /// The method in CSeq is not the request's.
        case methodMismatch
    }

    package let cause: Cause
    /// Counted from the first byte of the datagram.
    package let offset: Int

    package init(_ cause: Cause, at offset: Int) {
        self.cause = cause
        self.offset = offset
    }

    /// The final response a UAS gives to a request refused for this cause: 400, 505 or 513.
    package var statusCode: Int {
        switch cause {
        case .versionUnsupported: 505
        case .tooLarge: 513
        default: 400
        }
    }
}

/// What a message may cost us; beyond it the message is refused.
package enum SIPLimits {
    /// Start line, header fields and body of one message: `SIPParseError.Cause.tooLarge`.
    package static let messageByteCountMax = 65_536
    /// Header fields of one message: `.headerFieldsTooMany`.
    package static let headerFieldCountMax = 256
    /// A header field's name: `.headerNameMalformed`.
    package static let headerNameByteCountMax = 255
    /// Start line and header fields of a message on a stream.
    package static let streamHeaderByteCountMax = 65_536
    /// Body of a message on a stream.
    package static let streamBodyByteCountMax = 65_536
    /// Parts of a multipart body, nested ones not counted.
    package static let bodyPartCountMax = 64
}
