import Primitives

func fuzzJSON(_ bytes: Span<UInt8>) {
    guard let value = try? JSONValue(parsing: bytes) else { return }
    _ = value
}
