import Configuration
import Primitives
import Testing

@Suite("Routes")
struct RouteConfigurationTests {
    @Test(
        "strip, then prepend",
        arguments: [
            ("9NXXXXXX", 1, "+1313", "95550101", "+13135550101"), ("X.", 0, "", "123", "123"),
            ("0.", 1, "", "01", "1"), ("+1.", 1, "00", "+1313", "001313"), ("9!", 1, "0", "9", "0"),
        ])
    func transform(_ pattern: String, _ strip: Int, _ prepend: String, _ dialled: String, _ sent: String) throws {
        let route = RouteConfiguration(
            pattern: try DialPattern(parsing: pattern), strip: strip, prepend: prepend, trunks: ["carrier-a"])
        #expect(route.pattern.matches(dialled))
        #expect(route.transformed(dialled) == sent)
    }
}
