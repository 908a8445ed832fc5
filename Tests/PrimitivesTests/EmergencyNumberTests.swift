import Primitives
import Testing

@Suite("Emergency numbers")
struct EmergencyNumberTests {
    @Test(
        "are known however they are dialled",
        arguments: [
            "911", "9911", "9-911", "9 911", "+911", "*911", "1911", "12911", "10911", "19911", "112", "9112", "(911)",
            "9.1.1",
        ])
    func emergency(_ dialled: String) { #expect(EmergencyNumberPlan().number(dialled: dialled) == .emergency) }

    @Test("have their test", arguments: ["933", "9933", "9-933", "+933"])
    func test(_ dialled: String) { #expect(EmergencyNumberPlan().number(dialled: dialled) == .test) }

    @Test(
        "are not what merely ends or begins in them",
        arguments: [
            "", "91", "9111", "5911", "2911", "20911", "5551911", "+13135550911", "9115", "911*", "#911", "٩١١",
            "13135550911", "0911", "99911", "1933", "933933", "-", "+", "９１１",
        ])
    func ordinary(_ dialled: String) { #expect(EmergencyNumberPlan().number(dialled: dialled) == nil) }

    @Test("are what is configured and always the built-in ones")
    func plan() {
        let plan = EmergencyNumberPlan(outsidePrefixes: ["8", "*9"], additional: ["999"])
        for dialled in ["911", "9911", "8911", "*9911", "8-911", "999", "8999", "+999", "*911", "12911"] {
            #expect(plan.number(dialled: dialled) == .emergency, "\(dialled)")
        }
        #expect(plan.number(dialled: "8933") == .test)
        for dialled in ["112", "7911", "88911", "9112"] { #expect(plan.number(dialled: dialled) == nil, "\(dialled)") }
        let bare = EmergencyNumberPlan(outsidePrefixes: [], additional: [])
        #expect(bare.number(dialled: "9911") == .emergency)
    }

    @Test(
        "have service names (RFC 5031, RFC 6881 §17)",
        arguments: zip(
            [
                "urn:service:sos", "URN:SERVICE:SOS", "urn:service:sos.fire", "urn:service:test.sos",
                "urn:service:sosx",
                "urn:service:counseling", "urn:service:sos.",
            ],
            [.emergency, .emergency, .emergency, .test, nil, nil, .emergency] as [EmergencyNumber?]))
    func serviceNames(_ text: String, _ expected: EmergencyNumber?) {
        #expect(EmergencyNumber(serviceURN: text) == expected)
    }
}
