import CallEngine
import Testing

@Suite("dial patterns")
struct DialPatternTests {
    struct Sample: Sendable {
        let pattern: String
        let matching: [String]
        let other: [String]
    }

    static let samples: [Sample] = [
        .init(
            pattern: "9NXXXXXX", matching: ["92345678", "99999999"],
            other: ["91345678", "9234567", "923456789", "82345678", "", "9+345678"]),
        .init(
            pattern: "+1NXXNXXXXXX", matching: ["+13135550101"], other: ["13135550101", "+11135550101", "++3135550101"]),
        .init(pattern: "Z.", matching: ["10", "911", "1*#"], other: ["1", "0", "01", "1+2"]),
        .init(pattern: "00!", matching: ["00", "0049301234"], other: ["0", "01", "00a"]),
        .init(pattern: "[2-4]XX", matching: ["200", "499"], other: ["100", "500", "20"]),
        .init(pattern: "[1359]", matching: ["1", "9"], other: ["2", "0", "11"]),
        .init(pattern: "*72.", matching: ["*72123"], other: ["*72", "72123"]),
        .init(pattern: "x[0-24-6]", matching: ["10", "26"], other: ["13", "17"]),
    ]

    @Test("match what they say and nothing else", arguments: samples)
    func matches(_ sample: Sample) throws {
        let pattern = try DialPattern(parsing: sample.pattern)
        for number in sample.matching { #expect(pattern.matches(number), "\(sample.pattern) \(number)") }
        for number in sample.other { #expect(!pattern.matches(number), "\(sample.pattern) \(number)") }
    }

    static let malformed: [(String, DialPattern.ParseError)] = [
        ("", .empty), ("9A", .unexpected("A")), ("[12", .unclosedSet), ("[]", .emptySet), ("[1-", .unclosedSet),
        ("[5-2]", .backwardRange("5", "2")), ("9.X", .misplaced("X")), ("!1", .misplaced("1")), ("1+", .misplaced("+")),
        ("[a]", .unexpected("a")), ("é", .unexpected("é")), ("..", .misplaced(".")),
    ]

    @Test("reject what is no pattern", arguments: malformed)
    func rejects(_ text: String, _ error: DialPattern.ParseError) {
        #expect(throws: error) { try DialPattern(parsing: text) }
    }
}

@Suite("dialled numbers")
struct DialledNumberTests {
    static let samples: [(String, String?)] = [
        ("+13135550101", "+13135550101"), ("(313) 555-0101", "3135550101"), ("+1.313.555.0101", "+13135550101"),
        ("911", "911"), ("*67", "*67"), ("2001;phone-context=x", "2001"), ("", nil), ("+", nil), ("front-desk", nil),
        ("1+2", nil), ("anonymous", nil), (String(repeating: "1", count: 65), nil),
    ]

    @Test("are normalised, separators removed", arguments: samples)
    func normalizes(_ user: String, _ expected: String?) {
        #expect(DialledNumber.normalized(user) == expected)
    }

    @Test("are found with and without the leading +")
    func looksUp() {
        let table = ["+13135550101": 1, "13135550102": 2]
        #expect(DialledNumber.lookUp("+13135550101", in: table) == 1)
        #expect(DialledNumber.lookUp("13135550101", in: table) == 1)
        #expect(DialledNumber.lookUp("+13135550102", in: table) == 2)
        #expect(DialledNumber.lookUp("3135550101", in: table) == nil)
    }
}
