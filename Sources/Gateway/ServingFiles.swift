// ServingFiles — the `static` action: from a path to a file, and from a request's conditions and ranges to the head of its answer.
//
// A file that is not larger than `smallFile` is read behind its head and answered like anything local. A larger one gets an exchange, without
// a backend, and is sent by SendingFiles as its client takes it.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState
import Telemetry
import Wire

/// What a path has led to.
private enum FileLookup: ~Copyable {
  case found(OpenFile)
  /// A directory, asked for without the slash.
  case folder
  case failed(Fault)
}

/// What is sent of a file.
private struct FileAnswer {
  var status: UInt16 = 200
  var coding = ContentCoding.identity
  var type = Extent.none
  /// Bytes of the body.
  var length = 0
  var boundary: UInt64 = 0
  /// The coding depends on the request; and it is done on the way, so that the length is not known.
  var varies = false
  var isCodedHere = false
}

extension Gateway {
  /// Bytes that are read behind the head, so that both go in one write.
  private static var smallFile: Int { 16 << 10 }

  // MARK: Finding

  @inline(never)
  mutating func serveFile(_ client: Handle, _ route: Int, rule: Int, isRewritten: Bool, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    var path = Buffer.absent, name = Buffer.absent
    swap(&path, &services.path)
    swap(&name, &services.fileName)
    let hidden = actions.files[rule].hidden
    let form =
      isRewritten
      ? FilePath.name(services.captures.strippedPath(of: path.bytes), allowsHidden: hidden, into: &name)
      : FilePath.name(services.captures.strippedPath(of: services.head.path.text(in: input.bytes)), allowsHidden: hidden, into: &name)
    // The bare prefix of the route names the root, and has no slash.
    let isBare = name.isEmpty && form == .folder && !(isRewritten ? Self.endsInSlash(path.bytes) : Self.endsInSlash(services.head.path.text(in: input.bytes)))
    swap(&path, &services.path)
    if isBare {
      redirectToFolder(client, route, isRewritten: isRewritten, id, length, &input)
    } else {
      switch find(rule, form, &name) {
      case .found(let file): answer(client, route, rule, file, &name, id, length, &input)
      case .folder: redirectToFolder(client, route, isRewritten: isRewritten, id, length, &input)
      case .failed(let fault):
        reportFile(fault, route, name.bytes)
        decline(client, fault, allow: nil, id, length, &input, route: route)
      }
    }
    swap(&name, &services.fileName)
  }

  private static func endsInSlash(_ path: Span<UInt8>) -> Bool { path.isEmpty || path[path.count - 1] == 0x2f }

  /// Opens what `name` is the name of; afterwards it is that of what was opened.
  private mutating func find(_ rule: Int, _ form: FilePath, _ name: inout Buffer) -> FileLookup {
    guard form != .refused else { return .failed(.fileNotFound) }
    if form == .folder {
      switch findIndex(rule, &name) {
      case .failed(.fileNotFound): break
      case let outcome: return outcome
      }
    } else {
      switch open(rule, &name) {
      case .failed(.fileNotFound): break
      case let outcome: return outcome
      }
    }
    guard !actions.files[rule].fallback.isEmpty else { return .failed(.fileNotFound) }
    name.removeAll()
    name.append(copying: actions.files[rule].fallback)
    return open(rule, &name)
  }

  private mutating func findIndex(_ rule: Int, _ name: inout Buffer) -> FileLookup {
    let base = name.count
    for position in 0..<actions.files[rule].index.count {
      name.truncate(to: base)
      if base > 0 { name.append(0x2f) }
      name.append(copying: actions.files[rule].index[position])
      switch open(rule, &name) {
      case .failed(.fileNotFound): continue
      // A directory that is called like an index is none.
      case .folder: continue
      case let outcome: return outcome
      }
    }
    name.truncate(to: base)
    return .failed(.fileNotFound)
  }

  private mutating func open(_ rule: Int, _ name: inout Buffer) -> FileLookup {
    name.append(0)
    defer { name.truncate(to: name.count - 1) }
    lastFileError = nil
    do throws(Errno) {
      let file = try actions.files[rule].open(name.bytes, now: services.now)
      switch file.kind {
      case .regular: return .found(file)
      case .directory: return .folder
      case .other: return .failed(.fileForbidden)
      }
    } catch {
      lastFileError = error
      // Without the directory, that there is nothing says nothing of the file.
      return .failed(actions.files[rule].hasRoot || error.isOutOfDescriptors ? Fault(opening: error) : .fileUnreadable)
    }
  }

