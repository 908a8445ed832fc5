/// First in, first out, amortised constant time; what an engine's `nextOutput()` drains. Public as `TimerTable` is.
public struct Queue<Element: Sendable>: Sendable {
    @usableFromInline var elements: [Element?] = []
    @usableFromInline var head = 0

    @inlinable
    public init() {}

    @inlinable
    public var isEmpty: Bool { head == elements.count }
    @inlinable
    public var count: Int { elements.count - head }

    @inlinable
    public mutating func append(_ element: Element) { elements.append(element) }

    @inlinable
    public mutating func popFirst() -> Element? {
        guard head < elements.count else { return nil }
        let element = elements[head].take()
        head += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: elements.count <= 256)
            head = 0
        } else if head >= 256, head * 2 > elements.count {
            elements.removeFirst(head)
            head = 0
        }
        return element
    }
}

/// A queue with an end: beyond `capacity` the newest element is refused and the caller decides.
public struct BoundedQueue<Element: Sendable>: Sendable {
    @usableFromInline var queue = Queue<Element>()
    public let capacity: Int

    @inlinable
    public init(capacity: Int) {
        precondition(capacity > 0, "a queue holds at least one element")
        self.capacity = capacity
    }

    @inlinable
    public var isEmpty: Bool { queue.isEmpty }
    @inlinable
    public var count: Int { queue.count }

    /// false, and nothing changed, when the queue is full.
    @inlinable
    public mutating func append(_ element: Element) -> Bool {
        guard queue.count < capacity else { return false }
        queue.append(element)
        return true
    }

    @inlinable
    public mutating func popFirst() -> Element? { queue.popFirst() }
}
