/// A point in civil time (UTC), as records and certificates need it; it may jump when the clock is set.
package struct WallClockTime: Comparable, Hashable, Sendable {
    /// Nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    package let nanosecondsSinceEpoch: Int64

    package init(nanosecondsSinceEpoch: Int64) { self.nanosecondsSinceEpoch = nanosecondsSinceEpoch }

    /// Clamped to the years 1677 to 2262, which 64 bits of nanoseconds hold.
    package init(secondsSinceEpoch: Int64) {
        let (product, overflow) = secondsSinceEpoch.multipliedReportingOverflow(by: 1_000_000_000)
        nanosecondsSinceEpoch = overflow ? (secondsSinceEpoch < 0 ? .min : .max) : product
    }

    package var secondsSinceEpoch: Int64 { nanosecondsSinceEpoch.floorDivided(by: 1_000_000_000) }

    package static func < (left: WallClockTime, right: WallClockTime) -> Bool {
        left.nanosecondsSinceEpoch < right.nanosecondsSinceEpoch
    }

    package static func + (time: WallClockTime, duration: Duration) -> WallClockTime {
        WallClockTime(nanosecondsSinceEpoch: time.nanosecondsSinceEpoch.addingSaturated(duration.wholeNanoseconds))
    }

    package static func - (later: WallClockTime, earlier: WallClockTime) -> Duration {
        .nanoseconds(later.nanosecondsSinceEpoch &- earlier.nanosecondsSinceEpoch)
    }

    /// Proleptic Gregorian date and time of day in UTC.
    package var civil: (year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int, weekday: Int) {
        let seconds = secondsSinceEpoch
        let days = seconds.floorDivided(by: 86_400)
        let secondOfDay = Int(seconds - days * 86_400)
        // Days to civil date, in eras of 400 years that start on 1 March.
        let shifted = days + 719_468
        let era = shifted.floorDivided(by: 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let weekday = Int((days + 4) - (days + 4).floorDivided(by: 7) * 7)  // 0 is Sunday
        return (
            Int(year), Int(month), Int(day), secondOfDay / 3_600, secondOfDay / 60 % 60, secondOfDay % 60, weekday
        )
    }

    /// `2026-11-21T03:00:00.000Z` (RFC 3339), with milliseconds.
    package var rfc3339: String {
        let date = civil
        let remainder = nanosecondsSinceEpoch % 1_000_000_000
        let fraction = remainder < 0 ? remainder + 1_000_000_000 : remainder
        return "\(date.year.padded(4))-\(date.month.padded(2))-\(date.day.padded(2))"
            + "T\(date.hour.padded(2)):\(date.minute.padded(2)):\(date.second.padded(2))"
            + ".\(Int(fraction / 1_000_000).padded(3))Z"
    }

    /// `Sat, 21 Nov 2026 03:00:00 GMT`, the form of SIP's Date header (RFC 3261 §20.17).
    package var sipDate: String {
        let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let date = civil
        return "\(weekdays[date.weekday]), \(date.day.padded(2)) \(months[date.month - 1]) \(date.year.padded(4))"
            + " \(date.hour.padded(2)):\(date.minute.padded(2)):\(date.second.padded(2)) GMT"
    }
}

extension Int64 {
    fileprivate func floorDivided(by divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}

extension Int {
    /// Decimal digits with leading zeros up to `width`; longer numbers are not cut.
    package func padded(_ width: Int) -> String {
        let digits = String(self)
        return String(repeating: "0", count: Swift.max(0, width - digits.count)) + digits
    }
}