  /// Opens a file beside the one that `name` is the name of, with the same content in a coding that the client takes.
  private mutating func findCoded(_ rule: Int, _ name: inout Buffer, _ bytes: Span<UInt8>, _ coding: inout ContentCoding) -> OpenFile? {
    let accepted = services.head.acceptedCodings(in: bytes)
    let base = name.count
    for position in 0..<actions.files[rule].codings.count {
      let candidate = actions.files[rule].codings[position]
      guard accepted.quality(candidate) > 0, name.freeCapacity > 8 else { continue }
      name.append(candidate.suffix)
      switch open(rule, &name) {
      case .found(let file):
        name.truncate(to: base)
        coding = candidate
        return file
      default: name.truncate(to: base)
      }
    }
    return nil
  }

  mutating func reportFile(_ fault: Fault, _ route: Int, _ name: Span<UInt8>) {
    guard fault.row.severity >= 3, .error >= log.level || fault.row.severity == 3 && .warn >= log.level else { return }
    let text = String(decoding: name.indices.map { name[$0] }, as: UTF8.self)
    let cause = fault == .fileTruncated ? "" : lastFileError.map { " (\($0.text))" } ?? ""
    log.write(
      fault.row.severity == 4 ? .error : .warn, key: EventKey("file", Int(fault.rawValue)),
      "\(fault.row.token): \(fault.row.sentence)\(cause) route=\(plan.routes[route].pattern) file=\(text.debugDescription)")
  }

  // MARK: Answering

  private mutating func answer(
    _ client: Handle, _ route: Int, _ rule: Int, _ found: consuming OpenFile, _ name: inout Buffer, _ id: RequestID, _ length: Int, _ input: inout Buffer
  ) {
    var answer = FileAnswer()
    answer.type = actions.files[rule].types.type(of: name.bytes)
    var file = found
    if actions.files[rule].codings.count > 0, let coded = findCoded(rule, &name, input.bytes, &answer.coding) { file = coded }
    var tag = Buffer.absent
    swap(&tag, &services.fileTag)
    compose(tag: &tag, file, answer.coding)
    let outcome = services.head.evaluate(tag: tag.bytes, modified: file.modified, in: input.bytes)
    let now = services.wall / 1_000_000
    ranges.removeAll()
    answer.length = file.size
    var chosen = RangeOutcome.none
    if outcome == .proceed, services.head.method == .get {
      let range = services.head.range(tag: tag.bytes, modified: file.modified, now: now, in: input.bytes)
      if !range.isEmpty { chosen = range.byteRanges(of: file.size, into: &ranges) }
    }
    switch (outcome, chosen) {
    case (.failed, _):
      decline(client, .preconditionFailed, allow: nil, id, length, &input, route: route)
      return swap(&tag, &services.fileTag)
    case (_, .unsatisfiable):
      services.rangeSize = file.size
      decline(client, .rangeNotSatisfiable, allow: nil, id, length, &input, route: route)
      return swap(&tag, &services.fileTag)
    case (.notModified, _):
      answer.status = 304
      answer.length = 0
    case (.proceed, .satisfiable):
      answer.status = 206
      if ranges.count > 1 { answer.boundary = services.random.next() | 1 }
      answer.length = bodyLength(rule, answer, of: file.size)
    case (.proceed, _): break
    }
    if actions.files[rule].codings.count > 0 { answer.varies = true }
    if actions.files[rule].compresses { considerCompression(rule, file.size, input.bytes, &answer, &tag) }
    send(client, route, rule, file, answer, tag.bytes, name.bytes, id, length, &input)
    swap(&tag, &services.fileTag)
  }

  /// Decides whether the file is compressed on its way. A range is one of the file as it is.
  private mutating func considerCompression(_ rule: Int, _ size: Int, _ bytes: Span<UInt8>, _ answer: inout FileAnswer, _ tag: inout Buffer) {
    guard answer.coding == .identity, compression.includes(answer.type, of: actions.files[rule].types) else { return }
    answer.varies = true
    let accepted = services.head.acceptedCodings(in: bytes)
    let coding = accepted.choose(from: compression.order.span)
    guard answer.status != 206, coding != .identity, activeEncoders < CompressionRules.encoderLimit, services.head.flags.contains(.version11), size >= compression.minLength || !accepted.takesIdentity else { return }
    // Weak: what is sent differs with the encoder, byte for byte.
    let mark: [UInt8] = [0x57, 0x2f]
    tag.insert(mark.span, at: 0)
    guard answer.status == 200 else { return }
    answer.coding = coding
    answer.isCodedHere = true
  }

