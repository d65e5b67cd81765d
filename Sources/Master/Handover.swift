// Handover — all that the program which takes this one's place must know, as bytes in a sealed memory file.
//
// Descriptors stand in it as their numbers: they stay open over the exec under the same ones. The reader may be another version: the form
// has a number, and a program that does not know it says so in its pre-flight check, long before anything has happened.

import Control
import Kernel
import Plan

struct Handover {
  static let magic: UInt64 = 0x7265_766f_646e_6168  // "handover" in memory order
  /// Of this form.
  static let version: UInt32 = 2

  struct Connection {
    var file: Int32 = -1
    var isAsked = false
    /// It waits for the upgrade, or for a reload.
    var waits = false
    /// …which is a reload that begins when the upgrade has ended, or by way of it.
    var isReload = false
  }

  struct Generation {
    var number: UInt64 = 0
    var startedAt: Int64 = 0
    var planFile: Int32 = -1
    var listeners: [ListenerKey] = []
  }

  struct Worker {
    var id = 0
    var generation: UInt64 = 0
    var slot = 0
    var row = 0
    var startedAt: Int64 = 0
    var process: Int32 = 0
    var channel: Int32 = -1
  }

  /// The version of the program that wrote it.
  var program = ""
  /// See WorkerLanguage.
  var language: UInt32 = 0
  /// The program itself, to go back to: its path, and the open file.
  var binary = ""
  var binaryFile: Int32 = -1
  /// Its command line, without its own name.
  var arguments: [String] = []
  var inventory = Inventory()
  var pidFile: Int32 = -1
  var controlPath = ""
  /// -1: there is no control socket.
  var controlFile: Int32 = -1
  var connections: [Connection] = []
  /// Somebody wants a reload, who may not wait for its outcome.
  var isReloadQueued = false
  var startedAt: Int64 = 0
  var nextGeneration: UInt64 = 1
  var generations: [Generation] = []
  var workers: [Worker] = []
  var supervisor: [UInt8] = []
  var ticketKeys: [[UInt8]] = []
  var ticketsMadeAt: Int64 = 0
  var deaths: [Death] = []
  var store = ServiceStore()

  init() {}

  var encoded: [UInt8] {
    var archive = Archive()
    var copy = self
    copy.describe(to: &archive)
    return archive.bytes
  }

  /// nil when the bytes are no handover, or one of another form.
  init?(decoding bytes: [UInt8]) {
    var archive = Archive(reading: bytes)
    describe(to: &archive)
    guard archive.isComplete else { return nil }
  }

  /// Every descriptor that is named.
  var files: [CInt] {
    let segments = inventory.sockets.map(\.file) + inventory.segments.map(\.file)
    let others = connections.map(\.file) + generations.map(\.planFile) + workers.map(\.channel) + [pidFile, controlFile, binaryFile]
    return Set(segments + others).filter { $0 >= 0 }.sorted()
  }

  private mutating func describe(to archive: inout Archive) {
    var magic = Self.magic, version = Self.version
    archive.number(&magic)
    archive.number(&version)
    guard magic == Self.magic, version == Self.version else { return archive.fail() }
    archive.text(&program)
    archive.number(&language)
    archive.text(&binary)
    archive.number(&binaryFile)
    archive.list(&arguments, blank: "") { $0.text(&$1) }
    inventory.describe(to: &archive)
    archive.number(&pidFile)
    archive.text(&controlPath)
    archive.number(&controlFile)
    archive.list(&connections, blank: Connection()) {
      $0.number(&$1.file)
      $0.flag(&$1.isAsked)
      $0.flag(&$1.waits)
      $0.flag(&$1.isReload)
    }
    archive.flag(&isReloadQueued)
    archive.number(&startedAt)
    archive.number(&nextGeneration)
    archive.list(&generations, blank: Generation()) {
      $0.number(&$1.number)
      $0.number(&$1.startedAt)
      $0.number(&$1.planFile)
      $0.list(&$1.listeners, blank: ListenerKey(address: "")) { $1.describe(to: &$0) }
    }
    archive.list(&workers, blank: Worker()) {
      $0.number(&$1.id)
      $0.number(&$1.generation)
      $0.number(&$1.slot)
      $0.number(&$1.row)
      $0.number(&$1.startedAt)
      $0.number(&$1.process)
      $0.number(&$1.channel)
    }
    archive.data(&supervisor)
    archive.list(&ticketKeys, blank: []) { $0.data(&$1) }
    archive.number(&ticketsMadeAt)
    archive.list(&deaths, blank: Death(generation: 0, slot: 0, process: 0, reason: "", at: 0)) { $1.describe(to: &$0) }
    store.describe(to: &archive)
  }
}

