// swift-tools-version: 6.2
import PackageDescription

// Floors: a target lists only targets of lower floors; `make check` enforces it.
// See Documentation/architecture.md.

/// Every Swift target: language mode 6, warnings are errors.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
    .treatAllWarnings(as: .error),
]
/// Formats and engines have no reason to touch raw memory: there the compiler also refuses unsafe code.
let pure: [SwiftSetting] = strict + [.strictMemorySafety()]

let package = Package(
    name: "cresset",
    products: [
        .executable(name: "cressetd", targets: ["cressetd"]),
        .executable(name: "cresset", targets: ["cresset"]),
        .executable(name: "cresset-courier", targets: ["cresset-courier"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
    ],
    targets: [
        // Floor 0
        .target(name: "Primitives", exclude: ["README.md"], swiftSettings: pure),

        // Floor 1: formats
        .target(
            name: "SignallingFormats", dependencies: ["Primitives"], exclude: ["README.md"], swiftSettings: pure),
        .target(name: "MediaFormats", dependencies: ["Primitives"], exclude: ["README.md"], swiftSettings: pure),
        .target(
            name: "Configuration", dependencies: ["Primitives"], exclude: ["README.md"], swiftSettings: pure),
        .target(name: "OutreachJobs", dependencies: ["Primitives"], exclude: ["README.md"], swiftSettings: pure),

        // Floor 2a: engines, no I/O. CallEngine stands on the three before it.
        .target(
            name: "SIPEngine", dependencies: ["Primitives", "SignallingFormats"], exclude: ["README.md"],
            swiftSettings: pure),
        .target(
            name: "MediaEngine", dependencies: ["Primitives", "MediaFormats"], exclude: ["README.md"],
            swiftSettings: pure),
        .target(
            name: "EmergencyCalling", dependencies: ["Primitives", "SignallingFormats"], exclude: ["README.md"],
            swiftSettings: pure),
        .target(
            name: "CallEngine",
            dependencies: [
                "Primitives", "SignallingFormats", "MediaFormats", "SIPEngine", "MediaEngine", "EmergencyCalling",
            ],
            exclude: ["README.md"], swiftSettings: pure),
        .target(name: "Shield", dependencies: ["Primitives"], exclude: ["README.md"], swiftSettings: pure),
        .target(name: "Console", dependencies: ["Primitives"], exclude: ["README.md"], swiftSettings: pure),

        // Floor 2b: adapters
        .target(
            name: "LinuxIO", dependencies: ["Primitives", "CLinux"], exclude: ["README.md"], swiftSettings: strict),
        .target(
            name: "FastPath", dependencies: ["Primitives", "MediaFormats", "CFastPath"], exclude: ["README.md"],
            swiftSettings: strict, plugins: ["EmbedRelay"]),
        .target(
            name: "Crypto", dependencies: ["Primitives", "COpenSSL"], exclude: ["README.md"], swiftSettings: strict),
        .target(
            name: "Outreach", dependencies: ["Primitives", "OutreachJobs", "CCurl"], exclude: ["README.md"],
            swiftSettings: strict),

        // Floor 2b, upper
        .target(
            name: "FlatFiles", dependencies: ["Primitives", "LinuxIO", "Crypto"], exclude: ["README.md"],
            swiftSettings: strict),

        // Floor 3: composition
        .target(
            name: "Appliance",
            dependencies: [
                "Primitives", "SignallingFormats", "MediaFormats", "Configuration", "SIPEngine", "MediaEngine",
                "EmergencyCalling", "CallEngine", "Shield", "Console", "LinuxIO", "FastPath", "Crypto",
                "FlatFiles", "OutreachJobs",
            ],
            exclude: ["README.md"], swiftSettings: strict),

        // Floor 4: executables
        .executableTarget(
            name: "cressetd", dependencies: ["Primitives", "Appliance", "LinuxIO"], exclude: ["README.md"],
            swiftSettings: strict),
        .executableTarget(
            name: "cresset-courier", dependencies: ["Primitives", "OutreachJobs", "LinuxIO", "Outreach"],
            exclude: ["README.md"], swiftSettings: strict),
        .executableTarget(
            name: "cresset",
            dependencies: [
                "Primitives", "Configuration", "Console", "LinuxIO", "FlatFiles", "Appliance",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            exclude: ["README.md"], swiftSettings: strict),

        // C: what Swift cannot import
        .target(name: "CLinux", exclude: ["README.md"]),
        .target(
            name: "CFastPath", exclude: ["BPF", "README.md"],
            // The relay core reads packets as words of several sizes, as the kernel does.
            cSettings: [.unsafeFlags(["-fno-strict-aliasing"])], linkerSettings: [.linkedLibrary("bpf")]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),

        // The BPF program of FastPath, compiled by the toolchain's clang and embedded
        .plugin(name: "EmbedRelay", capability: .buildTool(), dependencies: ["embed-object"]),
        .executableTarget(name: "embed-object", path: "Plugins/embed-object", swiftSettings: strict),

        // Tests
        .target(
            name: "TestSupport", dependencies: ["Primitives"], path: "Tests/TestSupport", swiftSettings: strict),
        .testTarget(name: "PrimitivesTests", dependencies: ["Primitives", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "SignallingFormatsTests", dependencies: ["Primitives", "SignallingFormats", "TestSupport"],
            exclude: ["Golden", "SDP/Golden"], swiftSettings: strict),
        .testTarget(
            name: "MediaFormatsTests", dependencies: ["Primitives", "MediaFormats", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "ConfigurationTests", dependencies: ["Primitives", "Configuration", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "SIPEngineTests",
            dependencies: ["Primitives", "SignallingFormats", "SIPEngine", "Crypto", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "MediaEngineTests", dependencies: ["Primitives", "MediaFormats", "MediaEngine", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "CallEngineTests",
            dependencies: [
                "Primitives", "SignallingFormats", "MediaFormats", "SIPEngine", "MediaEngine", "EmergencyCalling",
                "CallEngine",
                "Crypto", "TestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "EmergencyCallingTests",
            dependencies: ["Primitives", "SignallingFormats", "EmergencyCalling", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "ShieldTests", dependencies: ["Primitives", "Shield", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "LinuxIOTests", dependencies: ["Primitives", "LinuxIO", "TestSupport"], swiftSettings: strict),
        .target(name: "CNamespaces", path: "Tests/CNamespaces", linkerSettings: [.linkedLibrary("bpf")]),
        .executableTarget(
            name: "FastPathHolder", dependencies: ["Primitives", "MediaFormats", "FastPath", "CFastPath", "CNamespaces"],
            path: "Tests/FastPathHolder", swiftSettings: strict),
        .testTarget(
            name: "FastPathTests",
            dependencies: [
                "Primitives", "MediaFormats", "FastPath", "CFastPath", "CNamespaces", "FastPathHolder", "TestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "FlatFilesTests", dependencies: ["Primitives", "LinuxIO", "FlatFiles", "TestSupport"],
            swiftSettings: strict),
        .testTarget(name: "CryptoTests", dependencies: ["Primitives", "Crypto", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "ConsoleTests", dependencies: ["Primitives", "Console", "TestSupport"], exclude: ["Golden"],
            swiftSettings: strict),
        .testTarget(
            name: "CressetCommandTests",
            dependencies: [
                "Primitives", "Configuration", "Console", "cresset",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ApplianceTests",
            dependencies: [
                "Primitives", "SignallingFormats", "MediaFormats", "SIPEngine", "MediaEngine", "CallEngine",
                "Shield", "EmergencyCalling", "Configuration", "LinuxIO", "Appliance", "TestSupport",
            ],
            swiftSettings: strict),
    ]
)

// The fuzzer (Tests/Fuzz) needs libFuzzer to link: it is part of the package only for `make fuzz`.
if Context.environment["CRESSET_FUZZ"] == "1" {
    package.products.append(.executable(name: "fuzz", targets: ["fuzz"]))
    package.targets.append(
        .executableTarget(
            name: "fuzz",
            dependencies: [
                "Primitives", "SignallingFormats", "MediaFormats", "Configuration", "SIPEngine", "MediaEngine",
                "CallEngine", "FastPath",
            ],
            path: "Tests/Fuzz/Targets", swiftSettings: strict))
}

// What `make bench` measures beside its peers.
if Context.environment["CRESSET_BENCH"] == "1" {
    package.products.append(.executable(name: "parse-benchmark", targets: ["ParseBenchmark"]))
    package.targets.append(
        .executableTarget(
            name: "ParseBenchmark", dependencies: ["SignallingFormats"], path: "Benchmarks/sip/ParseBenchmark",
            swiftSettings: strict))
    package.products.append(.executable(name: "call-benchmark", targets: ["CallBenchmark"]))
    package.targets.append(
        .executableTarget(
            name: "CallBenchmark",
            dependencies: ["Primitives", "SignallingFormats", "MediaFormats", "SIPEngine", "CallEngine"],
            path: "Benchmarks/sip/CallBenchmark", swiftSettings: strict))
    package.products.append(.executable(name: "receive-benchmark", targets: ["ReceiveBenchmark"]))
    package.targets.append(
        .executableTarget(
            name: "ReceiveBenchmark",
            dependencies: ["Primitives", "SignallingFormats", "LinuxIO", "FastPath", "CLinux", "CNamespaces"],
            path: "Benchmarks/sip/ReceiveBenchmark", swiftSettings: strict))
}
