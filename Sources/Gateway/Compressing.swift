// Compressing — responses coded on their way: which, in what coding, and their bytes through an encoder.
//
// What may be compressed depends on the response alone, and is told by `Vary` in either case; whether it is, on the request. The length is not
// known before the end, so that such a response is chunked, or ends with its stream; one that is collected anyway gets its length at the
// end. Invariants: an exchange with `.compressing` has its encoder in `session` (with `.file`: in the file's record); every byte
// of its body goes through it, and it is finished before the body's end is marked.

import Compression
import HTTPModel
import Memory
import Plan
import SharedState
import Upstream
import Wire

extension Gateway {
  // MARK: Encoders

  mutating func takeEncoder(_ coding: ContentCoding) -> Handle? {
    guard coding != .identity, activeEncoders < CompressionRules.encoderLimit, let encoder = compression.take(coding),
      let handle = encodings.insert(Encoding(encoder))
    else { return nil }
    activeEncoders += 1
    counters.add(.responsesCompressed)
    return handle
  }

  mutating func releaseEncoder(_ handle: Handle) {
    let gone = encodings.remove(handle)
    activeEncoders -= 1
    compression.recycle(gone.encoder)
  }

  /// Codes `data` for the client of `exchange`, and passes on what comes out.
  /// - Returns: why the exchange must fail, if it must.
  @inline(never)
  mutating func passCoded(_ exchange: Handle, _ encoding: Handle, _ data: Span<UInt8>, _ operation: Encoder.Operation) -> Fault? {
    if operation == .flush {
      guard encodings[encoding].isDirty else { return nil }
    }
    encodings[encoding].isDirty = operation == .process && (encodings[encoding].isDirty || !data.isEmpty)
    counters.add(.compressionBytesIn, UInt64(data.count))
    var output = Buffer.absent
    swap(&output, &services.coded)
    if output.capacity == 0 { output = Buffer(capacity: 32 << 10) }
    var position = 0, fault: Fault?
    coding: while true {
      output.removeAll()
      let progress = encodings[encoding].encoder.encode(data, at: &position, operation, into: &output)
      if progress == .failed {
        fault = .proxyInternalError
        break coding
      }
      if !output.isEmpty {
        fault = passOn(coded: output, exchange)
        if fault != nil { break coding }
      }
      if progress == .done { break coding }
    }
    swap(&output, &services.coded)
    return fault
  }

  private mutating func passOn(coded output: borrowing Buffer, _ exchange: Handle) -> Fault? {
    let client = exchanges[exchange].client
    counters.add(.compressionBytesOut, UInt64(output.count))
    exchanges[exchange].bodySent += output.count
    exchanges[exchange].sent += output.count
    if exchanges[exchange].flags.contains(.holding) {
      clients[client].backlog.append(output.bytes, &services.large)
      return clients[client].backlog.count > holdLimit(exchange) ? .responseTooLarge : nil
    }
    if services.responses.output.freeCapacity < output.count + 64 { commit(exchange, client) }
    let isChunked = exchanges[exchange].flags.contains(.chunked)
    if isChunked { services.responses.output.append(chunkSize: output.count) }
    services.responses.output.append(output.bytes)
    if isChunked { services.responses.output.append("\r\n") }
    return nil
  }

  // MARK: Fixed answers

  /// Sends a fixed answer in the coding that the client likes best.
  @inline(never)
  mutating func answerCoded(_ client: Handle, _ route: Int, _ index: Int, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    let coded = actions.codedResponses[index]
    let chosen =
      switch services.head.acceptedCodings(in: input.bytes).choose(from: compression.order.span) {
      case .identity: coded.identity
      case .gzip: coded.gzip
      case .brotli: coded.brotli
      case .zstd: coded.zstd
      }
    let answer = chosen < 0 ? coded.identity : chosen
    let context = contextOfHead(), before = services.responses.output.count
    guard reserve(client, actions.codedAnswers[answer].byteCount + 160) else { return }
    switch id {
    case .generated:
      services.ids.show(id)
      services.responses.send(actions.codedAnswers[answer], context, requestID: services.ids.generated)
    case .received(let text): services.responses.send(actions.codedAnswers[answer], context, requestID: text.text(in: input.bytes))
    }
    let body = context.isHead ? 0 : actions.codedAnswers[answer].bodyCount
    finishLocal(
      client, actions.codedAnswers[answer].status.code, .none, route: route, id, context, sent: services.responses.output.count - before, body: body, length, &input)
  }

