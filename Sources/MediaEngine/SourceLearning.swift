import MediaFormats
import Primitives

// Who may send: RTP bleed and inject (CVE-2017-14114 and its successors) end here.
//
// - The address in the description is accepted at once and relayed by the kernel at once.
// - Inside the window, and only while that address is silent, another port of the same address, or of the address
//   the signalling of a peer behind NAT comes from, is accepted after three RTP packets in sequence of one SSRC.
// - The first packet from the address in the description closes the window, even after another was accepted.
// - When the window ends the accepted source is locked. Only new signalling opens a window again.

extension MediaEngine {
    mutating func openWindow(_ key: EndpointKey, at now: MonotonicTime) {
        let window = key.isRTCP ? max(settings.learningWindow, Limits.rtcpLearningWindowMin) : settings.learningWindow
        modify(key) { $0.open(at: now, for: window) }
        timers.stop(.decision(key))
        timers.start(.learning(key), at: now + window)
    }

    private mutating func closeWindow(_ key: EndpointKey, at now: MonotonicTime) {
        modify(key) { $0.close() }
        timers.stop(.learning(key))
        timers.stop(.decision(key))
        refreshFlow(key, at: now)
    }

    mutating func endWindow(_ key: EndpointKey, at now: MonotonicTime) {
        closeWindow(key, at: now)
        // So that a later connect knows whether this side was heard.
        if let endpoint = endpoint(key), endpoint.mayBypass, !endpoint.isHeard {
            outputs.append(.readCounters(local: endpoint.local))
        }
    }

    /// A datagram the kernel did not relay.
    mutating func receive(_ bytes: [UInt8], from source: TransportAddress, at key: EndpointKey, now: MonotonicTime) {
        guard let endpoint = endpoint(key) else { return }
        let isMux = !key.isRTCP && legs[key.leg]?.streams[key.stream].remote?.rtcpMux == true
        let kind = MediaPacketKind(of: bytes.span)
        let isFitting = key.isRTCP ? kind == .rtcp : kind == .rtp || (isMux && kind == .rtcp)
        guard let kind, isFitting else {
            modify(key) { endpoint in
                if endpoint.accepted == source {
                    endpoint.socket.malformed &+= 1
                } else if !endpoint.mayBypass {
                    endpoint.socket.wrongSource &+= 1
                }
            }
            return
        }
        if source == endpoint.accepted {
            heard(key, at: now)
            relay(bytes, kind, key, now: now)
        } else if endpoint.isOpen(at: now), learn(source, bytes, kind, endpoint, key, at: now) {
            heard(key, at: now)
            relay(bytes, kind, key, now: now)
        } else {
            refuse(source, key)
        }
    }

    private mutating func refuse(_ source: TransportAddress, _ key: EndpointKey) {
        let isNew = modify(key) { endpoint in
            // The kernel counts what it passes up itself.
            if !endpoint.mayBypass { endpoint.socket.wrongSource &+= 1 }
            guard endpoint.accepted != nil, !endpoint.reported.contains(source),
                !endpoint.candidates.contains(where: { $0.source == source }),
                endpoint.reported.count < Limits.reportedSourceCountMax
            else { return false }
            endpoint.reported.append(source)
            return true
        }
        if isNew == true { outputs.append(.event(.wrongSource(key.leg, stream: key.stream, source: source))) }
    }

    /// The accepted source sent; if it is the signalled one there is nothing left to learn.
    private mutating func heard(_ key: EndpointKey, at now: MonotonicTime) {
        let isDecided = modify(key) { endpoint in
            endpoint.isHeard = true
            return endpoint.rank == .signalled && endpoint.windowEnd != nil
        }
        if isDecided == true { closeWindow(key, at: now) }
    }

    private func rank(of source: TransportAddress, at key: EndpointKey) -> SourceRank {
        guard let stream = legs[key.leg]?.streams[key.stream], let remote = stream.remote else { return .foreign }
        if key.isRTCP {
            if source == remote.rtcpAddress { return .signalled }
            // RTCP follows RTP: the same host, whatever the port.
            return source.address == stream.rtp.accepted?.address ? .sameAddress : .foreign
        }
        if source == remote.rtp { return .signalled }
        if source.address == remote.rtp.address { return .sameAddress }
        return source.address == remote.natAddress ? .nat : .foreign
    }

