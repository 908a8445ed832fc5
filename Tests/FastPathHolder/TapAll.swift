import FastPath
import Glibc
import MediaFormats

/// Taps every flow; a thread reads the copies each millisecond, to the end of the process.
func tapAll(_ flows: [MediaFlow], of fastPath: FastPath) throws(FastPathError) {
    guard let buffer = try fastPath.openTapBuffer() else { fail("openTapBuffer") }
    for (index, flow) in flows.enumerated() {
        try fastPath.setTap(MediaTap(id: UInt32(index + 1), direction: UInt8(index & 1)), on: flow.local)
    }
    let work = UnsafeMutablePointer<TapBuffer>.allocate(capacity: 1)  // the thread's, to the end of the process
    work.initialize(to: buffer)
    var thread = pthread_t()
    let code = pthread_create(
        &thread, nil,
        { argument in
            if let work = argument?.assumingMemoryBound(to: TapBuffer.self) { readAll(work.pointee) }
            return nil
        }, work)
    guard code == 0 else { fail("pthread_create: \(code)") }
}

private func readAll(_ buffer: TapBuffer) {
    if let name = fopen("/proc/thread-self/comm", "w") {  // so that a benchmark tells it from the relay's threads
        fputs("tap-reader", name)
        fclose(name)
    }
    do throws(FastPathError) {
        let reader = try TapReader(descriptor: buffer.descriptor, byteCount: buffer.byteCount)
        while true {
            while reader.next() != nil {}
            usleep(1_000)  // the reader's own pace: a tap wakes nobody
        }
    } catch {
        fail("\(error)")
    }
}
