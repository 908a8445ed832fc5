import EmergencyCalling
import Primitives
import Testing

@Suite("The dispatchable location of a caller")
struct LocationTests {
    static let settings: EmergencySettings = {
        var address = CivicAddress(place: PlaceDetail(building: "A", floor: "1"))
        (address.houseNumber, address.street, address.streetType) = ("123", "Manufacturing", "Dr")
        (address.city, address.state, address.postalCode) = ("Industrial City", "MI", "48001")
        let plant = EmergencySite(
            name: "plant", networks: [IPRange("192.0.2.0/24")!], address: address, psap: "+13135550911",
            subnets: [
                .init(networks: [IPRange("192.0.2.128/25")!], place: PlaceDetail(floor: "2")),
                .init(networks: [IPRange("192.0.2.200-192.0.2.209")!], place: PlaceDetail(building: "B", room: "7")),
                .init(networks: [IPRange("198.51.100.0/28")!], place: PlaceDetail(building: "C")),
            ])
        return EmergencySettings(
            sites: ["plant": plant, "office": EmergencySite(name: "office")], defaultSite: "office",
            stations: [
                "301": EmergencyStation(site: "plant", place: PlaceDetail(room: "210")),
                "302": EmergencyStation(place: PlaceDetail(building: "A", floor: "3", room: "310")),
            ])
    }()

    @Test(
        "is the site's address refined by subnet, then station",
        arguments: [
            (nil, "192.0.2.7", "123 Manufacturing Dr, building A, floor 1, Industrial City, MI 48001"),
            (nil, "192.0.2.130", "123 Manufacturing Dr, building A, floor 2, Industrial City, MI 48001"),
            (nil, "192.0.2.205", "123 Manufacturing Dr, building B, room 7, Industrial City, MI 48001"),
            (nil, "198.51.100.3", "123 Manufacturing Dr, building C, Industrial City, MI 48001"),
            ("301", "192.0.2.130", "123 Manufacturing Dr, building A, floor 2, room 210, Industrial City, MI 48001"),
            ("301", "203.0.113.9", "123 Manufacturing Dr, building A, floor 1, room 210, Industrial City, MI 48001"),
            ("302", "192.0.2.205", "123 Manufacturing Dr, building A, floor 3, room 310, Industrial City, MI 48001"),
            ("302", "203.0.113.9", "building A, floor 3, room 310"),
            ("999", "203.0.113.9", "site office, address unknown"),
        ] as [(String?, String, String)])
    func refined(station: String?, source: String, text: String) throws {
        let location = try #require(Self.settings.location(ofStation: station, at: IPAddress(source)!))
        #expect(location.description == text)
    }

    @Test("says what is missing of it")
    func missing() throws {
        let incomplete = try #require(Self.settings.location(ofStation: nil, at: IPAddress("198.51.100.3")!))
        #expect(incomplete.address.missingElements == ["floor, room or unit"])
        #expect(Self.settings.location(ofStation: "301", at: nil)?.isComplete == true)
    }

    @Test("says that its site is only assumed")
    func assumed() throws {
        let nowhere = try #require(Self.settings.location(ofStation: "302", at: IPAddress("203.0.113.9")!))
        #expect(nowhere.isAssumed && nowhere.missingElements.first == "proof of the site")
        #expect(Self.settings.location(ofStation: "301", at: IPAddress("203.0.113.9")!)?.isAssumed == false)
        #expect(Self.settings.location(ofStation: nil, at: IPAddress("192.0.2.7")!)?.isAssumed == false)
        let single = EmergencySettings(sites: ["office": EmergencySite(name: "office")])
        #expect(single.location(ofStation: nil, at: nil)?.isAssumed == false)
    }

    @Test("is part of plan and record")
    func planned() {
        var engine = EmergencyEngine(settings: Self.settings, random: RandomSource(seed: 1))
        let caller = EmergencyCaller(
            station: "301", number: "301", source: TransportAddress(IPAddress("192.0.2.7")!, 5060))
        let dispatch = engine.begin(.emergency, dialled: "911", by: caller, at: MonotonicTime(nanoseconds: 0))
        #expect(dispatch.psap == "+13135550911")
        #expect(dispatch.location?.address.place == PlaceDetail(building: "A", floor: "1", room: "210"))
        #expect(engine.records[dispatch.id]?.location?.text == dispatch.location?.description)
        #expect(engine.records[dispatch.id]?.location?.missing == [])
    }

    @Test("is the first site's by name when nothing is configured as default")
    func first() {
        var settings = Self.settings
        settings.defaultSite = nil
        #expect(settings.site(ofStation: nil, at: nil)?.name == "office")
        #expect(EmergencySettings().location(ofStation: nil, at: nil) == nil)
    }
}
