// AccessEntry — what is known about one finished request, as plain numbers.
//
// The text of the request (target, Host, User-Agent, …) stays where it was received and is lent to
// `AccessLog.append` beside the entry.

import HTTPModel

/// What the client spoke.
public enum AccessProtocol: UInt8, Sendable, BitwiseCopyable {
  case http10, http11, http2

  public init(_ flags: HeadFlags) { self = flags.contains(.version2) ? .http2 : flags.contains(.version11) ? .http11 : .http10 }
}

/// One finished request. Durations are microseconds, -1 where there is none; sizes are bytes.
public struct AccessEntry: BitwiseCopyable, Sendable {
  /// The status sent; 0 when no response was begun.
  public var status: UInt16 = 0
  public var method = Method.other
  public var version = AccessProtocol.http11
  public var fault = Fault.none
  /// Times the request was sent to a backend; 0 for a local answer.
  public var attempts: UInt8 = 0
  /// The status of a gRPC call; -1 where there is none.
  public var callStatus: Int16 = -1
  /// Index into the routes the log was made with, -1 for none.
  public var route: Int32 = -1
  /// Index into the upstreams the log was made with, -1 for none.
  public var upstream: Int32 = -1
  /// Head and body of the request.
  public var bytesReceived: UInt64 = 0
  /// Head and body of the response.
  public var bytesSent: UInt64 = 0
  /// Body of the response, without its framing.
  public var bodyBytesSent: UInt64 = 0
  /// Wall clock at the first byte of the request: microseconds since the epoch.
  public var startedAt: Int64 = 0
  /// From the first byte of the request to the last byte of the response handed to the kernel.
  public var duration: Int64 = 0
  /// Making the connection to the backend; -1 when a kept one was used.
  public var upstreamConnect: Int64 = -1
  /// From the request being sent to the backend's response head having arrived.
  public var upstreamHeader: Int64 = -1

  @inlinable
  public init() {}
}
