// RouteEdits — the header rules of all routes, made ready: templates in a book, names in sets, and how they are applied to a composed head.
//
// A head is changed where it lies, as text, after everything else has been written into it: so a rule sees, and may replace, what the gateway has put
// there itself, and what HTTP/1.1 and HTTP/2 make of the text need not know of rules. Invariant: no rule names a field that frames a message or
// concerns its connection (the configuration refuses them), and no value holds a byte that could end its line (TemplateBook).

import HTTPModel
import Memory
import Plan
import Policy
import Wire

/// A field that a rule puts into a head.
struct FieldEdit: BitwiseCopyable {
  /// In the text of names: the name as it was written, with a colon and a blank; or the whole line, where nothing in it depends on a request.
  let start: Extent
  let isWhole: Bool
  let template: TemplatePlace
  /// Its bit among the defaults of its set; 64: it is put in any case.
  let defaultIndex: UInt8
  let keepsEmpty: Bool
  let isHost: Bool
}

/// What the rules of one route do to heads of one direction.
struct EditSet: BitwiseCopyable {
  fileprivate(set) var start: Int32 = 0
  fileprivate(set) var end: Int32 = 0
  /// Names that are taken out, and how many are put where they are missing.
  fileprivate(set) var dropped = LineNames.Part.none
  fileprivate(set) var defaults: UInt8 = 0
  /// The names of both, so that a head is looked through once: the defaults come first.
  fileprivate(set) var watched = LineNames.Part.none
  fileprivate(set) var needs = TemplateNeeds()

  var isEmpty: Bool { start == end && dropped.count == 0 }
}

/// What the rules of one route are.
struct RouteEdit: BitwiseCopyable {
  var request = EditSet()
  var response = EditSet()
  /// Whether those of responses hold for the gateway's own errors, too.
  var always = false
  /// The rule on who may read responses; -1: none.
  var cors: Int32 = -1
  /// The target of forwarded requests; meaningful with `rewrites`.
  var target = TemplatePlace.empty
  var rewrites = false
  /// Whether the query is appended to it.
  var keepsQuery = false

  /// Whether anything is done to responses.
  var concernsResponses: Bool { !response.isEmpty || cors >= 0 }
}

/// The header rules of a plan.
struct RouteEdits: ~Copyable {
  private(set) var book = TemplateBook()
  private var names = LineNames()
  private var text: [UInt8] = []
  private var fields: [FieldEdit] = []
  private(set) var routes: BoundedArray<RouteEdit>
  private(set) var crossOrigin = CrossOriginRules()
  /// Whether any route answers preflights.
  private(set) var hasCrossOrigin = false
  /// Whether any route has rules for responses.
  private(set) var editsResponses = false
  /// Whether there is anything to be filled in.
  private(set) var isActive = false

  init(capacity: Int) { routes = BoundedArray(capacity: max(1, capacity)) }

  /// Adds the rules of the next route.
  mutating func add(_ route: RoutePlan, captures: [String]) throws(GatewayFailure) {
    var edit = RouteEdit()
    edit.request = try make(route.rules.request, .requestField, route, captures)
    edit.response = try make(route.rules.response, .responseField, route, captures)
    edit.always = route.rules.response.always
    if let cors = route.rules.cors {
      edit.cors = try crossOrigin.add(cors, route: route.pattern)
      hasCrossOrigin = true
    }
    if !route.rules.rewrite.isEmpty {
      edit.target = try add(template: route.rules.rewrite, .target, route, captures: captures)
      edit.rewrites = true
      edit.keepsQuery = !route.rules.rewrite.contains("?") && !edit.target.needs.contains(.query)
    }
    if edit.concernsResponses { editsResponses = true }
    if !edit.request.isEmpty || edit.concernsResponses { isActive = true }
    _ = routes.append(edit)
  }

  /// Adds a template that stands elsewhere.
  mutating func add(template source: String, _ kind: TemplateKind, _ route: RoutePlan, captures: [String]) throws(GatewayFailure) -> TemplatePlace {
    isActive = true
    do {
      return book.add(try Template(parsing: source, kind, captures: captures), kind, route: route.pattern)
    } catch {
      throw GatewayFailure("route \(route.pattern): \(error)")
    }
  }

  private mutating func make(_ plan: HeaderEditPlan, _ kind: TemplateKind, _ route: RoutePlan, _ captures: [String]) throws(GatewayFailure) -> EditSet {
    var set = EditSet()
    if plan.isEmpty { return set }
    set.start = Int32(fields.count)
    var defaults: [String] = []
    for (list, isDefault) in [(plan.set, false), (plan.fallback, true), (plan.add, false)] {
      for field in list {
        let template = try add(template: field.value, kind, route, captures: captures)
        set.needs.formUnion(template.needs)
        let start = text.count, isHost = kind == .requestField && field.name.lowercased() == "host"
        text += (field.name + ": ").utf8
        let value = isHost ? nil : book.constant(template).map { $0.trimmed }
        if let value, !value.isEmpty { text += value + [0x0d, 0x0a] }
        var index = 64
        if isDefault {
          if defaults.last != field.name { defaults.append(field.name) }
          index = defaults.count - 1
        }
        fields.append(
          FieldEdit(
            start: Extent(start..<text.count), isWhole: value?.isEmpty == false, template: template, defaultIndex: UInt8(clamping: index), keepsEmpty: plan.keepEmpty,
            isHost: isHost))
      }
    }
    set.end = Int32(fields.count)
    var dropped = plan.remove
    for field in plan.set where !dropped.contains(field.name) { dropped.append(field.name) }
    set.dropped = names.add(dropped)
    set.defaults = UInt8(clamping: defaults.count)
    set.watched = names.add(defaults + dropped)
    return set
  }

