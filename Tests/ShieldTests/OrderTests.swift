import Primitives
import Testing

@testable import Shield

@Suite("Operators' orders")
struct OrderTests {
    static let wall = WallClockTime(secondsSinceEpoch: 1_800_000_000)
    static let stranger = IPPrefix("198.51.100.0/24")!

    static func order(_ kind: Order.Kind, _ prefix: IPPrefix = stranger, for seconds: Int64? = nil) -> Order {
        Order(
            kind: kind, prefix: prefix, reason: "test", operatorName: "root", since: wall,
            until: seconds.map { wall + .seconds($0) })
    }

    static func carryOut(
        _ order: Order, _ shield: inout ShieldEngine, force: Bool = false, console: String? = nil,
        uses: [Protection] = []
    ) -> Result<[Protection], OrderRefusal> {
        shield.carryOut(
            order, force: force, console: console.flatMap { IPAddress($0) }, at: .zero, wall: wall
        ) { _ in uses }
    }

    @Test("blocks until its time is over")
    func block() {
        var shield = ShieldEngine(policy: ShieldEngineTests.policy())
        let order = Self.order(.block, for: 60)
        #expect(Self.carryOut(order, &shield) == .success([]))
        let end = MonotonicTime.zero + .seconds(60)
        #expect(
            ShieldEngineTests.drain(&shield)
                == [.block(Self.stranger, until: end), .event(.ordered(order, cuts: []))])
        #expect(shield.isBlocked(IPAddress("198.51.100.7")!))
        #expect(shield.nextDeadline == end)
        shield.advance(to: end)
        #expect(ShieldEngineTests.drain(&shield) == [.unblock(Self.stranger), .event(.orderEnded(order))])
        #expect(!shield.isBlocked(IPAddress("198.51.100.7")!))
    }

    struct Cut: Sendable, CustomTestStringConvertible {
        let name: String
        let prefix: String
        var console: String?
        var uses: [Protection] = []
        let cuts: [Protection]
        var testDescription: String { name }
    }

    static let cuts: [Cut] = [
        .init(name: "trunk", prefix: "203.0.113.1/32", cuts: [.trunk("carrier-a")]),
        .init(name: "everything", prefix: "0.0.0.0/0", cuts: [.trunk("carrier-a")]),
        .init(
            name: "calls and stations", prefix: "192.168.50.0/24", uses: [.station("2001"), .emergencyCall("9")],
            cuts: [.station("2001"), .emergencyCall("9")]),
        .init(
            name: "own console", prefix: "192.168.7.0/24", console: "192.168.7.3",
            cuts: [.console(IPPrefix("192.168.7.3/32")!)]),
    ]

    @Test("cuts nothing that is in use without force, and says what it cuts with it", arguments: cuts)
    func force(_ sample: Cut) throws {
        var shield = ShieldEngine(policy: ShieldEngineTests.policy())
        let order = Self.order(.block, try #require(IPPrefix(sample.prefix)))
        #expect(
            Self.carryOut(order, &shield, console: sample.console, uses: sample.uses)
                == .failure(.wouldCut(sample.cuts)))
        #expect(ShieldEngineTests.drain(&shield) == [] && shield.orders.isEmpty)
        #expect(
            Self.carryOut(order, &shield, force: true, console: sample.console, uses: sample.uses)
                == .success(sample.cuts))
        #expect(
            ShieldEngineTests.drain(&shield)
                == [.block(order.prefix, until: nil), .event(.ordered(order, cuts: sample.cuts))])
    }

    @Test("a refusal names what would be cut, five at most")
    func refusalText() {
        let many = (1...7).map { Protection.call("\($0)") }
        #expect(
            OrderRefusal.wouldCut(many).text
                == "this would cut call 1, call 2, call 3, call 4, call 5 and 2 more; repeat it with --force to do so")
    }

    @Test("an allowance inside a block is served, a block inside an allowance is not")
    func longestWins() {
        var shield = ShieldEngine(policy: ShieldEngineTests.policy())
        let host = IPPrefix("198.51.100.9/32")!
        #expect(Self.carryOut(Self.order(.block), &shield) == .success([]))
        #expect(Self.carryOut(Self.order(.allow, host), &shield) == .success([]))
        #expect(!shield.isBlocked(host.address) && shield.isBlocked(IPAddress("198.51.100.8")!))
        let inside = IPPrefix("192.0.2.9/32")!
        #expect(Self.carryOut(Self.order(.allow, IPPrefix("192.0.2.0/24")!), &shield) == .success([]))
        #expect(
            Self.carryOut(Self.order(.block, inside), &shield)
                == .failure(.wouldCut([.allowed(IPPrefix("192.0.2.0/24")!)])))
        #expect(Self.carryOut(Self.order(.block, inside), &shield, force: true) != .success([]))
        #expect(shield.isBlocked(inside.address))
    }

    @Test("an allowance ends automatic blocks under it")
    func allowanceLifts() {
        var shield = ShieldEngine(policy: ShieldEngineTests.policy())
        shield.note(.scanner("x"), from: ShieldEngineTests.scanner, at: .zero) { _ in [] }
        _ = ShieldEngineTests.drain(&shield)
        let order = Self.order(.allow)
        #expect(Self.carryOut(order, &shield) == .success([]))
        #expect(
            ShieldEngineTests.drain(&shield)
                == [.unblock(ShieldEngineTests.scannerPrefix), .standingsChanged, .event(.ordered(order, cuts: []))])
        #expect(shield.standings[Self.stranger] == .allowed)
        #expect(shield.unblock(Self.stranger, by: "root").isSuccess == true)
        #expect(shield.standings[Self.stranger] == nil)
    }

    @Test("taking back what is not there is refused; automatic blocks can be taken back")
    func unblock() {
        var shield = ShieldEngine(policy: ShieldEngineTests.policy())
        #expect(shield.unblock(Self.stranger, by: "root").refusal == .noSuchPrefix(Self.stranger))
        shield.note(.scanner("x"), from: ShieldEngineTests.scanner, at: .zero) { _ in [] }
        _ = ShieldEngineTests.drain(&shield)
        #expect(shield.unblock(ShieldEngineTests.scannerPrefix, by: "root").isSuccess == true)
        #expect(
            ShieldEngineTests.drain(&shield)
                == [
                    .unblock(ShieldEngineTests.scannerPrefix),
                    .event(.unblocked(ShieldEngineTests.scannerPrefix, by: "root")),
                ])
        #expect(shield.nextDeadline == nil && !shield.isBlocked(ShieldEngineTests.scanner))
    }

    @Test("an order for a prefix blocked automatically stays when that block ends")
    func orderOverBlock() {
        var shield = ShieldEngine(policy: ShieldEngineTests.policy())
        shield.note(.scanner("x"), from: ShieldEngineTests.scanner, at: .zero) { _ in [] }
        #expect(Self.carryOut(Self.order(.block, ShieldEngineTests.scannerPrefix), &shield) == .success([]))
        _ = ShieldEngineTests.drain(&shield)
        shield.advance(to: .zero + .seconds(300))
        #expect(ShieldEngineTests.drain(&shield) == [.event(.blockEnded(ShieldEngineTests.scannerPrefix))])
        #expect(shield.isBlocked(ShieldEngineTests.scanner))
    }

    @Test("orders of an earlier life are taken up, those whose time is over are not")
    func restore() {
        var shield = ShieldEngine(policy: ShieldEngineTests.policy())
        let kept = Self.order(.block, for: 90)
        let over = Self.order(.block, IPPrefix("192.0.2.0/24")!, for: 30)
        shield.restore([kept, over], at: .zero, wall: Self.wall + .seconds(30))
        #expect(Array(shield.orders.values) == [kept])
        #expect(ShieldEngineTests.drain(&shield) == [.block(Self.stranger, until: .zero + .seconds(60))])
    }

    @Test("there are so many orders and no more")
    func limit() {
        var shield = ShieldEngine(policy: ShieldEngineTests.policy())
        let prefixes = (0..<UInt32(ShieldEngine.Limits.orderCountMax)).map {
            IPPrefix(address: .v4(0x0A00_0000 + $0), bitLength: 32)!
        }
        for prefix in prefixes { #expect(Self.carryOut(Self.order(.block, prefix), &shield) == .success([])) }
        #expect(
            Self.carryOut(Self.order(.block), &shield) == .failure(.tooMany(ShieldEngine.Limits.orderCountMax)))
        #expect(Self.carryOut(Self.order(.block, prefixes[0], for: 5), &shield) == .success([]), "replaced")
    }
}

extension Result where Success == Void, Failure == OrderRefusal {
    var isSuccess: Bool { refusal == nil }
    var refusal: OrderRefusal? { if case .failure(let refusal) = self { refusal } else { nil } }
}