extension Death {
  fileprivate mutating func describe(to archive: inout Archive) {
    var generation = generation, slot = slot, process = process, reason = reason, at = at
    archive.number(&generation)
    archive.number(&slot)
    archive.number(&process)
    archive.text(&reason)
    archive.number(&at)
    self = Death(generation: generation, slot: slot, process: process, reason: reason, at: at)
  }
}

/// What another program has handed over to this one, in this same process.
///
/// The descriptors keep the numbers that the handover names, and nobody uses them: whoever takes something over uses a duplicate. So the other
/// program finds everything as it left it when it has to go on; `keep` closes them when it never will.
public final class Takeover {
  let state: Handover
  /// Why the other program has handed back what this one had handed over; nil when it is this one's turn.
  public let refusal: String?
  /// …and somebody has asked the other program for a reload.
  let isReloadWanted: Bool
  private let file: CInt

  /// - Parameter file: the number of the memory file.
  public init?(file: CInt, refusal: String?, isReloadWanted: Bool = false) {
    guard let own = Descriptor.duplicate(of: file), let bytes = try? MemoryFile.contents(of: own), let state = Handover(decoding: bytes) else { return nil }
    self.state = state
    self.refusal = refusal
    self.isReloadWanted = isReloadWanted
    self.file = file
    Process.setName("gatewayd")
  }

  /// The plan of the generation that serves, where this version understands it.
  public var plan: Plan? {
    guard let serving = Supervisor(decoding: state.supervisor)?.serving, let entry = state.generations.first(where: { $0.number == serving }) else { return nil }
    return plan(of: entry)
  }

  func plan(of generation: Handover.Generation) -> Plan? {
    guard let file = Descriptor.duplicate(of: generation.planFile) else { return nil }
    return try? Plan(sealedIn: file)
  }

  /// From now on there is no way back.
  func keep() { for raw in state.files + [file] { Descriptor.giveUp(raw: raw) } }

  /// Lets the program that handed over go on. Returns only on failure, with the reason.
  /// - Parameter isReloadWanted: somebody has asked for a reload meanwhile.
  public func handBack(_ reasons: [String], isReloadWanted: Bool = false) -> String {
    let words = state.arguments + ["--resume", "\(file)", "--because", reasons.joined(separator: "\n")] + (isReloadWanted ? ["--then-reload"] : [])
    return Execution.become(program: state.binaryFile, ["gatewayd"] + words, keeping: state.files + [file]).text
  }
}

/// The check that a program makes on behalf of the one whose place it is to take: that it understands what it will be given.
public enum PreflightCheck {
  static let success = "ready to take over: version "

  /// What is wrong; nil when nothing is.
  public static func problem(file: CInt) -> String? {
    guard let own = Descriptor.duplicate(of: file), let bytes = try? MemoryFile.contents(of: own) else { return "nothing was handed over" }
    guard let state = Handover(decoding: bytes) else {
      return "version \(Product.version) does not understand what the running version hands over: restart instead"
    }
    guard Supervisor(decoding: state.supervisor) != nil else { return "version \(Product.version) does not understand the state of version \(state.program): restart instead" }
    guard state.language == WorkerLanguage.version else {
      return "version \(Product.version) cannot speak with workers of version \(state.program): restart instead"
    }
    return nil
  }

  /// What is printed when all is well.
  public static var words: String { success + Product.version }
}