    /// true: the source is the accepted one from now on.
    private mutating func learn(
        _ source: TransportAddress, _ bytes: [UInt8], _ kind: MediaPacketKind, _ endpoint: Endpoint,
        _ key: EndpointKey, at now: MonotonicTime
    ) -> Bool {
        let rank = rank(of: source, at: key)
        // The signalled source gives way only while it is silent; a learned one only to a better one.
        guard rank > .foreign, endpoint.rank == .signalled ? !endpoint.isHeard : rank > endpoint.rank else {
            return false
        }
        if rank == .signalled {
            accept(source, rank, key, at: now)
            return true
        }
        // RTCP has no sequence and comes seldom; it must come from the host whose RTP is accepted.
        if !key.isRTCP {
            guard kind == .rtp, let header = try? RTPHeader(parsing: bytes.span),
                !(64...95).contains(header.payloadType),
                modify(key, { $0.isBelieved(source, header) }) == true
            else { return false }
        }
        guard endpoint.mayBypass, endpoint.rank == .signalled else {
            accept(source, rank, key, at: now)
            return true
        }
        // The kernel relays the signalled source without telling: ask first whether it was heard.
        if endpoint.pending == nil {
            modify(key) { $0.pending = source }
            outputs.append(.readCounters(local: endpoint.local))
            timers.start(.decision(key), at: now + Limits.counterReplyMax)
        }
        return false
    }

    private mutating func accept(
        _ source: TransportAddress, _ rank: SourceRank, _ key: EndpointKey, at now: MonotonicTime
    ) {
        modify(key) { endpoint in
            endpoint.accepted = source
            endpoint.rank = rank
            endpoint.isHeard = true
            endpoint.candidates = []
            endpoint.pending = nil
        }
        timers.stop(.decision(key))
        if !key.isRTCP {
            outputs.append(.event(.learned(key.leg, stream: key.stream, source: source)))
            followWithRTCP(source, key)
        }
        if key.isRTCP || rank == .signalled { closeWindow(key, at: now) }
        refresh(key.leg, at: now)
    }

    /// RTP comes from another host than described: until RTCP is heard, it is expected beside it.
    private mutating func followWithRTCP(_ source: TransportAddress, _ key: EndpointKey) {
        guard let remote = legs[key.leg]?.streams[key.stream].remote, let described = remote.rtcpAddress else { return }
        let rtcpKey = EndpointKey(leg: key.leg, stream: key.stream, isRTCP: true)
        modify(rtcpKey) { endpoint in
            guard !endpoint.isHeard else { return }
            if source == remote.rtp || source.address == described.address {
                endpoint.accepted = described
                endpoint.rank = .signalled
            } else if source.port != .max {
                endpoint.accepted = TransportAddress(source.address, source.port + 1)
                endpoint.rank = .signalled  // a guess: it gives way to any port of that host
            }
        }
    }

    /// The kernel's word, or its silence, on a candidate.
    mutating func decide(_ key: EndpointKey, at now: MonotonicTime) {
        guard let endpoint = endpoint(key), let source = endpoint.pending else { return }
        timers.stop(.decision(key))
        guard endpoint.isOpen(at: now), !endpoint.isHeard else {
            closeWindow(key, at: now)
            return refuse(source, key)
        }
        accept(source, rank(of: source, at: key), key, at: now)
    }

    /// Counters the kernel reported.
    mutating func update(_ key: EndpointKey, _ counters: MediaFlowCounters, at now: MonotonicTime) {
        let isHeard = modify(key) { endpoint in
            let before = endpoint.kernel
            endpoint.update(counters)
            // Since the window opened, hence from the source accepted now.
            let threshold = endpoint.windowEnd == nil ? endpoint.appliedAt : endpoint.windowOpened + Limits.windowGuard
            return counters.packets != before.packets && counters.lastArrival.map { $0 > threshold } == true
        }
        if isHeard == true { heard(key, at: now) }
        if endpoint(key)?.pending != nil { decide(key, at: now) }
        noteArrival(key.leg, at: now)
    }

