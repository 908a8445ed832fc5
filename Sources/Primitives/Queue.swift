/// First in, first out, amortised constant time; what an engine's `nextOutput()` drains.
package struct Queue<Element: Sendable>: Sendable {
    private var elements: [Element?] = []
    private var head = 0

    package init() {}

    package var isEmpty: Bool { head == elements.count }
    package var count: Int { elements.count - head }

    package mutating func append(_ element: Element) { elements.append(element) }

    package mutating func popFirst() -> Element? {
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
package struct BoundedQueue<Element: Sendable>: Sendable {
    private var queue = Queue<Element>()
    package let capacity: Int

    package init(capacity: Int) {
        precondition(capacity > 0, "a queue holds at least one element")
        self.capacity = capacity
    }

    package var isEmpty: Bool { queue.isEmpty }
    package var count: Int { queue.count }

    /// false, and nothing changed, when the queue is full.
    package mutating func append(_ element: Element) -> Bool {
        guard queue.count < capacity else { return false }
        queue.append(element)
        return true
    }

    package mutating func popFirst() -> Element? { queue.popFirst() }
}
