import Primitives
import Testing

@Suite("Timer table")
struct TimerTableTests {
    @Test(
        "behaves as a plain list does, through random starts, stops and expiries",
        arguments: 1...8 as ClosedRange<UInt64>)
    func model(seed: UInt64) {
        var random = RandomSource(seed: seed)
        var table = TimerTable<Int>()
        var model: [(key: Int, deadline: Int64, order: Int)] = []
        var now: Int64 = 0
        for step in 0..<5_000 {
            let key = Int(random.next() % (seed % 2 == 0 ? 8 : 200))
            switch random.next() % 8 {
            case 0...4:
                let deadline = now + Int64(random.next() % 50) - 5
                table.start(key, at: MonotonicTime(nanoseconds: deadline))
                model.removeAll { $0.key == key }
                model.append((key, deadline, step))
            case 5:
                table.stop(key)
                model.removeAll { $0.key == key }
            default:
                now += Int64(random.next() % 20)
                while true {
                    let due = model.filter { $0.deadline <= now }.min {
                        ($0.deadline, $0.order) < ($1.deadline, $1.order)
                    }
                    let popped = table.popDue(MonotonicTime(nanoseconds: now))
                    guard popped == due?.key else {
                        Issue.record("seed \(seed) step \(step): \(String(describing: popped)) is not \(due as Any)")
                        return
                    }
                    guard let due else { break }
                    model.removeAll { $0.key == due.key }
                }
            }
            let earliest = model.map(\.deadline).min()
            guard table.count == model.count, table.isEmpty == model.isEmpty,
                table.earliest?.nanoseconds == earliest,
                table.deadline(of: key)?.nanoseconds == model.first(where: { $0.key == key })?.deadline
            else {
                Issue.record("seed \(seed) step \(step): the table and the model disagree")
                return
            }
        }
    }

    @Test("equal deadlines expire in the order they were started; a restart counts anew")
    func order() {
        var table = TimerTable<String>()
        let time = MonotonicTime.zero + .milliseconds(500)
        for key in ["a", "b", "c"] { table.start(key, at: time) }
        table.start("a", at: time)
        var popped: [String] = []
        #expect(table.popDue(.zero) == nil)
        while let key = table.popDue(time) { popped.append(key) }
        #expect(popped == ["b", "c", "a"])
        #expect(table.earliest == nil)
    }

    @Test("restarting one timer for ever does not grow the table's work")
    func restarts() {
        var table = TimerTable<Int>()
        table.start(0, at: MonotonicTime(nanoseconds: 1_000_000))
        for step in 0..<100_000 { table.start(1, at: MonotonicTime(nanoseconds: 2_000_000 + Int64(step))) }
        #expect(table.count == 2)
        #expect(table.popDue(MonotonicTime(nanoseconds: 5_000_000)) == 0)
        #expect(table.popDue(MonotonicTime(nanoseconds: 5_000_000)) == 1)
        #expect(table.isEmpty)
    }
}

@Suite("Queues")
struct QueueTests {
    @Test("first in, first out, through random use", arguments: 1...4 as ClosedRange<UInt64>)
    func model(seed: UInt64) {
        var random = RandomSource(seed: seed)
        var queue = Queue<Int>()
        var model: [Int] = []
        for step in 0..<20_000 {
            // Long phases of filling and draining, so that the head moves past its thresholds.
            let isFilling = step / 1_500 % 2 == 0
            if random.next() % 4 == 0 ? !isFilling : isFilling {
                queue.append(step)
                model.append(step)
            } else {
                let expected = model.isEmpty ? nil : model.removeFirst()
                guard queue.popFirst() == expected else {
                    Issue.record("seed \(seed) step \(step)")
                    return
                }
            }
            guard queue.count == model.count, queue.isEmpty == model.isEmpty else {
                Issue.record("seed \(seed) step \(step): count")
                return
            }
        }
    }

    @Test("releases what was taken out")
    func releases() {
        final class Probe: Sendable {}
        var queue = Queue<Probe>()
        weak var probe: Probe?
        do {
            let strong = Probe()
            probe = strong
            queue.append(strong)
            queue.append(Probe())
        }
        #expect(probe != nil)
        _ = queue.popFirst()
        #expect(probe == nil && queue.count == 1)
    }