    // MARK: Relaying through the socket

    private mutating func relay(
        _ bytes: [UInt8], _ kind: MediaPacketKind, _ key: EndpointKey, now: MonotonicTime
    ) {
        let flow = desiredFlow(key)
        let isHeardHere = isHeardHere(key.leg)
        if flow != nil || isHeardHere, endpoint(key)?.mayBypass == false { observe(bytes, kind, key, at: now) }
        if isHeardHere, kind == .rtp { readKeys(bytes, key) }
        let again = modify(key) { endpoint -> MediaFlow? in
            endpoint.socket.lastArrival = now
            guard flow != nil || isHeardHere else { return nil }
            endpoint.socket.packets &+= 1
            endpoint.socket.bytes &+= UInt64(bytes.count)
            guard endpoint.mayBypass, now - endpoint.appliedAt >= Limits.reapplyInterval else { return nil }
            endpoint.appliedAt = now
            return endpoint.applied
        }
        if let flow {
            var bytes = bytes
            if kind == .rtp { flow.translate(&bytes) }
            outputs.append(.forward(bytes, from: flow.rewrittenSource, to: flow.rewrittenDestination))
        }
        if let again = again ?? nil { outputs.append(.applyFlow(again)) }
        noteArrival(key.leg, at: now)
    }

    /// The kernel counts what it passes up itself; the rest is ours.
    private mutating func observe(
        _ bytes: [UInt8], _ kind: MediaPacketKind, _ key: EndpointKey, at now: MonotonicTime
    ) {
        let stream = legs[key.leg]?.streams[key.stream]
        switch kind {
        case .rtp:
            modify(key) {
                $0.stream.observe(
                    bytes.span, at: now, clockRate: stream?.format?.clockRate,
                    eventPayloadType: stream?.format?.eventPayloadType)
            }
        case .rtcp:
            var opposite: ReportMonitor?
            if let peer = legs[key.leg]?.peer, let other = legs[peer]?.streams, other.indices.contains(key.stream) {
                opposite = other[key.stream][isRTCP: other[key.stream].remote?.rtcpMux != true].reports
            }
            modify(key) { $0.reports.observe(bytes.span, opposite: opposite, at: now) }
        }
    }

    // MARK: Flows

    /// Makes the flows of a leg and of the one it is connected to what they should be.
    mutating func refresh(_ leg: MediaLegID, at now: MonotonicTime) {
        guard let peer = legs[leg].map(\.peer) else { return }
        for id in [leg, peer] {
            guard let id, let count = legs[id]?.streams.count else { continue }
            for stream in 0..<count {
                for isRTCP in [false, true] {
                    refreshFlow(EndpointKey(leg: id, stream: stream, isRTCP: isRTCP), at: now)
                }
            }
            supervise(id, at: now)
        }
    }

    mutating func refreshFlow(_ key: EndpointKey, at now: MonotonicTime) {
        let flow = desiredFlow(key)
        var step = flow == nil ? 0 : 1
        var leavesKernel = false
        let changed = modify(key) { endpoint -> TransportAddress? in
            guard endpoint.applied != flow else { return nil }
            if endpoint.applied != nil { step -= 1 }
            if endpoint.applied == nil {
                // The kernel counts a new flow from zero.
                endpoint.past = endpoint.past + endpoint.kernel
                endpoint.kernel = MediaFlowCounters()
                endpoint.isInKernel = nil
            }
            if let applied = endpoint.applied, let flow, applied.staysInUserSpace != flow.staysInUserSpace {
                leavesKernel = flow.staysInUserSpace
                if !leavesKernel, !endpoint.awaitsLastCounters {
                    endpoint.past = endpoint.past + endpoint.kernel
                    endpoint.kernel = MediaFlowCounters()
                }
                endpoint.isInKernel = leavesKernel ? false : nil
            }
            endpoint.applied = flow
            endpoint.appliedAt = now
            endpoint.awaitsLastCounters = flow == nil || leavesKernel
            return endpoint.local
        }
        guard let local = changed ?? nil else { return }
        flowCount += step
        if leavesKernel { outputs.append(.removeFlow(local: local)) }
        outputs.append(flow.map { .applyFlow($0) } ?? .removeFlow(local: local))
    }

