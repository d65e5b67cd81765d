// HealthConversation — what is said in one check of an endpoint, and what is concluded from the answer; bytes in, a verdict out.
//
// The gRPC check speaks as much HTTP/2 as it takes: preface, SETTINGS, one request on stream 1. Of the response only its message counts, which says
// whether the service serves; a response without one (the method is not implemented, the service unknown) means that it does not. So no field section needs be
// decoded.

import HTTPModel
import Memory
import Plan
import Policy
import Wire

/// What a check has found.
public enum HealthVerdict: Equatable, Sendable {
  case passed
  case failed(HealthReason)
}

/// One check's conversation.
public struct HealthConversation: ~Copyable {
  /// Bytes of an answer that are looked at.
  static var limit: Int { 64 << 10 }

  private let plan: HealthCheckPlan
  private let statuses: [ClosedRange<UInt16>]
  private var input: Buffer
  // HTTP/1.1
  private var head: ResponseHead
  private var hasHead = false
  private var position = 0
  private var reader = BodyReader(.none)
  private var body: [UInt8] = []
  // HTTP/2
  private var message: [UInt8] = []

  public init(_ plan: HealthCheckPlan) {
    self.plan = plan
    statuses = plan.statuses.compactMap { HealthCheckPlan.statuses($0) }
    input = Buffer(capacity: plan.kind == .tcp ? 1 : Self.limit)
    head = ResponseHead()
  }

  /// What is sent first; empty: nothing, a connection is all that is asked for.
  /// - Parameter host: the Host of requests to the upstream.
  public static func request(_ plan: HealthCheckPlan, host: String, isSecure: Bool) -> [UInt8] {
    let host = plan.host.isEmpty ? host : plan.host
    switch plan.kind {
    case .none, .tcp: return []
    case .http:
      return Array("GET \(plan.path) HTTP/1.1\r\nHost: \(host)\r\nUser-Agent: gateway-health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n".utf8)
    case .grpc: return grpcRequest(plan.service, host, isSecure: isSecure)
    }
  }

  /// Takes bytes of the answer; nil: more are needed.
  public mutating func receive(_ bytes: Span<UInt8>) -> HealthVerdict? {
    let room = min(bytes.count, input.freeCapacity)
    input.append(bytes.extracting(first: room))
    switch plan.kind {
    case .none, .tcp: return .passed
    case .http, .grpc:
      var held = Buffer.absent
      swap(&held, &input)
      let verdict = plan.kind == .http ? readResponse(&held, isCut: room < bytes.count) : room < bytes.count ? .failed(.malformed) : readFrames(held.bytes)
      swap(&held, &input)
      return verdict
    }
  }

  /// The endpoint has closed the connection.
  public mutating func ended() -> HealthVerdict {
    guard plan.kind == .http, hasHead, reader.streamEnded() else { return .failed(.malformed) }
    return judgeBody()
  }

  // MARK: HTTP/1.1

  private mutating func readResponse(_ input: inout Buffer, isCut: Bool) -> HealthVerdict? {
    while !hasHead {
      var parser = ResponseParser()
      switch parser.parse(input.bytes, into: &head) {
      case .complete(let length):
        if head.status.code < 200, head.status.code != 101 {
          input.consume(length)
          continue
        }
        hasHead = true
        guard statuses.contains(where: { $0.contains(head.status.code) }) else { return .failed(.status) }
        if plan.body.isEmpty { return .passed }
        position = length
        reader = BodyReader(head.body)
      case .incomplete: return isCut ? .failed(.malformed) : nil
      case .rejected: return .failed(.malformed)
      }
    }
    while !reader.isComplete {
      switch reader.next(input.bytes, at: &position) {
      case .data(let range): for index in range { body.append(input.bytes[index]) }
      case .trailer: break
      case .end: return judgeBody()
      case .needsMore: return isCut ? judgeBody() : nil
      case .malformed: return .failed(.malformed)
      }
    }
    return judgeBody()
  }

  private func judgeBody() -> HealthVerdict {
    let wanted = Array(plan.body.utf8)
    guard !wanted.isEmpty else { return .passed }
    guard body.count >= wanted.count else { return .failed(.body) }
    for start in 0...body.count - wanted.count where body[start..<start + wanted.count].elementsEqual(wanted) { return .passed }
    return .failed(.body)
  }

