import Configuration

/// A configuration file of any bytes, through reading, checking and reporting.
func fuzzTOML(_ bytes: Span<UInt8>) {
    let file = ConfigurationFile(name: "fuzz.toml", bytes: Array(copying: bytes))
    blackHole(ConfigurationParser.parse(files: [file]))
}