  /// A strong tag: of the time of the last change, to the nanosecond, and the size.
  private mutating func compose(tag: inout Buffer, _ file: borrowing OpenFile, _ coding: ContentCoding) {
    tag.removeAll()
    tag.append(0x22)
    tag.append(hexadecimal: UInt64(bitPattern: file.modified &* 1_000_000_000 &+ Int64(file.nanoseconds)))
    tag.append(0x2d)
    tag.append(hexadecimal: UInt64(file.size))
    if coding != .identity {
      tag.append(0x2d)
      tag.append(coding.token)
    }
    tag.append(0x22)
  }

  private mutating func send(
    _ client: Handle, _ route: Int, _ rule: Int, _ file: consuming OpenFile, _ answer: FileAnswer, _ tag: Span<UInt8>, _ name: Span<UInt8>, _ id: RequestID,
    _ length: Int, _ input: inout Buffer
  ) {
    var context = contextOfHead()
    let isLocal = context.isHead || answer.status == 304 || ranges.count < 2 && answer.length <= Self.smallFile && !answer.isCodedHere
    // A body of a request that is answered with a long one is not waited for.
    if !isLocal, services.head.body != .none { context.isPersistent = false }
    guard reserve(client, 8192 + (isLocal ? answer.length : 0) + services.head.size) else { return }
    let before = services.responses.output.count
    compose(rule, file, answer, tag, context, id, input.bytes)
    guard isLocal else {
      return begin(client, route, rule, file, answer, services.responses.output.count - before, context, id, length, &input)
    }
    var body = 0
    if !context.isHead, answer.status != 304, answer.length > 0 {
      body = answer.length
      let head = services.responses.output.count
      let start = ranges.count == 1 ? ranges[0].start : 0
      var isBroken = false
      while services.responses.output.count - head < body, !isBroken {
        let done = services.responses.output.count - head
        if case .moved(let count) = file.read(at: start + done, limit: body - done, into: &services.responses.output), count > 0 { continue }
        isBroken = true
      }
      guard !isBroken else {
        // Nothing has been sent yet: it can still be said.
        services.responses.output.truncate(to: before)
        reportFile(.fileTruncated, route, name)
        return decline(client, .fileTruncated, allow: nil, id, length, &input, route: route)
      }
    }
    finishLocal(
      client, answer.status, .none, route: route, id, context, sent: services.responses.output.count - before, body: body, length, &input)
  }

  private mutating func compose(
    _ rule: Int, _ file: borrowing OpenFile, _ answer: FileAnswer, _ tag: Span<UInt8>, _ context: ResponseContext, _ id: RequestID, _ bytes: Span<UInt8>
  ) {
    services.responses.begin(Status(answer.status), context, server: plan.serverHeader)
    if answer.status != 304 {
      if answer.boundary != 0 {
        services.responses.output.append("Content-Type: multipart/byteranges; boundary=")
        services.responses.output.append(hexadecimal: answer.boundary)
        services.responses.output.append("\r\n")
      } else if !answer.type.isEmpty {
        services.responses.output.append("Content-Type: ")
        append(type: answer.type, of: rule)
        services.responses.output.append("\r\n")
      }
      if answer.isCodedHere {
        // Over HTTP/2 the stream's end is that of the content.
        if !context.isHead, services.head.flags.isDisjoint(with: .version2) { services.responses.output.append("Transfer-Encoding: chunked\r\n") }
      } else {
        services.responses.output.append("Content-Length: ")
        services.responses.output.append(decimal: answer.length)
        services.responses.output.append("\r\nAccept-Ranges: bytes\r\n")
      }
      services.responses.output.append("Last-Modified: ")
      services.responses.output.append(httpDate: file.modified)
      services.responses.output.append("\r\n")
      if answer.status == 206, answer.boundary == 0 {
        let range = ranges[0]
        services.responses.output.append(contentRange: range, of: file.size)
      }
      if answer.coding != .identity {
        services.responses.output.append("Content-Encoding: ")
        services.responses.output.append(answer.coding.token)
        services.responses.output.append("\r\n")
      }
    }
    services.responses.output.append("ETag: ")
    services.responses.output.append(tag)
    services.responses.output.append("\r\n")
    append(fieldsOf: rule)
    if answer.varies { services.responses.output.append("Vary: Accept-Encoding\r\n") }
    services.responses.output.append("X-Request-Id: ")
    append(id, bytes)
    services.responses.output.append("\r\n")
    services.responses.end(context)
  }

  private mutating func append(type: Extent, of rule: Int) {
    var output = Buffer.absent
    swap(&output, &services.responses.output)
    output.append(type, of: actions.files[rule].types)
    swap(&output, &services.responses.output)
  }

  private mutating func append(fieldsOf rule: Int) {
    var output = Buffer.absent
    swap(&output, &services.responses.output)
    output.append(copying: actions.files[rule].fields)
    swap(&output, &services.responses.output)
  }