    @Test("a bounded queue refuses the newest at its end, and takes again after one left", arguments: [1, 2, 100])
    func bounded(capacity: Int) {
        var queue = BoundedQueue<Int>(capacity: capacity)
        for number in 0..<capacity { #expect(queue.append(number) == true) }
        #expect(queue.append(-1) == false)
        #expect(queue.count == capacity)
        #expect(queue.popFirst() == 0)
        #expect(queue.append(capacity) == true)
        #expect(queue.append(-1) == false)
        for number in 1...capacity { #expect(queue.popFirst() == number) }
        #expect(queue.popFirst() == nil && queue.isEmpty)
    }
}

@Suite("Bytes")
struct ByteTests {
    @Test("what the writer writes the reader reads")
    func roundTrip() throws {
        var writer = ByteWriter(capacity: 4)
        writer.write(0x01 as UInt8)
        writer.write(0x0203 as UInt16)
        writer.write(0x0405_0607 as UInt32)
        writer.write(0x0809_0A0B_0C0D_0E0F as UInt64)
        writer.write("é")
        writer.write(contentsOf: [1, 2])
        writer.write(contentsOf: [9, 8, 7][1...])
        writer.write(contentsOf: ([5, 4] as [UInt8]).span)
        writer.writeDecimal(-120)
        writer.overwrite(at: 1, with: 0xFFFE)
        #expect(
            writer.bytes == [1, 0xFF, 0xFE] + (4...15) + [0xC3, 0xA9, 1, 2, 8, 7, 5, 4] + Array("-120".utf8))
        #expect(writer.count == 27)
        var reader = ByteReader(writer.bytes.span)
        #expect(try reader.readUInt8() == 1)
        #expect(try reader.readUInt16() == 0xFFFE)
        #expect(try reader.readUInt32() == 0x0405_0607)
        #expect(try reader.readUInt64() == 0x0809_0A0B_0C0D_0E0F)
        #expect(try reader.readRange(count: 12) == 15..<27)
        #expect(reader.remaining == 0)
        #expect(try reader.readRange(count: 0) == 27..<27)
    }

    @Test("a field that is cut short throws where it starts, and the cursor stays", arguments: 0...8)
    func truncated(byteCount: Int) throws {
        let bytes = [UInt8](repeating: 0xAA, count: byteCount)
        var reader = ByteReader(bytes.span)
        func fails(_ width: Int, _ error: WireError?) { #expect((error != nil) == (byteCount < width), "\(width)") }
        for width in [1, 2, 4, 8] {
            reader = ByteReader(bytes.span)
            var thrown: WireError?
            do throws(WireError) {
                switch width {
                case 1: _ = try reader.readUInt8()
                case 2: _ = try reader.readUInt16()
                case 4: _ = try reader.readUInt32()
                default: _ = try reader.readUInt64()
                }
            } catch { thrown = error }
            fails(width, thrown)
            #expect(thrown == nil || thrown == .truncated(at: 0))
            #expect(reader.offset == (thrown == nil ? width : 0))
        }
        for count in [-1, Int.min, byteCount + 1, Int.max] {
            reader = ByteReader(bytes.span)
            var thrown: WireError?
            do throws(WireError) { _ = try reader.readRange(count: count) } catch { thrown = error }
            #expect(thrown == .truncated(at: 0))
        }
    }
}

@Suite("Random source")
struct RandomSourceTests {
    @Test("a seed repeats itself (SplitMix64), another gives other numbers")
    func seeded() {
        var first = RandomSource(seed: 1_234_567)
        #expect(
            (0..<3).map { _ in first.next() } == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            ])
        var (second, third) = (RandomSource(seed: 2), RandomSource(seed: 3))
        #expect(second.next() != third.next())
    }

    @Test(
        "the system's numbers and tokens differ, and tokens have the length asked for",
        arguments: [0, 1, 8, 16, 17, 40])
    func tokens(digitCount: Int) {
        var random = RandomSource()
        let token = random.hexToken(digitCount: digitCount)
        #expect(token.utf8.count == digitCount)
        #expect(token.allSatisfy { "0123456789abcdef".contains($0) })
        if digitCount >= 16 { #expect(token != random.hexToken(digitCount: digitCount)) }
        var seeded = RandomSource(seed: 9)
        var again = RandomSource(seed: 9)
        #expect(seeded.hexToken(digitCount: digitCount) == again.hexToken(digitCount: digitCount))
    }
}
