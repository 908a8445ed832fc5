import Console
import Primitives
import Testing

@Suite("Audit of where stations are")
struct EmergencyAuditTests {
    private func location(floor: String?) -> DispatchableLocation {
        var address = CivicAddress(place: PlaceDetail(floor: floor))
        (address.houseNumber, address.street, address.city) = ("123", "Elm", "Detroit")
        (address.state, address.postalCode) = ("MI", "48201")
        return DispatchableLocation(site: "plant", address: address)
    }

    @Test("lists what is missing")
    func lists() {
        let text = EmergencyAudit.render([
            .init(name: "2001", displayName: "Front desk", location: location(floor: "2")),
            .init(name: "2002", displayName: "Reception", location: location(floor: nil)),
            .init(name: "2003", location: nil),
        ])
        #expect(text.contains("\n2 of 3 stations without a dispatchable location"))
        #expect(text.contains("2002     Reception  plant  floor, room or unit  123 Elm, Detroit, MI 48201\n"))
        #expect(text.contains("2003                       site                 none\n"))
        #expect(!text.contains("2001"))
    }

    @Test("says that all is well")
    func complete() {
        #expect(
            EmergencyAudit.render([.init(name: "2001", location: location(floor: "2"))])
                == "The only station has a dispatchable location (47 CFR 9.3).\n")
        #expect(EmergencyAudit.render([]) == "There are no stations.\n")
    }
}
