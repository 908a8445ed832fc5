/// Cuts a byte stream into messages by their Content-Length (RFC 3261 §18.3), however the bytes arrive.
///
/// After an error the stream cannot be in step again: the owner closes the connection.
package struct SIPStreamFramer: Sendable {
    package enum Event: Equatable, Sendable {
        /// One whole message, not yet parsed.
        case message([UInt8])
        /// A keepalive ping, CRLF CRLF; the answer is one CRLF (RFC 5626 §4.4.1).
        case ping
        /// A single CRLF between messages: the answer to our ping.
        case pong
    }

    /// Why the stream is given up.
    package enum Failure: Error, Hashable, Sendable {
        /// Start line and header fields exceed `SIPLimits.streamHeaderByteCountMax`.
        case headerTooLarge
        /// Content-Length exceeds `SIPLimits.streamBodyByteCountMax`.
        case bodyTooLarge
        /// A stream needs one (RFC 3261 §20.14).
        case contentLengthMissing
        case contentLengthMalformed
        /// Two of them.
        case contentLengthRepeated
    }

    /// Set by the owner when it has sent a ping: the next lone CRLF is its answer, and is reported at once. Otherwise
    /// a lone CRLF may be the first half of a ping, and the framer waits for what follows it.
    package var expectsPong = false

    private var buffer: [UInt8] = []
    /// Before it the buffer has been consumed.
    private var start = 0
    /// Before it no empty line can begin.
    private var scanned = 0
    /// Behind the empty line of the message at `start`, when it has been found.
    private var bodyStart: Int?
    private var messageEnd = 0
    private var failure: Failure?

    package init() {}

    /// Bytes of a message that is not whole yet.
    package var pendingByteCount: Int { buffer.count - start }

    /// The header of a message that made the stream fail, for `SIPRequest.salvage`: at most what was buffered.
    package var pendingBytes: [UInt8] { Array(buffer[start...]) }

    /// Takes bytes as they were read.
    package mutating func append(_ bytes: Span<UInt8>) {
        guard failure == nil else { return }
        if start > 0, start == buffer.count || start > 65_536 {
            buffer.removeFirst(start)
            scanned -= start
            messageEnd -= start
            bodyStart = bodyStart.map { $0 - start }
            start = 0
        }
        buffer.append(copying: bytes)
    }

    /// The next event; nil when more bytes are needed. Drain before the next `append`.
    package mutating func next() throws(Failure) -> Event? {
        if let failure { throw failure }
        do throws(Failure) {
            return try advance()
        } catch {
            failure = error
            throw error
        }
    }

    private mutating func advance() throws(Failure) -> Event? {
        if bodyStart == nil {
            if let event = skipLineEnds() { return event }
            guard start < buffer.count, try findHeaderEnd() else { return nil }
        }
        guard buffer.count >= messageEnd else { return nil }
        let message = Array(buffer[start..<messageEnd])
        start = messageEnd
        scanned = start
        bodyStart = nil
        return .message(message)
    }

    /// Line ends before a message are keepalives, or nothing (RFC 3261 §7.5).
    private mutating func skipLineEnds() -> Event? {
        let isLineEnd = { (buffer: [UInt8], offset: Int) in
            offset + 1 < buffer.count && buffer[offset] == 0x0D && buffer[offset + 1] == 0x0A
        }
        guard isLineEnd(buffer, start) else { return nil }
        if isLineEnd(buffer, start + 2) {
            start += 4
            scanned = start
            return .ping
        }
        if expectsPong, start + 2 == buffer.count {
            expectsPong = false
            start += 2
            scanned = start
            return .pong
        }
        // One CRLF at the end of what has arrived may be half a ping: wait for the rest.
        guard start + 2 < buffer.count, buffer[start + 2] != 0x0D || start + 3 < buffer.count else { return nil }
        expectsPong = false
        start += 2
        scanned = start
        return .pong
    }

    /// Sets `bodyStart` and `messageEnd`; false when the empty line has not arrived.
    private mutating func findHeaderEnd() throws(Failure) -> Bool {
        var index = max(scanned, start)
        let limit = start + SIPLimits.streamHeaderByteCountMax
        while index + 3 < buffer.count, index < limit {
            if buffer[index] == 0x0D, buffer[index + 1] == 0x0A, buffer[index + 2] == 0x0D, buffer[index + 3] == 0x0A {
                let length = try contentLength(start..<(index + 2))
                bodyStart = index + 4
                messageEnd = index + 4 + length
                return true
            }
            index += 1
        }
        scanned = index
        guard index < limit else { throw .headerTooLarge }
        return false
    }

    /// The Content-Length among the lines of `range`, start line included.
    private func contentLength(_ range: Range<Int>) throws(Failure) -> Int {
        let bytes = buffer.span
        var length: Int?
        var line = range.lowerBound
        while line < range.upperBound {
            var end = line
            while end < range.upperBound, bytes[end] != 0x0A { end += 1 }
            var nameEnd = line
            while nameEnd < end, ByteClass.isToken(bytes[nameEnd]) { nameEnd += 1 }
            if WellKnownHeader.find(bytes, line..<nameEnd) == .contentLength, line > range.lowerBound {
                var valueStart = nameEnd
                while valueStart < end, bytes[valueStart] == 0x20 || bytes[valueStart] == 0x09 { valueStart += 1 }
                guard valueStart < end, bytes[valueStart] == UInt8(ascii: ":") else { throw .contentLengthMalformed }
                guard length == nil else { throw .contentLengthRepeated }
                // a fold continues the value on the next line
                while end + 1 < range.upperBound, bytes[end + 1] == 0x20 || bytes[end + 1] == 0x09 {
                    end += 1
                    while end < range.upperBound, bytes[end] != 0x0A { end += 1 }
                }
                let value = bytes.trimmed((valueStart + 1)..<min(end, range.upperBound))
                guard bytes.isDigits(value) else { throw .contentLengthMalformed }
                let maximum = UInt64(SIPLimits.streamBodyByteCountMax)
                guard let number = bytes.decimal(value, maximum: maximum) else { throw .bodyTooLarge }
                length = Int(number)
            }
            line = end + 1
        }
        guard let length else { throw .contentLengthMissing }
        return length
    }
}