  // MARK: Backends' responses

  /// Decides about the response whose head is in `services.responseHead`. Returns how the end of its body is marked.
  @inline(never)
  mutating func considerCompression(_ exchange: Handle, _ bytes: Span<UInt8>, hasBody: Bool, _ framing: RelayFraming) -> RelayFraming {
    exchanges[exchange].flags.remove([.varies, .coded, .compressing])
    let isHead = exchanges[exchange].head.method == .head
    guard hasBody || isHead, isCompressible(bytes), exchanges[exchange].flags.isDisjoint(with: [.grpc, .upgrading]) else { return framing }
    exchanges[exchange].flags.insert(.varies)
    let coding = codingFor(exchange)
    // To HTTP/1.0 the end could only be marked by closing; and a request that is still under way keeps what it has.
    guard coding != .identity, exchanges[exchange].head.flags.contains(.version11), exchanges[exchange].flags.contains(.requestComplete),
      exchanges[exchange].session == nil
    else { return framing }
    services.headCoding = coding
    let chosen: RelayFraming = exchanges[exchange].head.flags.contains(.version2) ? .stream : .chunked
    guard hasBody else {
      // The head is that of the answer to a GET, whose length nobody knows.
      exchanges[exchange].flags.insert(.coded)
      return .stream
    }
    guard let encoding = takeEncoder(coding) else { return framing }
    exchanges[exchange].session = encoding
    exchanges[exchange].flags.formUnion([.coded, .compressing])
    return chosen
  }

