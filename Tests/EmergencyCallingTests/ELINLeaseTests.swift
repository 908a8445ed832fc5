import Primitives
import Testing

@testable import EmergencyCalling

@Suite("ELIN leases")
struct ELINLeaseTests {
    let pool = ["+13135550190", "+13135550191"]
    let window = Duration.seconds(1800)

    func caller(_ station: String?, _ address: String = "192.0.2.10") -> EmergencyCaller {
        EmergencyCaller(
            station: station, number: station ?? "unregistered", source: TransportAddress(IPAddress(address)!, 5060))
    }

    func at(_ seconds: Int64) -> MonotonicTime { .zero + .seconds(seconds) }

    /// One call from `start` to `end`; nil: it lasts.
    @discardableResult
    func call(
        _ leases: inout ELINLeases, _ caller: EmergencyCaller, _ start: Int64, _ end: Int64?, site: String = "plant"
    ) -> ELINLeases.Grant {
        let id = EmergencyCallID(rawValue: "\(caller.station ?? "\(caller.source)")-\(start)")
        let grant = leases.choice(for: caller, site: site, pool: pool, at: at(start))
        leases.take(grant, for: caller, site: site, call: id, at: at(start))
        if let end { _ = leases.release(id, window: window, at: at(end)) }
        return grant
    }

    @Test("an unused number first")
    func unused() {
        var leases = ELINLeases()
        #expect(call(&leases, caller("301"), 0, nil) == .init(elin: pool[0], isShared: false))
        #expect(call(&leases, caller("302"), 1, 2) == .init(elin: pool[1], isShared: false))
    }

    @Test("then the one with fewest active calls, although it ended last")
    func fewestActive() {
        var leases = ELINLeases()
        call(&leases, caller("301"), 0, nil)
        call(&leases, caller("302"), 1, 500)
        #expect(call(&leases, caller("303"), 501, nil) == .init(elin: pool[1], isShared: true))
        // One active call each now: the one whose last call began first.
        #expect(call(&leases, caller("304"), 502, nil) == .init(elin: pool[0], isShared: true))
    }

    @Test("on a tie the one idle longest")
    func idleLongest() {
        var leases = ELINLeases()
        call(&leases, caller("301"), 0, 90)
        call(&leases, caller("302"), 1, 60)
        #expect(call(&leases, caller("303"), 100, 110) == .init(elin: pool[1], isShared: true))
    }

    @Test("the same phone keeps its number within the window, whatever is free")
    func sameStation() {
        var leases = ELINLeases()
        call(&leases, caller("301"), 0, 10)
        call(&leases, caller("302"), 1, 11)
        #expect(call(&leases, caller("302"), 1000, 1010).elin == pool[1])
        #expect(leases.leases.count == 2)
        #expect(call(&leases, caller(nil, "192.0.2.77"), 1100, 1101).elin == pool[0])
        #expect(call(&leases, caller(nil, "192.0.2.77"), 1200, 1201).elin == pool[0])
    }

    @Test("the window begins when the last call of a lease ends")
    func windowBegins() {
        var leases = ELINLeases()
        call(&leases, caller("301"), 0, nil)
        #expect(leases.callers(of: pool[0], at: at(100_000)).count == 1)
        let call = EmergencyCallID(rawValue: "301-0")
        let releases = (
            leases.release(call, window: window, at: at(100_000)), leases.release(call, window: window, at: at(100_001))
        )
        #expect(releases == (true, false))
        #expect(leases.callers(of: pool[0], at: at(101_799)).map(\.caller.station) == ["301"])
        #expect(leases.callers(of: pool[0], at: at(101_800)).isEmpty)
        leases.expire(at: at(101_800))
        #expect(leases.leases.isEmpty)
    }

    @Test("of those who share a number the latest whose call is over is called back first")
    func order() {
        var leases = ELINLeases()
        for (index, station) in ["301", "302", "303", "304", "305"].enumerated() {
            let start = Int64(index * 10)
            call(&leases, caller(station), start, station == "305" ? nil : start + 5)
        }
        #expect(leases.callers(of: pool[0], at: at(60)).map(\.caller.station) == ["303", "301", "305"])
    }

    @Test("a number is found however the carrier writes it", arguments: ["+13135550190", "13135550190", "3135550190"])
    func writing(_ called: String) {
        var leases = ELINLeases()
        call(&leases, caller("301"), 0, 10)
        #expect(leases.callers(of: called, at: at(20)).count == 1)
        #expect(leases.callers(of: "3135550192", at: at(20)).isEmpty)
    }

    @Test("without numbers the caller is remembered all the same")
    func emptyPool() {
        var leases = ELINLeases()
        let grant = leases.choice(for: caller("301"), site: nil, pool: [], at: at(0))
        #expect(grant == .init(elin: nil, isShared: false))
        leases.take(grant, for: caller("301"), site: nil, call: EmergencyCallID(rawValue: "1"), at: at(0))
        leases.take(grant, for: caller("301"), site: nil, call: EmergencyCallID(rawValue: "2"), at: at(1))
        #expect(leases.lease(ofStation: "301", at: at(2))?.activeCalls.count == 2)
        #expect(leases.lease(ofStation: "302", at: at(2)) == nil)
    }

    @Test("a number taken out of the pool is leased no more")
    func changedPool() {
        var leases = ELINLeases()
        call(&leases, caller("301"), 0, 10)
        let grant = leases.choice(for: caller("301"), site: "plant", pool: ["+13135550199"], at: at(20))
        #expect(grant.elin == "+13135550199")
        #expect(leases.callers(of: pool[0], at: at(20)).count == 1)
    }

    @Test("many callers push out the leases that end first, never a call that lasts")
    func bounded() {
        var leases = ELINLeases()
        call(&leases, caller("301"), 0, nil)
        for index in 1...ELINLeases.countMax {
            call(&leases, caller("s\(index)"), Int64(index), Int64(index))
        }
        #expect(leases.leases.count == ELINLeases.countMax)
        #expect(leases.lease(ofStation: "301", at: at(5)) != nil)
        #expect(leases.lease(ofStation: "s1", at: at(5)) == nil)
    }
}
