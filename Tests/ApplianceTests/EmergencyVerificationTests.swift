import Appliance
import Configuration
import Glibc
import LinuxIO
import Primitives
import Testing

@Suite("What the law asks of an office's 911")
struct EmergencyVerificationTests {
    private let now = WallClockTime(secondsSinceEpoch: 1_795_230_000)  // 2026-11-21T03:00:00Z

    /// Complete, but for what only a running box can tell.
    private static let complete = """
        [system]
        name = "detroit-7"
        domain = "branch.example"

        [realms.lan]
        interface = "lan0"
        address = "192.168.50.1"
        media-ports = "20000-29999"
        role = "stations"

        [realms.wan]
        interface = "wan0"
        address = "198.51.100.7"
        media-ports = "30000-39999"
        role = "trunks"

        [stations.2001]
        password = "correct-horse"
        number = "+13135550101"
        floor = "3"

        [trunks.carrier-a]
        realm = "wan"
        peer = "203.0.113.10"

        [sites.office]
        networks = ["192.168.50.0/24"]
        trunks = ["carrier-a"]
        contacts = ["2001"]

        [sites.office.address]
        house-number = "1"
        street = "Example Street"
        city = "Detroit"
        state = "MI"
        postal-code = "48201"
        """

    private func points(
        _ change: (String) -> String = { $0 }, status: JSONValue? = nil, records: [JSONValue] = []
    ) throws -> [String: EmergencyVerification.Point] {
        var template = Array("/tmp/cresset-verify-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer {
            unlink(directory + "/box.toml")
            rmdir(directory)
        }
        try Files.writeAtomically(Array(change(Self.complete).utf8), to: directory + "/box.toml", mode: 0o600)
        let outcome = BoxConfiguration.load(directory: directory)
        let configuration = try #require(outcome.configuration, "\(outcome.issues)")
        let verification = EmergencyVerification(
            configuration, status: status, records: records, recordsError: nil, now: now)
        return [String: EmergencyVerification.Point](
            uniqueKeysWithValues: verification.points.map { ($0.title, $0) })
    }

    private func titles(_ points: [String: EmergencyVerification.Point], _ state: EmergencyVerification.Point.State)
        -> Set<String>
    {
        Set(points.values.filter { $0.state == state }.map(\.title))
    }

    private static let liveOnly: Set<String> = [
        "the trunks are up", "the contacts can be reached", "test mode is off",
    ]
    private static let proof = "a test call (933) was heard in the last 48 hours"

    private func proofRecord(_ start: String, packets: Int = 200, site: String = "office") -> JSONValue {
        [
            "number": "933", "start": .string(start), "answer-ms": 900, "site": .string(site),
            "packets": ["from-called": .init(packets)],
        ]
    }

    private func status(trunk: String = "up", isRegistered: Bool = true, testMode: String? = nil) -> JSONValue {
        let contacts: JSONValue = isRegistered ? [["source": "192.168.50.101:5060"]] : []
        return [
            "alarms": [], "trunks": [["trunk": "carrier-a", "state": .string(trunk)]],
            "stations": [["station": "2001", "contacts": contacts]], "emergency": ["test-mode": .init(testMode)],
        ]
    }

    @Test("is there in a complete configuration; the rest only the running box can tell")
    func offline() throws {
        let points = try points(records: [proofRecord("2026-11-20T03:10:00.000Z")])
        #expect(titles(points, .unknown) == Self.liveOnly)
        #expect(titles(points, .missing) == [])
        #expect(points["911 is dialled directly"]?.detail == "911 leaves over carrier-a as sip:911@203.0.113.10")
    }

    @Test("is there in a running box")
    func live() throws {
        let points = try points(status: status(), records: [proofRecord("2026-11-20T03:10:00.000Z")])
        #expect(titles(points, .pass).count == points.count)
    }

    struct Gap: Sendable {
        let name: String
        let from: String
        let to: String
        let missing: Set<String>
    }
    static let gaps: [Gap] = [
        .init(
            name: "no trunk",
            from: "[trunks.carrier-a]\nrealm = \"wan\"\npeer = \"203.0.113.10\"\n", to: "",
            missing: [
                "911 is dialled directly", "no prefix is required, and none stops it",
                "any phone reaches 911, also one that never registered", "every site has a trunk",
            ]),
        .init(
            name: "no floor", from: "floor = \"3\"\n", to: "",
            missing: ["every station has a dispatchable location"]),
        .init(
            name: "nobody is told", from: "contacts = [\"2001\"]\n", to: "",
            missing: ["somebody is told of every 911 call", "the contacts can be reached"]),
        .init(
            name: "no number", from: "number = \"+13135550101\"\n", to: "", missing: ["every caller can be called back"]
        ),
    ]

    @Test("names what is missing, and nothing else", arguments: gaps.indices)
    func gap(_ index: Int) throws {
        let gap = Self.gaps[index]
        let points = try points(
            {
                let changed = $0.replacing(gap.from, with: gap.to)
                return gap.name == "no trunk" ? changed.replacing("trunks = [\"carrier-a\"]\n", with: "") : changed
            }, records: [proofRecord("2026-11-20T03:10:00.000Z")])
        #expect(titles(points, .missing) == gap.missing, "\(gap.name)")
        for point in points.values where point.state == .missing { #expect(!point.remedy.isEmpty) }
    }

    @Test("sees a trunk that is down, a contact that is not registered, and test mode")
    func down() throws {
        let points = try points(
            status: status(trunk: "down", isRegistered: false, testMode: "TEST_MODE"),
            records: [proofRecord("2026-11-20T03:10:00.000Z")])
        #expect(titles(points, .missing) == Self.liveOnly)
        #expect(points["test mode is off"]?.detail == "911 is blocked: TEST_MODE")
    }

    @Test(
        "a proof is recent, was answered and heard, at every site",
        arguments: [
            ("2026-11-20T03:10:00.000Z", 200, "office", true), ("2026-11-18T03:10:00.000Z", 200, "office", false),
            ("2026-11-20T03:10:00.000Z", 0, "office", false), ("2026-11-20T03:10:00.000Z", 200, "plant", false),
        ])
    func proof(_ start: String, _ packets: Int, _ site: String, _ isGood: Bool) throws {
        let points = try points(records: [proofRecord(start, packets: packets, site: site)])
        #expect((points[Self.proof]?.state == .pass) == isGood)
    }
}
