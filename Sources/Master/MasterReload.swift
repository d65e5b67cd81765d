// MasterReload — from a request to reload to its outcome.
//
// One reload at a time; requests that come meanwhile share the next one. Whoever asked hears all errors, or
// that the new generation serves.

import Control
import Kernel
import Plan

extension Master {
  /// Reloads, now or after the reload under way.
  func reload(for asker: ControlConnection?) {
    guard !supervisor.isStopping else {
      asker?.answer(ControlAnswer(.failed, ["the gateway is stopping"]))
      journal.write(.warn, "reload ignored: the gateway is stopping")
      return
    }
    if supervisor.isStarting {
      if let asker { queuedAskers.append(asker) }
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
    switch options.load() {
    case .failure(let refusal): reloaded(ReloadOutcome(at: Time.wallSeconds, generation: nil, errors: refusal.lines))
    case .success(let loaded):
      for warning in loaded.warnings { journal.write(.warn, warning) }
      do throws(ListenerFailure) {
        let record = try prepare(loaded.plan)
        journal.write(.info, "starting generation \(record.number)")
        perform(supervisor.begin(record.number, terms: terms(of: record), now: Time.milliseconds))
      } catch {
        reloaded(ReloadOutcome(at: Time.wallSeconds, generation: nil, errors: [error.reason]))
      }
    }
  }

  /// Records the outcome and tells everyone who asked.
  func reloaded(_ outcome: ReloadOutcome) {
    lastReload = outcome
    board.store(.lastReloadAt, UInt64(outcome.at))
    let askers = reloadAskers
    reloadAskers = []
    if let generation = outcome.generation {
      board.store(.reloads, board.value(of: .reloads) &+ 1)
      for asker in askers { asker.answer(ControlAnswer(.ok, ["generation \(generation) serves"])) }
      return
    }
    board.store(.failedReloads, board.value(of: .failedReloads) &+ 1)
    let running = supervisor.serving.map { "the running configuration (generation \($0)) is unchanged" } ?? "nothing is running"
    let count = outcome.errors.count
    let last = "\(count) \(count == 1 ? "error" : "errors"); \(running)"
    for line in outcome.errors { journal.write(.error, line) }
    journal.write(.error, "reload failed: " + last)
    for asker in askers { asker.answer(ControlAnswer(.failed, outcome.errors + [last])) }
  }
}
