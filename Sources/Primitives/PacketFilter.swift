/// A classic BPF program: what of the packets that come by a socket lets in. The kernel checks it before it accepts it.
package struct PacketFilter: Hashable, Sendable {
    /// One instruction, as `struct sock_filter` of linux/filter.h.
    package struct Instruction: Hashable, Sendable {
        package let code: UInt16
        /// How many instructions to leave out if the comparison holds, and if it does not.
        package let jumpTrue: UInt8
        package let jumpFalse: UInt8
        package let operand: UInt32

        package init(_ code: UInt16, _ operand: UInt32, jumpTrue: UInt8 = 0, jumpFalse: UInt8 = 0) {
            self.code = code
            self.jumpTrue = jumpTrue
            self.jumpFalse = jumpFalse
            self.operand = operand
        }
    }

    package let instructions: [Instruction]

    package init(_ instructions: [Instruction]) { self.instructions = instructions }
}
