/// Keeps the optimiser from leaving out what a target computes.
@inline(never) @_optimize(none)
func blackHole<Value>(_ value: Value) {}

extension String {
    init(copying bytes: Span<UInt8>) {
        var copy: [UInt8] = []
        copy.reserveCapacity(bytes.count)
        for index in bytes.indices { copy.append(bytes[index]) }
        self.init(decoding: copy, as: UTF8.self)
    }
}