  private mutating func codingFor(_ exchange: Handle) -> ContentCoding {
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[exchange].bytes)
    let accepted = exchanges[exchange].head.acceptedCodings(in: bytes.bytes)
    swap(&bytes, &exchanges[exchange].bytes)
    var coding = accepted.choose(from: compression.order.span)
    // What is short is compressed only for those who take nothing else.
    if case .length(let length) = services.responseHead.body, length < compression.minLength, accepted.takesIdentity { coding = .identity }
    return coding
  }

  /// Whether the response may be sent in another coding (RFC 9110 §7.7).
  private mutating func isCompressible(_ bytes: Span<UInt8>) -> Bool {
    let status = services.responseHead.status.code
    guard status >= 200, status != 204, status != 206, status != 304, !services.responseHead.names.contains(.contentEncoding),
      !services.responseHead.names.contains(.contentRange), services.responseHead.names.contains(.contentType)
    else { return false }
    for index in 0..<services.responseHead.fieldCount {
      let field = services.responseHead.field(at: index)
      if field.isNamed(.contentType), !compression.includes(field.value.text(in: bytes)) { return false }
      if field.isNamed(.cacheControl), field.value.text(in: bytes).lists("no-transform") { return false }
    }
    return true
  }

  /// Adds to the head that has just been composed, at the end of the output, what compression says in it.
  @inline(never)
  mutating func tellCoding(_ exchange: Handle, _ bytes: Span<UInt8>) {
    let flags = exchanges[exchange].flags
    guard flags.contains(.varies) else { return }
    var lines = Buffer(capacity: bytes.count + 256)
    if flags.contains(.coded) {
      lines.append("Content-Encoding: ")
      lines.append(flags.contains(.compressing) ? codingAtWork(exchange).token : services.headCoding.token)
      lines.append("\r\n")
    }
    var hasVary = false, isComplete = false
    for index in 0..<services.responseHead.fieldCount {
      let field = services.responseHead.field(at: index), value = field.value.text(in: bytes)
      if field.isNamed(.etag), flags.contains(.coded) {
        // The bytes are others, the content is the same (RFC 9110 §8.8.1).
        lines.append("ETag: ")
        if value.count > 0, value[0] == 0x22 { lines.append("W/") }
        lines.append(value)
        lines.append("\r\n")
      } else if field.isNamed(.vary) {
        hasVary = true
        if value.lists("accept-encoding") || value.equals("*") { isComplete = true }
      }
    }
    if hasVary {
      for index in 0..<services.responseHead.fieldCount where services.responseHead.field(at: index).isNamed(.vary) {
        lines.append("Vary: ")
        lines.append(services.responseHead.field(at: index).value.text(in: bytes))
        lines.append("\r\n")
      }
    }
    if !isComplete { lines.append("Vary: Accept-Encoding\r\n") }
    let position = services.responses.output.count - 2
    guard position >= 0, services.responses.output.freeCapacity >= lines.count else { return }
    services.responses.output.insert(lines.bytes, at: position)
  }

  private mutating func codingAtWork(_ exchange: Handle) -> ContentCoding {
    guard let encoding = exchanges[exchange].session else { return .identity }
    return encodings[encoding].encoder.coding
  }

  /// Names of fields of the response that are written anew, or do not hold any more.
  mutating func droppedForCoding(_ exchange: Handle) -> HeaderNameSet {
    let flags = exchanges[exchange].flags
    guard flags.contains(.varies) else { return [] }
    guard flags.contains(.coded) else { return HeaderNameSet(.vary) }
    return [HeaderNameSet(.vary), HeaderNameSet(.etag), HeaderNameSet(.contentLength), HeaderNameSet(.acceptRanges)]
  }

  /// Passes on the body bytes in `buffer`, coded.
  @inline(never)
  mutating func relayCoded(_ exchange: Handle, _ backend: Handle, _ buffer: inout Buffer) -> RelayOutcome {
    let client = exchanges[exchange].client
    guard let encoding = exchanges[exchange].session else { return .failed(.proxyInternalError) }
    var position = 0
    while true {
      switch backends.connections[backend].body.next(buffer.bytes, at: &position) {
      case .data(let range):
        if let fault = passCoded(exchange, encoding, buffer.bytes.extracting(range), .process) { return .failed(fault) }
      case .trailer(let range):
        if exchanges[exchange].flags.contains(.trailers), let fault = collectResponseTrailer(exchange, buffer.bytes.extracting(range)) {
          return .failed(fault)
        }
      case .needsMore:
        buffer.removeAll()
        // The backend pauses: what it has sent is not kept from the client.
        if !backends.connections[backend].isReadable, !exchanges[exchange].flags.contains(.holding),
          let fault = passCoded(exchange, encoding, Span(), .flush)
        { return .failed(fault) }
        if !exchanges[exchange].flags.contains(.holding) { commit(exchange, client) }
        return .more
      case .malformed: return .failed(.responseProtocolError)
      case .end(let next):
        buffer.consume(next)
        if let fault = endCoded(exchange) { return .failed(fault) }
        if exchanges[exchange].flags.contains(.chunked) || exchanges[exchange].flags.contains(.trailers), let fault = endChunks(exchange) { return .failed(fault) }
        if !exchanges[exchange].flags.contains(.holding) { commit(exchange, client) }
        return .complete
      }
    }
  }

  /// Passes on body bytes of a stream, coded. A frame is all there is for now.
  mutating func relayCoded(_ exchange: Handle, _ data: Span<UInt8>) -> Fault? {
    guard let encoding = exchanges[exchange].session else { return .proxyInternalError }
    if let fault = passCoded(exchange, encoding, data, .process) { return fault }
    return exchanges[exchange].flags.contains(.holding) ? nil : passCoded(exchange, encoding, Span(), .flush)
  }

  /// Everything has been coded: the rest comes out.
  mutating func endCoded(_ exchange: Handle) -> Fault? {
    guard let encoding = exchanges[exchange].session else { return .proxyInternalError }
    return passCoded(exchange, encoding, Span(), .finish)
  }
}

extension Span<UInt8> {
  /// Whether `token`, in lower case, is an element of the comma-separated list.
  fileprivate func lists(_ token: StaticString) -> Bool {
    var found = false
    forEachToken { if $0.equalsIgnoringCase(token) { found = true } }
    return found
  }
}
