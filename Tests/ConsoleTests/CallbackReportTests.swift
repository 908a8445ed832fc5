import Console
import Primitives
import Testing

@Suite("Reports of callbacks and test mode")
struct CallbackReportTests {
    @Test("numbers, callers and what is left, and a pool that is too small")
    func leases() {
        let list: JSONValue = [
            "window-minutes": 30,
            "sites": [
                ["site": "annex", "numbers": 0, "leased": 0, "callers": 0],
                ["site": "plant", "numbers": 1, "leased": 1, "callers": 2],
            ],
            "leases": [
                [
                    "elin": "+13135550190", "site": "plant", "station": "2001", "age-seconds": 65, "active-calls": 1,
                    "remaining-seconds": .null, "shared": true,
                ],
                [
                    "elin": "+13135550190", "site": "plant", "station": "at 192.0.2.77", "age-seconds": 600,
                    "active-calls": 0, "remaining-seconds": 61, "shared": true,
                ],
            ],
        ]
        #expect(
            CallbackReport.render(list) == """
                a caller for help may be called back for 30 minutes
                site annex: 0 of 0 numbers leased; none to lease, callers show their own
                site plant: 1 of 1 numbers leased; SHARED by 2 callers, the pool is too small

                NUMBER        SITE   STATION            AGE  CALLS     LEFT
                +13135550190  plant  2001            1m 05s      1  in call  shared
                +13135550190  plant  at 192.0.2.77  10m 00s      0    2 min  shared

                """)
    }

    @Test("nobody, and answers of another kind")
    func empty() {
        #expect(
            CallbackReport.render(["window-minutes": 5, "sites": [], "leases": []])
                == "a caller for help may be called back for 5 minutes\nnobody may be called back now\n")
        #expect(CallbackReport.render(.null).hasSuffix("nobody may be called back now\n"))
        #expect(CallbackReport.renderTestMode(.null) == "test mode is off: 911 is placed\n")
    }

    @Test("test mode with its reasons")
    func testMode() {
        #expect(
            CallbackReport.renderTestMode([
                "active": true, "signs": ["the environment variable TESTING"], "armed-by": "root",
                "armed-seconds-left": 90,
            ]) == """
                TEST MODE: every 911 is blocked, 933 is placed
                because of the environment variable TESTING; ends with a restart without it
                armed by root, 1m 30s left

                """)
    }
}