    /// What should be relayed from this endpoint; nil: nothing.
    private func desiredFlow(_ key: EndpointKey) -> MediaFlow? {
        guard let leg = legs[key.leg], let peer = leg.peer.flatMap({ legs[$0] }),
            peer.streams.indices.contains(key.stream)
        else { return nil }
        // Read where they lie: streams are large, and this runs for each of them whenever anything changes.
        let (from, to, index) = (leg.streams, peer.streams, key.stream)
        guard let source = from[index].remote, let sink = to[index].remote,
            let accepted = key.isRTCP ? from[index].rtcp.accepted : from[index].rtp.accepted
        else { return nil }
        if key.isRTCP, source.rtcpMux { return nil }
        // Direction is about RTP; RTCP goes on during hold (RFC 3264 §5.1).
        guard key.isRTCP || (source.sends && sink.receives) else { return nil }
        // Whoever is played to hears nobody else meanwhile.
        if !key.isRTCP, let id = leg.peer, playouts[id] != nil { return nil }
        let leavesByRTCP = key.isRTCP && !sink.rtcpMux
        guard let destination = leavesByRTCP ? to[index].rtcp.accepted : to[index].rtp.accepted else { return nil }
        let isEmergency = leg.isEmergency || peer.isEmergency
        let windowEnd = key.isRTCP ? from[index].rtcp.windowEnd : from[index].rtp.windowEnd
        return MediaFlow(
            local: key.isRTCP ? from[index].rtcp.local : from[index].rtp.local, kind: key.isRTCP ? .rtcp : .rtp,
            acceptedSource: accepted, wrongSource: windowEnd == nil ? .drop : .pass,
            rewrittenSource: leavesByRTCP ? to[index].rtcp.local : to[index].rtp.local,
            rewrittenDestination: destination, payloadTypes: key.isRTCP ? [] : from[index].payloadTypes,
            trafficClass: isEmergency ? settings.emergencyTrafficClass : settings.trafficClass,
            isEmergency: isEmergency, clockRate: key.isRTCP ? nil : from[index].format?.clockRate,
            eventPayloadType: key.isRTCP ? nil : from[index].format?.eventPayloadType,
            staysInUserSpace: !key.isRTCP && playouts[key.leg] != nil)
    }
}

extension MediaFlow {
    /// The payload type as the other leg knows it, in place; the marker stays.
    func translate(_ datagram: inout [UInt8]) {
        guard datagram.count >= 2 else { return }
        let payloadType = datagram[1] & 0x7F
        for mapping in payloadTypes where mapping.from == payloadType {
            datagram[1] = datagram[1] & 0x80 | mapping.to & 0x7F
            return
        }
    }
}

extension Endpoint {
    /// One more RTP packet of a possible source; true once there are enough in sequence.
    mutating func isBelieved(_ source: TransportAddress, _ header: RTPHeader) -> Bool {
        guard let index = candidates.firstIndex(where: { $0.source == source }) else {
            if candidates.count >= Limits.candidateCountMax { candidates.removeFirst() }
            candidates.append(Candidate(source: source, ssrc: header.ssrc, sequenceNumber: header.sequenceNumber))
            return false
        }
        let step = header.sequenceNumber &- candidates[index].sequenceNumber
        if candidates[index].ssrc == header.ssrc, (1...Limits.candidateGapMax).contains(step) {
            candidates[index].packetCount += 1
        } else if candidates[index].ssrc != header.ssrc || step != 0 {
            candidates[index].ssrc = header.ssrc
            candidates[index].packetCount = 1
        }
        candidates[index].sequenceNumber = header.sequenceNumber
        return candidates[index].packetCount >= Limits.candidatePacketCount
    }

    /// The kernel's counters since the flow was applied; when they fall, it began again.
    mutating func update(_ counters: MediaFlowCounters) {
        if counters.packets < kernel.packets { past = past + kernel }
        kernel = counters
    }
}
