// Calls — requests that are gRPC calls: their deadlines, their trailers, their statuses, and refusals in their own form.
//
// To the other rooms a call is an exchange like any, with the flag `.grpc`. It is passed on as it comes, both ways at the same time:
// nothing of its response is held back, its trailers are passed on whatever is set, and it may be silent for as long as it likes.

import HTTPModel
import Memory
import SharedState
import Telemetry
import Upstream
import Wire

extension Gateway {
  /// Makes an exchange a call, if its request is one.
  @inline(never)
  mutating func beginCall(_ exchange: Handle) {
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[exchange].bytes)
    let isCall = exchanges[exchange].head.isCall(in: bytes.bytes)
    let timeout = isCall ? exchanges[exchange].head.callTimeout(in: bytes.bytes) : nil
    swap(&bytes, &exchanges[exchange].bytes)
    guard isCall else { return }
    exchanges[exchange].flags.insert(.grpc)
    exchanges[exchange].callStatus = -1
    guard let timeout else { return }
    let before = exchanges[exchange].deadline
    limit(exchange, until: services.now - services.heldFor + Int64(max(1, timeout)))
    if exchanges[exchange].deadline != before { exchanges[exchange].flags.insert(.deadlineIsCalls) }
  }

  /// Notes the status in the head of a response, `bytes`, which is in `services.responseHead`.
  @inline(never)
  mutating func noteCallStatus(_ exchange: Handle, head bytes: Span<UInt8>) {
    let status = services.responseHead.headers(in: bytes).callStatus
    if let status { exchanges[exchange].callStatus = Int16(status) }
  }

  /// …and in its trailers.
  mutating func noteCallStatus(_ exchange: Handle, trailers: borrowing Buffer) {
    if let status = CallStatus.status(inTrailers: trailers.bytes) { exchanges[exchange].callStatus = Int16(status) }
  }

  /// A call is over.
  @inline(never)
  mutating func finishCall(_ exchange: Handle) {
    // Whoever goes away sees its call as cancelled.
    if exchanges[exchange].callStatus < 0, exchanges[exchange].fault == .clientAborted {
      exchanges[exchange].callStatus = Int16(CallStatus.cancelled.rawValue)
    }
    count(callStatus: exchanges[exchange].callStatus)
  }

  /// - Parameter status: -1 for none.
  mutating func count(callStatus status: Int16) {
    counters.add(.grpcCalls)
    let known = status >= 0 && Int(status) < CallStatus.allCases.count
    counters.add(known ? Counter(rawValue: Counter.grpcOK.rawValue + Int(status)) ?? .grpcNoStatus : .grpcNoStatus)
  }

  /// Composes a response of trailers only: the status for `fault`, and its sentence.
  @inline(never)
  mutating func compose(call fault: Fault, _ context: ResponseContext, _ id: RequestID, _ bytes: Span<UInt8>) {
    services.responses.begin(Status(200), context, server: plan.serverHeader)
    services.responses.output.append("Content-Type: application/grpc\r\nContent-Length: 0\r\ngrpc-status: ")
    services.responses.output.append(decimal: Int(CallStatus(fault).rawValue))
    services.responses.output.append("\r\ngrpc-message: ")
    services.responses.output.append(callMessage: fault.row.sentence)
    services.responses.output.append("\r\nX-Request-Id: ")
    append(id, bytes)
    services.responses.output.append("\r\n")
    services.responses.end(context)
  }
}
