// TemplateBook — all templates of a plan in flat tables, and how one is filled in for a request.
//
// Invariants: what comes from a client or a backend is looked at byte by byte before any of it is used. In a header field stands nothing but visible
// ASCII, blanks and tabs, in a target nothing but what a URI may contain; a template into which anything else would go is refused as a whole, and the
// output is as it was before. Escapes are never decoded: `%0d` stays four characters, of which none ends a line. A redirect leads to the host that its template
// names: what comes from a request can neither begin a host of its own nor end the one that it is a part of.

import CLinux
import HTTPModel
import Memory

/// One step of a template.
public struct TemplateStep: BitwiseCopyable {
  var variable: TemplateVariable
  /// Of a header field with a number.
  var header: HeaderName
  var capture: UInt16
  /// Literal text, or the name, in the book's text.
  var text: Extent
}

/// A template in a book.
public struct TemplatePlace: BitwiseCopyable, Sendable {
  public let kind: TemplateKind
  @usableFromInline let start: UInt32
  @usableFromInline let end: UInt32
  /// What it asks for.
  public let needs: TemplateNeeds

  /// That of an empty text.
  public static var empty: TemplatePlace { TemplatePlace(kind: .requestField, start: 0, end: 0, needs: []) }
}

/// A request, as templates see it: a view of its head and of its path in normal form.
public struct RequestView: ~Escapable {
  public let bytes: Span<UInt8>
  public let fields: Span<HeaderField>
  @usableFromInline let path: Span<UInt8>
  @usableFromInline let flags: HeadFlags
  @usableFromInline let method: Extent
  @usableFromInline let host: Extent
  @usableFromInline let originalPath: Extent
  @usableFromInline let query: Extent
  @usableFromInline let hasQuery: Bool

  /// - Parameters:
  ///   - bytes: those that `head` was parsed from.
  ///   - path: in its normal form.
  @inlinable @inline(__always) @_lifetime(borrow head, copy bytes, copy path)
  public init(_ head: borrowing RequestHead, of bytes: Span<UInt8>, path: Span<UInt8>) {
    self.bytes = bytes
    fields = head.records
    self.path = path
    flags = head.flags
    method = head.methodText
    host = head.host
    originalPath = head.path
    query = head.query
    hasQuery = head.hasQuery
  }

  /// The query with its question mark.
  var markedQuery: Span<UInt8> {
    @_lifetime(copy self)
    get { hasQuery && query.lower > 0 ? bytes.extracting(query.lower - 1..<query.upper) : bytes.extracting(first: 0) }
  }
}

/// Templates made ready.
public struct TemplateBook: ~Copyable {
  private var steps: [TemplateStep] = []
  private var text: [UInt8] = []

  /// What one template may grow to in a field; more is refused.
  public static var fieldLimit: Int { 8192 }

  public init() {}

  /// Adds a template.
  /// - Parameter route: the pattern of its route.
  public mutating func add(_ template: Template, _ kind: TemplateKind, route: String) -> TemplatePlace {
    let start = steps.count
    var needs = TemplateNeeds()
    for part in template.parts {
      let isText = part.variable == .route
      let place = text.count
      text += (isText ? route : part.text).utf8
      let number = part.variable == .header || part.variable == .responseHeader ? HeaderName(part.text.utf8Span.span) : .other
      steps.append(
        TemplateStep(
          variable: isText ? .literal : part.variable, header: number, capture: UInt16(clamping: part.capture), text: Extent(place..<text.count)))
      if !isText { needs.insert(TemplateNeeds(part.variable)) }
    }
    return TemplatePlace(kind: kind, start: UInt32(start), end: UInt32(steps.count), needs: needs)
  }

  /// What a template always comes to; nil where that depends on a request, or is longer than a field may be.
  public func constant(_ place: TemplatePlace) -> [UInt8]? {
    var value: [UInt8] = []
    for step in steps[Int(place.start)..<Int(place.end)] {
      guard step.variable == .literal else { return nil }
      value += text[Int(step.text.lower)..<Int(step.text.upper)]
    }
    return value.count <= Self.fieldLimit ? value : nil
  }

