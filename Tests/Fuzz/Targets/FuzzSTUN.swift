import Primitives
import SIPEngine

/// STUN keepalives on the SIP port; an answer is never more than twice the question and some: no amplifier.
func fuzzSTUN(_ bytes: Span<UInt8>) {
    guard let address = IPAddress("2001:db8::9") else { return }
    let answer = STUNKeepalive.answer(to: bytes, from: TransportAddress(address, 5060))
    guard (answer?.count ?? 0) <= 2 * bytes.count + 64 else { fatalError("an amplifier") }
}
