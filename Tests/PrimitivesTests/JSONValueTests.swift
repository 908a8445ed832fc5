import Primitives
import Testing

@Suite("JSON (RFC 8259)")
struct JSONValueTests {
    static func parse(_ text: String) throws(JSONValue.ParseError) -> JSONValue {
        let bytes = Array(text.utf8)
        return try JSONValue(parsing: bytes.span)
    }

    static let valid: [(text: String, value: JSONValue)] = [
        ("null", .null), ("true", true), (" false\r\n\t", false), ("0", 0), ("-0", 0), ("-12", -12),
        ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
        ("9223372036854775808", .number(9_223_372_036_854_775_808)),
        ("1.5", .number(1.5)), ("-0.25", .number(-0.25)), ("1e3", .number(1_000)), ("1E+2", .number(100)),
        ("25e-1", .number(2.5)), ("0.0", .number(0)), ("\"\"", ""),
        ("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a\"\\/\u{8}\u{C}\n\r\t"),
        ("\"\\u00e9\\u20AC\"", "é€"), ("\"\\ud83d\\uDE00\"", "😀"), ("\"\\u0000\"", "\0"), ("\"é€😀\"", "é€😀"),
        ("[]", []), ("[ ]", []), ("{}", [:]), ("{ }", [:]), ("[1,[2,[]],{}]", [1, [2, []], [:]]),
        ("{\"a\" : 1 , \"b\":[true,null]}", ["a": 1, "b": [true, .null]]),
        ("{\"a\":1,\"a\":2}", .object([.init("a", 1), .init("a", 2)])),
    ]

    @Test("reads every kind of value, and reads again what it writes", arguments: valid.indices)
    func reads(index: Int) throws {
        let (text, value) = Self.valid[index]
        #expect(try Self.parse(text) == value)
        #expect(try Self.parse(value.text) == value)
        #expect(try Self.parse(value.prettyText) == value)
        #expect(!value.text.contains("\n"))
    }

    static let malformed: [(text: String, error: JSONValue.ParseError)] = [
        ("", .truncated), ("  ", .truncated), ("nul", .truncated), ("nulL", .unexpected(at: 3)), ("{", .truncated),
        ("[", .truncated), ("[1", .truncated), ("[1,", .truncated), ("[1,]", .unexpected(at: 3)),
        ("[,1]", .unexpected(at: 1)),
        ("[1 2]", .unexpected(at: 3)), ("{\"a\"", .truncated), ("{\"a\":", .truncated),
        ("{\"a\":}", .unexpected(at: 5)),
        ("{\"a\" 1}", .unexpected(at: 5)), ("{a:1}", .unexpected(at: 1)), ("{\"a\":1,}", .unexpected(at: 7)),
        ("{1:2}", .unexpected(at: 1)), ("1 2", .trailing(at: 2)), ("{}x", .trailing(at: 2)), ("]", .unexpected(at: 0)),
        ("\"", .truncated), ("\"a", .truncated), ("\"\\", .truncated), ("\"\\x\"", .unexpected(at: 2)),
        ("\"\n\"", .unexpected(at: 1)), ("\"\\u12", .truncated), ("\"\\u12g4\"", .unexpected(at: 5)),
        ("\"\\ud800\"", .unexpected(at: 7)), ("\"\\udc00\"", .unexpected(at: 7)),
        ("\"\\ud800\\u0041\"", .unexpected(at: 13)),
        ("-", .unexpected(at: 0)), ("+1", .unexpected(at: 0)), (".5", .unexpected(at: 0)), ("-.5", .unexpected(at: 0)),
        ("1.", .unexpected(at: 0)), ("01", .unexpected(at: 0)), ("-01", .unexpected(at: 0)), ("1e", .unexpected(at: 0)),
        ("1e+", .unexpected(at: 0)), ("1.e1", .unexpected(at: 0)), ("1.5.5", .trailing(at: 3)),
        ("1-2", .trailing(at: 1)), ("1e999", .unexpected(at: 0)), ("0x10", .trailing(at: 1)),
        ("Infinity", .unexpected(at: 0)),
        ("NaN", .unexpected(at: 0)), ("'a'", .unexpected(at: 0)),
    ]

    @Test("refuses what is not JSON, and says where", arguments: malformed.indices)
    func refuses(index: Int) {
        let (text, expected) = Self.malformed[index]
        #expect(throws: expected, "\(text)") { try Self.parse(text) }
    }

