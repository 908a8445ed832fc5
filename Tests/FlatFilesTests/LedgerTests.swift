import FlatFiles
import Glibc
import LinuxIO
import Primitives
import Testing

@Suite("Ledger", .serialized)
struct LedgerTests {
    let directory: TemporaryDirectory
    let loop: EventLoop

    init() throws {
        directory = try TemporaryDirectory()
        loop = try EventLoop()
    }

    /// 2026-11-21T03:00:00Z and so many seconds.
    private func wall(_ seconds: Int64 = 0) -> WallClockTime {
        WallClockTime(secondsSinceEpoch: 1_795_230_000 + seconds)
    }

    private func entry(_ id: String, _ state: String, at time: WallClockTime? = nil) -> LedgerFiles.Entry {
        LedgerFiles.Entry(
            key: id, record: ["id": .string(id), "state": .string(state)], written: time ?? wall())
    }

    private func ledger(in path: String? = nil, reserve: Int = 4_096) throws -> Ledger {
        var options = Ledger.Options(directory: path ?? directory.path, name: "emergency")
        options.reserveBytes = reserve
        options.retryInterval = .milliseconds(20)
        options.reserveInterval = .seconds(600)  // what is written meanwhile must not wait for it
        return try Ledger(options, loop: loop)
    }

    private var files: LedgerFiles { LedgerFiles(directory: directory.path, name: "emergency") }

    private func run(until isDone: () -> Bool) throws {
        let deadline = Clock.monotonic + .seconds(10)
        while !isDone() {
            try loop.runOnce(deadline: deadline)
            try #require(Clock.monotonic < deadline, "the ledger did not get there")
        }
    }

    @Test("writes without making its caller wait, each line sealed by the next")
    func write() throws {
        let ledger = try ledger()
        ledger.open()
        for index in 0..<20 { ledger.append(entry("a", "\(index)")) }
        #expect(ledger.health.written == 0)
        try run { ledger.health.written == 20 }
        #expect(ledger.health.alarms == [])
        #expect(try Files.mode(of: directory.path + "/emergency-2026-11.jsonl") == 0o600)
        let verification = try files.verify()
        #expect(verification.findings == [])
        #expect(verification.lineCount == 20)
        let records = try files.records(ofMonths: ["2026-11"], key: "id")
        #expect(records.map { $0.record["state"] } == ["19"])
    }

    @Test("continues the chain over a restart, a torn line and the turn of the month")
    func restart() throws {
        let first = try ledger()
        first.append(entry("a", "open"))
        first.append(entry("b", "ended"))
        first.flush()
        let torn = "{\"seq\":3,\"prev"
        try directory.write(try directory.read("emergency-2026-11.jsonl") + torn, to: "emergency-2026-11.jsonl")
        #expect(try files.verify().findings == ["emergency-2026-11.jsonl:3: unreadable or torn"])

        let second = try ledger()
        var opening: Ledger.Opening?
        second.opened = { opening = $0 }
        second.open()
        second.append(entry("a", "interrupted"))
        second.append(entry("c", "open", at: wall(10 * 86_400)))
        try run { second.health.written == 2 }
        #expect(opening?.tornBytes == torn.utf8.count)
        #expect(opening?.sequence == 2)
        #expect(opening?.records.map { $0.record["state"] } == ["open", "ended"])
        #expect(opening?.records.first?.written == "2026-11-21T03:00:00.000Z")
        #expect(try files.months() == ["2026-11", "2026-12"])
        let verification = try files.verify()
        #expect(verification.findings == [])
        #expect(verification.lineCount == 4)
        #expect(try files.chain().sequence == 4)
    }

    struct Tampering: Sendable {
        let name: String
        let change: @Sendable ([String]) -> [String]
        let finding: String
    }
    static let tamperings: [Tampering] = [
        .init(
            name: "changed", change: { [$0[0], $0[1].replacing("one", with: "eno"), $0[2]] },
            finding: "emergency-2026-11.jsonl:3: line 2 before it is not what was written"),
        .init(
            name: "removed", change: { [$0[0], $0[2]] },
            finding: "emergency-2026-11.jsonl:2: line 2 before it is missing"),
        .init(
            name: "doubled", change: { [$0[0], $0[0], $0[1], $0[2]] },
            finding: "emergency-2026-11.jsonl:2: line 1 is there twice"),
        .init(
            name: "garbage", change: { [$0[0], $0[1], "x", $0[2]] },
            finding: "emergency-2026-11.jsonl:3: unreadable or torn"),
    ]

