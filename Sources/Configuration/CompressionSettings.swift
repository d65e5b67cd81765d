// CompressionSettings — what is read of `compression`, and of its switches on routes.

import Plan

/// Whether a route's responses are compressed.
public enum CompressionSwitch: Equatable, Sendable { case inherit, on, off }

extension TextRule {
  static let mediaTypePattern = TextRule(description: "media type, or one such as \"text/*\"", pattern: "^[^/ ;]+/[^/ ;]+$", normalise: { $0.lowercased() }) { text in
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    let isType = parts.count == 2 && parts.allSatisfy { token.complaint(String($0)) == nil } && parts[0] != "*"
    if text == "text/event-stream" { return "must not be a stream of events: those are never compressed" }
    return isType ? nil : "must be a media type without parameters, such as \"text/*\" (found \(JSON.quoted(text)))"
  }
}

extension Setting {
  static func compressionSwitch(_ place: Place<CompressionSwitch>) -> Self {
    .choice("compression", place, [("inherit", .inherit), ("on", .on), ("off", .off)], "Whether responses are compressed; \"inherit\": as compression.enabled says.")
  }
}

extension SettingsTable {
  static let compression = SettingTable<CompressionPlan>(
    CompressionPlan(),
    [
      .boolean("enabled", \.enabled, "Whether responses are compressed where the route does not say."),
      .choices("algorithms", \.order, [("gzip", .gzip), ("br", .brotli), ("zstd", .zstd)], "Codings offered, in order of preference; the client's qualities come first."),
      .texts("types", \.types, .mediaTypePattern, "Media types that are compressed. Streams of events never are."),
      .quantity("min_length_bytes", \.minLength, .bytes, 0...(1 << 30), "Size from which content is compressed, where it is known."),
      .integer("gzip_level", \.gzipLevel, 1...9, "1 (fast) to 9 (small)."),
      .integer("brotli_level", \.brotliLevel, 0...11, "0 (fast) to 11 (small, and slow)."),
      .integer("zstd_level", \.zstdLevel, 1...19, "1 (fast) to 19 (small, and slow)."),
    ])
}

extension Settings {
  func isCompressed(_ route: CompressionSwitch) -> Bool { route == .inherit ? compression.enabled : route == .on }

  func checkCompression(_ reading: inout Reading) {
    let isUsed = compression.enabled || routes.contains { $0.compression == .on } || upstreams.contains { $0.compression == .on }
    if isUsed, compression.order.isEmpty, !reading.errors.contains(where: { $0.path.hasPrefix("compression.algorithms") }) {
      reading.reject("compression.algorithms", "compression.algorithms needs at least one of \"gzip\", \"br\" and \"zstd\"")
    }
    for (index, upstream) in upstreams.enumerated() where upstream.routePrefix.isEmpty && upstream.compression != .inherit {
      reading.reject("upstreams[\(index)].proxy.compression", "upstreams[\(index)].proxy.compression has no effect without route_prefix")
    }
    for (index, route) in routes.enumerated() where route.compression == .on && (route.redirect != nil || route.echo != nil) {
      reading.reject("routes[\(index)].compression", "routes[\(index)].compression has no effect here: there is nothing to compress")
    }
  }
}
