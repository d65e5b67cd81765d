// AccessFormat — whether the text of access_log.format is one that the access log can write.

import Telemetry

enum AccessFormat {
  static func complaint(_ text: String) -> String? {
    if text.isEmpty { return "must not be empty" }
    // Without a variable every line would be the same: a misspelt name rather than a format.
    if text != "json", text != "combined", !text.utf8.contains(0x24) {
      return "must be \"json\", \"combined\", or a format with variables such as $status (found \(JSON.quoted(text)))"
    }
    do throws(AccessLogFormatError) {
      _ = try AccessLogFormat(text)
      return nil
    } catch {
      return "is not an access-log format: \(error)"
    }
  }
}