  /// Appends a template filled in for `request`.
  /// - Parameters:
  ///   - captures: of the match of its path; used only by templates that need `capture`. Like `facts` lent to be changed, though it is not, for it would be
  ///     copied otherwise.
  ///   - response: the field lines of the response, for `response_header`.
  /// - Returns: false, and nothing is appended, when it does not fit in the free space or the limit of its kind, when something would go into it that
  ///   must not stand there, or when a redirect asks for the host and there is none.
  public func append(
    _ place: TemplatePlace, _ request: RequestView, _ captures: inout Captures, _ facts: inout TemplateFacts, response: Span<UInt8> = Span(),
    to output: inout Buffer
  ) -> Bool {
    let before = output.count
    let limit = place.kind.isField ? min(Self.fieldLimit, output.freeCapacity) : output.freeCapacity
    let steps = steps.span, text = text.span
    guard place.end <= steps.count else { return false }
    for index in Int(place.start)..<Int(place.end) {
      let step = steps[index]
      let name = step.text.text(in: text), start = output.count
      var writer = TemplateWriter(kind: place.kind, isForeign: step.variable.isForeign, room: limit - (output.count - before))
      switch step.variable {
      case .literal: writer.put(name, &output)
      case .scheme: if facts.isSecure { writer.put("https", &output) } else { writer.put("http", &output) }
      case .host:
        if request.host.isEmpty, place.kind == .redirect { writer.isRefused = true }
        writer.put(request.host.text(in: request.bytes), &output)
      case .hostname:
        if request.host.isEmpty, place.kind == .redirect { writer.isRefused = true }
        writer.put(request.host.text(in: request.bytes).hostWithoutPort, &output)
      case .path: writer.put(request.path, &output)
      case .originalPath: writer.put(request.originalPath.text(in: request.bytes), &output)
      case .query:
        writer.mayMarkQuery = true
        writer.put(request.markedQuery, &output)
      case .queryString: writer.put(request.query.text(in: request.bytes), &output)
      case .uri: break
      case .method: writer.put(request.method.text(in: request.bytes), &output)
      case .protocolName:
        if request.flags.contains(.version2) {
          writer.put("HTTP/2.0", &output)
        } else if request.flags.contains(.version11) {
          writer.put("HTTP/1.1", &output)
        } else {
          writer.put("HTTP/1.0", &output)
        }
      case .capture: writer.put(captures.value(Int(step.capture), in: request.path), &output)
      case .header: writer.put(fieldsNamed: name, step.header, request, &output)
      case .cookie: writer.put(cookie: name, request, &output)
      case .parameter: writer.put(parameter: name, of: request.query.text(in: request.bytes), &output)
      case .responseHeader: writer.put(fieldsNamed: name, inLines: response, &output)
      default: writer.put(facts[step.variable], &output)
      }
      if place.kind == .target, step.variable.isOutsider, !output.bytes.extracting(droppingFirst: before).contains(0x3f) {
        // A segment of its own, or a part of one: no more, and no less.
        if output.count == start || output.bytes.extracting(droppingFirst: start).contains(.slash) { writer.isRefused = true }
      }
      if place.kind == .redirect, !step.variable.isTrustedAuthority, output.bytes.extracting(before..<start).endsInAuthority,
        !output.bytes.extracting(droppingFirst: start).isPartOfAuthority
      {
        writer.isRefused = true
      }
      if writer.isRefused {
        output.truncate(to: before)
        return false
      }
    }
    if place.kind == .redirect, output.bytes.extracting(droppingFirst: before).beginsWithTwoSlashes, !beginsWithTwoSlashes(place) {
      output.truncate(to: before)
      return false
    }
    return true
  }

  /// Whether the text of a template itself names another host than the one asked for, as in `//cdn.example/`.
  private func beginsWithTwoSlashes(_ place: TemplatePlace) -> Bool {
    guard place.start < place.end, Int(place.start) < steps.count else { return false }
    let first = steps[Int(place.start)]
    return first.variable == .literal && first.text.text(in: text.span).beginsWithTwoSlashes
  }
}

/// Puts the values of one step, and sees to it that nothing gets in that must not.
private struct TemplateWriter {
  let kind: TemplateKind
  let isForeign: Bool
  /// Bytes that may still be written.
  var room: Int
  /// Whether a `?` may begin the value.
  var mayMarkQuery = false
  var isRefused = false

  init(kind: TemplateKind, isForeign: Bool, room: Int) {
    self.kind = kind
    self.isForeign = isForeign
    self.room = room
  }

  mutating func put(_ value: Span<UInt8>, _ output: inout Buffer) {
    guard value.count <= room, !isForeign || isHarmless(value) else { return isRefused = true }
    if !isRefused {
      output.append(value)
      room -= value.count
    }
  }

  mutating func put(_ literal: StaticString, _ output: inout Buffer) {
    guard literal.utf8CodeUnitCount <= room else { return isRefused = true }
    output.append(literal)
    room -= literal.utf8CodeUnitCount
  }

  private func isHarmless(_ value: Span<UInt8>) -> Bool {
    switch kind {
    case .requestField, .responseField: return value.isPlainText
    case .redirect:
      for index in value.indices where !value[index].isURICharacter { return false }
    case .target:
      for index in value.indices {
        let byte = value[index]
        guard byte.isURICharacter, byte != 0x23, byte != 0x3f || mayMarkQuery && index == 0 else { return false }
      }
    }
    return true
  }

