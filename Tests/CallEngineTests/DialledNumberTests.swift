import CallEngine
import Testing

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
