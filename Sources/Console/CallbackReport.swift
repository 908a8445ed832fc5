import Primitives

/// `cresset emergency elins`: which number stands for which caller.
package enum CallbackReport {
    /// Renders the daemon's answer to `elins`. Ends with a newline.
    package static func render(_ list: JSONValue) -> String {
        var text = "a caller for help may be called back for \(list.shown("window-minutes")) minutes\n"
        for site in list.elements("sites") {
            let (numbers, leased, callers) = (count(site, "numbers"), count(site, "leased"), count(site, "callers"))
            text += "site \(site.shown("site")): \(leased) of \(numbers) numbers leased"
            if numbers == 0 {
                text += "; none to lease, callers show their own"
            } else if callers > leased {
                text += "; SHARED by \(callers) callers, the pool is too small"
            }
            text += "\n"
        }
        var table = TextTable(
            .init("NUMBER"), .init("SITE"), .init("STATION"), .init("AGE", .right), .init("CALLS", .right),
            .init("LEFT", .right), .init(""))
        for lease in list.elements("leases") {
            table.add(
                lease.shown("elin"), lease.shown("site"), lease.shown("station"), lease.age("age-seconds"),
                lease.shown("active-calls"),
                lease["remaining-seconds"]?.integerValue.map { "\(($0 + 59) / 60) min" } ?? "in call",
                lease["shared"]?.boolValue == true ? "shared" : "")
        }
        return text + (table.isEmpty ? "nobody may be called back now\n" : "\n" + table.rendered())
    }

    private static func count(_ site: JSONValue, _ name: String) -> Int64 { site[name]?.integerValue ?? 0 }

    /// `cresset emergency test-mode`: the daemon's answer to `test-mode`.
    package static func renderTestMode(_ fact: JSONValue) -> String {
        guard fact["active"]?.boolValue == true else { return "test mode is off: 911 is placed\n" }
        var text = "TEST MODE: every 911 is blocked, 933 is placed\n"
        for sign in fact.elements("signs") {
            text += "because of \(sign.shown ?? JSONValue.absent); ends with a restart without it\n"
        }
        if fact["armed-by"]?.shown != nil {
            text += "armed by \(fact.shown("armed-by")), \(fact.age("armed-seconds-left")) left\n"
        }
        return text
    }
}
