/// Keeps the optimiser from leaving out what a target computes.
@inline(never) @_optimize(none)
func blackHole<Value>(_ value: Value) {}

extension [UInt8] {
    init(copying bytes: Span<UInt8>) {
        self.init()
        reserveCapacity(bytes.count)
        for index in bytes.indices { append(bytes[index]) }
    }
}
