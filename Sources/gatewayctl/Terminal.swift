// Terminal — printing, and colours where they are wanted.

import Control
import Glibc
import Kernel
import Synchronization

enum Terminal {
  /// What has been said so far, for whoever wants the outcome as JSON.
  private struct Said {
    var isJSON = false
    var hasAnswered = false
    var complaints: [String] = []
  }

  private static let said = Mutex(Said())

  /// Standard output is for a program: from now on a failure is told there, too, unless an answer has been printed (`OutcomeReport`).
  static func speakJSON() { said.withLock { $0.isJSON = true } }

  /// A command has failed with `outcome`.
  static func conclude(_ outcome: Outcome) {
    let said = said.withLock { $0 }
    if said.isJSON, !said.hasAnswered, outcome != .usage { print(OutcomeReport.json(outcome == .notRunning ? "not running" : "failed", said.complaints)) }
  }

  /// Standard output: the answer.
  /// Ends the program where nobody reads it any more, or it cannot be written: with 1, and a word on the latter.
  static func print(_ text: String) {
    said.withLock { $0.hasAnswered = true }
    if Files.write(text.hasSuffix("\n") ? text : text + "\n", to: STDOUT_FILENO) { return }
    let error = Errno.current
    if error != .connectionReset { complain("\(Product.tool): cannot write to standard output: \(error.text)") }
    exit(1)
  }

  /// Standard error: why something did not work, or may not be what was meant.
  static func complain(_ text: String) {
    said.withLock { $0.complaints += text.split(separator: "\n").map(String.init) }
    remark(text)
  }

  /// Standard error: what goes on meanwhile.
  static func remark(_ text: String) { Files.write(text.hasSuffix("\n") ? text : text + "\n", to: STDERR_FILENO) }

  /// Whether standard output shows colours: a terminal, and `NO_COLOR` not set (https://no-color.org).
  static var hasColours: Bool {
    isatty(STDOUT_FILENO) == 1 && (Process.environment("NO_COLOR") ?? "").isEmpty && Process.environment("TERM") != "dumb"
  }
}

/// A text and how it is to be looked at.
struct Cell: Equatable {
  enum Tone: String { case plain = "", good = "32", waiting = "33", bad = "31", heading = "1" }

  var text: String
  var tone = Tone.plain

  init(_ text: String, _ tone: Tone = .plain) {
    // What comes from outside must not command the terminal.
    self.text = String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 || 0x7f...0x9f ~= $0.value ? "?" : $0 }))
    self.tone = tone
  }

  func shown(colours: Bool) -> String { colours && tone != .plain ? "\u{1b}[\(tone.rawValue)m\(text)\u{1b}[0m" : text }
}

/// Rows of cells in columns as wide as they need to be.
struct Table {
  var rows: [[Cell]] = []
  /// Columns whose cells stand to the right.
  var numeric: Set<Int> = []

  /// The rows, each indented and ended by a line feed; no blanks at line ends.
  func text(indent: Int, colours: Bool) -> String {
    var widths: [Int] = []
    for row in rows {
      for (column, cell) in row.enumerated() {
        if column == widths.count { widths.append(0) }
        widths[column] = max(widths[column], cell.text.count)
      }
    }
    var text = ""
    for row in rows {
      var line = String(repeating: " ", count: indent)
      for (column, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - cell.text.count)
        let shown = cell.shown(colours: colours)
        line += numeric.contains(column) ? padding + shown : column == row.count - 1 ? shown : shown + padding
        if column < row.count - 1 { line += "  " }
      }
      while line.last == " " { line.removeLast() }
      text += line + "\n"
    }
    return text
  }
}
