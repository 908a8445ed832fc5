import Primitives
import Testing

@testable import Appliance

@Suite("the reserve for 911 where sources are limited in user space")
struct EmergencyReserveTests {
    private static func mayAskForHelp(_ bytes: [UInt8]) -> Bool { EmergencyReserve.mayAskForHelp(bytes.span) }

    private static func invite(_ uri: String) -> [UInt8] {
        Array("INVITE \(uri) SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n".utf8)
    }

    @Test(
        "knows what may be a call for help",
        arguments: ["sip:911@office.example", "sip:9911@192.0.2.1", "urn:service:sos.fire", "tel:112", "SIP:*911@a"])
    func help(uri: String) {
        #expect(Self.mayAskForHelp(Self.invite(uri)))
    }

    @Test("leaves all else to the buckets", arguments: ["sip:2001@office.example", "sip:2001@911.example"])
    func ordinary(uri: String) {
        #expect(!Self.mayAskForHelp(Self.invite(uri)))
        let register = Array("REGISTER sip:911@office.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n".utf8)
        #expect(!Self.mayAskForHelp(register))
    }

    @Test("what is too short is no INVITE")
    func short() {
        for count in 0..<50 { #expect(!Self.mayAskForHelp(Array(Self.invite("sip:911@a")[..<count]))) }
    }

    @Test("is so much a second, and no more")
    func bounded() {
        var reserve = EmergencyReserve()
        let invite = Self.invite("sip:911@office.example")
        let now = MonotonicTime(nanoseconds: 5_000_000_000)
        func admits(after delay: Duration) -> Bool { reserve.admits(invite.span, at: now + delay) }
        let admitted = (0..<100).map { _ in admits(after: .zero) }
        #expect(admitted.count { $0 } == EmergencyReserve.perSecondMax)
        let later = (admits(after: .milliseconds(999)), admits(after: .seconds(1)))
        #expect(later == (false, true))
    }
}
