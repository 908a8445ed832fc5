import CLinux
import Glibc
import Primitives

/// Writes log lines to standard error: for journald with its priority prefix, for people with time and level.
///
/// It never waits: when nobody reads, lines are dropped and counted, and the next line that fits says how many.
package final class StandardErrorLog {
    /// The priorities of syslog (RFC 5424 §6.2.1).
    package enum Level: Int, Comparable, Sendable, CaseIterable {
        case error = 3
        case warning, notice, info, debug

        package var name: String { "\(self)" }
        package static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }
    }

    private enum Limits {
        static let lineBytesMax = 4_096  // PIPE_BUF: a line is written whole or not at all
    }

    /// Lines less important than this are not written.
    package var level: Level
    /// Lines that nobody took.
    package private(set) var droppedLineCount = 0

    private let descriptor: CInt
    private let isJournal: Bool
    private let isSocket: Bool
    private var untold = 0
    /// The rest of a line a socket took in part.
    private var rest: [UInt8] = []

    /// Standard error, a stream of journald when JOURNAL_STREAM names it.
    package convenience init(level: Level = .info) {
        self.init(level: level, descriptor: 2, journalStream: getenv("JOURNAL_STREAM").map { String(cString: $0) })
    }

    init(level: Level, descriptor: CInt, journalStream: String?) {
        var status = stat()
        let isKnown = fstat(descriptor, &status) == 0
        self.level = level
        self.descriptor = descriptor
        isSocket = isKnown && status.st_mode & S_IFMT == S_IFSOCK
        isJournal = isKnown && journalStream == "\(status.st_dev):\(status.st_ino)"
    }

    /// One line; control characters are escaped, so that nothing forges another. Below the level the message is not made.
    package func write(
        _ level: Level, _ message: @autoclosure () -> String, at now: @autoclosure () -> WallClockTime = Clock.wall
    ) {
        guard level <= self.level else { return }
        let message = message()
        let time = now()
        if untold > 0 {
            let count = untold
            untold = 0
            if !put(line(.warning, "\(count) log lines were dropped, nobody read them", time)) {
                untold = count + 1
                droppedLineCount += 1
                return
            }
        }
        guard !put(line(level, message, time)) else { return }
        untold += 1
        droppedLineCount += 1
    }

    private func line(_ level: Level, _ message: String, _ time: WallClockTime) -> [UInt8] {
        var bytes = Array((isJournal ? "<\(level.rawValue)>" : "\(time.rfc3339) \(level.name) ").utf8)
        for byte in message.utf8 {
            guard bytes.count < Limits.lineBytesMax - 8 else {
                while let last = bytes.last, last & 0xC0 == 0x80 { bytes.removeLast() }  // no half character
                if let last = bytes.last, last >= 0xC0 { bytes.removeLast() }
                bytes.append(contentsOf: "…".utf8)
                break
            }
            switch byte {
            case 0x0A: bytes.append(contentsOf: "\\n".utf8)
            case 0x0D: bytes.append(contentsOf: "\\r".utf8)
            case 0x09: bytes.append(byte)
            case 0..<0x20, 0x7F:
                bytes.append(contentsOf: "\\x\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8)
            default: bytes.append(byte)
            }
        }
        bytes.append(0x0A)
        return bytes
    }

    /// false when the line was not taken.
    private func put(_ line: [UInt8]) -> Bool {
        if !rest.isEmpty {
            guard let count = attempt(rest) else { return false }
            rest.removeFirst(count)
            guard rest.isEmpty else { return false }
        }
        guard let count = attempt(line) else { return false }
        rest = Array(line[count...])
        return true
    }

    /// How many bytes were taken without waiting; nil when none.
    private func attempt(_ bytes: [UInt8]) -> Int? {
        // Standard error may be shared with a shell, so it is not made non-blocking. A pipe or terminal that polls
        // writable takes a line of this length at once.
        let count: Int
        if isSocket {
            count = Glibc.send(descriptor, bytes, bytes.count, CInt(MSG_DONTWAIT) | noSignal)
        } else {
            var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            guard poll(&entry, 1, 0) == 1, entry.revents & Int16(POLLOUT) != 0 else { return nil }
            count = Glibc.write(descriptor, bytes, bytes.count)
        }
        return count < 0 ? nil : count
    }
}
