import Foundation
import PackagePlugin

/// Compiles the BPF program with the toolchain's own clang and embeds the object in the target that uses the plugin.
///
/// One command, since SwiftPM would take an intermediate object for a resource, and a bundle needs Foundation.
@main
struct EmbedRelay: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let sources = context.package.directoryURL.appending(path: "Sources/CFastPath")
        let source = sources.appending(path: "BPF/relay.bpf.c")
        let headers = try ["BPF", "include"].flatMap { folder in
            try FileManager.default.contentsOfDirectory(
                at: sources.appending(path: folder), includingPropertiesForKeys: nil)
        }.filter { $0.pathExtension == "h" }.sorted { $0.path < $1.path }
        let object = context.pluginWorkDirectoryURL.appending(path: "relay.bpf.o")
        let embedded = context.pluginWorkDirectoryURL.appending(path: "RelayObject.swift")
        // The loader reads BTF, not DWARF; where the toolchain has no objcopy the object is merely larger.
        let objcopy = try? context.tool(named: "llvm-objcopy").url.path

        return [
            .buildCommand(
                displayName: "Compiling and embedding BPF program relay.bpf.c",
                executable: try context.tool(named: "embed-object").url,
                arguments: [
                    embedded.path, object.path, objcopy ?? "", try context.tool(named: "clang").url.path,
                    "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror",
                    "-I\(systemHeaders)", "-ffile-prefix-map=\(context.package.directoryURL.path)=.",
                    "-c", source.path,
                ],
                inputFiles: [source] + headers, outputFiles: [embedded])
        ]
    }

    /// Where Debian keeps asm/types.h, which the kernel's headers include; the same for every architecture we build on.
    private var systemHeaders: String {
        #if arch(arm64)
            "/usr/include/aarch64-linux-gnu"
        #else
            "/usr/include/x86_64-linux-gnu"
        #endif
    }
}