    @Test(
        "refuses bytes that are not UTF-8",
        arguments: [
            [0x22, 0xFF, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x22, 0xC0, 0x80, 0x22],
        ] as [[UInt8]])
    func refusesBytes(bytes: [UInt8]) {
        #expect(throws: JSONValue.ParseError.unexpected(at: 0)) { try JSONValue(parsing: bytes.span) }
    }

    @Test("nests 32 deep and no deeper", arguments: ["[", "{\"a\":"])
    func depth(opening: String) throws {
        let closing = opening == "[" ? "]" : "}"
        func nested(_ count: Int) -> String {
            String(repeating: opening, count: count) + "1" + String(repeating: closing, count: count)
        }
        _ = try Self.parse(nested(31))
        #expect(throws: JSONValue.ParseError.tooDeep(at: 32 * opening.utf8.count)) { try Self.parse(nested(32)) }
        #expect(throws: JSONValue.ParseError.self) { try Self.parse(String(repeating: opening, count: 100_000)) }
    }

    @Test("writes what cannot be shown as escapes, and members in order")
    func writes() {
        let value: JSONValue = [
            "b": "\u{1}\u{7F}\"\\\n", "a": [1, .number(0.5), .number(.infinity)], "c": [:], "d": [],
        ]
        #expect(value.text == "{\"b\":\"\\u0001\\u007f\\\"\\\\\\n\",\"a\":[1,0.5,null],\"c\":{},\"d\":[]}")
        #expect(
            (["a": [1, ["b": true]], "c": []] as JSONValue).prettyText
                == "{\n  \"a\": [\n    1,\n    {\n      \"b\": true\n    }\n  ],\n  \"c\": []\n}")
    }

    @Test("gives values by kind and name")
    func access() {
        let value: JSONValue = ["s": "x", "i": 3, "b": true, "a": [1], "n": .null]
        #expect(value["s"]?.stringValue == "x" && value["i"]?.integerValue == 3 && value["b"]?.boolValue == true)
        #expect(value["a"]?.arrayValue == [1] && value["n"] == .null && value["z"] == nil)
        #expect(value["s"]?.integerValue == nil && value["i"]?.stringValue == nil && value["a"]?["s"] == nil)
        #expect(JSONValue(UInt64.max) == .integer(.max) && JSONValue(nil as String?) == .null)
    }

    static func random(_ random: inout RandomSource, depth: Int) -> JSONValue {
        switch random.next() % (depth > 4 ? 5 : 7) {
        case 0: return .null
        case 1: return .bool(random.next() % 2 == 0)
        case 2: return .integer(Int64(bitPattern: random.next()))
        case 3:
            let number = Double(bitPattern: random.next())
            return .number(number.isFinite ? number : 0.5)
        case 4:
            let scalars = (0..<random.next() % 12).compactMap { _ in
                UnicodeScalar(UInt32(truncatingIfNeeded: random.next() % (random.next() % 2 == 0 ? 128 : 0x11_0000)))
            }
            return .string(String(String.UnicodeScalarView(scalars)))
        case 5: return .array((0..<random.next() % 4).map { _ in self.random(&random, depth: depth + 1) })
        default:
            return .object(
                (0..<random.next() % 4).map { .init("k\($0)", self.random(&random, depth: depth + 1)) })
        }
    }

    @Test("random values survive being written and read", arguments: 1...4 as ClosedRange<UInt64>)
    func roundTrip(seed: UInt64) throws {
        var random = RandomSource(seed: seed)
        for _ in 0..<500 {
            let value = Self.random(&random, depth: 0)
            guard try Self.parse(value.text) == value, try Self.parse(value.prettyText) == value else {
                Issue.record("seed \(seed): \(value.text)")
                return
            }
        }
    }

    @Test(
        "damaged texts never trap, and what is still accepted can be written and read",
        arguments: 1...4 as ClosedRange<UInt64>)
    func mutation(seed: UInt64) throws {
        var random = RandomSource(seed: seed)
        var accepted = 0
        for _ in 0..<3_000 {
            var bytes = Array(Self.random(&random, depth: 0).text.utf8)
            for _ in 0...random.next() % 3 where !bytes.isEmpty {
                let index = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 4 {
                case 0: bytes[index] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: index)
                case 2: bytes.insert(Array("{}[]\",:\\-e.0".utf8)[Int(random.next() % 12)], at: index)
                default: bytes.removeLast(bytes.count - index)
                }
            }
            guard let value = try? JSONValue(parsing: bytes.span) else { continue }
            accepted += 1
            guard try Self.parse(value.text) == value else {
                Issue.record("seed \(seed): \(bytes)")
                return
            }
        }
        #expect(accepted > 100)
    }
}