  // MARK: Applying

  /// Changes the head whose field lines are those of `range` in `message`. What is lent is lent to be changed, though it is not: the compiler copies large
  /// values that are lent in any other way.
  /// - Parameters:
  ///   - cors: the rule on who may read it; -1: none.
  ///   - lines: a buffer to compose in.
  /// - Returns: how many fields were left out because of what would have stood in them.
  mutating func apply(
    _ set: EditSet, _ request: RequestView, _ captures: inout Captures, _ facts: inout TemplateFacts, _ lines: inout Buffer,
    to message: inout Buffer, _ range: Range<Int>, cors: Int32 = -1, isPreflight: Bool = false
  ) -> Int {
    lines.removeAll()
    var range = range
    if cors >= 0, Int(cors) < crossOrigin.rules.count {
      range = range.lowerBound..<crossOrigin.clean(&message, range)
      crossOrigin.append(crossOrigin.rules[Int(cors)], request.fields, request.bytes, isPreflight: isPreflight, to: &lines)
    }
    var present: UInt64 = 0, firstDropped = -1, position = range.lowerBound
    while set.watched.count > 0, let line = names.first(of: set.watched, in: message.bytes, position..<range.upperBound) {
      if line.index < Int(set.defaults) {
        present |= 1 &<< UInt64(line.index)
      } else if firstDropped < 0 {
        firstDropped = line.range.lowerBound
        if set.defaults == 0 { break }
      }
      position = line.range.upperBound
    }
    var refused = 0, keepsHost = false
    let fields = fields.span, text = text.span
    for index in Int(set.start)..<min(Int(set.end), fields.count) {
      let field = fields[index]
      if field.defaultIndex < 64, present &>> UInt64(field.defaultIndex) & 1 != 0 { continue }
      if field.isWhole, Int(field.start.count) <= lines.freeCapacity {
        lines.append(field.start.text(in: text))
        continue
      }
      switch Self.compose(field, text, book, request, &captures, &facts, message.bytes.extracting(range), &lines) {
      case .sent: break
      case .empty: if field.isHost { keepsHost = true }
      case .refused:
        refused += 1
        if field.isHost { keepsHost = true }
      }
    }
    var end = range.upperBound
    position = firstDropped < 0 ? end : firstDropped
    while position < end, let line = names.first(of: set.dropped, in: message.bytes, position..<end) {
      if keepsHost, message.bytes.extracting(line.range).isHostLine {
        position = line.range.upperBound
        continue
      }
      message.remove(line.range)
      position = line.range.lowerBound
      end -= line.range.count
    }
    guard lines.count <= message.freeCapacity else { return refused + 1 }
    message.insert(lines.bytes, at: end)
    return refused
  }

  private enum Outcome { case sent, empty, refused }

  /// Appends a line to `lines`, or nothing.
  private static func compose(
    _ field: FieldEdit, _ text: Span<UInt8>, _ book: borrowing TemplateBook, _ request: RequestView, _ captures: inout Captures, _ facts: inout TemplateFacts,
    _ head: Span<UInt8>, _ lines: inout Buffer
  ) -> Outcome {
    let start = lines.count, name = field.start.text(in: text)
    guard !field.isWhole, lines.freeCapacity >= name.count + 2 else { return .refused }
    lines.append(name)
    let value = lines.count
    guard book.append(field.template, request, &captures, &facts, response: head, to: &lines), lines.freeCapacity >= 2 else {
      lines.truncate(to: start)
      return .refused
    }
    var end = lines.count
    while end > value, lines.bytes[end - 1] == 0x20 || lines.bytes[end - 1] == 0x09 { end -= 1 }
    guard end > value || field.keepsEmpty && !field.isHost else {
      lines.truncate(to: start)
      return .empty
    }
    guard !field.isHost || lines.bytes.extracting(value..<end).isHostAndPort else {
      lines.truncate(to: start)
      return .refused
    }
    lines.truncate(to: end)
    lines.append("\r\n")
    return .sent
  }
}

extension Span<UInt8> {
  fileprivate var isHostLine: Bool { count > 5 && extracting(first: 5).matches("host:", ignoring: 0x2020_2020_2020_2020) }
}

extension [UInt8] {
  /// Without blanks and tabs at the end.
  fileprivate var trimmed: [UInt8] {
    var end = count
    while end > 0, self[end - 1] == 0x20 || self[end - 1] == 0x09 { end -= 1 }
    return Array(self[..<end])
  }
}
