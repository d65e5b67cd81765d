// MasterStatus — the state of everything, as the JSON that `gatewayctl status` prints or draws.

import Control
import Kernel
import Plan
import SharedState

extension Master {
  func statusText() -> String {
    var json = JSONText()
    let now = Time.wallSeconds
    json.object { json in
      json.field("version", options.version)
      json.field("state", stateText)
      json.object("master") { json in
        json.field("pid", Process.id)
        json.field("started_at", startedAt)
        json.field("uptime_sec", max(0, now - startedAt))
        json.field("binary", options.binary)
        json.field("pid_file", options.pidFile)
        json.field("config_file", options.configurationFile)
        if let control { json.field("control_socket", control.path) } else { json.null("control_socket") }
      }
      if let serving = supervisor.serving { json.field("generation", serving) } else { json.null("generation") }
      json.list("generations") { json in
        for number in generations.keys.sorted() { describe(number, now, &json) }
      }
      describeListeners(&json)
      json.object("logs") { json in
        json.field("error", journal.files.errorPath)
        json.field("access", journal.files.accessPath)
      }
      describeCertificates(&json)
      describeNames(&json)
      describeReload(&json)
      json.object("totals") { json in
        for counter in Counter.allCases { json.field(Self.snake("\(counter)"), board.sum(of: counter)) }
      }
      json.field("restarts", board.value(of: .restarts))
      json.list("deaths") { json in
        for death in deaths {
          json.object { json in
            json.field("generation", death.generation)
            json.field("slot", death.slot)
            if death.process == 0 { json.null("pid") } else { json.field("pid", death.process) }
            json.field("reason", death.reason)
            json.field("at", death.at)
          }
        }
      }
    }
    return json.text
  }

  private func describe(_ number: UInt64, _ now: Int64, _ json: inout JSONText) {
    guard let record = generations[number] else { return }
    json.object { json in
      json.field("number", number)
      json.field("state", supervisor.phase(of: number).map { "\($0)" } ?? "gone")
      json.field("started_at", record.startedAt)
      json.list("listeners") { json in
        for address in record.listeners.map(\.text).sorted() { json.field(nil, address) }
      }
      json.list("workers") { json in
        for slot in supervisor.slots(of: number) { describe(slot, of: number, now, &json) }
      }
    }
  }

  private func describe(_ slot: SlotView, of generation: UInt64, _ now: Int64, _ json: inout JSONText) {
    let worker = slot.worker.flatMap { workers[$0] }
    // A slot that has been drained has nothing more to tell.
    guard worker != nil || slot.respawnAt != nil else { return }
    json.object { json in
      json.field("slot", slot.slot)
      if let worker { json.field("pid", worker.process) } else { json.null("pid") }
      json.field("state", slot.respawnAt != nil ? "waiting" : slot.phase == .leaving ? "draining" : "\(slot.phase)")
      if let worker {
        json.field("started_at", worker.startedAt)
        json.field("uptime_sec", max(0, now - worker.startedAt))
      }
      if let worker, let row = board.row(worker.row), row.heartbeat > 0 {
        json.field("heartbeat_age_ms", max(0, Time.milliseconds - row.heartbeat))
      }
      if let time = slot.respawnAt { json.field("respawn_in_ms", max(0, time - Time.milliseconds)) }
      json.field("restarts", slot.restarts)
      if let death = deaths.last(where: { $0.generation == generation && $0.slot == slot.slot }) { json.field("last_death", death.reason) }
      if let worker, let page = board.page(worker.row) {
        json.field("connections", page.value(of: .connectionsActive))
        json.field("requests", page.value(of: .requests))
        json.field("requests_active", page.value(of: .requestsActive))
        json.field("upstream_connections", page.value(of: .upstreamConnectionsActive))
        json.field("upstream_connections_idle", page.value(of: .upstreamConnectionsIdle))
        json.field("upstream_http2_sessions", page.value(of: .upstreamSessionsActive))
        json.field("upstream_http2_streams", page.value(of: .upstreamStreamsActive))
      }
    }
  }

  private var stateText: String {
    if supervisor.isStopping { return "stopping" }
    guard supervisor.isChanging else { return "serving" }
    return supervisor.serving == nil ? "starting" : "reloading"
  }

  private func describeListeners(_ json: inout JSONText) {
    json.list("listeners") { json in
      guard let serving = supervisor.serving, let record = generations[serving] else { return }
      for key in ListenerTable.keys(of: record.plan) {
        guard let slots = listeners.slots(of: key) else { continue }
        json.object { json in
          json.field("address", slots.text)
          json.field("sockets", slots.sockets.count)
        }
      }
    }
  }

  private func describeReload(_ json: inout JSONText) {
    guard let lastReload else { return json.null("last_reload") }
    json.object("last_reload") { json in
      json.field("at", lastReload.at)
      json.field("ok", lastReload.generation != nil)
      if let generation = lastReload.generation { json.field("generation", generation) }
      json.list("errors") { json in
        for line in lastReload.errors { json.field(nil, line) }
      }
      json.list("warnings") { json in
        for line in lastReload.warnings { json.field(nil, line) }
      }
    }
  }

  /// `requestsActive` as `requests_active`.
  static func snake(_ name: String) -> String {
    var text = ""
    for character in name {
      if character.isUppercase {
        text += "_" + character.lowercased()
      } else {
        text.append(character)
      }
    }
    return text
  }
}