  // MARK: gRPC

  private static func frame(_ type: UInt8, flags: UInt8, stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
    [UInt8(truncatingIfNeeded: payload.count >> 16), UInt8(truncatingIfNeeded: payload.count >> 8), UInt8(truncatingIfNeeded: payload.count), type, flags, 0, 0, 0, stream]
      + payload
  }

  /// A field as a literal that is kept in no table (RFC 7541 §6.2.2).
  private static func field(_ name: String, _ value: String) -> [UInt8] {
    func text(_ text: String) -> [UInt8] {
      let bytes = Array(text.utf8)
      guard bytes.count >= 127 else { return [UInt8(bytes.count)] + bytes }
      var rest = bytes.count - 127
      var length: [UInt8] = [127]
      while rest >= 128 {
        length.append(UInt8(rest & 127 | 128))
        rest >>= 7
      }
      return length + [UInt8(rest)] + bytes
    }
    return [0] + text(name) + text(value)
  }

  private static func grpcRequest(_ service: String, _ host: String, isSecure: Bool) -> [UInt8] {
    let name = Array(service.utf8.prefix(255))
    var varint: [UInt8] = []
    var rest = name.count
    while rest >= 128 {
      varint.append(UInt8(rest & 127 | 128))
      rest >>= 7
    }
    varint.append(UInt8(rest))
    let message = name.isEmpty ? [] : [0x0a] + varint + name
    let section =
      field(":method", "POST") + field(":scheme", isSecure ? "https" : "http") + field(":path", "/grpc.health.v1.Health/Check") + field(":authority", host)
      + field("content-type", "application/grpc") + field("te", "trailers") + field("user-agent", "gateway-health-check")
    return Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(4, flags: 0, stream: 0, []) + frame(1, flags: 4, stream: 1, section)
      + frame(0, flags: 1, stream: 1, [0, 0, 0, UInt8(message.count >> 8), UInt8(message.count & 255)] + message)
  }

  /// The frames that have come whole.
  private mutating func readFrames(_ bytes: Span<UInt8>) -> HealthVerdict? {
    while bytes.count - position >= 9 {
      let length = Int(bytes[position]) << 16 | Int(bytes[position + 1]) << 8 | Int(bytes[position + 2])
      let type = bytes[position + 3], flags = bytes[position + 4]
      let stream = UInt32(bytes[position + 5] & 0x7f) << 24 | UInt32(bytes[position + 6]) << 16 | UInt32(bytes[position + 7]) << 8 | UInt32(bytes[position + 8])
      guard length <= 16_384 else { return .failed(.malformed) }
      guard bytes.count - position - 9 >= length else { return nil }
      let start = position + 9
      position = start + length
      switch type {
      case 0 where stream == 1:
        let padding = flags & 8 != 0 && length > 0 ? Int(bytes[start]) + 1 : 0
        guard padding <= length else { return .failed(.malformed) }
        let first = flags & 8 != 0 ? 1 : 0
        for index in start + first..<max(start + first, start + length - (padding - first)) { message.append(bytes[index]) }
        if let verdict = judgeMessage() { return verdict }
      case 3 where stream == 1, 7: return .failed(.notServing)
      default: break
      }
      // DATA and HEADERS may end the stream.
      if type <= 1, stream == 1, flags & 1 != 0 { return .failed(.notServing) }
    }
    return nil
  }

  /// `HealthCheckResponse`: field 1 is the status, of which 1 is SERVING.
  private func judgeMessage() -> HealthVerdict? {
    guard message.count >= 5 else { return nil }
    let length = Int(message[1]) << 24 | Int(message[2]) << 16 | Int(message[3]) << 8 | Int(message[4])
    guard message[0] == 0, length <= 1024 else { return .failed(.malformed) }
    guard message.count >= 5 + length else { return nil }
    // Unknown, the default, is not sent.
    guard length >= 2, message[5] == 0x08 else { return .failed(.notServing) }
    return message[6] == 1 ? .passed : .failed(.notServing)
  }
}
