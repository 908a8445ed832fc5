import Primitives

/// Why bytes are not a session description we can work with. `line` counts from 1.
package enum SDPError: Error, Equatable, Sendable {
    case empty
    case tooLong(byteCount: Int)
    case tooManyLines
    case tooManyMedia
    case tooManyFormats(line: Int)
    case lineTooLong(line: Int)
    /// Not `<lower-case letter>=…`.
    case malformedLine(line: Int)
    /// NUL, or CR that does not end a line (RFC 8866 §9, byte-string).
    case forbiddenByte(line: Int)
    /// The first line is not `v=0`.
    case unsupportedVersion
    case missingOrigin
    case malformedOrigin(line: Int)
    case malformedConnection(line: Int)
    case malformedMedia(line: Int)
    /// The stream is not rejected, yet neither it nor the session has a `c=` line.
    case missingConnection(media: Int)
}

/// Ours: beyond these a description is refused with the error named after it.
enum SDPLimits {
    static let byteCountMax = 65_535
    static let lineCountMax = 1_024
    static let lineByteCountMax = 4_096
    static let mediaCountMax = 16
    static let formatCountMax = 64
}