  /// The values of all fields of that name, with commas between.
  mutating func put(fieldsNamed name: Span<UInt8>, _ number: HeaderName, _ request: RequestView, _ output: inout Buffer) {
    var isFirst = true
    for index in request.fields.indices {
      let field = request.fields[index]
      guard field.isNamed(number), number != .other || field.nameText.text(in: request.bytes).isName(name) else { continue }
      if !isFirst { put(", ", &output) }
      isFirst = false
      put(field.value.text(in: request.bytes), &output)
    }
  }

  /// The same for lines that read "name: value" CRLF.
  mutating func put(fieldsNamed name: Span<UInt8>, inLines lines: Span<UInt8>, _ output: inout Buffer) {
    var isFirst = true, start = 0
    while start < lines.count {
      var end = start
      while end < lines.count, lines[end] != 0x0d { end += 1 }
      if end - start > name.count + 1, lines[start + name.count] == 0x3a, lines.extracting(start..<start + name.count).isName(name) {
        if !isFirst { put(", ", &output) }
        isFirst = false
        put(lines.extracting(min(start + name.count + 2, end)..<end), &output)
      }
      start = end + 2
    }
  }

  mutating func put(cookie name: Span<UInt8>, _ request: RequestView, _ output: inout Buffer) {
    for index in request.fields.indices where request.fields[index].isNamed(.other) {
      let field = request.fields[index]
      guard field.nameText.count == 6, field.nameText.text(in: request.bytes).equalsIgnoringCase("cookie") else { continue }
      let value = field.value.text(in: request.bytes)
      if let place = value.cookie(named: name) { return put(value.extracting(place), &output) }
    }
  }

  mutating func put(parameter name: Span<UInt8>, of query: Span<UInt8>, _ output: inout Buffer) {
    var start = 0
    while start < query.count {
      var end = start
      while end < query.count, query[end] != 0x26 { end += 1 }
      if end - start > name.count, query[start + name.count] == 0x3d, query.extracting(start..<start + name.count).isSame(as: name) {
        return put(query.extracting(start + name.count + 1..<end), &output)
      }
      start = end + 1
    }
  }
}

extension Span<UInt8> {
  /// Whether the bytes, a token, are `name`, which is in lower case.
  @inline(__always)
  func isName(_ name: Span<UInt8>) -> Bool {
    guard count == name.count else { return false }
    for index in indices {
      let byte = self[index]
      if (0x41...0x5a ~= byte ? byte | 0x20 : byte) != name[index] { return false }
    }
    return true
  }

  /// Whether the bytes are visible ASCII, blanks and tabs.
  fileprivate var isPlainText: Bool {
    let end = count
    return unsafe withUnsafeBufferPointer { bytes in
      guard unsafe clx_find_control(bytes.baseAddress, 0, end) == end else { return false }
      var high: UInt64 = 0, position = 0
      while position + 8 <= end {
        high |= unsafe UnsafeRawBufferPointer(bytes).loadUnaligned(fromByteOffset: position, as: UInt64.self)
        position += 8
      }
      while position < end {
        high |= UInt64(unsafe bytes[position])
        position += 1
      }
      return high & 0x8080_8080_8080_8080 == 0
    }
  }

  /// The beginning of a reference to another host (RFC 3986 §4.2).
  fileprivate var beginsWithTwoSlashes: Bool { count > 1 && self[0] == .slash && self[1] == .slash }

  /// Whether what follows the bytes, the beginning of a redirect, belongs to the name of its host.
  fileprivate var endsInAuthority: Bool {
    var position = 0
    if !beginsWithTwoSlashes {
      if count > 0, self[0] == .slash { return false }
      while position < count, self[position] != 0x3a { position += 1 }
      guard position + 2 < count, self[position + 1] == .slash, self[position + 2] == .slash else { return false }
      position += 1
    }
    for index in position + 2..<count where self[index] == .slash || self[index] == 0x3f || self[index] == 0x23 { return false }
    return true
  }

  /// Whether the bytes end no authority, and make nothing before them a user's name (RFC 3986 §3.2).
  fileprivate var isPartOfAuthority: Bool {
    for index in indices {
      switch self[index] {
      case .slash, 0x3f, 0x23, 0x40, 0x3a, 0x5b, 0x5d, 0x25: return false
      default: break
      }
    }
    return true
  }

  fileprivate func contains(_ byte: UInt8) -> Bool {
    for index in indices where self[index] == byte { return true }
    return false
  }

  /// An acceptable host and optional port, without the port.
  fileprivate var hostWithoutPort: Span<UInt8> {
    @_lifetime(copy self)
    get {
      var end = count
      while end > 0, 0x30...0x39 ~= self[end - 1] { end -= 1 }
      return end > 0 && self[end - 1] == 0x3a ? extracting(first: end - 1) : self
    }
  }
}
