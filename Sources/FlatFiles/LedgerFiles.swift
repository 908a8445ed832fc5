import Crypto
import LinuxIO
import Primitives

/// The files of a ledger: `name-2026-11.jsonl`, one JSON object a line, each with the hash of the line before.
///
/// A line is `{"seq":7,"previous":"…","written":"…","record":{…}}`; `previous` is the SHA-256 of the bytes of line 6
/// without its newline, so that a line changed, removed or put in between is found. Cutting off the end is found only
/// by who knows how long it was.
package struct LedgerFiles: Sendable {
    package let directory: String
    package let name: String

    package init(directory: String, name: String) {
        self.directory = directory
        self.name = name
    }

    /// Where the next line joins.
    package struct Chain: Equatable, Sendable {
        package var sequence: Int64
        package var hash: String

        /// What stands before the first line.
        package static let origin = String(repeating: "0", count: 64)

        package init(sequence: Int64 = 0, hash: String = Self.origin) {
            self.sequence = sequence
            self.hash = hash
        }
    }

    /// What is written as one line, and in which month's file.
    package struct Entry: Sendable {
        /// Entries of one key supersede each other.
        package var key: String
        package var record: JSONValue
        package var written: WallClockTime

        package init(key: String, record: JSONValue, written: WallClockTime) {
            self.key = key
            self.record = record
            self.written = written
        }
    }

    /// A line as it was read.
    package struct Line: Sendable {
        package let file: String
        package let number: Int
        /// nil: not JSON, or torn.
        package let value: JSONValue?
        /// Of its bytes.
        package let hash: String

        package var sequence: Int64? { value?["seq"]?.integerValue }
    }

    /// `2026-11` of a time in UTC.
    package static func month(_ time: WallClockTime) -> String {
        let civil = time.civil
        return "\(civil.year.padded(4))-\(civil.month.padded(2))"
    }

    package func file(month: String) -> LineFile { LineFile(path: "\(directory)/\(name)-\(month).jsonl") }

    /// The months there are files of, oldest first; none when there is no directory.
    package func months() throws(SystemCallError) -> [String] {
        let names: [String]
        do throws(SystemCallError) {
            names = try Files.list(directory)
        } catch {
            if error.code == .noSuchFile { return [] }
            throw error
        }
        return names.compactMap { file in
            guard file.hasPrefix(name + "-"), file.hasSuffix(".jsonl") else { return nil }
            return String(file.dropFirst(name.utf8.count + 1).dropLast(6))
        }
    }

    /// Where the chain stands, read from the last line of each file: the clock may have been wrong once.
    package func chain() throws(SystemCallError) -> Chain {
        var chain = Chain()
        for month in try months() {
            guard let bytes = try file(month: month).lastLine(), let value = try? JSONValue(parsing: bytes.span),
                let sequence = value["seq"]?.integerValue, sequence > chain.sequence
            else { continue }
            chain = Chain(sequence: sequence, hash: Self.hash(bytes))
        }
        return chain
    }

    /// Adds entries to the chain's end and to the files; what was written is what the returned chain tells.
    package func append(_ entries: [Entry], to chain: inout Chain) throws(SystemCallError) -> Int {
        var torn = 0
        var rest = entries[...]
        while let first = rest.first {
            let month = Self.month(first.written)
            let batch = rest.prefix { Self.month($0.written) == month }
            var next = chain
            var bytes: [UInt8] = []
            for entry in batch {
                next.sequence += 1
                let line: JSONValue = [
                    "seq": .integer(next.sequence), "previous": .string(next.hash),
                    "written": .string(entry.written.rfc3339), "record": entry.record,
                ]
                let text = Array(line.text.utf8)
                next.hash = Self.hash(text)
                bytes += text
                bytes.append(UInt8(ascii: "\n"))
            }
            torn += try file(month: month).append(bytes)
            chain = next
            rest = rest.dropFirst(batch.count)
        }
        return torn
    }

    /// All lines of some months.
    package func forEachLine(ofMonths months: [String], _ body: (Line) -> Void) throws(SystemCallError) {
        for month in months {
            var number = 0
            try file(month: month).forEachLine { slice, isWhole in
                number += 1
                let bytes = Array(slice)
                body(
                    Line(
                        file: "\(name)-\(month).jsonl", number: number,
                        value: isWhole ? try? JSONValue(parsing: bytes.span) : nil, hash: Self.hash(bytes)))
            }
        }
    }

    /// The last record of each key as it stands at the end of these months, in the order of their first lines.
    package func records(ofMonths months: [String], key: String) throws(SystemCallError) -> [(
        record: JSONValue, written: String
    )] {
        var order: [String] = []
        var last: [String: (record: JSONValue, written: String)] = [:]
        try forEachLine(ofMonths: months) { line in
            guard let record = line.value?["record"], let id = record[key]?.stringValue else { return }
            if last.updateValue((record, line.value?["written"]?.stringValue ?? ""), forKey: id) == nil {
                order.append(id)
            }
        }
        return order.compactMap { last[$0] }
    }

    private static func hash(_ bytes: [UInt8]) -> String {
        // SHA-256 is there under FIPS too; without memory the chain shows a gap, which is what happened.
        (try? Crypto.hash(bytes.span, using: .sha256)).map(hexadecimal) ?? ""
    }
}

// MARK: Was anything changed?

extension LedgerFiles {
    /// What a look at every line of every file found.
    package struct Verification: Equatable, Sendable {
        package var lineCount = 0
        package var fileCount = 0
        /// `emergency-2026-11.jsonl:12: …`, in the order of the chain.
        package var findings: [String] = []

        package init(lineCount: Int = 0, fileCount: Int = 0) {
            self.lineCount = lineCount
            self.fileCount = fileCount
        }
    }

    /// Walks the whole chain.
    package func verify() throws(SystemCallError) -> Verification {
        let months = try months()
        var result = Verification(fileCount: months.count)
        var links: [(sequence: Int64, previous: String, hash: String, place: String)] = []
        try forEachLine(ofMonths: months) { line in
            result.lineCount += 1
            let place = "\(line.file):\(line.number)"
            guard let value = line.value, let sequence = line.sequence,
                let previous = value["previous"]?.stringValue
            else { return result.findings.append("\(place): unreadable or torn") }
            links.append((sequence, previous, line.hash, place))
        }
        links.sort { $0.sequence < $1.sequence }
        var chain = Chain()
        for link in links {
            if link.sequence == chain.sequence {
                result.findings.append("\(link.place): line \(link.sequence) is there twice")
            } else if link.sequence != chain.sequence + 1 {
                let missing = chain.sequence + 1
                result.findings.append(
                    missing == link.sequence - 1
                        ? "\(link.place): line \(missing) before it is missing"
                        : "\(link.place): lines \(missing) to \(link.sequence - 1) before it are missing")
            } else if link.previous != chain.hash {
                result.findings.append("\(link.place): line \(chain.sequence) before it is not what was written")
            }
            chain = Chain(sequence: link.sequence, hash: link.hash)
        }
        return result
    }
}
