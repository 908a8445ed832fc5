import Primitives
import Testing

@testable import Configuration

@Suite("TOML 1.0")
struct TOMLParserTests {
    struct Valid: Sendable {
        let name: String
        let text: String
        let dump: String
        init(_ name: String, _ text: String, _ dump: String) {
            (self.name, self.text, self.dump) = (name, text, dump)
        }
    }

    static let valid: [Valid] = [
        .init("nothing", "", "{}"),
        .init("a comment and spaces", "  # nothing\n\t\n\r\n#", "{}"),
        .init("a byte order mark", "\u{FEFF}a = 1", "{a=1}"),
        .init("CRLF", "a = 1\r\nb = 2\r\n", "{a=1,b=2}"),
        .init("bare, quoted and dotted keys", "a-B_1 = 1\n\"x y\" = 2\n'z' . q = 3", "{a-B_1=1,x y=2,z={q=3}}"),
        .init("an empty quoted key", "\"\" = 1", "{=1}"),
        .init("keys of digits", "2001 = 1\n3.14 = 2", "{2001=1,3={14=2}}"),
        .init(
            "integers", "a = +99\nb = -0\nc = 1_000\nd = 0xDead_beef\ne = 0o755\nf = 0b1101",
            "{a=99,b=0,c=1000,d=3735928559,e=493,f=13}"),
        .init(
            "the widest integers", "a = 9223372036854775807\nb = -9223372036854775808",
            "{a=9223372036854775807,b=-9223372036854775808}"),
        .init(
            "floats", "a = 1.5\nb = -0.25e+2\nc = 1e3\nd = inf\ne = -inf\nf = 9_1.2_5",
            "{a=1.5,b=-25.0,c=1000.0,d=inf,e=-inf,f=91.25}"),
        .init("booleans", "a = true\nb = false", "{a=true,b=false}"),
        .init(
            "dates", "a = 1979-05-27T07:32:00Z\nb = 1979-05-27 07:32:00.5-08:00\nc = 2024-02-29 # leap\nd = 07:32:00",
            "{a=@1979-05-27T07:32:00Z,b=@1979-05-27 07:32:00.5-08:00,c=@2024-02-29,d=@07:32:00}"),
        .init("escapes", #"a = "\b\t\n\f\r\"\\\u00e9\U0001F600""#, "{a='\u{8}\t\n\u{C}\r\"\\é😀'}"),
        .init("literal strings keep backslashes", #"a = 'C:\new'"#, #"{a='C:\new'}"#),
        .init("multi-line strings", "a = \"\"\"\nx\ny\"\"\"\nb = '''\n\\x'''", "{a='x\ny',b='\\x'}"),
        .init("quotes before the closing three", "a = \"\"\"\"x\"\"\"\"\"\nb = ''''x''''", "{a='\"x\"\"',b=''x''}"),
        .init("CRLF in a multi-line string", "a = \"\"\"\r\nx\r\ny\"\"\"", "{a='x\ny'}"),
        .init("a line continuation", "a = \"\"\"x \\  \n\n   y\"\"\"", "{a='x y'}"),
        .init("arrays over lines", "a = [ 1, # one\n [2, \"x\"],\n]\nb = []", "{a=[1,[2,'x']],b=[]}"),
        .init("inline tables", "a = { b = 1, c.d = 2, e = {} }", "{a={b=1,c={d=2},e={}}}"),
        .init("tables", "[a]\nx = 1\n[b.c]\n[b]\ny = 2", "{a={x=1},b={c={},y=2}}"),
        .init("a table below a dotted one", "[a]\nb.c = 1\n[a.b.d]", "{a={b={c=1,d={}}}}"),
        .init("arrays of tables", "[[a]]\nx = 1\n[[a]]\n[a.b]\ny = 2", "{a=[{x=1},{b={y=2}}]}"),
        .init("space within headers", "[ a . 'b' ]", "{a={b={}}}"),
    ]

    @Test("reads", arguments: valid)
    func reads(_ sample: Valid) throws {
        #expect(Self.dump(try TOMLParser.parse(Array(sample.text.utf8))) == sample.dump)
    }

    struct Malformed: Sendable {
        let text: String
        let line: Int
        let column: Int
        let message: String
        init(_ text: String, _ line: Int, _ column: Int, _ message: String) {
            (self.text, self.line, self.column, self.message) = (text, line, column, message)
        }
    }

    static let malformed: [Malformed] = [
        .init("a", 1, 2, "the file ends here, but '=' must follow the key"),
        .init("a\n= 1", 1, 2, "the line ends here, but '='"),
        .init("= 1", 1, 1, "unexpected '=': a key is made of"),
        .init("é = 1", 1, 1, "unexpected 'é'"),
        .init("a. = 1", 1, 4, "a key is made of"),
        .init("a = ", 1, 5, "a value must stand here"),
        .init("a = yes", 1, 5, "no number, boolean or date"),
        .init("é\"", 1, 1, "a key is made of"),
        .init("\"é\" = 1 x", 1, 9, "the line must end here"),
        .init("a = 1 b = 2", 1, 7, "the line must end here"),
        .init("a = 1\na = 2", 2, 1, "\"a\" is given twice; the first is on line 1"),
        .init("a = 1\n\"a\".b = 2", 2, 1, "\"a\" is an integer on line 1"),
        .init("a = 01", 1, 5, "no number"), .init("a = 1__0", 1, 5, "no number"),
        .init("a = _1", 1, 5, "no number"), .init("a = 1.", 1, 5, "no number"),
        .init("a = .5", 1, 5, "no number"), .init("a = 1.e5", 1, 5, "no number"),
        .init("a = 0x", 1, 5, "no number"), .init("a = +0x1", 1, 5, "no number"),
        .init("a = 0xG", 1, 5, "no number"), .init("a = 9223372036854775808", 1, 5, "no number"),
        .init("a = 2023-02-29", 1, 5, "no number"), .init("a = 2023-13-01", 1, 5, "no number"),
        .init("a = 24:00:00", 1, 5, "no number"), .init("a = 07:32", 1, 5, "no number"),
        .init("a = 2023-02-01T", 1, 5, "no number"), .init("a = True", 1, 5, "no number"),
        .init("a = \"x", 1, 5, "never closed"), .init("a = \"x\nb = 1", 1, 5, "not closed on its line"),
        .init("a = 'x\n'", 1, 5, "not closed on its line"), .init("a = \"\"\"x\"\"", 1, 5, "never closed"),
        .init("a = '''x", 1, 5, "never closed"), .init("a = \"\\", 1, 6, "ends within an escape"),
        .init(#"a = "\x""#, 1, 6, "unknown escape"), .init(#"a = "\u12""#, 1, 6, "needs 4 hexadecimal digits"),
        .init(#"a = "\ud800""#, 1, 6, "no character"), .init(#"a = "\UFFFFFFFF""#, 1, 6, "no character"),
        .init("a = [1 2]", 1, 8, "',' or ']' must follow"), .init("a = [1,\n2", 2, 2, "the file ends here"),
        .init("a = [,]", 1, 6, "a value must stand here"),
        .init("a = {b = 1,}", 1, 12, "a key is made of"), .init("a = {b = 1\n}", 1, 11, "the line ends here"),
        .init("a = {b = 1, b = 2}", 1, 13, "given twice"),
        .init("a = {}\n[a.b]", 2, 2, "is a table on line 1 and cannot be extended"),
        .init("a = {b.c = 1}\n[a.b]", 2, 2, "cannot be extended"),
        .init("a = {b = 1}\na.c = 2", 2, 1, "cannot be extended here"),
        .init("[a]\n[a]", 2, 2, "\"a\" is given twice; the first is on line 1"),
        .init("[a]\nb.c = 1\n[a.b]", 3, 4, "given twice"),
        .init("[a.b]\n[a]\nb.c = 1", 3, 1, "cannot be extended here"),
        .init("a = []\n[[a]]", 2, 3, "is an array on line 1, not [[…]]"),
        .init("a = [{}]\n[a.b]", 2, 2, "cannot be extended"),
        .init("[[a]]\n[a]", 2, 2, "given twice"), .init("[a]\n[[a]]", 2, 3, "is a table on line 1"),
        .init("[a", 1, 3, "']' must close"), .init("[[a]", 1, 5, "']]' must close"), .init("[]", 1, 2, "a key is"),
        .init("[a] x = 1", 1, 5, "the line must end here"), .init("[a]]", 1, 4, "the line must end here"),
        .init("# \u{7}", 1, 3, "control character U+0007"), .init("a = '\u{7F}'", 1, 6, "control character U+007F"),
        .init("a = 1\rb = 2", 1, 6, "control character U+000D"),
        .init("a = " + String(repeating: "[", count: 17), 1, 21, "nested deeper than 16"),
        .init(String(repeating: "a.", count: 17) + "a = 1", 1, 33, "at most 16 parts"),
        .init("#" + String(repeating: "x", count: 4_096), 1, 4_098, "longer than 4096 bytes"),
    ]

    @Test("refuses, and says where", arguments: malformed)
    func refuses(_ sample: Malformed) throws {
        let error = try #require(throws: TOMLError.self) { try TOMLParser.parse(Array(sample.text.utf8)) }
        #expect(error.position == TextPosition(line: sample.line, column: sample.column))
        #expect(error.message.contains(sample.message), "\(error.message)")
    }

    @Test(
        "refuses what is not UTF-8",
        arguments: [
            [0xFF], [0xC0, 0x80], [0xC3], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
            [0xF0, 0x9F, 0x98], [0x80],
        ] as [[UInt8]])
    func refusesBytes(_ bytes: [UInt8]) throws {
        let error = try #require(throws: TOMLError.self) { try TOMLParser.parse([0x23, 0x0A, 0x23] + bytes) }
        #expect(error == TOMLError(position: .init(line: 2, column: 2), message: "the text is not UTF-8 here"))
    }

    @Test("takes a mebibyte and not a byte more")
    func limit() throws {
        let line = [UInt8](repeating: 0x23, count: 63) + [0x0A]
        let text = (0..<(TOMLParser.Limits.byteCountMax / 64)).flatMap { _ in line }
        #expect(try TOMLParser.parse(text).entries.isEmpty)
        #expect(throws: TOMLError.self) { try TOMLParser.parse(text + [0x0A]) }
    }

    @Test("keeps the place of every key and value, in characters")
    func places() throws {
        let table = try TOMLParser.parse(Array("\"é\" = 1\n[a]\n  b   = [\n 'x',\n   'é', 2]\n".utf8))
        let accented = try #require(table["é"])
        #expect(accented.keyPosition == TextPosition(line: 1, column: 1))
        #expect(accented.valuePosition == TextPosition(line: 1, column: 7))
        guard case .table(let a)? = table["a"]?.value, case .array(let b)? = a["b"]?.value else {
            Issue.record("no a.b")
            return
        }
        #expect(a["b"]?.keyPosition == TextPosition(line: 3, column: 3))
        #expect(a["b"]?.valuePosition == TextPosition(line: 3, column: 9))
        #expect(
            b.elements.map(\.position) == [
                TextPosition(line: 4, column: 2), TextPosition(line: 5, column: 4), TextPosition(line: 5, column: 9),
            ])
    }

    private static func dump(_ table: TOMLTable) -> String {
        "{" + table.entries.map { "\($0.key)=\(dump($0.value))" }.joined(separator: ",") + "}"
    }

    private static func dump(_ value: TOMLValue) -> String {
        switch value {
        case .string(let text): "'\(text)'"
        case .integer(let number): "\(number)"
        case .float(let number): "\(number)"
        case .boolean(let flag): "\(flag)"
        case .dateTime(let text): "@\(text)"
        case .array(let array): "[" + array.elements.map { dump($0.value) }.joined(separator: ",") + "]"
        case .table(let table): dump(table)
        }
    }
}
