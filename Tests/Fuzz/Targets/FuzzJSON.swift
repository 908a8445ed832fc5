import Primitives

func fuzzJSON(_ bytes: Span<UInt8>) {
    blackHole(try? JSONValue(parsing: bytes))
}
