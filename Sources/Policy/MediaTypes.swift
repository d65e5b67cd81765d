// MediaTypes — what kind of content a file's name says it has.
//
// Extensions are up to eight letters, kept as one number each, so that a look-up is a binary search without comparing texts.

import HTTPModel
import Memory

/// Media types by extension.
public struct MediaTypes: ~Copyable {
  private let keys: BoundedArray<UInt64>
  private let values: BoundedArray<Extent>
  private let fallback: Extent
  /// The types, one behind the other, with their charset.
  public let text: Buffer

  /// - Parameters:
  ///   - own: types by extension that stand before the usual ones; extensions in lower case, without the dot.
  ///   - other: the type of everything else; empty: none is said.
  ///   - charset: appended to types of text that name none; empty: nothing is.
  public init(own: [(String, String)] = [], other: String = "application/octet-stream", charset: String = "utf-8") {
    var table: [UInt64: String] = [:]
    for (names, type) in MediaTypes.usual {
      for name in "\(names)".split(separator: " ") { table[MediaTypes.key(String(name)) ?? 0] = "\(type)" }
    }
    for (name, type) in own { table[MediaTypes.key(name) ?? 0] = type }
    var bytes: [UInt8] = []
    func add(_ type: String) -> Extent {
      let start = bytes.count
      bytes += type.utf8
      if !charset.isEmpty, type.hasPrefix("text/"), !type.contains(";") { bytes += "; charset=\(charset)".utf8 }
      return Extent(start..<bytes.count)
    }
    var keys = BoundedArray<UInt64>(capacity: max(1, table.count)), values = BoundedArray<Extent>(capacity: max(1, table.count))
    for (key, type) in table.sorted(by: { $0.key < $1.key }) where key != 0 {
      _ = keys.append(key)
      _ = values.append(add(type))
    }
    fallback = add(other)
    self.keys = keys
    self.values = values
    var text = Buffer(capacity: max(1, bytes.count))
    text.append(bytes.span)
    self.text = text
  }

  /// Whether `name` is an extension that can have a type: one to eight letters, digits and "+-_".
  public static func isExtension(_ name: String) -> Bool { key(name) != nil }

  private static func key(_ name: String) -> UInt64? {
    let bytes = Array(name.utf8)
    return key(bytes.span)
  }

  private static func key(_ text: Span<UInt8>) -> UInt64? {
    guard 1...8 ~= text.count else { return nil }
    var key: UInt64 = 0
    for index in text.indices {
      let byte = text[index], letter = 0x41...0x5a ~= byte ? byte | 0x20 : byte
      switch letter {
      case 0x61...0x7a, 0x30...0x39, 0x2b, 0x2d, 0x5f: key = key << 8 | UInt64(letter)
      default: return nil
      }
    }
    return key
  }

  /// Where in `text` the type of the file called `name` is; a name may have directories before it.
  public func type(of name: Span<UInt8>) -> Extent {
    var dot = name.count
    while dot > 0, name[dot - 1] != .dot {
      if name[dot - 1] == .slash { return fallback }
      dot -= 1
    }
    guard dot > 0, let key = MediaTypes.key(name.extracting(droppingFirst: dot)) else { return fallback }
    let keys = keys.span
    var low = 0, high = keys.count
    while low < high {
      let middle = (low + high) / 2
      if keys[middle] < key { low = middle + 1 } else { high = middle }
    }
    return low < keys.count && keys[low] == key ? values.span[low] : fallback
  }

  /// Types registered with IANA, or in use for want of a registered one.
  private static let usual: [(StaticString, StaticString)] = [
    ("html htm shtml", "text/html"), ("css", "text/css"), ("js mjs cjs", "text/javascript"), ("txt text log", "text/plain"), ("csv", "text/csv"),
    ("md markdown", "text/markdown"), ("xml", "text/xml"), ("ics", "text/calendar"), ("vtt", "text/vtt"), ("vcf", "text/vcard"),
    ("json map", "application/json"), ("jsonld", "application/ld+json"), ("geojson", "application/geo+json"), ("webmanif", "application/manifest+json"),
    ("xhtml", "application/xhtml+xml"), ("atom", "application/atom+xml"), ("rss", "application/rss+xml"), ("wasm", "application/wasm"),
    ("yaml yml", "application/yaml"), ("pdf", "application/pdf"), ("rtf", "application/rtf"), ("epub", "application/epub+zip"),
    ("zip", "application/zip"), ("gz", "application/gzip"), ("br", "application/x-brotli"), ("zst", "application/zstd"), ("tar", "application/x-tar"),
    ("tgz", "application/gzip"), ("bz2", "application/x-bzip2"), ("xz", "application/x-xz"), ("7z", "application/x-7z-compressed"),
    ("jar war", "application/java-archive"), ("deb", "application/vnd.debian.binary-package"), ("rpm", "application/x-rpm"),
    ("doc", "application/msword"), ("xls", "application/vnd.ms-excel"), ("ppt", "application/vnd.ms-powerpoint"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("odt", "application/vnd.oasis.opendocument.text"), ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("png", "image/png"), ("jpg jpeg jfif", "image/jpeg"), ("gif", "image/gif"), ("svg svgz", "image/svg+xml"), ("webp", "image/webp"), ("avif", "image/avif"),
    ("ico", "image/vnd.microsoft.icon"), ("bmp", "image/bmp"), ("tif tiff", "image/tiff"), ("heic", "image/heic"), ("apng", "image/apng"), ("jxl", "image/jxl"),
    ("woff", "font/woff"), ("woff2", "font/woff2"), ("ttf", "font/ttf"), ("otf", "font/otf"), ("eot", "application/vnd.ms-fontobject"),
    ("mp3", "audio/mpeg"), ("m4a", "audio/mp4"), ("aac", "audio/aac"), ("ogg oga opus", "audio/ogg"), ("flac", "audio/flac"), ("wav", "audio/wav"),
    ("mp4 m4v", "video/mp4"), ("webm", "video/webm"), ("mpeg mpg", "video/mpeg"), ("mov", "video/quicktime"), ("avi", "video/x-msvideo"),
    ("mkv", "video/matroska"), ("ogv", "video/ogg"), ("ts", "video/mp2t"), ("m3u8", "application/vnd.apple.mpegurl"), ("mpd", "application/dash+xml"),
  ]
}
