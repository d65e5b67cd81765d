// AttemptOutcome — what the end of an attempt says about its upstream.

import HTTPModel

extension AttemptOutcome {
  /// - Parameters:
  ///   - fault: why there is no whole response; `.none`: there is one.
  ///   - status: of the response.
  ///   - isBackendAwaited: the backend had the whole request, and had not answered yet.
  public init(_ fault: Fault, status: UInt16, isBackendAwaited: Bool) {
    switch fault {
    case .none: self = status >= 500 ? .failure : .success
    // Nobody has got to the backend, or it has said that it did not look at the request, or it could not have been asked for this.
    case .poolExhausted, .poolQueueTimeout, .noHealthyEndpoint, .responseTooLarge, .http2StreamUnprocessed, .http2NotNegotiated, .http2HTTP1Required, .http2UpgradeUnsupported:
      self = .neutral
    // Time that the whole of an exchange may take can be used up by anybody.
    case .exchangeTimeout, .grpcDeadlineExceeded: self = isBackendAwaited ? .failure : .neutral
    default: self = fault.row.side == .upstream ? .failure : .neutral
    }
  }

  /// The end of a gRPC call, where the response is whole: its status says more than that of HTTP.
  /// - Parameter status: −1: the backend has sent none.
  public init(callStatus status: Int16) {
    switch status {
    // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS. All others say that the backend works, and what it thinks of the call.
    case 2, 4, 13, 14, 15, ..<0: self = .failure
    default: self = .success
    }
  }
}
