// MasterReload — from a request to reload to its outcome.
//
// One reload at a time; requests that come meanwhile share the next one. Whoever asked hears all errors, or,
// when nobody but the new generation accepts any more, that it serves.

import Control
import Kernel
import Plan

extension Master {
  /// Reloads, now or after the reload under way.
  func reload(for asker: ControlConnection?) {
    guard !supervisor.isStopping else {
      asker?.answer(ControlAnswer(.failed, ["the gateway is stopping"]))
      journal.write(.warn, "reload ignored: the gateway is stopping")
      // What was asked for by a hang-up includes this.
      _ = reopenLogs()
      return
    }
    if supervisor.isChanging || upgrade.isUnderWay {
      if let asker {
        queuedAskers.append(asker)
        let what = upgrade.isUnderWay || takeover != nil ? "an upgrade" : onStarted == nil ? "another reload" : "the start"
        asker.note("\(what) is under way: this reload waits for it")
      }
      isReloadQueued = true
      return
    }
    if let asker { reloadAskers.append(asker) }
    beginReload()
  }

  func beginQueuedReload() {
    isReloadQueued = false
    let askers = queuedAskers
    queuedAskers = []
    guard !supervisor.isStopping else {
      for asker in askers { asker.answer(ControlAnswer(.failed, ["the gateway is stopping"])) }
      return
    }
    reloadAskers += askers
    beginReload()
  }

  private func beginReload() {
    reloadWarnings = reopenLogs()
    ServiceNotice.reloading("reloading")
    switch options.load() {
    case .failure(let refusal): reloaded(nil, errors: refusal.lines)
    case .success(let loaded): begin(loaded)
    }
  }

  /// Starts a generation for what has been loaded.
  func begin(_ loaded: LoadedPlan) {
    for warning in loaded.warnings { warn(warning) }
    do throws(ListenerFailure) {
      let record = try prepare(loaded.plan, settings: loaded.settings)
      journal.write(.info, "starting generation \(record.number)")
      perform(supervisor.begin(record.number, terms: terms(of: record), now: Time.milliseconds))
    } catch {
      reloaded(nil, errors: [error.reason])
    }
  }

  /// Writes a warning down, and keeps it for whoever asked for the reload under way.
  func warn(_ text: String) {
    journal.write(.warn, text)
    reloadWarnings.append(text)
  }

  /// Records the outcome and tells everyone who asked.
  func reloaded(_ generation: UInt64?, errors: [String]) {
    if let takeover, !supervisor.isStopping { conclude(takeover, generation, errors) }
    let outcome = ReloadOutcome(at: Time.wallSeconds, generation: generation, errors: errors, warnings: reloadWarnings)
    reloadWarnings = []
    lastReload = outcome
    board.store(.lastReloadAt, UInt64(outcome.at))
    service.status = serviceStatus
    if onStarted == nil, !supervisor.isStopping { ServiceNotice.ready(service.status) }
    let askers = reloadAskers
    reloadAskers = []
    if let generation = outcome.generation {
      board.store(.reloads, board.value(of: .reloads) &+ 1)
      for asker in askers { asker.answer(ControlAnswer(.ok, outcome.warnings + ["generation \(generation) serves"])) }
      return
    }
    board.store(.failedReloads, board.value(of: .failedReloads) &+ 1)
    let running = supervisor.serving.map { "the running configuration (generation \($0)) is unchanged" } ?? "nothing is running"
    let count = outcome.errors.count
    let last = "\(count) \(count == 1 ? "error" : "errors"); \(running)"
    for line in outcome.errors { journal.write(.error, line) }
    journal.write(.error, "reload failed: " + last)
    for asker in askers { asker.answer(ControlAnswer(.failed, outcome.warnings + outcome.errors + [last])) }
  }

  /// Shows what runs and what a reload would bring; nothing changes.
  func compare(for connection: ControlConnection) {
    switch options.load() {
    case .failure(let refusal): connection.answer(ControlAnswer(.failed, refusal.lines))
    case .success(let loaded):
      let running = supervisor.serving.flatMap { generations[$0]?.settings?() } ?? ""
      connection.answer(ControlAnswer(.ok, [running, "---", loaded.settings()]))
    }
  }
}
