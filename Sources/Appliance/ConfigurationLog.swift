import Configuration
import LinuxIO

// What a configuration says, in the log.
extension StandardErrorLog.Level {
    init(_ level: LogConfiguration.Level) {
        self =
            switch level {
            case .error: .error
            case .warning: .warning
            case .notice: .notice
            case .info: .info
            case .debug: .debug
            }
    }
}

extension StandardErrorLog {
    func write(_ issues: [ConfigurationIssue]) {
        for issue in issues {
            write(issue.severity == .error ? .error : .warning, "\(issue.place): \(issue.explanation)")
        }
    }
}
