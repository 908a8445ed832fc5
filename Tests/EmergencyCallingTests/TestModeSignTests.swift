import Testing

@testable import EmergencyCalling

@Suite("Signs of test mode")
struct TestModeSignTests {
    @Test("every variable counts, when it is set to something")
    func variables() {
        for name in EmergencyTestMode.variables {
            for value in ["1", "true", "yes", "tests/test_calls.py::test_911 (call)"] {
                let signs = EmergencyTestMode.signs { $0 == name ? value : nil }
                #expect(signs == ["the environment variable \(name)"])
            }
            for value in ["", "0", "false", "No", "off"] {
                #expect(EmergencyTestMode.signs { $0 == name ? value : nil } == [])
            }
        }
        #expect(EmergencyTestMode.signs { _ in nil } == [])
    }

    @Test(
        "a path with test in the name of its directory or of a file",
        arguments: [
            ("/etc/cresset-test", []), ("/etc/cresset-test/", []), ("/etc/Testing", []), ("/etc/mytestbox", []),
            ("/etc/cresset", ["/etc/cresset/test_config.toml"]), ("/etc/latest-test", []),
        ])
    func paths(_ directory: String, _ names: [String]) {
        #expect(!EmergencyTestMode.saysTest("etc"))
        let files = names.map { String($0.split(separator: "/").last ?? "") }
        #expect(EmergencyTestMode.signs(ofConfiguration: directory, files: files).count == 1)
    }

    @Test(
        "not a word that merely contains it, nor a directory further up",
        arguments: ["/etc/cresset", "/home/tester/etc", "/srv/latest", "/etc/attestation", "/", ""])
    func ordinary(_ directory: String) {
        #expect(EmergencyTestMode.signs(ofConfiguration: directory, files: ["attestation.toml", "trunks.toml"]) == [])
    }
}