    @Test("shows where a line was", arguments: tamperings.indices)
    func tampered(_ index: Int) throws {
        let tampering = Self.tamperings[index]
        let ledger = try ledger()
        for state in ["zero", "one", "two"] { ledger.append(entry("a", state)) }
        ledger.flush()
        let lines = try directory.read("emergency-2026-11.jsonl").split(separator: "\n").map(String.init)
        let changed = tampering.change(lines).map { $0 + "\n" }.joined()
        try directory.write(changed, to: "emergency-2026-11.jsonl")
        #expect(try files.verify().findings == [tampering.finding], "\(tampering.name)")
    }

    @Test("keeps the latest of each record when nothing can be written, counts what is lost, and catches up")
    func refused() throws {
        let path = directory.path + "/later"
        try directory.write("", to: "later")  // a file where the directory should be
        var options = Ledger.Options(directory: path, name: "emergency")
        options.retryInterval = .milliseconds(20)
        options.pendingMax = 4
        options.pendingHardMax = 6
        let ledger = try Ledger(options, loop: loop)
        var changes = 0
        ledger.changed = { changes += 1 }
        ledger.append(entry("a", "0"))
        try run { ledger.health.error != nil }
        #expect(ledger.health.error?.code == Errno(rawValue: ENOTDIR))
        #expect(changes == 1)
        for index in 1..<10 { ledger.append(entry("a", "\(index)")) }
        #expect(ledger.health.pending <= 5)
        #expect(ledger.health.lost == 0)
        for index in 0..<10 { ledger.append(entry("b\(index)", "x")) }
        #expect(ledger.health.pending == 6)
        #expect(ledger.health.lost == 5)
        #expect(ledger.health.alarms.count == 2)

        unlink(path)
        try run { ledger.health.error == nil && ledger.health.pending == 0 }
        let later = LedgerFiles(directory: path, name: "emergency")
        #expect(try later.verify().findings == [])
        #expect(
            try later.records(ofMonths: ["2026-11"], key: "id").map { $0.record["id"] } == [
                "b4", "b5", "b6", "b7", "b8", "b9",
            ])
        for name in try Files.list(path) { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    @Test(
        "gives up its reserve when the disk is full, waits in memory after that, and recovers",
        .enabled(if: geteuid() == 0, "mounting a small file system needs root"))
    func fullDisk() throws {
        let disk = directory.path + "/disk"
        try Files.createDirectory(disk)
        try #require(mount("tmpfs", disk, "tmpfs", 0, "size=64k") == 0)
        defer {
            umount(disk)
            rmdir(disk)
        }
        let files = LedgerFiles(directory: disk, name: "emergency")
        let ledger = try ledger(in: disk, reserve: 16_384)
        ledger.open()
        ledger.append(entry("a", "first"))
        try run { ledger.health.written == 1 }
        #expect(ledger.health.hasReserve)
        fill(disk + "/filler")

        ledger.append(entry("b", String(repeating: "x", count: 6_000)))
        try run { ledger.health.written == 2 }
        #expect(!ledger.health.hasReserve)
        #expect(ledger.health.error == nil)
        #expect(ledger.health.alarms == ["the disk is full: the space kept free for records is in use"])

        ledger.append(entry("c", String(repeating: "x", count: 20_000)))
        try run { ledger.health.error != nil }
        #expect(ledger.health.error?.code == .noSpace)
        #expect(ledger.health.pending == 1)
        #expect(try files.verify().findings == [])

        unlink(disk + "/filler")
        try run { ledger.health.written == 3 && ledger.health.hasReserve }
        #expect(ledger.health.alarms == [])
        #expect(try files.verify().lineCount == 3)
    }

    /// Takes all space there is.
    private func fill(_ path: String) {
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode_t(0o600))
        defer { close(file) }
        let page = [UInt8](repeating: 0, count: 4_096)
        while Glibc.write(file, page, page.count) > 0 {}
    }

    @Test("an empty place has nothing to find")
    func empty() throws {
        let nowhere = LedgerFiles(directory: directory.path + "/nowhere", name: "emergency")
        #expect(try nowhere.verify() == .init())
        #expect(try nowhere.records(ofMonths: ["2026-11"], key: "id").isEmpty)
        #expect(try nowhere.chain() == LedgerFiles.Chain())
    }
}
