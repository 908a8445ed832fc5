import Glibc
import Primitives
import SIPEngine
import SignallingFormats
import Testing

@testable import Appliance

@Suite("Registrations over a restart")
struct BindingFileTests {
    let directory: String

    init() throws {
        var template = Array("/tmp/cresset-bindings-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// A registrar with one binding over UDP and one over TCP.
    static func registrar(at now: MonotonicTime) throws -> Registrar {
        var registrar = Registrar()
        for (user, transport, connection) in [
            ("2001", SIPTransport.udp, nil), ("2002", .tcp, ConnectionID(rawValue: 7)),
        ] {
            let text = """
                REGISTER sip:branch.example SIP/2.0\r
                Via: SIP/2.0/UDP 192.168.50.101:5060;branch=z9hG4bK1\r
                From: <sip:\(user)@branch.example>;tag=1\r
                To: <sip:\(user)@branch.example>\r
                Call-ID: call-\(user)\r
                CSeq: 41 REGISTER\r
                Contact: <sip:\(user)@192.168.50.101:5060;ob>;q=0.5;+sip.instance="<urn:uuid:1>"\r
                Expires: 600\r
                Content-Length: 0\r
                \r

                """
            guard case .request(let request) = try SIPMessage(parsing: Array(text.utf8).span) else { continue }
            let path = TransportPath(
                realm: RealmID("lan"), transport: transport,
                remote: try #require(TransportAddress("192.168.50.101:5060")), connection: connection)
            let response = registrar.handle(request, from: path, user: user, contactsMax: 4, at: now)
            #expect(response.statusCode == 200)
        }
        return registrar
    }

    @Test("what was written comes back with the time that remains; TCP does not")
    func roundTrip() throws {
        let wall = WallClockTime(secondsSinceEpoch: 1_800_000_000)
        let registrar = try Self.registrar(at: .zero)
        let file = BindingFile(directory: directory)
        try file.write(registrar.export(at: .zero + .seconds(100)), at: wall)

        let read = try file.read(at: wall + .seconds(50))
        #expect(read.map(\.user) == ["2001", "2002"])
        #expect(read.map(\.remaining) == [.seconds(450), .seconds(450)])
        var later = Registrar()
        later.import(read, at: .zero + .seconds(7))
        let before = try #require(registrar.bindings(for: "2001").first)
        var after = try #require(later.bindings(for: "2001").first)
        #expect(after.expires == .zero + .seconds(457))
        after.expires = before.expires
        #expect(after == before)
        #expect(later.bindings(for: "2002").isEmpty)
    }

    @Test("what has expired meanwhile does not come back")
    func expired() throws {
        let wall = WallClockTime(secondsSinceEpoch: 1_800_000_000)
        let file = BindingFile(directory: directory)
        try file.write(try Self.registrar(at: .zero).export(at: .zero), at: wall)
        #expect(try file.read(at: wall + .seconds(600)).isEmpty)
        #expect(try file.read(at: wall + .seconds(599)).count == 2)
    }

    @Test("no file is no registrations; a damaged one is an error that names it", arguments: ["{", "no json", ""])
    func damaged(_ text: String) throws {
        let file = BindingFile(directory: directory)
        #expect(try file.read(at: WallClockTime(secondsSinceEpoch: 0)).isEmpty)
        let descriptor = open(directory + "/bindings.json", O_WRONLY | O_CREAT, 0o600)
        _ = Glibc.write(descriptor, text, text.utf8.count)
        close(descriptor)
        #expect { try file.read(at: WallClockTime(secondsSinceEpoch: 0)) } throws: { "\($0)".contains("bindings.json") }
    }
}
