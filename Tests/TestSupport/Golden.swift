import Glibc

/// Golden files: what a test produced once, read by a person and kept beside the test.
///
/// `Golden/<name>.ok` in the directory of the calling test file holds what is expected, `Golden/<name>.in` an input.
/// `UPDATE_GOLDEN=1 swift test` rewrites the expectations; the difference is then reviewed like code.
package enum Golden {
    /// Why a golden check failed; its text says what to do.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Compares a text with `Golden/<name>.ok`; throws the first lines that differ.
    package static func check(_ name: String, _ actual: String, file: String = #filePath) throws {
        try check(name, bytes: Array(actual.utf8), file: file)
    }

    /// Compares bytes with `Golden/<name>.ok`; throws the first lines that differ.
    package static func check(_ name: String, bytes actual: [UInt8], file: String = #filePath) throws {
        let path = directory(beside: file) + "/\(name).ok"
        if getenv("UPDATE_GOLDEN") != nil {
            _ = mkdir(directory(beside: file), 0o777)
            return try write(actual, to: path)
        }
        guard access(path, F_OK) == 0 else {
            throw Failure(description: "\(path) is missing: UPDATE_GOLDEN=1 writes it, then read it")
        }
        let expected = try read(path)
        guard expected != actual else { return }
        throw Failure(description: "differs from Golden/\(name).ok\n" + difference(expected, actual))
    }

    /// The bytes of `Golden/<name>.in`.
    package static func input(_ name: String, file: String = #filePath) throws -> [UInt8] {
        try read(directory(beside: file) + "/\(name).in")
    }

    /// The names of all files `Golden/<name>.<suffix>`, sorted; empty when there is no such directory.
    package static func names(suffix: String = "in", file: String = #filePath) -> [String] {
        guard let stream = opendir(directory(beside: file)) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".\(suffix)") { names.append(String(name.dropLast(suffix.utf8.count + 1))) }
        }
        return names.sorted()
    }

    private static func directory(beside file: String) -> String {
        String(file[..<(file.lastIndex(of: "/") ?? file.startIndex)]) + "/Golden"
    }

    private static func read(_ path: String) throws -> [UInt8] {
        guard let stream = fopen(path, "rb") else {
            throw Failure(description: "cannot read \(path): \(String(cString: strerror(errno)))")
        }
        defer { fclose(stream) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&chunk, 1, chunk.count, stream)
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
    }

    private static func write(_ bytes: [UInt8], to path: String) throws {
        guard let stream = fopen(path, "wb") else {
            throw Failure(description: "cannot write \(path): \(String(cString: strerror(errno)))")
        }
        let written = fwrite(bytes, 1, bytes.count, stream)
        guard fclose(stream) == 0, written == bytes.count else {
            throw Failure(description: "cannot write \(path): \(String(cString: strerror(errno)))")
        }
    }

    /// The first lines that differ, at most eight, with their numbers; control characters visible.
    private static func difference(_ expected: [UInt8], _ actual: [UInt8]) -> String {
        let left = expected.split(separator: 0x0A, omittingEmptySubsequences: false).map(visible)
        let right = actual.split(separator: 0x0A, omittingEmptySubsequences: false).map(visible)
        var lines: [String] = []
        for index in 0..<max(left.count, right.count) where lines.count < 16 {
            let before = index < left.count ? left[index] : nil
            let after = index < right.count ? right[index] : nil
            guard before != after else { continue }
            if let before { lines.append("\(index + 1) expected: \(before)") }
            if let after { lines.append("\(index + 1)   actual: \(after)") }
        }
        return lines.joined(separator: "\n")
    }

    private static func visible(_ line: ArraySlice<UInt8>) -> String {
        String(decoding: line, as: UTF8.self).unicodeScalars.map { scalar in
            scalar.value < 0x20 || scalar.value == 0x7F ? scalar.escaped(asASCII: true) : String(Character(scalar))
        }.joined()
    }
}