  /// Bytes of the body of an answer with ranges.
  private mutating func bodyLength(_ rule: Int, _ answer: FileAnswer, of size: Int) -> Int {
    if ranges.count == 1 { return ranges[0].count }
    var scratch = Buffer(capacity: 1024)
    var length = 0
    for index in 0..<ranges.count {
      let range = ranges[index]
      scratch.removeAll()
      scratch.append(partOf: range, size, boundary: answer.boundary, type: answer.type, of: actions.files[rule].types)
      length += scratch.count + range.count
    }
    scratch.removeAll()
    scratch.append(endOfParts: answer.boundary)
    return length + scratch.count
  }

  /// `/docs` to `/docs/`: a relative reference in an index means something else without the slash.
  private mutating func redirectToFolder(_ client: Handle, _ route: Int, isRewritten: Bool, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    let context = contextOfHead()
    guard reserve(client, 4 * services.small.bufferCapacity + 4096) else { return }
    let before = services.responses.output.count
    services.responses.begin(Status(301), context, server: plan.serverHeader)
    services.responses.output.append("Location: ")
    // In normal form a path begins with one slash, so that it can never read as another host.
    if isRewritten {
      var path = Buffer.absent
      swap(&path, &services.path)
      services.responses.output.append(path.bytes)
      swap(&path, &services.path)
    } else {
      services.responses.output.append(services.head.path.text(in: input.bytes))
    }
    services.responses.output.append("/")
    if services.head.hasQuery {
      services.responses.output.append("?")
      services.responses.output.append(services.head.query.text(in: input.bytes))
    }
    services.responses.output.append("\r\nContent-Length: 0\r\nX-Request-Id: ")
    append(id, input.bytes)
    services.responses.output.append("\r\n")
    services.responses.end(context)
    finishLocal(client, 301, .none, route: route, id, context, sent: services.responses.output.count - before, body: 0, length, &input)
  }

  // MARK: Beginning

  /// Makes the exchange for a file whose head, of `head` bytes, has been composed, and begins to send it.
  private mutating func begin(
    _ client: Handle, _ route: Int, _ rule: Int, _ file: consuming OpenFile, _ answer: FileAnswer, _ head: Int, _ context: ResponseContext, _ id: RequestID,
    _ length: Int, _ input: inout Buffer
  ) {
    var record = FileBody(file, rule: rule, type: answer.type, boundary: answer.boundary)
    if ranges.count == 0 {
      record.parts[0] = ByteRange(start: 0, count: answer.length)
      record.partCount = 1
    }
    if answer.isCodedHere {
      guard let encoder = takeEncoder(answer.coding) else {
        // Encoders are bounded: without one the head would be wrong, and has not been sent.
        services.responses.output.truncate(to: services.responses.output.count - head)
        return decline(client, .proxyInternalError, allow: nil, id, length, &input, route: route)
      }
      record.encoder = encoder
    }
    for index in 0..<min(ranges.count, 16) {
      record.parts[index] = ranges[index]
      record.partCount = index + 1
    }
    guard let session = files.insert(record), let exchange = exchanges.revive() ?? exchanges.insert(Exchange(fieldLimit: services.fieldLimit)) else {
      // There are as many as clients.
      services.responses.output.truncate(to: services.responses.output.count - head)
      return doom(client)
    }
    var head = head
    if limits.isActive { head += tellLimits(services.rateNote, behind: 0) }
    if editsLocally { head += editLocal(client, route, answer.status, .none, id, input.bytes, sent: head, body: 0) }
    let started = clients[client].requestStart
    exchanges[exchange].begin(
      client: client, route: route, rule: -1, upstream: -1, headLength: length, requestID: id, started: started,
      startedWall: services.wall - (services.nowMicroseconds - started))
    if exchanges[exchange].head.fieldLimit == 0 { exchanges[exchange].head = RequestHead(fieldLimit: services.fieldLimit) }
    swap(&exchanges[exchange].head, &services.head)
    swap(&exchanges[exchange].bytes, &input)
    exchanges[exchange].session = session
    exchanges[exchange].status = answer.status
    exchanges[exchange].sent = head
    exchanges[exchange].flags = [.hasHead, .committed, .file]
    if context.isPersistent { exchanges[exchange].flags.insert(.persistent) }
    if answer.isCodedHere, exchanges[exchange].head.flags.isDisjoint(with: .version2) { exchanges[exchange].flags.insert(.chunked) }
    clients[client].exchange = exchange
    clients[client].takeBody(.none, received: 0)
    counters.add(.requestsActive)
    beginPart(session)
    sendFile(exchange)
  }
}
