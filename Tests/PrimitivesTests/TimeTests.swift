import Primitives
import Testing

@Suite("Wall-clock time")
struct WallClockTimeTests {
    struct Sample: Sendable {
        let seconds: Int64
        let rfc3339: String
        let sipDate: String
    }

    static let samples: [Sample] = [
        .init(seconds: 0, rfc3339: "1970-01-01T00:00:00.000Z", sipDate: "Thu, 01 Jan 1970 00:00:00 GMT"),
        .init(seconds: -1, rfc3339: "1969-12-31T23:59:59.000Z", sipDate: "Wed, 31 Dec 1969 23:59:59 GMT"),
        .init(seconds: 951_782_400, rfc3339: "2000-02-29T00:00:00.000Z", sipDate: "Tue, 29 Feb 2000 00:00:00 GMT"),
        .init(seconds: 951_868_800, rfc3339: "2000-03-01T00:00:00.000Z", sipDate: "Wed, 01 Mar 2000 00:00:00 GMT"),
        .init(seconds: 1_709_164_800, rfc3339: "2024-02-29T00:00:00.000Z", sipDate: "Thu, 29 Feb 2024 00:00:00 GMT"),
        .init(seconds: 1_798_761_599, rfc3339: "2026-12-31T23:59:59.000Z", sipDate: "Thu, 31 Dec 2026 23:59:59 GMT"),
        .init(seconds: 4_107_542_399, rfc3339: "2100-02-28T23:59:59.000Z", sipDate: "Sun, 28 Feb 2100 23:59:59 GMT"),
        .init(seconds: 4_107_542_400, rfc3339: "2100-03-01T00:00:00.000Z", sipDate: "Mon, 01 Mar 2100 00:00:00 GMT"),
        .init(seconds: -2_203_891_200, rfc3339: "1900-03-01T00:00:00.000Z", sipDate: "Thu, 01 Mar 1900 00:00:00 GMT"),
        .init(seconds: 2_147_483_648, rfc3339: "2038-01-19T03:14:08.000Z", sipDate: "Tue, 19 Jan 2038 03:14:08 GMT"),
    ]

    @Test("writes the dates of both centuries, leap days and before 1970", arguments: samples)
    func dates(_ sample: Sample) {
        let time = WallClockTime(secondsSinceEpoch: sample.seconds)
        #expect(time.rfc3339 == sample.rfc3339)
        #expect(time.sipDate == sample.sipDate)
        #expect(time.secondsSinceEpoch == sample.seconds)
    }

    @Test("milliseconds count up from the second before, also before 1970")
    func fractions() {
        #expect(WallClockTime(nanosecondsSinceEpoch: 1_999_999).rfc3339 == "1970-01-01T00:00:00.001Z")
        #expect(WallClockTime(nanosecondsSinceEpoch: -1).rfc3339 == "1969-12-31T23:59:59.999Z")
        #expect(WallClockTime(nanosecondsSinceEpoch: -1_000_000_000).rfc3339 == "1969-12-31T23:59:59.000Z")
    }

    @Test("the ends of the range neither trap nor wrap")
    func ends() {
        #expect(WallClockTime(nanosecondsSinceEpoch: .min).rfc3339 == "1677-09-21T00:12:43.145Z")
        #expect(WallClockTime(nanosecondsSinceEpoch: .max).rfc3339 == "2262-04-11T23:47:16.854Z")
        #expect(WallClockTime(secondsSinceEpoch: .max) == WallClockTime(nanosecondsSinceEpoch: .max))
        #expect(WallClockTime(secondsSinceEpoch: .min) == WallClockTime(nanosecondsSinceEpoch: .min))
    }

    @Test("every day of 1890 to 2110 follows the one before")
    func everyDay() {
        var (year, month, day, weekday) = (1890, 1, 1, 3)  // a Wednesday
        var seconds: Int64 = -2_524_521_600
        while year < 2110 {
            let date = WallClockTime(secondsSinceEpoch: seconds + 43_200).civil
            guard date.year == year, date.month == month, date.day == day, date.weekday == weekday, date.hour == 12
            else {
                Issue.record("\(date) is not \(year)-\(month)-\(day)")
                return
            }
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
            day += 1
            if day > lengths[month - 1] { (month, day) = (month + 1, 1) }
            if month > 12 { (year, month) = (year + 1, 1) }
            weekday = (weekday + 1) % 7
            seconds += 86_400
        }
    }

    @Test("times are added and compared")
    func arithmetic() {
        let time = WallClockTime(secondsSinceEpoch: 10)
        #expect(time + .milliseconds(1_500) == WallClockTime(nanosecondsSinceEpoch: 11_500_000_000))
        #expect((time + .seconds(3)) - time == .seconds(3))
        #expect(time < time + .nanoseconds(1))
    }
}

@Suite("Monotonic time and durations")
struct MonotonicTimeTests {
    @Test("adds, subtracts and compares")
    func arithmetic() {
        let time = MonotonicTime.zero + .seconds(2)
        #expect(time.nanoseconds == 2_000_000_000)
        #expect(time - (.zero + .milliseconds(500)) == .milliseconds(1_500))
        #expect(MonotonicTime.zero < time)
        #expect(time + .seconds(-3) < .zero)
    }

    @Test("a far deadline stays far: adding does not wrap around")
    func saturation() {
        #expect(MonotonicTime(nanoseconds: .max - 5) + .seconds(1) == MonotonicTime(nanoseconds: .max))
        #expect(MonotonicTime(nanoseconds: 1_000) + .seconds(Int64.max) == MonotonicTime(nanoseconds: .max))
        #expect(MonotonicTime(nanoseconds: .min + 5) + .seconds(-1) == MonotonicTime(nanoseconds: .min))
    }

    @Test(
        "durations in whole units, clamped",
        arguments: [
            (Duration.milliseconds(1_999), 1_999_000_000 as Int64, 1_999 as Int64, 1 as Int64),
            (.nanoseconds(-1), -1, 0, 0), (.zero, 0, 0, 0),
            (.seconds(Int64.max), .max, .max / 1_000_000, .max), (.seconds(Int64.min), .min, .min / 1_000_000, .min),
        ])
    func units(duration: Duration, nanoseconds: Int64, milliseconds: Int64, seconds: Int64) {
        #expect(duration.wholeNanoseconds == nanoseconds)
        #expect(duration.wholeMilliseconds == milliseconds)
        #expect(duration.wholeSeconds == seconds)
    }

    @Test("pads numbers", arguments: [(0, 2, "00"), (7, 3, "007"), (1234, 3, "1234"), (0, 0, "0")])
    func padding(number: Int, width: Int, text: String) {
        #expect(number.padded(width) == text)
    }
}
