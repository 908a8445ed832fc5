import Appliance
import Glibc
import LinuxIO
import Primitives

do throws(DaemonOptions.Stop) {
    exit(Daemon.run(try DaemonOptions(arguments: Array(CommandLine.arguments.dropFirst()))))
} catch {
    switch error {
    case .help: print(DaemonOptions.usage)
    case .version: print("cressetd \(Version.text)")
    case .invalid(let message):
        StandardErrorLog().write(.error, message)
        exit(64)  // EX_USAGE
    }
}
