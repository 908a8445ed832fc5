import EmergencyCalling
import Primitives
import Testing

@Suite("The site of a caller")
struct SiteTests {
    let sites = EmergencySettings(
        sites: [
            "plant": EmergencySite(name: "plant", networks: [IPRange("192.0.2.0/24")!], trunks: ["a"]),
            "lab": EmergencySite(name: "lab", networks: [IPRange("192.0.2.64/26")!], trunks: ["b"]),
            "office": EmergencySite(name: "office", trunks: ["c"]),
        ], defaultSite: "office", trunks: ["global"], stations: ["301": EmergencyStation(site: "lab")])

    func dispatch(station: String?, from address: String, _ settings: EmergencySettings) -> EmergencyDispatch {
        var engine = EmergencyEngine(settings: settings, random: RandomSource(seed: 1))
        let caller = EmergencyCaller(
            station: station, number: "301", source: TransportAddress(IPAddress(address)!, 5060))
        return engine.begin(.emergency, dialled: "911", by: caller, at: MonotonicTime(nanoseconds: 0))
    }

    @Test("the longest prefix decides, before the station's own site")
    func longestPrefix() {
        #expect(dispatch(station: "301", from: "192.0.2.10", sites).site == "plant")
        #expect(dispatch(station: nil, from: "192.0.2.70", sites).site == "lab")
        #expect(dispatch(station: nil, from: "192.0.2.70", sites).trunks == ["b", "global"])
    }

    @Test("then the station's site, then the default")
    func assigned() {
        #expect(dispatch(station: "301", from: "198.51.100.1", sites).site == "lab")
        #expect(dispatch(station: "302", from: "198.51.100.1", sites).site == "office")
    }

    @Test("a site nobody configured, or none at all, stops nothing")
    func unknown() {
        var broken = sites
        broken.stations["301"] = EmergencyStation(site: "gone")
        broken.defaultSite = nil
        #expect(dispatch(station: "301", from: "198.51.100.1", broken).trunks == ["b", "global"], "the first by name")
        #expect(dispatch(station: nil, from: "198.51.100.1", EmergencySettings()).trunks == [])
    }
}
