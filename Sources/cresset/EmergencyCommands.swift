import ArgumentParser

/// `cresset emergency`: what the box does about calls for help, and the proof of it.
struct EmergencyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "emergency",
        abstract: "Calls for help: records and proof.",
        subcommands: [
            EmergencyListCommand.self, EmergencyShowCommand.self, EmergencyVerifyLogCommand.self,
            EmergencyVerifyCommand.self, EmergencyProveCommand.self, EmergencyAuditCommand.self,
            EmergencyNumbersCommand.self, TestModeCommand.self,
            NoticesCommand.self, AcknowledgeCommand.self,
        ])
}
