import Console
import Primitives
import Testing

@Suite("Text for people")
struct TextTableTests {
    @Test("aligns left and right by width on the screen")
    func aligns() {
        var table = TextTable(.init("NAME"), .init("N", .right), .init("WORD"))
        table.add("a", "1", "x")
        table.add("日本", "1000", "longer")
        table.add("e\u{301}é", "10")
        table.add("👍🏽", "7", "y", "dropped")
        #expect(
            table.rendered() == """
                NAME     N  WORD
                a        1  x
                日本  1000  longer
                e\u{301}é      10
                👍🏽       7  y

                """)
    }

    @Test("leaves out empty columns and titles, and indents")
    func empty() {
        var table = TextTable(.init(""), .init(""), .init("", .right))
        table.add("from", "", "1")
        table.add("to", "", "10")
        #expect(table.rendered(indent: 2) == "  from   1\n  to    10\n")
        #expect(TextTable(.init("A"), .init("B")).rendered() == "A  B\n")
        #expect(TextTable().rendered() == "")
    }

    @Test(
        "cuts the last column to the width given",
        arguments: [(9, "ab  12345"), (8, "ab  123…"), (5, "ab  …"), (1, "ab  …")])
    func cuts(_ width: Int, _ line: String) {
        var table = TextTable(.init(""), .init(""))
        table.add("ab", "12345")
        #expect(table.rendered(widthMax: width) == line + "\n")
    }

    @Test(
        "shows no control or direction characters",
        arguments: [
            ("\u{1B}[2J", "\u{FFFD}[2J"), ("a\r\nb", "a\u{FFFD}\u{FFFD}b"), ("\u{202E}x", "\u{FFFD}x"), ("é", "é"),
        ])
    func safe(_ text: String, _ shown: String) {
        #expect(Array(DisplayText.safe(text).unicodeScalars) == Array(shown.unicodeScalars))
    }

    @Test(
        "ages",
        arguments: [
            (-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m 00s"), (3_599, "59m 59s"), (3_600, "1h 00m"),
            (86_399, "23h 59m"), (86_400, "1d 00h"), (93_784, "1d 02h"), (Int64.max, "106751991167300d 15h"),
        ] as [(Int64, String)])
    func ages(_ seconds: Int64, _ text: String) { #expect(Spelling.age(seconds: seconds) == text) }

    @Test(
        "counts",
        arguments: [
            (0, "0"), (999, "999"), (1_000, "1 000"), (-1_234_567, "-1 234 567"), (100_000, "100 000"),
            (Int64.min, "-9 223 372 036 854 775 808"),
        ] as [(Int64, String)])
    func counts(_ number: Int64, _ text: String) { #expect(Spelling.count(number) == text) }

    @Test(
        "bytes",
        arguments: [
            (-1, "-1 B"), (0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (9_999, "9.9 kB"), (10_000, "10 kB"),
            (999_999, "999 kB"), (1_608_200, "1.6 MB"), (32_035_000, "32 MB"), (Int64.max, "9223372 TB"),
        ] as [(Int64, String)])
    func bytes(_ number: Int64, _ text: String) { #expect(Spelling.bytes(number) == text) }
}
