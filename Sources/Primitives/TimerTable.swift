/// Deadlines by key: at most one per key, the earliest found in constant time, none ever lost.
///
/// A binary heap with lazy removal: restarting or stopping a timer leaves a stale heap entry that is skipped later.
/// Public and inlinable, as is `Queue`: the compiler (6.3.1) specialises generics for another module only then; a package
/// one looks up the metadata of its types for each timer.
public struct TimerTable<Key: Hashable & Sendable>: Sendable {
    @usableFromInline
    struct Entry: Sendable {
        @usableFromInline let deadline: MonotonicTime
        @usableFromInline let order: UInt64
        @usableFromInline let key: Key

        @inlinable
        init(deadline: MonotonicTime, order: UInt64, key: Key) {
            self.deadline = deadline
            self.order = order
            self.key = key
        }
    }

    @usableFromInline var heap: [Entry] = []
    @usableFromInline var current: [Key: (deadline: MonotonicTime, order: UInt64)] = [:]
    @usableFromInline var nextOrder: UInt64 = 0

    @inlinable
    public init() {}

    @inlinable
    public var isEmpty: Bool { current.isEmpty }

    /// How many timers run.
    @inlinable
    public var count: Int { current.count }

    /// The earliest deadline; nil when no timer runs.
    @inlinable
    public var earliest: MonotonicTime? {
        // The top of the heap is live: stop, start and popDue remove stale entries from there.
        heap.first?.deadline
    }

    /// The deadline of one timer; nil when it does not run.
    @inlinable
    public func deadline(of key: Key) -> MonotonicTime? { current[key]?.deadline }

    /// Starts the timer, or moves it when it already runs.
    @inlinable
    public mutating func start(_ key: Key, at deadline: MonotonicTime) {
        nextOrder += 1
        let hasRun = current.updateValue((deadline, nextOrder), forKey: key) != nil
        heap.append(Entry(deadline: deadline, order: nextOrder, key: key))
        siftUp(heap.count - 1)
        if hasRun { dropStale() }
        if heap.count > 64, heap.count > 4 * current.count { rebuild() }
    }

    /// Stops the timer; does nothing when it does not run.
    @inlinable
    public mutating func stop(_ key: Key) {
        guard current.removeValue(forKey: key) != nil else { return }
        dropStale()
    }

    /// Removes and returns one timer that is due, the earliest first, equal deadlines in starting order.
    @inlinable
    public mutating func popDue(_ now: MonotonicTime) -> Key? {
        guard let top = heap.first, top.deadline <= now else { return nil }
        removeTop()
        current[top.key] = nil
        dropStale()
        return top.key
    }

    @inlinable
    func isLive(_ entry: Entry) -> Bool { current[entry.key]?.order == entry.order }

    @inlinable
    mutating func dropStale() {
        while let top = heap.first, !isLive(top) { removeTop() }
    }

    @inlinable
    mutating func rebuild() {
        heap = heap.filter(isLive)
        heap.sort(by: Self.precedes)  // a sorted array is a heap
    }

    @inlinable
    static func precedes(_ left: Entry, _ right: Entry) -> Bool {
        (left.deadline, left.order) < (right.deadline, right.order)
    }

    @inlinable
    mutating func removeTop() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { return }
            if child + 1 < heap.count, Self.precedes(heap[child + 1], heap[child]) { child += 1 }
            guard Self.precedes(heap[child], heap[parent]) else { return }
            heap.swapAt(parent, child)
            parent = child
        }
    }

    @inlinable
    mutating func siftUp(_ start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            guard Self.precedes(heap[child], heap[parent]) else { return }
            heap.swapAt(parent, child)
            child = parent
        }
    }
}
