// CounterPage — one worker's counters, in a page that every process can read.
//
// Invariants: only the worker that owns the page writes it, with plain stores (relaxed atomics, no
// locked instruction); everyone may read. The page is `byteCount` long and 8-byte aligned.

import Synchronization

/// What a worker counts. The raw value is the position of the cell in its page; new ones go to the end.
public enum Counter: Int, Sendable, CaseIterable {
  // Gauges: what is there now. The master clears them when the worker has died.
  case connectionsActive, requestsActive, upstreamConnectionsActive, upstreamConnectionsIdle, webSocketsActive, tunnelsActive, waiting
  // Totals.
  case connectionsAccepted, connectionsRefused, requests, bytesReceived, bytesSent
  case responses1xx, responses2xx, responses3xx, responses4xx, responses5xx
  case upstreamConnects, upstreamReuses, upstreamRequests, upstreamFailures, upstreamResends
  case queueTimeouts, queueRejections, idleCloses, acceptFailures, logLinesDropped
  case clientAborts, requestsForwarded, requestsAnswered
  // Handshakes that succeeded, those of them that resumed a session, and failures in the order of TLSFailure.
  case tlsHandshakes, tlsResumptions
  case tlsNotTLS, tlsVersion, tlsCipher, tlsNoClientCertificate, tlsBadClientCertificate, tlsAlert, tlsTimeout, tlsAbandoned
  case tlsProtocolError, tlsInternalError
  // HTTP/2: two gauges, then totals.
  case http2ConnectionsActive, http2StreamsActive
  case http2Connections, http2Streams, http2ResetsReceived, http2ResetsSent
  // WebSockets: begun here and through the proxy, and how those of our own endpoints ended, by close code.
  case webSocketUpgrades, tunnelUpgrades, webSocketMessages
  case closesNormal, closesGoingAway, closesProtocolError, closesAbnormal, closesInvalidData, closesTooBig, closesOther
  // TLS to backends: handshakes that succeeded, those of them that resumed a session, and those that failed.
  case upstreamTLSHandshakes, upstreamTLSResumptions, upstreamTLSFailures
  // gRPC: calls, and their ends in the order of CallStatus.
  case grpcCalls
  case grpcOK, grpcCancelled, grpcUnknown, grpcInvalidArgument, grpcDeadlineExceeded, grpcNotFound, grpcAlreadyExists, grpcPermissionDenied
  case grpcResourceExhausted, grpcFailedPrecondition, grpcAborted, grpcOutOfRange, grpcUnimplemented, grpcInternal, grpcUnavailable, grpcDataLoss
  case grpcUnauthenticated, grpcNoStatus
  // Requests promised to clients of HTTP/2.
  case http2Pushes
  // Requests that were sent again, other than after a stale connection.
  case upstreamRetries
  // Rate limits: requests refused, and those that a dry run spared.
  case rateLimitRefusals, rateLimitSpared
  // Unused connections that backends have closed.
  case upstreamIdleCloses
  // Requests that were sent once more while they were under way, and those of them that brought the answer.
  case upstreamHedges, upstreamHedgesWon
  // HTTP/2 to backends: two gauges, then totals.
  case upstreamSessionsActive, upstreamStreamsActive
  case upstreamSessions, upstreamStreams, upstreamResetsReceived, upstreamResetsSent, upstreamGoAways, upstreamPingTimeouts
  case upstreamPreconnects, upstreamPreconnectsSkipped
  // Requests that went to another endpoint because one could not be connected to.
  case upstreamFailovers
  // Endpoints that checks have taken out of use and brought back, and those that were ejected.
  case endpointFailures, endpointRecoveries, endpointEjections
  // Fields that header rules left out because of what would have stood in them.
  case fieldsRefused
  // Headers of the PROXY protocol: received and sent.
  case proxyHeadersReceived, proxyHeadersSent
  // Circuit breakers: times that one was opened, requests refused and those that a dry run spared, retries likewise.
  case breakerTrips, breakerRefusals, breakerSpared, retryBudgetRefusals, retryBudgetSpared
  // Copies of requests: sent, those of them that failed, and those for which there was no room.
  case mirrorsSent, mirrorsFailed, mirrorsSkipped
  // Compression: responses, and bytes before and after.
  case responsesCompressed, compressionBytesIn, compressionBytesOut
  // Lookups of names, and those of them that have not found all.
  case dnsLookups, dnsFailures
  // Connection attempts made beside another, and those of them that were first.
  case upstreamRaces, upstreamRacesWon
  // Requests refused because as many were under way, or waited, as may.
  case crowdRefusals, pendingRefusals
  // Limits on what is under way: requests refused and those that a dry run spared, connections likewise.
  case concurrencyRefusals, concurrencySpared, connectionExcessRefusals, connectionExcessSpared
  // Requests that rate limits hold, a gauge, and all that were held.
  case requestsHeld, requestsDelayed
  // Rate limits on other machines: questions sent, and answered; waits that ended without; questions that failed otherwise; what became of requests without an
  // answer; those decided by what earlier answers had left; microseconds from questions to answers; connections begun; times that a server was given up.
  case storeQuestions, storeAnswers, storeTimeouts, storeFailures, storeAllowed, storeDenied, storeLocal, storeHeldAdmissions, storeHeldRefusals
  case storeMicroseconds, storeConnects, storeTrips

  /// Whether the counter is a gauge, to be cleared when its worker has gone.
  public var isGauge: Bool {
    switch self {
    case .http2ConnectionsActive, .http2StreamsActive, .upstreamSessionsActive, .upstreamStreamsActive, .requestsHeld: true
    default: rawValue <= Counter.waiting.rawValue
    }
  }
}

/// A worker's counters.
@safe
public struct CounterPage: ~Copyable {
  /// The size of a page in bytes. 512 cells: the first 256 for `Counter`, the rest one per `Fault`.
  public static let byteCount = 4096
  @usableFromInline static let faultBase = 256

  @usableFromInline let cells: UnsafeMutablePointer<Atomic<UInt64>>

  /// Uses the `byteCount` bytes at `base`, which outlive the page; they are zero, or an earlier page.
  public init(at base: UnsafeMutableRawPointer) {
    unsafe cells = base.bindMemory(to: Atomic<UInt64>.self, capacity: CounterPage.byteCount / 8)
  }

  @inlinable @inline(__always)
  public func add(_ counter: Counter, _ amount: UInt64 = 1) {
    let cell = unsafe cells + counter.rawValue
    unsafe cell.pointee.store(cell.pointee.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
  }

  @inlinable @inline(__always)
  public func subtract(_ counter: Counter, _ amount: UInt64 = 1) {
    let cell = unsafe cells + counter.rawValue
    unsafe cell.pointee.store(cell.pointee.load(ordering: .relaxed) &- amount, ordering: .relaxed)
  }

  @inlinable
  public func store(_ counter: Counter, _ value: UInt64) {
    unsafe (cells + counter.rawValue).pointee.store(value, ordering: .relaxed)
  }

  @inlinable
  public func value(of counter: Counter) -> UInt64 {
    unsafe (cells + counter.rawValue).pointee.load(ordering: .relaxed)
  }

  /// Counts one occurrence of the fault with this index.
  public func count(fault index: UInt8) {
    let cell = unsafe cells + CounterPage.faultBase + Int(index)
    unsafe cell.pointee.store(cell.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
  }

  /// Occurrences of the fault with this index.
  public func faults(_ index: UInt8) -> UInt64 {
    unsafe (cells + CounterPage.faultBase + Int(index)).pointee.load(ordering: .relaxed)
  }
}
