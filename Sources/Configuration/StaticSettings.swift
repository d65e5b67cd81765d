// StaticSettings — files below a directory: what is read of `static`, and what is wrong with it.

import HTTPModel
import Plan
import Policy

extension TextRule {
  /// A directory to serve.
  static let folder = TextRule(description: "path of a directory") { text in
    if text.isEmpty { return "must not be empty" }
    return text.utf8.contains(0) ? "must not contain NUL" : nil
  }

  /// The name of a file in whatever directory.
  static let fileName = TextRule(description: "name of a file", pattern: "^[^/]+$") { text in
    if text.isEmpty || text == "." || text == ".." { return "must name a file (found \(JSON.quoted(text)))" }
    if text.utf8.contains(where: { $0 == 0 || $0 == 0x2f }) { return "must be a name without \"/\" (found \(JSON.quoted(text)))" }
    return text.utf8.count > 255 ? "must not be longer than 255 bytes" : nil
  }

  /// The path of a file below a directory.
  static let pathBelow = TextRule(description: "path below root", pattern: "^[^/]") { text in
    let segments = text.split(separator: "/", omittingEmptySubsequences: false)
    if text.utf8.contains(0) || segments.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) {
      return "must be the path of a file below root, such as \"index.html\" (found \(JSON.quoted(text)))"
    }
    return text.utf8.count > 1000 ? "must not be longer than 1000 bytes" : nil
  }

  static let mediaType = TextRule(description: "media type", pattern: "^[^/ ]+/[^/ ]+") { text in
    if let complaint = HeaderRules.complaint(value: text) { return complaint }
    let parts = text.prefix { $0 != ";" }.split(separator: "/", omittingEmptySubsequences: false)
    let isType = parts.count == 2 && parts.allSatisfy { token.complaint(String($0)) == nil }
    return isType ? nil : "must be a media type such as \"text/plain\" (found \(JSON.quoted(text)))"
  }

  static let fieldValue = TextRule(description: "value of a header field") { text in
    text.isEmpty ? "must not be empty" : HeaderRules.complaint(value: text)
  }

  static let fileExtension = TextRule(
    description: "extension without the dot", pattern: "^[0-9A-Za-z+_-]{1,8}$", normalise: { $0.lowercased() },
    complaint: { MediaTypes.isExtension($0) ? nil : "must be an extension of one to eight letters and digits, without the dot (found \(JSON.quoted($0)))" })
}

extension Setting {
  /// A list of different names, each standing for a case.
  static func choices<Value: Equatable & Sendable>(
    _ key: String, _ place: Place<[Value]>, _ choices: [(name: String, value: Value)], _ sentence: String
  ) -> Self {
    let names = choices.map(\.name)
    let rule = TextRule(description: names.map(JSON.quoted).joined(separator: ", "), pattern: "^(" + names.joined(separator: "|") + ")$") { _ in nil }
    return Setting(
      custom: key, sentence, shape: .texts(rule),
      read: { node, path, owner, reading in
        guard case .sequence(let nodes) = node.content else {
          return reading.reject(node.origin, path, "\(path) must be a list of texts (\(node.found))")
        }
        var values: [Value] = []
        for (index, element) in nodes.enumerated() {
          let path = "\(path)[\(index)]"
          reading.origins[path] = element.origin
          guard let text = plainText(element, path, &reading) else { continue }
          if let choice = choices.first(where: { $0.name == text }) {
            if values.contains(choice.value) { reading.reject(element.origin, path, "\(path) repeats \(JSON.quoted(text))") }
            values.append(choice.value)
          } else {
            let list = names.map(JSON.quoted).joined(separator: ", ")
            reading.reject(element.origin, path, "\(path) must be one of \(list) (\(element.found))", suggestion: Suggestion.nearest(to: text, among: names))
          }
        }
        owner[keyPath: place] = values
      },
      write: { owner in .array(owner[keyPath: place].map { value in .string(choices.first { $0.value == value }?.name ?? "") }) })
  }
}

extension SettingsTable {
  static let files = SettingTable<StaticPlan>(
    StaticPlan(root: ""),
    [
      .text("root", \.root, .folder, "The directory. It is looked up anew every second, so that a link may be switched to another one.").required(example: "/srv/www"),
      .texts("index", \.index, .fileName, "Names of files that stand for the directory they are in, the first that exists; none: directories are answered 404."),
      .text("fallback", \.fallback, .pathBelow, mayBeEmpty: true, "What is sent, with status 200, for what does not exist: a path below root; empty: 404."),
      .boolean("hidden", \.hidden, "Whether names that begin with a dot are served; /.well-known/ is in any case."),
      .choice(
        "symlinks", \.links, [("never", .none), ("beneath", .beneath), ("all", .all)],
        "Which symbolic links are followed: none, those that do not lead out of root (relative ones), or all."),
      .text("cache_control", \.cacheControl, .fieldValue, mayBeEmpty: true, "The value of Cache-Control; empty: the field is not sent.").example("public, max-age=3600"),
      .text("default_type", \.otherType, .mediaType, mayBeEmpty: true, "Media type of files whose extension says nothing; empty: none is said."),
      .text("charset", \.charset, .token, mayBeEmpty: true, "Added to the types of text; empty: none is."),
      .list("types", \.types, mediaTypes, "Media types by extension, before the built-in ones."),
      .choices(
        "precompressed", \.precompressed, [("gzip", .gzip), ("br", .brotli), ("zstd", .zstd)],
        "Files beside the one that is asked for (page.html.br, .gz, .zst) that are sent in its place to clients that take them, in order of preference."),
    ])

  private static let mediaTypes = SettingTable<MediaTypePlan>(
    MediaTypePlan(),
    [
      .texts("extensions", \.suffixes, .fileExtension, "Extensions, without the dot."),
      .text("type", \.type, .mediaType, "The media type.").required(example: "text/plain"),
    ])
}

extension Settings {
  func check(_ files: StaticPlan, _ route: RouteSettings, _ path: String, _ reading: inout Reading) {
    if let parsed = reading.routePath(route.path), !parsed.endsInCatchAll {
      reading.reject("\(path).path", "\(path).path \(JSON.quoted(route.path)) must end in a catch-all, such as \"/*file\": what it matches is the file")
    }
    for (index, method) in route.methods.enumerated() where method != "GET" && method != "HEAD" {
      reading.reject("\(path).methods[\(index)]", "\(path).methods[\(index)] \(JSON.quoted(method)) has no meaning for files: they are for GET and HEAD")
    }
    for (index, type) in files.types.enumerated() where type.suffixes.isEmpty {
      let place = "\(path).static.types[\(index)]"
      if !reading.errors.contains(where: { $0.path.hasPrefix(place) }) { reading.reject(place, "\(place) needs at least one of \"extensions\"") }
    }
  }
}
