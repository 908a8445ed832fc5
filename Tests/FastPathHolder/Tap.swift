import CNamespaces
import FastPath
import Glibc
import Primitives

/// A process that was handed a tap's ring, and nothing else: takes the descriptor from the Unix socket, gives all
/// privileges away and prints so many records, one a line: tap, direction, timestamp, packet.
func readTap(_ arguments: [Int]) -> Never {
    guard arguments.count == 3 else { fail("--tap-reader SOCKET BYTES COUNT") }
    let descriptor = namespace_receive_descriptor(CInt(arguments[0]))
    guard descriptor >= 0, setgid(65534) == 0, setuid(65534) == 0 else {
        fail("no descriptor, or privileges remain")
    }
    do throws(FastPathError) {
        let reader = try TapReader(descriptor: descriptor, byteCount: arguments[1])
        close(descriptor)
        print("ready")
        fflush(nil)
        var count = 0
        let deadline = time(nil) + 20
        while count < arguments[2], time(nil) < deadline {
            while let record = reader.next() {
                let hex = record.packet.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
                print(record.tap.id, record.tap.direction, record.timestamp.nanoseconds, hex)
                count += 1
            }
            usleep(2_000)  // the reader's own pace: a tap wakes nobody
        }
        fflush(nil)
        exit(count == arguments[2] ? 0 : 1)
    } catch {
        fail("\(error)")
    }
}
