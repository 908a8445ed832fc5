import Appliance
import Testing

@Suite("Personal data in the log")
struct MaskedTests {
    static let numbers: [(String, String)] = [
        ("+13135550101", "+13•••••••01"),
        ("3135550101", "31••••••01"),
        ("5550101", "55•••01"),
        ("2001", "2001"),
        ("911", "911"),
        ("", ""),
        ("frontdesk", "frontdesk"),
    ]

    @Test("numbers of the public network are masked, extensions are not", arguments: numbers)
    func masks(_ number: String, _ expected: String) {
        #expect(Masked.number(number) == expected)
    }
}
