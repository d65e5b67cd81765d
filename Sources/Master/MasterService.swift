// MasterService — the master as a service: what the service manager is told while it runs, and who watches whom.
//
// The service manager's watchdog is fed only while every worker shows signs of life. A worker that shows none is killed and
// replaced by the master well before the watchdog would end everything.

import Control
import Kernel
import Plan
import SharedState

/// What the master remembers of the service manager.
struct ServiceState {
  /// Milliseconds between two looks at the workers.
  static let look: Int64 = 1_000
  /// How far ahead the service manager is asked to be patient while we drain, each time a second has passed.
  static let patience: Int64 = 10_000

  /// Milliseconds within which the service manager wants to be told that we live; 0: it does not.
  let watchdog = ServiceNotice.watchdog
  var nextLook: Int64 = 0
  var lastLook: Int64 = 0
  /// Until then nobody is thought stuck: this process has stood still itself.
  var leniency: Int64 = 0
  var nextFeed: Int64 = 0
  /// The text that was sent last.
  var status = ""
}

extension Master {
  /// When something is due here.
  var nextServiceDeadline: Int64 { service.nextLook }

  /// Looks at the workers, and tells the service manager how it goes.
  func tendService() {
    let now = Time.milliseconds
    guard service.nextLook <= now else { return }
    // A machine that was asleep, or is overloaded beyond use, has kept the workers from turning as it has us.
    if service.lastLook > 0, now - service.lastLook > 3 * ServiceState.look { service.leniency = now + 3 * ServiceState.look }
    service.lastLook = now
    service.nextLook = now + ServiceState.look
    let oldest = lookAtHeartbeats(now)
    guard ServiceNotice.isHeard else { return }
    if service.watchdog > 0, service.nextFeed <= now, oldest < service.watchdog / 2 || now < service.leniency {
      ServiceNotice.send(["WATCHDOG=1"])
      service.nextFeed = now + service.watchdog / 4
    }
    if supervisor.isStopping { ServiceNotice.send(["EXTEND_TIMEOUT_USEC=\(ServiceState.patience * 1000)"]) }
    tellStatus()
  }

  /// How long a worker may be silent; nil: for good.
  private var patience: Int64? {
    let plan = supervisor.serving.flatMap { generations[$0]?.plan }
    let set = Int64(plan?.timeouts.workerHeartbeat ?? 0)
    let watched = service.watchdog / 2
    if set <= 0 { return watched > 0 ? watched : nil }
    return watched > 0 ? min(set, watched) : set
  }

  /// Kills workers that have been silent for too long. Returns the age of the oldest heartbeat among the others.
  private func lookAtHeartbeats(_ now: Int64) -> Int64 {
    var oldest: Int64 = 0
    for worker in workers.values {
      // Before its first turn there is another deadline.
      guard let row = board.row(worker.row), row.heartbeat > 0 else { continue }
      let age = now - row.heartbeat
      if let patience, age >= patience, now >= service.leniency, supervisor.phase(of: worker.id) == .ready {
        journal.write(.error, "worker \(worker.slot) of generation \(worker.generation) (PID \(worker.process)) has shown no sign of life for \(age) ms: it is killed")
        perform(supervisor.stuck(worker.id, reason: "no sign of life for \(age) ms", now: now))
      } else if supervisor.phase(of: worker.id) == .ready {
        oldest = max(oldest, age)
      }
    }
    return oldest
  }

  /// Sends the state as one line, when it is another one than before.
  func tellStatus() {
    let text = serviceStatus
    guard ServiceNotice.isHeard, text != service.status else { return }
    service.status = text
    ServiceNotice.send([ServiceNotice.status(text)])
  }

  /// `3 workers, generation 7, draining 41 connections of generation 6`.
  var serviceStatus: String {
    var parts: [String] = []
    if supervisor.isStopping { parts.append("stopping") }
    if let serving = supervisor.serving, let record = generations[serving] {
      parts.append(record.plan.workers == 1 ? "1 worker" : "\(record.plan.workers) workers")
      parts.append("generation \(serving)")
    } else if !supervisor.isStopping {
      parts.append("starting")
    }
    for number in generations.keys.sorted() where supervisor.phase(of: number) == .draining {
      let count = workers.values.reduce(0) { sum, worker in
        worker.generation == number ? sum + Int(clamping: board.page(worker.row)?.value(of: .connectionsActive) ?? 0) : sum
      }
      parts.append("draining \(count) connection\(count == 1 ? "" : "s") of generation \(number)")
    }
    if supervisor.isStarting, supervisor.serving != nil { parts.append("reloading") }
    if let lastReload, lastReload.generation == nil, let reason = lastReload.errors.first { parts.append("the last reload failed: \(reason)") }
    return parts.joined(separator: ", ")
  }
}
