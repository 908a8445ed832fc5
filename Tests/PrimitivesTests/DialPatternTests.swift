import Primitives
import Testing

@Suite("Dial patterns")
struct DialPatternTests {
    struct Match: Sendable {
        let pattern: String
        let taken: [String]
        let refused: [String]
    }

    static let matches: [Match] = [
        .init(pattern: "911", taken: ["911"], refused: ["", "91", "9111", "912", "+911"]),
        .init(
            pattern: "9NXXXXXX", taken: ["92000000", "99999999"],
            refused: ["9200000", "920000000", "91000000", "90000000", "9200000*", "+92000000"]),
        .init(pattern: "X", taken: (0...9).map(String.init), refused: ["*", "#", "+", "", "10", "a", "٣", "１"]),
        .init(pattern: "Z", taken: (1...9).map(String.init), refused: ["0", "*", "+"]),
        .init(pattern: "N", taken: (2...9).map(String.init), refused: ["0", "1", "#"]),
        .init(pattern: "[135-7*]", taken: ["1", "3", "5", "6", "7", "*"], refused: ["0", "2", "4", "8", "9", "#"]),
        .init(pattern: "[0-9]#", taken: ["0#", "9#"], refused: ["#", "0", "##"]),
        .init(pattern: "0.", taken: ["00", "0123456789", "0*", "0#"], refused: ["0", "", "1", "0+", "0 "]),
        .init(pattern: "0!", taken: ["0", "00", "0*#"], refused: ["", "1", "0+"]),
        .init(pattern: ".", taken: ["1", "911", "*"], refused: ["", "+", "+1"]),
        .init(pattern: "!", taken: ["", "1", "911"], refused: ["+", "a"]),
        .init(
            pattern: "+1NXXNXXXXXX", taken: ["+13135550101"], refused: ["13135550101", "+11135550101", "+1313555010"]),
        .init(pattern: "+.", taken: ["+1", "+442079460000"], refused: ["+", "1", "++1"]),
        .init(pattern: "+", taken: ["+"], refused: ["", "++", "1"]),
        .init(pattern: "*97", taken: ["*97"], refused: ["97", "*9", "#97"]),
    ]

    @Test("match whole numbers", arguments: matches)
    func match(_ sample: Match) throws {
        let pattern = try DialPattern(parsing: sample.pattern)
        #expect(sample.taken.filter { !pattern.matches($0) } == [])
        #expect(sample.refused.filter { pattern.matches($0) } == [])
        #expect(pattern.description == sample.pattern)
    }

    @Test("agree with a plain search over all numbers of up to four digits")
    func exhaustive() throws {
        let classes: [Character: ClosedRange<Int>] = ["X": 0...9, "Z": 1...9, "N": 2...9, "4": 4...4, "0": 0...0]
        let numbers = (0...4).flatMap { length in
            (0..<Int((0..<length).reduce(1) { power, _ in power * 10 })).map { number in
                String(String(number + 100_000).suffix(length))
            }
        }
        for head in ["", "X", "Z", "N4", "0XZ", "4NXX"] {
            for tail in ["", ".", "!"] where !(head + tail).isEmpty {
                let pattern = try DialPattern(parsing: head + tail)
                for number in numbers {
                    let digits = number.compactMap(\.wholeNumberValue)
                    let fits = zip(head, digits).allSatisfy { classes[$0]?.contains($1) == true }
                    let rest = digits.count - head.count
                    let isExpected = fits && (tail == "" ? rest == 0 : tail == "." ? rest >= 1 : rest >= 0)
                    guard pattern.matches(number) != isExpected else { continue }
                    Issue.record("\(head)\(tail) and \(number): expected \(isExpected)")
                }
            }
        }
    }

    @Test(
        "say why a text is none",
        arguments: [
            ("", .empty), ("9x", .unexpected("x", offset: 1)), ("9 1", .unexpected(" ", offset: 1)),
            ("a", .unexpected("a", offset: 0)), ("9+", .plusNotFirst(offset: 1)),
            ("9.1", .wildcardNotLast(".", offset: 1)), ("!!", .wildcardNotLast("!", offset: 0)),
            ("[12", .unterminatedSet(offset: 0)), ("9[", .unterminatedSet(offset: 1)), ("[]", .emptySet(offset: 0)),
            ("[3-1]", .reversedRange("3", "1", offset: 1)), ("[1-]", .unexpected("-", offset: 2)),
            ("[-1]", .unexpected("-", offset: 1)), ("[+]", .unexpected("+", offset: 1)),
            ("[*-#]", .unexpected("#", offset: 3)), ("]", .unexpected("]", offset: 0)),
            ("[1-x]", .unexpected("x", offset: 3)), ("٣", .unexpected("٣", offset: 0)),
            (String(repeating: "X", count: 65), .tooLong),
        ] as [(String, DialPattern.ParseError)])
    func refuse(_ text: String, _ error: DialPattern.ParseError) {
        #expect(throws: error) { try DialPattern(parsing: text) }
    }

    @Test("suggest the capital letter")
    func suggestion() {
        #expect(
            DialPattern.ParseError.unexpected("x", offset: 1).description
                .hasPrefix("'x' at character 2 has no meaning; did you mean X?"))
    }
}
