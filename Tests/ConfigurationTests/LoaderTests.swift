import Configuration
import Glibc
import Primitives
import Testing

@Suite("Configuration directory")
struct LoaderTests {
    /// A directory of its own for one test, removed at the end.
    private final class Directory {
        let path: String
        private var files: [String] = []

        init() throws {
            var template = Array("/tmp/cresset-configuration-XXXXXX".utf8CString)
            try #require(mkdtemp(&template) != nil)
            path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }

        deinit {
            for file in files.reversed() { remove(file) }
            rmdir(path)
        }

        func write(_ name: String, _ text: String, mode: mode_t = 0o644) throws {
            let file = "\(path)/\(name)"
            let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, mode)
            try #require(descriptor >= 0)
            defer { close(descriptor) }
            try #require(Glibc.write(descriptor, Array(text.utf8), text.utf8.count) == text.utf8.count)
            try #require(fchmod(descriptor, mode) == 0)
            files.append(file)
        }

        func makeDirectory(_ name: String) throws {
            try #require(mkdir("\(path)/\(name)", 0o755) == 0)
            files.append("\(path)/\(name)")
        }
    }

    @Test("reads every *.toml in the order of names, and nothing else")
    func reads() throws {
        let directory = try Directory()
        let middle = try #require(Sample.text.firstRange(of: "[stations.2001]")).lowerBound
        try directory.write("b.toml", String(Sample.text[..<middle]))
        try directory.write("a.toml", String(Sample.text[middle...]))
        try directory.write("c.toml.bak", "[[[")
        try directory.write(".hidden.toml", "[[[")
        let outcome = BoxConfiguration.load(directory: directory.path)
        #expect(outcome.issues == [])
        #expect(outcome.configuration == Sample.parse(Sample.text).configuration)
    }

    @Test("takes a password from a file of mode 0600, without its line end")
    func passwordFile() throws {
        let directory = try Directory()
        try directory.makeDirectory("secrets")
        try directory.write("secrets/2001", "battery-staple\r\n", mode: 0o600)
        try directory.write(
            "box.toml", Sample.replacing("password = \"correct-horse\"", with: "password-file = \"secrets/2001\""))
        let outcome = BoxConfiguration.load(directory: directory.path)
        #expect(outcome.issues == [])
        #expect(
            outcome.configuration?.stations.first?.password == Secret("battery-staple", file: "secrets/2001"))
    }

    @Test("refuses a password file others may use, and says how to mend it", arguments: [0o640, 0o604, 0o622, 0o601])
    func mode(_ mode: Int) throws {
        let directory = try Directory()
        try directory.write("secret", "battery-staple", mode: mode_t(mode))
        try directory.write(
            "box.toml", Sample.replacing("password = \"correct-horse\"", with: "password-file = \"secret\""))
        #expect(
            BoxConfiguration.load(directory: directory.path).issues.map(\.description) == [
                "\(directory.path)/box.toml:18:17: error: stations.2001.password-file: \(directory.path)/secret has mode "
                    + "0\(String(mode, radix: 8)), so others than its owner may use it; run: chmod 600 "
                    + "\(directory.path)/secret"
            ])
    }

    @Test(
        "refuses a password file that holds no password",
        arguments: [
            ("", "does not hold a password"), ("\n", "does not hold a password"), ("a\nb", "does not hold a password"),
            (String(repeating: "x", count: 129), "does not hold a password"),
        ])
    func content(_ text: String, _ message: String) throws {
        let directory = try Directory()
        try directory.write("secret", text, mode: 0o600)
        try directory.write(
            "box.toml", Sample.replacing("password = \"correct-horse\"", with: "password-file = \"secret\""))
        let issues = BoxConfiguration.load(directory: directory.path).issues
        #expect(issues.count == 1 && issues[0].message.contains(message))
    }

    @Test("says what is missing")
    func missing() throws {
        let directory = try Directory()
        #expect(
            BoxConfiguration.load(directory: directory.path).issues.map(\.description) == [
                "\(directory.path): error: no file *.toml is in the directory; see --config DIR"
            ])
        #expect(
            BoxConfiguration.load(directory: directory.path + "/none").issues.map(\.description) == [
                "\(directory.path)/none: error: the directory cannot be read: No such file or directory; see --config DIR"
            ])
        try directory.write(
            "box.toml", Sample.replacing("password = \"correct-horse\"", with: "password-file = \"none\""))
        #expect(
            BoxConfiguration.load(directory: directory.path).issues.map(\.message) == [
                "\(directory.path)/none cannot be read: No such file or directory"
            ])
    }

    @Test("names a file that cannot be read and checks the others, without guessing what it holds")
    func unreadable() throws {
        let directory = try Directory()
        try directory.makeDirectory("a.toml")
        try directory.write("b.toml", "[trunks.t]\nrealm = \"in-a\"\npeer = \"192.0.2.1\"\ncolour = 1\n")
        let outcome = BoxConfiguration.load(directory: directory.path)
        #expect(outcome.configuration == nil)
        #expect(
            outcome.issues.map { $0.description.prefix { $0 != ";" } } == [
                "\(directory.path)/a.toml: error: cannot be read: Is a directory",
                "\(directory.path)/b.toml:4:1: error: trunks.t.colour: unknown key",
            ])
    }

    @Test("the directory that ships has no finding at all")
    func shipped() throws {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let outcome = BoxConfiguration.load(directory: "/\(root)/rootfs-overlay/etc/cresset")
        #expect(outcome.issues.map(\.description) == [])
        let box = try #require(outcome.configuration)
        #expect(box.realms.map(\.name) == ["lan", "wan"])
        #expect(box.stations.map(\.name) == ["2001", "2002"])
        #expect(box.trunks.map(\.name) == ["carrier-a", "carrier-b"])
        #expect(box.route(forDialled: "95550101")?.number == "+13135550101")
        #expect(box.route(forDialled: "913135550101")?.number == "+13135550101")
        #expect(box.route(forDialled: "+13135550101")?.number == "+13135550101")
        #expect(box.route(forDialled: "911") == nil)
        #expect(box.stations(forNumber: "13135550101") == ["2001", "2002"])
    }
}
